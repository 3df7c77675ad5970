"""Loop lengths and recursion, read off the syntax of a simulator file."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping

from gsim_jax.simulator import _syntax

#: Most turns of a Python loop; each of them is traced.
MOST_TURNS = 4096

_COUNTING = frozenset(
    "abs enumerate float int len list max min range reversed round sorted sum tuple zip".split()  # noqa: SIM905
)
_VIEWS = frozenset({"items", "keys", "values"})
_ABOUT_SHAPE = frozenset({"shape", "size", "ndim"})


def fixed(node: ast.expr, given: Collection[str]) -> bool:
    """Whether a value is known before the program runs, as far as its syntax tells.

    Args:
        node: the expression.
        given: arguments of the functions around it; an entry of one of them, `state["S"]`, is a
            value of the running program.
    """
    match node:
        case ast.Constant() | ast.Name():
            return True
        case ast.Attribute(attr=attribute):
            return attribute in _ABOUT_SHAPE
        case ast.Subscript(value=ast.Name(id=name)):
            key = node.slice
            entry = isinstance(key, ast.Constant) and isinstance(key.value, str)
            return not (name in given and entry)
        case ast.Subscript(value=value):
            return fixed(value, given)
        case ast.UnaryOp(operand=operand):
            return fixed(operand, given)
        case ast.BinOp(left=left, right=right):
            return fixed(left, given) and fixed(right, given)
        case ast.IfExp(body=body, orelse=other):
            return fixed(body, given) and fixed(other, given)
        case ast.Tuple() | ast.List() | ast.Set() | ast.Dict():
            return True
        case ast.Starred(value=value):
            return fixed(value, given)
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            return True  # its own loops are checked where they stand
        case ast.Call(func=ast.Name(id=name), args=arguments):
            # The length of a thing is fixed even where its entries are not.
            return name == "len" or (
                name in _COUNTING and all(fixed(each, given) for each in arguments)
            )
        case ast.Call(func=ast.Attribute(attr=attribute), args=[]):
            return attribute in _VIEWS
    return False


def turns(node: ast.expr) -> int | None:
    """How often a loop over a `range` of literals turns; None where it is no such range."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return None
    if node.func.id != "range" or not 1 <= len(node.args) <= 3:
        return None
    numbers = [_number(each) for each in node.args]
    known = [n for n in numbers if n is not None]
    if len(known) < len(numbers) or (len(known) == 3 and known[2] == 0):
        return None
    span = range(*known)
    # len() fails beyond the machine's integers.
    return max(0, -(-(span.stop - span.start) // span.step))


def lengths(call: ast.Call) -> list[ast.expr]:
    """The arguments of a call that are lengths of loops: of range, lax.fori_loop, lax.scan."""
    named = {keyword.arg: keyword.value for keyword in call.keywords}
    match call.func:
        case ast.Name(id="range"):
            return list(call.args)
        case ast.Attribute(value=ast.Name(id="lax"), attr="fori_loop"):
            return [*call.args[:2], *(named[n] for n in ("lower", "upper") if n in named)]
        case ast.Attribute(value=ast.Name(id="lax"), attr="scan"):
            return [*call.args[3:4], *(named[n] for n in ("length",) if n in named)]
    return []


def _number(node: ast.expr) -> int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    return None


def grown_inside(loop: ast.For, changing: Collection[str]) -> str | None:
    """The name of a list that a loop runs over and makes longer, so that it would never end."""
    over = {n.id for n in ast.walk(loop.iter) if isinstance(n, ast.Name)}
    for node in (n for statement in loop.body for n in ast.walk(statement)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            changes = node.func.attr in changing and isinstance(owner, ast.Name)
            if changes and isinstance(owner, ast.Name) and owner.id in over:
                return owner.id
        target = node.target if isinstance(node, ast.AugAssign) else None
        if isinstance(target, ast.Name) and target.id in over:
            return target.id
    return None


def _references(function: ast.FunctionDef) -> set[str]:
    arguments = {a.arg for a in function.args.args}
    own = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and _syntax.stores(n)}
    loads = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and not _syntax.stores(n)}
    return loads - own - arguments


def _bodies(tree: ast.Module) -> Iterator[tuple[str, set[str], ast.AST]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node.name, _references(node), node
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target = node.targets[0]
            lambdas = [n for n in ast.walk(node.value) if isinstance(n, ast.Lambda)]
            if isinstance(target, ast.Name) and lambdas:
                used = {n.id for each in lambdas for n in ast.walk(each) if isinstance(n, ast.Name)}
                bound = {a.arg for each in lambdas for a in each.args.args}
                yield target.id, used - bound, node


def recursive(tree: ast.Module) -> list[tuple[str, ast.AST]]:
    """Functions that reach themselves, by name, with where they are defined.

    A function that is only mentioned counts as called: it may be passed on and called there.
    """
    uses: dict[str, set[str]] = {}
    places: dict[str, ast.AST] = {}
    for name, used, node in _bodies(tree):
        uses[name] = uses.get(name, set()) | used
        places.setdefault(name, node)
    return [(name, places[name]) for name in uses if _reaches(name, uses)]


def _reaches(name: str, uses: Mapping[str, set[str]]) -> bool:
    seen: set[str] = set()
    front = set(uses[name])
    while front:
        if name in front:
            return True
        seen |= front
        front = {further for each in front for further in uses.get(each, ())} - seen
    return False
