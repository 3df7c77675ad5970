"""Text of an expression to a small tree, through an allow-list over Python's own grammar.

Nothing is ever evaluated by Python: ``ast`` only reads the text, and every node that is not
listed here is refused with a message that says what to write instead.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass

from gsim_jax.task.problems import near

FUNCTIONS = ("abs", "min", "max", "sum", "mean")
PREFIXES = ("initial", "previous")
MAX_LENGTH = 4000
MAX_DEPTH = 60

_BINARY = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
}
_COMPARE = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_INSTEAD: dict[type, str] = {
    ast.BitAnd: "& is not used: write 'and'",
    ast.BitOr: "| is not used: write 'or'",
    ast.BitXor: "^ is not used: write ** for a power",
    ast.Invert: "~ is not used: write 'not'",
    ast.MatMult: "@ is not used: write sum(a * b)",
    ast.In: "'in' is not used: compare with == and join with 'or'",
    ast.NotIn: "'not in' is not used: compare with != and join with 'and'",
    ast.Is: "'is' is not used: write ==",
    ast.IsNot: "'is not' is not used: write !=",
    ast.IfExp: "'if ... else' is not used: multiply by a comparison, such as (S > 0) * I",
}


class ExpressionError(ValueError):
    """An expression that cannot be read.

    Attributes:
        messages: everything that is wrong with it.
    """

    def __init__(self, text: str, messages: Iterable[str]) -> None:
        self.text = text
        self.messages = tuple(messages)
        super().__init__("\n".join(f"in {text!r}: {message}" for message in self.messages))


@dataclass(frozen=True)
class Number:
    """A literal; int or float decides how it is compared."""

    value: int | float


@dataclass(frozen=True)
class Name:
    """A name such as ``S`` or ``initial.S``."""

    name: str


@dataclass(frozen=True)
class Item:
    """An entry or a slice along leading axes: ``los[0]``."""

    base: Name
    index: tuple[int, ...]


@dataclass(frozen=True)
class Unary:
    """``-``, ``+`` or ``not``."""

    op: str
    operand: Node


@dataclass(frozen=True)
class Binary:
    """Arithmetic."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Compare:
    """A chain of comparisons: ``0 <= I < 10``."""

    first: Node
    rest: tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class Logic:
    """``and`` or ``or`` of two or more."""

    op: str
    items: tuple[Node, ...]


@dataclass(frozen=True)
class Call:
    """One of `FUNCTIONS`."""

    function: str
    arguments: tuple[Node, ...]


Node = Number | Name | Item | Unary | Binary | Compare | Logic | Call


def read(text: str, names: Iterable[str]) -> Node:
    """Reads an expression.

    Args:
        text: the expression; line breaks count as spaces.
        names: every name that may be used, prefixed ones included.

    Returns:
        The tree.

    Raises:
        ExpressionError: listing every unknown name and every construct that is not allowed.
    """
    flat = " ".join(text.split())
    if not flat:
        raise ExpressionError(text, ["expected an expression, got empty text"])
    if len(flat) > MAX_LENGTH:
        raise ExpressionError(
            flat[:60] + "...", [f"expected at most {MAX_LENGTH} characters, got {len(flat)}"]
        )
    try:
        tree = ast.parse(flat, mode="eval").body
    except SyntaxError as error:
        if re.search(r"(?<![<>=!])=(?!=)", flat):
            raise ExpressionError(flat, ["a single = is not used: write == to compare"]) from None
        place = f" at character {error.offset}" if error.offset else ""
        raise ExpressionError(flat, [f"not an expression{place}: {error.msg}"]) from None
    except (RecursionError, MemoryError, ValueError):
        raise ExpressionError(flat[:60], ["too deeply nested, or holds unreadable text"]) from None
    reader = _Reader(frozenset(names))
    node = reader.node(tree, 0)
    if reader.messages:
        raise ExpressionError(flat, dict.fromkeys(reader.messages))
    return node


class _Reader:
    """Converts Python's tree to ours; collects messages instead of stopping at the first."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        self.messages: list[str] = []

    def refuse(self, message: str) -> Node:
        self.messages.append(message)
        return Number(0)

    def node(self, tree: ast.expr, depth: int) -> Node:
        if depth > MAX_DEPTH:
            return self.refuse(f"nested more than {MAX_DEPTH} deep: split it into derived values")
        deeper = depth + 1
        match tree:
            case ast.Constant():
                return self.number(tree.value)
            case ast.Name() | ast.Attribute():
                return self.name(tree)
            case ast.Subscript():
                return self.item(tree)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() | ast.Not()):
                sign = {ast.USub: "-", ast.UAdd: "+", ast.Not: "not"}[type(tree.op)]
                return Unary(sign, self.node(tree.operand, deeper))
            case ast.BinOp() if type(tree.op) in _BINARY:
                left, right = self.node(tree.left, deeper), self.node(tree.right, deeper)
                return Binary(_BINARY[type(tree.op)], left, right)
            case ast.BoolOp():
                word = "and" if isinstance(tree.op, ast.And) else "or"
                return Logic(word, tuple(self.node(value, deeper) for value in tree.values))
            case ast.Compare() if all(type(op) in _COMPARE for op in tree.ops):
                first = self.node(tree.left, deeper)
                others = [self.node(other, deeper) for other in tree.comparators]
                ops = [_COMPARE[type(op)] for op in tree.ops]
                return Compare(first, tuple(zip(ops, others, strict=True)))
            case ast.Call():
                return self.call(tree, deeper)
        return self.refuse(_refusal(tree))

    def number(self, value: object) -> Node:
        if isinstance(value, bool):
            return self.refuse(f"{value} is not a number: write {int(value)}")
        if isinstance(value, int):
            if value >= 2**31:
                return self.refuse(f"{str(value)[:24]} does not fit in 32 bits: write it as a real")
            return Number(value)
        if isinstance(value, float):
            return Number(value)
        return self.refuse(f"expected a number or a name, got {value!r}")

    def name(self, tree: ast.expr) -> Node:
        dotted = _dotted(tree)
        if dotted is None:
            return self.refuse("a dot is used for initial.X and previous.X only")
        if dotted in self.names:
            return Name(dotted)
        prefix, _, rest = dotted.rpartition(".")
        if prefix in PREFIXES and not any(name.startswith(prefix + ".") for name in self.names):
            return self.refuse(
                f"{dotted!r} looks beyond one row, which rules can do and derived values cannot"
            )
        if prefix in PREFIXES and rest in self.names:
            return self.refuse(f"{rest!r} is the same in every row: write it without {prefix!r}")
        if dotted in FUNCTIONS:
            return self.refuse(f"{dotted!r} is a function: call it, {dotted}(...)")
        known = [n for n in self.names if bool(prefix) == ("." in n)] or self.names
        return self.refuse(f"unknown name {dotted!r}: {near(dotted, known)}")

    def item(self, tree: ast.Subscript) -> Node:
        base = self.name(tree.value) if _dotted(tree.value) is not None else None
        if base is None:
            return self.refuse("only a variable can be indexed, such as los[0]")
        parts = tree.slice.elts if isinstance(tree.slice, ast.Tuple) else [tree.slice]
        index = [part.value for part in parts if isinstance(part, ast.Constant)]
        whole = [i for i in index if isinstance(i, int) and not isinstance(i, bool)]
        if len(whole) != len(parts) or not parts:
            return self.refuse("an index is a whole number from 0, such as los[0] or m[0, 1]")
        return Item(base, tuple(whole)) if isinstance(base, Name) else base

    def call(self, tree: ast.Call, depth: int) -> Node:
        name = _dotted(tree.func)
        if name not in FUNCTIONS:
            shown = name or "this"
            return self.refuse(f"unknown function {shown!r}: {near(shown, FUNCTIONS)}")
        if tree.keywords or any(isinstance(a, ast.Starred) for a in tree.args):
            return self.refuse(f"{name} takes plain arguments")
        if not tree.args or (len(tree.args) > 1 and name not in ("min", "max")):
            return self.refuse(f"{name} takes one argument, got {len(tree.args)}")
        return Call(name, tuple(self.node(argument, depth) for argument in tree.args))


def _dotted(tree: ast.expr) -> str | None:
    """``S`` or ``initial.S``; None for anything else."""
    if isinstance(tree, ast.Name):
        return tree.id
    if isinstance(tree, ast.Attribute) and isinstance(tree.value, ast.Name):
        return f"{tree.value.id}.{tree.attr}"
    return None


def _refusal(tree: ast.expr) -> str:
    """What to write instead of a construct that is not allowed."""
    parts: list[object] = [tree, getattr(tree, "op", None), *getattr(tree, "ops", [])]
    for part in parts:
        if type(part) in _INSTEAD:
            return _INSTEAD[type(part)]
    return (
        f"{type(tree).__name__} is not allowed: an expression holds numbers, names, indices,"
        " + - * / // % **, comparisons, and/or/not, abs min max sum mean"
    )
