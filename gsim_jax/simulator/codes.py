"""Failure inside jit is data: one code per lane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

OK = 0
#: A draw had arguments outside its law, or arithmetic gave NaN or infinity.
INVALID = 1
#: A state left the range that the schema declares for it.
OUT_OF_RANGE = 2
#: A rule of the task does not hold.
RULE_BROKEN = 4

WORDS = {
    OK: "fine",
    INVALID: "a draw with arguments outside its law, or a value that is not finite",
    OUT_OF_RANGE: "a state outside the range that the schema declares",
    RULE_BROKEN: "a rule of the task that does not hold",
}


def in_words(code: int) -> str:
    """A code in words, such as `"a state outside ... and a rule ..."`."""
    if not code:
        return WORDS[OK]
    return " and ".join(text for bit, text in WORDS.items() if bit and code & bit)


_INVALID_INT = np.iinfo(np.int32).min


class _Any:
    """Whether anything is true, of arrays of many shapes: one reduction per shape.

    Reductions over the entries of a lane are what checks cost, not the comparisons.
    """

    def __init__(self) -> None:
        self._by_shape: dict[tuple[int, ...], jax.Array] = {}

    def add(self, flags: jax.Array) -> None:
        known = self._by_shape.get(flags.shape)
        self._by_shape[flags.shape] = flags if known is None else known | flags

    def __call__(self) -> jax.Array:
        found = jnp.zeros((), bool)
        for flags in self._by_shape.values():
            found |= jnp.any(flags)
        return found


def _invalid(value: jax.Array, bad: _Any) -> None:
    if jnp.issubdtype(value.dtype, jnp.floating):
        bad.add(~jnp.isfinite(value))
    elif value.dtype == jnp.int32:
        bad.add(value == _INVALID_INT)


def lane_code(
    specs: Mapping[str, Any], state: Mapping[str, jax.Array], outputs: Mapping[str, jax.Array]
) -> jax.Array:
    """The code of one lane after one step.

    Args:
        specs: `{name: spec}` with `min` and `max` per state, None where unbounded.
        state: the new state.
        outputs: merged outputs of the submodules.

    Returns:
        int32 scalar, a combination of `INVALID` and `OUT_OF_RANGE`; 0 is fine.
    """
    bad, outside = _Any(), _Any()
    for value in (*state.values(), *outputs.values()):
        _invalid(jnp.asarray(value), bad)
    for name, spec in specs.items():
        value = jnp.asarray(state[name])
        # A float that lies on its bound may miss it by rounding.
        slack = 1e-5 if jnp.issubdtype(value.dtype, jnp.floating) else 0
        if spec.min is not None:
            outside.add(value < spec.min - slack * max(1.0, abs(spec.min)))
        if spec.max is not None:
            outside.add(value > spec.max + slack * max(1.0, abs(spec.max)))
    return INVALID * bad().astype(jnp.int32) + OUT_OF_RANGE * outside().astype(jnp.int32)
