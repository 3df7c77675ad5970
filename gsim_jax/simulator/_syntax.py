"""Small questions about syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterable


def stores(name: ast.Name) -> bool:
    """Whether a name is bound where it stands."""
    return isinstance(name.ctx, ast.Store)


def bound_in(body: Iterable[ast.stmt]) -> set[str]:
    """Names that statements bind in their own scope, the insides of nested scopes left out."""
    found: set[str] = set()
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp):
            continue
        if isinstance(node, ast.GeneratorExp):
            continue
        if isinstance(node, ast.Name) and stores(node):
            found.add(node.id)
        waiting.extend(ast.iter_child_nodes(node))
    return found


def is_text(node: ast.stmt) -> bool:
    """Whether a statement is a bare text, such as a docstring."""
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def is_literal(node: ast.expr) -> bool:
    """Whether an expression is a number, a text or a tuple of them."""
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub) and is_literal(node.operand)
    if isinstance(node, ast.Tuple):
        return all(is_literal(element) for element in node.elts)
    return isinstance(node, ast.Constant)


def is_at(node: ast.expr) -> bool:
    """Whether an expression is `x.at`."""
    return isinstance(node, ast.Attribute) and node.attr == "at"
