"""Linear forms of the state, followed through a program's operations.

`S + I + R` inside a rate depends on three states, yet where the population is constant it carries
no influence from any of them. To see that, values that are linear in what enters a step are kept as
coefficients over the entries of states, inputs and parameters (the atoms), as far as additions,
subtractions, multiplications by constants, sums and changes of shape go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

#: Forms of more coefficients than this are not followed, nor more atoms in all.
MOST_COEFFICIENTS, MOST_ATOMS = 200_000, 512
#: Coefficients of all forms of a program together (80 MB).
MOST_TOGETHER = 10_000_000

#: float64[*shape, atoms + 1]: coefficients of the atoms, then a constant; None for "not linear".
Form = np.ndarray | None


def constant(value: np.ndarray, atoms: int) -> Form:
    """The form of a known number or array; None where it is too large or not finite."""
    if value.size * (atoms + 1) > MOST_COEFFICIENTS or not np.all(np.isfinite(value)):
        return None
    form = np.zeros((*value.shape, atoms + 1))
    form[..., -1] = value
    return form


def _is_constant(form: np.ndarray) -> bool:
    return not np.any(form[..., :-1])


def _add(p: Mapping[str, Any], a: np.ndarray, b: np.ndarray) -> Form:
    return a + b


def _sub(p: Mapping[str, Any], a: np.ndarray, b: np.ndarray) -> Form:
    return a - b


def _mul(p: Mapping[str, Any], a: np.ndarray, b: np.ndarray) -> Form:
    if _is_constant(a):
        return b * a[..., -1:]
    return a * b[..., -1:] if _is_constant(b) else None


def _div(p: Mapping[str, Any], a: np.ndarray, b: np.ndarray) -> Form:
    if not _is_constant(b) or not np.all(b[..., -1]):
        return None
    return a / b[..., -1:]


def _reduce(p: Mapping[str, Any], a: np.ndarray) -> Form:
    return a.sum(axis=tuple(p["axes"]))


def _broadcast(p: Mapping[str, Any], a: np.ndarray) -> Form:
    shape, axes, count = p["shape"], p["axes"], a.shape[-1]
    if int(np.prod(shape)) * count > MOST_COEFFICIENTS:
        return None
    spread = [1] * len(shape)
    for axis, length in zip(axes, a.shape[:-1], strict=True):
        spread[axis] = length
    return np.broadcast_to(a.reshape(*spread, count), (*shape, count))


def _slice(p: Mapping[str, Any], a: np.ndarray) -> Form:
    bounds = zip(p["start"], p["limit"], p["strides"], strict=True)
    return a[tuple(slice(*bound) for bound in bounds)]


def _reverse(p: Mapping[str, Any], a: np.ndarray) -> Form:
    return np.flip(a, tuple(p["axes"]))


def _cumsum(p: Mapping[str, Any], a: np.ndarray) -> Form:
    axis = p["axis"]
    if p["reverse"]:
        return np.flip(np.cumsum(np.flip(a, axis), axis), axis)
    return np.cumsum(a, axis)


def _transpose(p: Mapping[str, Any], a: np.ndarray) -> Form:
    return np.transpose(a, (*p["order"], a.ndim - 1))


def _same(p: Mapping[str, Any], a: np.ndarray) -> Form:
    return a


_RULES: dict[str, Callable[..., Form]] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "neg": lambda p, a: -a,
    "copy": _same,
    "stop_gradient": _same,
    "reduce_sum": _reduce,
    "cumsum": _cumsum,
    "broadcast": _broadcast,
    "reshape": lambda p, a: a.reshape(*p["shape"], a.shape[-1]),
    "squeeze": lambda p, a: a.squeeze(tuple(p["axes"])),
    "slice": _slice,
    "reverse": _reverse,
    "transpose": _transpose,
    "concatenate": lambda p, *parts: np.concatenate(parts, p["axis"]),
    "stack": lambda p, *parts: np.stack(parts, p["axis"]),
}
_NUMBERS = ("int32", "float32")


def follow(
    operation: str,
    parameters: Mapping[str, Any],
    forms: Sequence[Form],
    dtypes: Sequence[str],
    result: str,
) -> Form:
    """The form of an operation's result, None where it is not linear in the atoms.

    Args:
        operation: name in the vocabulary.
        parameters: its parameters.
        forms: forms of its arguments.
        dtypes: dtypes of its arguments.
        result: dtype of its result.
    """
    given = [form for form in forms if form is not None]
    # Unsigned and boolean arithmetic wraps or saturates, so it is not linear.
    if len(given) != len(forms) or not given or {*dtypes, result} - set(_NUMBERS):
        return None
    if operation == "convert":
        # A float made whole is rounded; every other conversion keeps the value.
        return None if (dtypes[0], result) == ("float32", "int32") else given[0]
    if operation == "div" and result == "float32":
        return _div(parameters, *given)
    rule = _RULES.get(operation)
    return None if rule is None else rule(parameters, *given)
