"""Linear forms: the coefficients of an expression that is linear in its names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gsim_jax.task.grammar import Binary, Call, Item, Name, Node, Number, Unary
from gsim_jax.task.schema import entries, label

CONSTANT = ""
MAX_ENTRIES = 1024

Form = dict[str, np.ndarray]
"""Label -> coefficient of that entry in each entry of the (array-valued) expression."""


def linear_form(node: Node, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, float] | None:
    """The coefficients of a scalar expression, or None where it is not linear.

    Args:
        node: the tree.
        shapes: shapes of the names; a name left out is a scalar.

    Returns:
        Label (``S``, ``initial.S``, ``los[0]``) -> coefficient, without zeros; the constant term
        under the empty key, where it is not zero.
    """
    form = _form(node, shapes)
    if form is None or any(np.ndim(c) for c in form.values()):
        return None
    return {name: float(c) for name, c in form.items() if c != 0}


def _form(node: Node, shapes: Mapping[str, tuple[int, ...]]) -> Form | None:
    match node:
        case Number(value):
            return {CONSTANT: np.asarray(float(value))}
        case Name(name):
            return _name_form(name, shapes.get(name, ()))
        case Item(base, index):
            whole = _name_form(base.name, shapes.get(base.name, ()))
            return None if whole is None else {key: c[index] for key, c in whole.items()}
        case Unary("-" | "+" as op, operand):
            inner = _form(operand, shapes)
            return None if inner is None else _scaled(inner, -1.0 if op == "-" else 1.0)
        case Binary(op, left, right):
            return _binary_form(op, _form(left, shapes), _form(right, shapes))
        case Call("sum" | "mean" as function, (argument,)):
            inner = _form(argument, shapes)
            if inner is None:
                return None
            full = np.broadcast_shapes(*(c.shape for c in inner.values()))
            spread = {key: np.broadcast_to(c, full) for key, c in inner.items()}
            reduce = np.sum if function == "sum" else np.mean
            return {key: np.asarray(reduce(c)) for key, c in spread.items()}
    return None


def _name_form(name: str, shape: tuple[int, ...]) -> Form | None:
    size = int(np.prod(shape))
    if size > MAX_ENTRIES:  # a form of n entries needs n * n numbers
        return None
    unit = np.eye(size).reshape((size, *shape))
    return {label(name, index): unit[i] for i, index in enumerate(entries(shape))}


def _binary_form(op: str, a: Form | None, b: Form | None) -> Form | None:
    if a is None or b is None:
        return None
    if op in ("+", "-"):
        signed = _scaled(b, 1.0 if op == "+" else -1.0)
        keys = dict.fromkeys([*a, *signed])
        zero = np.asarray(0.0)
        return {key: a.get(key, zero) + signed.get(key, zero) for key in keys}
    if op == "*" and _is_constant(a):
        return _scaled(b, a[CONSTANT])
    if not _is_constant(b):
        return None
    factor = b[CONSTANT]
    if op == "*":
        return _scaled(a, factor)
    if op == "/" and np.all(factor != 0):
        return _scaled(a, 1.0 / factor)
    if op == "**" and _is_constant(a) and np.all(a[CONSTANT] > 0):
        return {CONSTANT: np.asarray(np.float_power(a[CONSTANT], factor))}
    return None


def _is_constant(form: Form) -> bool:
    return set(form) == {CONSTANT}


def _scaled(form: Form, factor: float | np.ndarray) -> Form:
    return {key: np.asarray(c * factor) for key, c in form.items()}
