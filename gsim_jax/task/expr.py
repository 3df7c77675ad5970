"""The one expression language of rules, derived values and costs.

An expression holds numbers, names (states, derived values, inputs, constants, attributes, ``t``;
in rules also ``initial.X`` and ``previous.X``), ``+ - * / // % **``, comparisons (chained ones
too), ``and``, ``or``, ``not``, ``abs min max sum mean`` and indices such as ``los[0]``. ``sum`` and
``mean`` reduce an array to a number; so do ``min`` and ``max`` of one array, while those of
several arguments go entry by entry.

    >>> from gsim_jax.task.expr import parse
    >>> total = parse("S + 2 * I", ["S", "I"])
    >>> total.linear()
    {'S': 1.0, 'I': 2.0}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gsim_jax.task.evaluate import Evaluator
from gsim_jax.task.grammar import (
    Binary,
    Call,
    Compare,
    ExpressionError,
    Item,
    Logic,
    Name,
    Node,
    Number,
    Unary,
    read,
)
from gsim_jax.task.linear import linear_form

__all__ = ["Expression", "ExpressionError", "parse"]


@dataclass(frozen=True)
class Expression:
    """An expression that has been read and checked.

    Attributes:
        text: as it was written.
        node: the tree.
        shapes: shapes of the names it uses, where they were given to `parse`.
        shape: shape of its value; None where the names' shapes were not given.
    """

    text: str
    node: Node
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, compare=False)
    shape: tuple[int, ...] | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.text

    @property
    def names(self) -> frozenset[str]:
        """Every name it uses, prefixes included."""
        return frozenset(_names(self.node))

    def evaluate(
        self,
        env: Mapping[str, Any],
        known: Mapping[str, Any] | None = None,
        *,
        xp: Any = None,
    ) -> tuple[Any, Any]:
        """The value and whether it is known; pure, so it may be jitted and vmapped.

        Args:
            env: name -> array of the name's shape. Where `parse` was given shapes, any number of
                batch axes may come first (the same for all names up to broadcasting).
            known: name -> mask for the array; a name left out is known.
            xp: ``numpy`` for use on the host; jax.numpy where left out.

        Returns:
            ``(value, known)`` of equal shape: int32, float32 or bool, and bool. The value means
            nothing where it is not known.

        Raises:
            KeyError: `env` lacks a name that the expression uses.
        """
        if xp is None:
            import jax.numpy as xp
        ranks = {name: len(shape) for name, shape in self.shapes.items()}
        with np.errstate(all="ignore"):
            result = Evaluator(env, known or {}, ranks, xp)(self.node)
        value = xp.asarray(result.value)
        return value, xp.broadcast_to(xp.asarray(result.known), value.shape)

    def linear(self) -> dict[str, float] | None:
        """The coefficients, where the expression is linear in its names.

        Returns:
            Label -> coefficient, the constant term under ``""``; zeros are left out. None where
            the expression is not linear (comparisons, products of names, ``abs``, ...).
        """
        return linear_form(self.node, self.shapes)


def parse(text: str, names: Mapping[str, tuple[int, ...]] | Iterable[str]) -> Expression:
    """Reads an expression.

    Args:
        text: the expression.
        names: the names that may be used; with their shapes (a mapping), indices and
            combinations of arrays are checked too, and `Expression.evaluate` takes batch axes.

    Raises:
        ExpressionError: with every mistake in the text.
    """
    known = names if isinstance(names, Mapping) else tuple(names)
    node = read(text, known)
    if not isinstance(known, Mapping):
        return Expression(text, node)
    used = {name: tuple(known[name]) for name in sorted(_names(node))}
    try:
        shape = _shape(node, used)
    except _ShapeError as error:
        raise ExpressionError(text, [str(error)]) from None
    return Expression(text, node, used, shape)


class _ShapeError(ValueError):
    """Arrays that do not go together."""


def _shape(node: Node, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Shape of a node's value."""
    match node:
        case Number():
            return ()
        case Name(name):
            return shapes[name]
        case Item(base, index):
            return _item_shape(base.name, shapes[base.name], index)
        case Unary(_, operand):
            return _shape(operand, shapes)
        case Call("sum" | "mean", (argument,)):
            _shape(argument, shapes)
            return ()
        case Call("min" | "max", (argument,)):
            _shape(argument, shapes)
            return ()
    parts = [_shape(child, shapes) for child in _children(node)]
    try:
        return np.broadcast_shapes(*parts)
    except ValueError:
        shown = " and ".join(str(list(part)) for part in dict.fromkeys(parts))
        raise _ShapeError(f"arrays of shapes {shown} do not go together") from None


def _item_shape(name: str, shape: tuple[int, ...], index: tuple[int, ...]) -> tuple[int, ...]:
    if not shape:
        raise _ShapeError(f"{name!r} is a single number and has no entries: write {name}")
    if len(index) > len(shape):
        raise _ShapeError(f"{name!r} has {len(shape)} axes, got {len(index)} indices")
    for i, size in zip(index, shape, strict=False):
        if not 0 <= i < size:  # jax.numpy would clamp it silently
            raise _ShapeError(f"{name!r} has entries 0..{size - 1} along this axis, got {i}")
    return shape[len(index) :]


def _children(node: Node) -> tuple[Node, ...]:
    match node:
        case Number() | Name():
            return ()
        case Item(base, _):
            return (base,)
        case Unary(_, operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Compare(first, rest):
            return (first, *(other for _, other in rest))
        case Logic(_, items):
            return items
        case Call(_, arguments):
            return arguments


def _names(node: Node) -> set[str]:
    if isinstance(node, Name):
        return {node.name}
    return set().union(*(_names(child) for child in _children(node)))
