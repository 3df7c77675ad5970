"""Three-valued evaluation of an expression tree with NumPy or jax.numpy.

Every value is a pair (value, known). Arithmetic on something unknown is unknown; ``and``, ``or``
and ``not`` follow Kleene's strong logic, so ``unknown and False`` is False. A division by zero is
unknown too: a rate over no cases says nothing.

Integers are int32 and compared exactly. Where a real takes part, equality allows a relative
difference of `TOLERANCE`, measured against the size of the *terms*, so that ``S + I - N == 0``
is judged like ``S + I == N``; exactly one of ``<``, ``==``, ``>`` holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gsim_jax.task.grammar import (
    Binary,
    Call,
    Compare,
    Item,
    Logic,
    Name,
    Node,
    Number,
    Unary,
)

TOLERANCE = np.float32(1e-5)


class Value(NamedTuple):
    """A value with leading batch axes and `rank` trailing axes of its own.

    `known` broadcasts against `value`; `scale` is the size of the terms it is made of (float32).
    """

    value: Any
    known: Any
    scale: Any
    rank: int


class Evaluator:
    """Walks a tree for one environment.

    Args:
        env: name -> array, with any leading batch axes before the name's own shape.
        known: name -> mask that broadcasts against the array; names left out are known.
        ranks: name -> number of trailing axes that belong to the name; a name left out owns all
            its axes, so that there is no batch.
        xp: ``numpy`` or ``jax.numpy``.
    """

    def __init__(
        self,
        env: Mapping[str, Any],
        known: Mapping[str, Any],
        ranks: Mapping[str, int],
        xp: Any,
    ) -> None:
        self.env, self.known, self.ranks, self.xp = env, known, ranks, xp

    def __call__(self, node: Node) -> Value:
        """The value of a node.

        Raises:
            KeyError: the environment lacks a name.
        """
        match node:
            case Number(value):
                number = np.float32(value) if isinstance(value, float) else np.int32(value)
                return Value(number, np.True_, np.float32(abs(value)), 0)
            case Name(name):
                return self._name(name)
            case Item(base, index):
                return self._item(self._name(base.name), index)
            case Unary("not", operand):
                inner = self(operand)
                return self._bool(~_truth(inner.value), inner.known, inner.rank)
            case Unary(op, operand):
                inner = self(operand)
                value = _numeric(inner.value)
                return inner._replace(value=-value if op == "-" else value)
            case Binary(op, left, right):
                return self._binary(op, left, right)
            case Compare(first, rest):
                return self._chain(first, rest)
            case Logic(op, items):
                return self._logic(op, [self(item) for item in items])
            case Call(function, arguments):
                values = [self(argument) for argument in arguments]
                return self._call(function, values)

    def _name(self, name: str) -> Value:
        if name not in self.env:
            raise KeyError(f"the environment has no {name!r}")
        value = _leaf(self.env[name])
        rank = self.ranks.get(name, value.ndim)
        known = self.known.get(name)
        known = np.True_ if known is None else _leaf(known)
        return Value(value, known, abs(_float(_numeric(value))), rank)

    def _item(self, base: Value, index: tuple[int, ...]) -> Value:
        def pick(array: Any) -> Any:
            if array.ndim < base.rank:
                return array
            return array[(..., *index, *(slice(None),) * (base.rank - len(index)))]

        own = base.rank - len(index)
        return Value(pick(base.value), pick(base.known), pick(base.scale), own)

    def _bool(self, value: Any, known: Any, rank: int) -> Value:
        return Value(value, known, np.float32(1.0), rank)

    def _align(self, *values: Value) -> list[Value]:
        """Gives all values the same number of own axes, and then of axes.

        Nothing is left to implicit rank promotion: a batch axis must never meet an own axis.
        """
        rank = max(v.rank for v in values)
        depth = max(v.value.ndim - v.rank for v in values)

        def lift(array: Any, own: int) -> Any:
            if array.ndim == 0:
                return array
            batch, event = array.shape[: array.ndim - own], array.shape[array.ndim - own :]
            lead = (1,) * (depth - len(batch)) if rank + depth > 0 else ()
            return array.reshape(lead + batch + (1,) * (rank - own) + event)

        return [
            Value(lift(v.value, v.rank), lift(v.known, v.rank), lift(v.scale, v.rank), rank)
            for v in values
        ]

    def _binary(self, op: str, left: Node, right: Node) -> Value:
        a, b = self._align(self(left), self(right))
        known = a.known & b.known
        x, y = _numeric(a.value), _numeric(b.value)
        if op == "**":
            return self._power(x, y, known, a.rank, right)
        if op == "/" or x.dtype != y.dtype:
            x, y = _float(x), _float(y)
        if op in ("/", "//", "%"):
            known = known & (y != 0)
            y = self.xp.where(y == 0, y.dtype.type(1), y)
            size = a.scale / abs(_float(y))
            if op == "/":
                return Value(x / y, known, size, a.rank)
            value = x // y if op == "//" else x % y
            return Value(value, known, size if op == "//" else a.scale, a.rank)
        if op == "*":
            return Value(x * y, known, a.scale * b.scale, a.rank)
        return Value(x + y if op == "+" else x - y, known, a.scale + b.scale, a.rank)

    def _power(self, x: Any, y: Any, known: Any, rank: int, exponent: Node) -> Value:
        if isinstance(exponent, Number) and isinstance(exponent.value, int):
            value = x**exponent.value
            return Value(value, known, abs(_float(value)), rank)
        x, y = _float(x), _float(y)
        raised = self.xp.power(x, y)
        finite = self.xp.isfinite
        defined = finite(raised) | ~finite(x) | ~finite(y)
        value = self.xp.where(defined, raised, np.float32(0))
        return Value(value, known & defined, abs(value), rank)

    def _chain(self, first: Node, rest: tuple[tuple[str, Node], ...]) -> Value:
        links, left = [], self(first)
        for op, node in rest:
            right = self(node)
            links.append(self._compare(op, left, right))
            left = right
        return self._logic("and", links)

    def _compare(self, op: str, left: Value, right: Value) -> Value:
        a, b = self._align(left, right)
        x, y = _numeric(a.value), _numeric(b.value)
        if x.dtype != y.dtype:
            x, y = _float(x), _float(y)
        equal = x == y
        if x.dtype == np.float32:
            # where one side is infinite the bound is too: only the exact comparison counts there
            gap, bound = abs(x - y), TOLERANCE * self.xp.maximum(a.scale, b.scale)
            equal = equal | ((gap <= bound) & (bound < np.inf))
        result = {
            "==": lambda: equal,
            "!=": lambda: ~equal,
            "<": lambda: (x < y) & ~equal,
            "<=": lambda: (x < y) | equal,
            ">": lambda: (x > y) & ~equal,
            ">=": lambda: (x > y) | equal,
        }[op]()
        return self._bool(result, a.known & b.known, a.rank)

    def _logic(self, op: str, values: list[Value]) -> Value:
        aligned = self._align(*values)
        result = aligned[0]
        truth, known = _truth(result.value), result.known
        for item in aligned[1:]:
            other = _truth(item.value)
            # known where both are, or where one known operand decides alone
            decides, decided = (other, truth) if op == "or" else (~other, ~truth)
            known = (known & item.known) | (item.known & decides) | (known & decided)
            # an unknown operand counts as one that does not decide
            if op == "or":
                truth = (truth & result.known) | (other & item.known)
            else:
                truth = (truth | ~result.known) & (other | ~item.known)
            result = self._bool(truth, known, result.rank)
        return self._bool(truth, known, result.rank)

    def _call(self, function: str, values: list[Value]) -> Value:
        xp = self.xp
        if function == "abs":
            return values[0]._replace(value=abs(_numeric(values[0].value)))
        if len(values) > 1:
            return self._extreme(function, self._align(*values))
        value, known, scale, rank = values[0]
        value = _numeric(value)
        if rank == 0:
            return Value(_float(value) if function == "mean" else value, known, scale, 0)
        axes = tuple(range(-rank, 0))
        scale = xp.broadcast_to(scale, value.shape)
        if known.ndim > 0:
            known = known.all(axis=axes)
        if function in ("min", "max"):
            reduced = value.min(axis=axes) if function == "min" else value.max(axis=axes)
            return Value(reduced, known, scale.max(axis=axes), 0)
        if function == "sum":
            # the dtype is given because NumPy would widen an int32 sum to 64 bits
            total = xp.sum(value, axis=axes, dtype=value.dtype)
            return Value(total, known, scale.sum(axis=axes), 0)
        return Value(_float(value).mean(axis=axes), known, scale.mean(axis=axes), 0)

    def _extreme(self, function: str, values: list[Value]) -> Value:
        pick = self.xp.minimum if function == "min" else self.xp.maximum
        numbers = [_numeric(v.value) for v in values]
        if len({x.dtype for x in numbers}) > 1:
            numbers = [_float(x) for x in numbers]
        value, known, scale = numbers[0], values[0].known, values[0].scale
        for number, other in zip(numbers[1:], values[1:], strict=True):
            value = pick(value, number)
            known, scale = known & other.known, self.xp.maximum(scale, other.scale)
        return Value(value, known, scale, values[0].rank)


def _leaf(value: Any) -> Any:
    """An array or NumPy scalar of dtype int32, float32 or bool."""
    if not hasattr(value, "dtype"):
        value = np.asarray(value)
    if value.dtype.kind == "f" and value.dtype != np.float32:
        return value.astype(np.float32)
    if value.dtype.kind in "iu" and value.dtype != np.int32:
        return value.astype(np.int32)
    return value


def _numeric(value: Any) -> Any:
    """Truth values as 0 and 1."""
    return value.astype(np.int32) if value.dtype == np.bool_ else value


def _float(value: Any) -> Any:
    return value.astype(np.float32)


def _truth(value: Any) -> Any:
    return value if value.dtype == np.bool_ else value != 0
