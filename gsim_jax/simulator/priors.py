"""Priors as a simulator file writes them: inert records that carry numbers and no behaviour.

`Uniform(0.0, 2.0, guess=0.4, unit="1/day", doc="transmission rate")` checks its arguments and keeps
them; what a prior *does* (quantiles, densities) lives in `parameters`, in the process that
calibrates. Argument names are numpyro's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

#: No parameter array has more elements than this; each element is one coordinate to calibrate.
MOST_ELEMENTS = 4096
#: Text limits of `unit` and `doc`, in characters.
MOST_UNIT, MOST_DOC = 60, 1000


class PriorError(ValueError):
    """A prior was declared with arguments that it does not take."""


@dataclass(frozen=True)
class Prior:
    """One declared parameter.

    Attributes:
        prior: name of the family, e.g. `"Uniform"`.
        arguments: its arguments by numpyro's names, plain numbers.
        guess: the value used before any calibration; a number, or one per element of `shape`.
        shape: shape of the value, `()` for a scalar; the elements are independent.
        unit: unit in words, e.g. `"1/day"`.
        doc: what the parameter means.
    """

    prior: str
    arguments: dict[str, Any]
    guess: Any
    shape: tuple[int, ...] = ()
    unit: str = ""
    doc: str = ""

    def to_json(self) -> dict[str, Any]:
        """The entry of the document's `parameters`."""
        return {
            "prior": self.prior,
            "arguments": self.arguments,
            "guess": list(self.guess) if isinstance(self.guess, tuple) else self.guess,
            "shape": list(self.shape),
            "unit": self.unit,
            "doc": self.doc,
        }

    @property
    def dtype(self) -> str:
        """`"int32"` for integers and integer choices, else `"float32"`."""
        return value_dtype(self.prior, self.arguments)


def value_dtype(prior: str, arguments: dict[str, Any]) -> str:
    """The dtype of a parameter's value: int32 for integers and integer choices, else float32."""
    if prior == "Integer":
        return "int32"
    if prior == "Choice" and all(isinstance(v, int) for v in arguments["values"]):
        return "int32"
    return "float32"


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and abs(value) <= 3e38


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _need(holds: bool, prior: str, text: str) -> None:
    if not holds:
        raise PriorError(f"{prior}: {text}")


def _low_high(name: str, a: dict[str, Any]) -> None:
    _need(a["low"] < a["high"], name, f"low must be below high; got {a['low']} and {a['high']}")


def _log_uniform(name: str, a: dict[str, Any]) -> None:
    _need(a["low"] > 0, name, f"low must be above 0; got {a['low']}")
    _low_high(name, a)


def _scale(name: str, a: dict[str, Any]) -> None:
    _need(a["scale"] > 0, name, f"scale must be above 0; got {a['scale']}")


def _positive(name: str, a: dict[str, Any]) -> None:
    for argument, value in a.items():
        _need(value > 0, name, f"{argument} must be above 0; got {value}")


def _integer(name: str, a: dict[str, Any]) -> None:
    for argument, value in a.items():
        _need(_is_integer(value), name, f"{argument} must be an integer; got {_short(value)}")
    _need(a["low"] <= a["high"], name, f"low must not be above high; got {a['low']}, {a['high']}")
    _need(a["high"] - a["low"] < 2**24, name, "high - low must be below 2**24")


def _closed(a: dict[str, Any], value: float) -> bool:
    return a["low"] <= value <= a["high"]


# family -> (arguments in order, check of the arguments, does the support hold a value)
FAMILIES: dict[str, tuple[tuple[str, ...], Any, Any]] = {
    "Uniform": (("low", "high"), _low_high, _closed),
    "LogUniform": (("low", "high"), _log_uniform, _closed),
    "Normal": (("loc", "scale"), _scale, lambda a, v: True),
    "LogNormal": (("loc", "scale"), _scale, lambda a, v: v > 0),
    "Beta": (("concentration1", "concentration0"), _positive, lambda a, v: 0 < v < 1),
    "Gamma": (("concentration", "rate"), _positive, lambda a, v: v > 0),
    "Integer": (("low", "high"), _integer, lambda a, v: _is_integer(v) and _closed(a, v)),
    "Choice": (("values",), None, lambda a, v: v in a["values"]),
}


def check_arguments(prior: str, arguments: dict[str, Any]) -> None:
    """Checks the arguments of one prior.

    Raises:
        PriorError: an unknown family, a missing or unknown argument, or a value out of range.
    """
    if prior not in FAMILIES:
        raise PriorError(f"expected a prior out of {', '.join(FAMILIES)}; got {_short(prior)}")
    names, check, _ = FAMILIES[prior]
    if set(arguments) != set(names):
        raise PriorError(
            f"{prior}: expected arguments {', '.join(names)}; got {_short(list(arguments))}"
        )
    if prior == "Choice":
        values = arguments["values"]
        fits = isinstance(values, list) and 1 <= len(values) <= 1000
        _need(fits and all(map(_is_number, values)), prior, "values must be 1 to 1000 numbers")
        fits = not all(isinstance(v, int) for v in values) or all(map(_is_integer, values))
        _need(fits, prior, "values that are integers must fit into 32 bits")
        return
    for name in names:
        value = arguments[name]
        _need(_is_number(value), prior, f"{name} must be a finite number; got {_short(value)}")
    check(prior, arguments)


def check_guess(prior: str, arguments: dict[str, Any], guess: Any, shape: Sequence[int]) -> None:
    """Checks that `guess` is a value of the prior: one number, or one per element of `shape`.

    Raises:
        PriorError: wrong number of values, or a value outside of the prior's support.
    """
    values = guess if isinstance(guess, list | tuple) else [guess]
    size = math.prod(shape)
    if isinstance(guess, list | tuple) and len(values) != size:
        raise PriorError(f"{prior}: guess needs 1 or {size} values; got {len(values)}")
    for value in values:
        _need(_is_number(value), prior, f"guess must be a finite number; got {_short(value)}")
        holds = FAMILIES[prior][2](arguments, value)
        _need(holds, prior, f"guess {value} is outside of the prior's range {_short(arguments)}")


def check_shape(shape: Any) -> tuple[int, ...]:
    """`shape` as a tuple of lengths; a bare integer is one axis.

    Raises:
        PriorError: not up to four positive lengths of at most 4096 elements together.
    """
    dims = (shape,) if _is_integer(shape) else shape
    fits = isinstance(dims, list | tuple) and len(dims) <= 4
    if not fits or not all(_is_integer(d) and d > 0 for d in dims):
        raise PriorError(f"shape must be a tuple of positive integers; got {_short(shape)}")
    if math.prod(dims) > MOST_ELEMENTS:
        raise PriorError(f"shape {_short(shape)} has more than {MOST_ELEMENTS} elements")
    return tuple(dims)


def _flat(value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        return [value]
    return [leaf for member in value for leaf in _flat(member)]


def _declare(
    prior: str, arguments: dict[str, Any], guess: Any, shape: Any, unit: Any, doc: Any
) -> Prior:
    check_arguments(prior, arguments)
    if guess is None:
        raise PriorError(f"{prior}: add guess=, a plausible value; it is used before calibration")
    dims = check_shape(shape)
    if isinstance(guess, list | tuple):
        guess = tuple(_flat(guess))
    check_guess(prior, arguments, guess, dims)
    for name, text, most in (("unit", unit, MOST_UNIT), ("doc", doc, MOST_DOC)):
        fits = isinstance(text, str) and len(text) <= most
        _need(
            fits, prior, f"{name} must be a text of at most {most} characters; got {_short(text)}"
        )
    return Prior(prior, arguments, guess, dims, unit, doc)


def Uniform(low=0.0, high=1.0, *, guess=None, shape=(), unit="", doc="") -> Prior:
    """Uniform between `low` and `high`."""
    return _declare("Uniform", {"low": low, "high": high}, guess, shape, unit, doc)


def LogUniform(low, high, *, guess=None, shape=(), unit="", doc="") -> Prior:
    """Uniform in the logarithm between `low` > 0 and `high`."""
    return _declare("LogUniform", {"low": low, "high": high}, guess, shape, unit, doc)


def Normal(loc=0.0, scale=1.0, *, guess=None, shape=(), unit="", doc="") -> Prior:
    """Normal with mean `loc` and standard deviation `scale`."""
    return _declare("Normal", {"loc": loc, "scale": scale}, guess, shape, unit, doc)


def LogNormal(loc=0.0, scale=1.0, *, guess=None, shape=(), unit="", doc="") -> Prior:
    """Lognormal: the exponential of a normal with mean `loc` and standard deviation `scale`."""
    return _declare("LogNormal", {"loc": loc, "scale": scale}, guess, shape, unit, doc)


def Beta(concentration1, concentration0, *, guess=None, shape=(), unit="", doc="") -> Prior:
    """Beta on (0, 1) with mean concentration1 / (concentration1 + concentration0)."""
    arguments = {"concentration1": concentration1, "concentration0": concentration0}
    return _declare("Beta", arguments, guess, shape, unit, doc)


def Gamma(concentration, rate=1.0, *, guess=None, shape=(), unit="", doc="") -> Prior:
    """Gamma with mean concentration / rate."""
    arguments = {"concentration": concentration, "rate": rate}
    return _declare("Gamma", arguments, guess, shape, unit, doc)


def Integer(low, high, *, guess=None, shape=(), unit="", doc="") -> Prior:
    """Integers from `low` to `high`, both included, all alike."""
    return _declare("Integer", {"low": low, "high": high}, guess, shape, unit, doc)


def Choice(*values, guess=None, shape=(), unit="", doc="") -> Prior:
    """One of the given numbers, all alike: `Choice(1, 2, 4, guess=2)` or a list of them."""
    if len(values) == 1 and isinstance(values[0], list | tuple):
        values = tuple(values[0])
    return _declare("Choice", {"values": list(values)}, guess, shape, unit, doc)


PRIORS: dict[str, Callable[..., Prior]] = {
    "Uniform": Uniform,
    "LogUniform": LogUniform,
    "Normal": Normal,
    "LogNormal": LogNormal,
    "Beta": Beta,
    "Gamma": Gamma,
    "Integer": Integer,
    "Choice": Choice,
}
