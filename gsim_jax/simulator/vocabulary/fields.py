"""Parameters of operations: what JSON may hold there, checked by type and range.

A field turns a JSON value into a plain Python value that is safe to hand to `lax`, or raises
`FieldError`. Nothing here trusts its argument: it may come from a hostile document.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

#: Longest axis, and most axes, of any array in a program.
MOST_LENGTH, MOST_AXES = 100_000, 8
#: The dtypes of a program's values.
DTYPES = ("bool", "int32", "uint32", "float32")

Field = Callable[[Any], Any]


class FieldError(ValueError):
    """A parameter of an operation is not of its type or range."""


def is_int(value: Any) -> bool:
    """Whether a JSON value is an integer (`true` is not one)."""
    return type(value) is int


def integer(low: int = -MOST_LENGTH, high: int = MOST_LENGTH) -> Field:
    """An integer between `low` and `high`, both included."""

    def field(value: Any) -> int:
        if not is_int(value) or not low <= value <= high:
            raise FieldError(f"expected an integer from {low} to {high}; got {value!r:.60}")
        return value

    return field


def integers(low: int = -MOST_LENGTH, high: int = MOST_LENGTH, most: int = MOST_AXES) -> Field:
    """A list of at most `most` integers between `low` and `high`, as a tuple."""
    one = integer(low, high)

    def field(value: Any) -> tuple[int, ...]:
        if type(value) is not list or len(value) > most:
            raise FieldError(f"expected a list of at most {most} integers; got {value!r:.60}")
        return tuple(one(v) for v in value)

    return field


def rows(width: int, low: int = -MOST_LENGTH, high: int = MOST_LENGTH) -> Field:
    """A list of at most 8 lists of `width` integers each, as a tuple of tuples."""
    one = integers(low, high, width)

    def field(value: Any) -> tuple[tuple[int, ...], ...]:
        if type(value) is not list or len(value) > MOST_AXES:
            raise FieldError(f"expected a list of at most {MOST_AXES} lists; got {value!r:.60}")
        out = tuple(one(v) for v in value)
        if any(len(row) != width for row in out):
            raise FieldError(f"expected rows of {width} integers; got {value!r:.60}")
        return out

    return field


def boolean(value: Any) -> bool:
    """`true` or `false`."""
    if type(value) is not bool:
        raise FieldError(f"expected true or false; got {value!r:.60}")
    return value


def one_of(*names: str) -> Field:
    """One of the given texts."""

    def field(value: Any) -> str:
        if type(value) is not str or value not in names:
            raise FieldError(f"expected one of {', '.join(names)}; got {value!r:.60}")
        return value

    return field


dtype = one_of(*DTYPES)
axis = integer(0, MOST_AXES - 1)


def axes(value: Any) -> tuple[int, ...]:
    """Numbers of axes, none twice."""
    found = integers(0, MOST_AXES - 1)(value)
    if len(set(found)) != len(found):
        raise FieldError(f"expected different axes; got {value!r:.60}")
    return found


def shape(value: Any) -> tuple[int, ...]:
    """Lengths of the axes of an array: at most 8, each from 0 to 100,000."""
    return integers(0, MOST_LENGTH)(value)


def optional(field: Field) -> Field:
    """`null`, or what `field` takes."""
    return lambda value: None if value is None else field(value)


def number(value: Any) -> float | int | bool:
    """A number of JSON, `true`/`false`, or one of the texts `nan`, `inf`, `-inf`."""
    if type(value) is str and value in ("nan", "inf", "-inf"):
        return float(value)
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is bool or (type(value) is int and abs(value) < 2**33):
        return value
    raise FieldError(f"expected a number, 'nan', 'inf' or '-inf'; got {value!r:.60}")
