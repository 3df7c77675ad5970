"""Child side: from an exception raised in a simulator file to a problem its author can mend."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from types import TracebackType

import jax

from gsim_jax.simulator._draws import DrawError
from gsim_jax.simulator._lower import LoweringError
from gsim_jax.simulator.priors import PriorError
from gsim_jax.simulator.template import StateError
from gsim_jax.task.problems import Problem, SimulatorError, near

_ERRORS = jax.errors
_CONCRETE = (
    (
        _ERRORS.TracerBoolConversionError,
        "traced-condition",
        "a value known only when the program runs decides a Python `if`, `while`, `and`, `or`, "
        "`not`, `min` or `max`: use jnp.where(condition, a, b), `&`, `|`, `~`, jnp.minimum, "
        "jnp.maximum",
    ),
    (
        _ERRORS.TracerIntegerConversionError,
        "traced-integer",
        "a value known only when the program runs is used as a Python integer (range, shape, list "
        "index): use fixed sizes with a mask, jnp.take, or lax.dynamic_slice",
    ),
    (
        _ERRORS.NonConcreteBooleanIndexError,
        "traced-mask",
        "x[mask] has a shape that depends on values: use jnp.where(mask, x, 0) and fixed shapes",
    ),
    (
        _ERRORS.TracerArrayConversionError,
        "traced-array",
        "a value known only when the program runs is turned into a NumPy array or number: use jnp "
        "functions on it",
    ),
    (
        _ERRORS.UnexpectedTracerError,
        "leaked-value",
        "a value from inside a loop or another function is kept outside of it: return it instead",
    ),
    (
        _ERRORS.ConcretizationTypeError,
        "traced-value",
        "a value known only when the program runs is needed as a Python number here (int(), "
        "float(), a shape, a repeat count): use jnp operations and fixed shapes",
    ),
)
_OWN = {PriorError: "bad-prior", StateError: "bad-state", DrawError: "bad-draw"}


def place(error: BaseException, filename: str) -> tuple[int | None, int | None]:
    """Line and column in the user's file at which an exception was raised, innermost frame."""
    return _place(error.__traceback__, filename)


def _place(trace: TracebackType | None, filename: str) -> tuple[int | None, int | None]:
    found: tuple[int | None, int | None] = (None, None)
    for frame in traceback.extract_tb(trace):
        if frame.filename == filename:
            found = (frame.lineno, getattr(frame, "colno", None))
    return found


def describe(error: BaseException, where: str, names: Iterable[str] = ()) -> tuple[str, str]:
    """Code and message of a problem.

    Args:
        error: what was raised.
        where: what was being done, e.g. `"in infection"`; empty at module level.
        names: names that a missing key or name might have meant.
    """
    prefix = f"{where}: " if where else ""
    for kind, code, text in _CONCRETE:
        if isinstance(error, kind):
            return code, prefix + text
    if isinstance(error, TypeError) and "concrete value" in str(error):
        _, code, text = _CONCRETE[-1]
        return code, prefix + text
    for kind, code in _OWN.items():
        if isinstance(error, kind):
            return code, prefix + str(error)
    if isinstance(error, LoweringError):
        return error.code, prefix + str(error)
    if isinstance(error, KeyError) and error.args:
        missing = str(error.args[0])
        return "unknown-key", f"{prefix}nothing is called {missing!r} here; {near(missing, names)}"
    if isinstance(error, NameError):
        return "unknown-name", f"{prefix}{_first_line(error)}; {near(error.name or '', names)}"
    if isinstance(error, RecursionError):
        return "recursion", f"{prefix}a function calls itself too often: use lax.scan"
    if isinstance(error, NotImplementedError) and "gsim_draw" in str(error):
        return (
            "bad-draw",
            f"{prefix}draws cannot be vectorised: give them array arguments or shape=",
        )
    return "trace-error", f"{prefix}{type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else "no message"
    return text if len(text) <= 400 else text[:400] + "…"


def refusal(
    error: BaseException, filename: str, where: str, names: Iterable[str] = ()
) -> SimulatorError:
    """The error to raise in place of an exception from a user's file."""
    if isinstance(error, SimulatorError):
        return error
    code, message = describe(error, where, names)
    line, column = place(error, filename)
    if isinstance(error, LoweringError):
        line, column = error.line, None
    text = None if column is None else str(column)
    return SimulatorError(Problem(code, message, file=filename, line=line, column=text))
