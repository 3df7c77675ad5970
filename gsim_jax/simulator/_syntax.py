"""Small questions about syntax trees."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable


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


def is_arithmetic(node: ast.expr) -> bool:
    """Whether an expression is made of literal numbers only."""
    if isinstance(node, ast.BinOp):
        return is_arithmetic(node.left) and is_arithmetic(node.right)
    if isinstance(node, ast.UnaryOp):
        return is_arithmetic(node.operand)
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def exceeds(node: ast.expr, limit: float) -> bool:
    """Whether literal arithmetic comes to more than a limit; powers inside count as more."""
    value = _value(node)
    return value is None or value > limit


def _value(node: ast.expr) -> float | None:
    if isinstance(node, ast.UnaryOp):
        inner = _value(node.operand)
        return -inner if inner is not None and isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        work = _WORKED_OUT.get(type(node.op))
        if work is None or left is None or right is None:
            return None
        return work(left, right)
    number = node.value if isinstance(node, ast.Constant) else None
    if not isinstance(number, int | float):
        return None
    return float(number) if abs(number) < 1e300 else 1e300


_WORKED_OUT: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda left, right: left / right if right else 0.0,
}
