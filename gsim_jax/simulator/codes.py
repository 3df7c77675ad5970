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


def _invalid(value: jax.Array) -> jax.Array:
    if jnp.issubdtype(value.dtype, jnp.floating):
        return jnp.any(~jnp.isfinite(value))
    if value.dtype == jnp.int32:
        return jnp.any(value == _INVALID_INT)
    return jnp.zeros((), bool)


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
    bad = jnp.zeros((), bool)
    for value in (*state.values(), *outputs.values()):
        bad |= _invalid(jnp.asarray(value))
    outside = jnp.zeros((), bool)
    for name, spec in specs.items():
        # A float that lies on its bound may miss it by rounding.
        slack = 1e-5 if jnp.issubdtype(state[name].dtype, jnp.floating) else 0
        if spec.min is not None:
            outside |= jnp.any(state[name] < spec.min - slack * max(1.0, abs(spec.min)))
        if spec.max is not None:
            outside |= jnp.any(state[name] > spec.max + slack * max(1.0, abs(spec.max)))
    return INVALID * bad.astype(jnp.int32) + OUT_OF_RANGE * outside.astype(jnp.int32)
