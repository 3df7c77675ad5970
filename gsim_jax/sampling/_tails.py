"""From a 32-bit word to probabilities and normal quantiles, both tails kept exact."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri

INVALID = int(np.iinfo(np.int32).min)
"""What an integer draw with parameters out of range returns (floats return NaN)."""


def tails(bits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Side and tail probability of a word: u = (bits + 1/2) 2^-32 without losing 1 - u.

    Args:
        bits: uint32[...].

    Returns:
        upper: bool, whether u is above 1/2; tail: float32 min(u, 1 - u) with full relative
        precision, from 2^-33 to 1/2.
    """
    upper = bits >= np.uint32(1 << 31)
    # Below 2^31, so the signed conversion is exact in range and is the one CPUs vectorise.
    magnitude = jnp.where(upper, ~bits, bits).astype(jnp.int32).astype(jnp.float32)
    return upper, magnitude * np.float32(2.0**-32) + np.float32(2.0**-33)


def unit(bits: jax.Array) -> jax.Array:
    """u in (0, 1] as float32: fine near 0, rounded to 2^-24 near 1."""
    upper, tail = tails(bits)
    return jnp.where(upper, 1.0 - tail, tail)


def normal_quantile(bits: jax.Array) -> jax.Array:
    """Standard normal quantile of a word, float32, out to 6.3 standard deviations."""
    upper, tail = tails(bits)
    w = ndtri(tail)
    return jnp.where(upper, -w, w)


def exponential_quantile(bits: jax.Array) -> jax.Array:
    """Standard exponential quantile -log(1 - u) of a word, float32."""
    upper, tail = tails(bits)
    return -jnp.where(upper, jnp.log(tail), jnp.log1p(-tail))
