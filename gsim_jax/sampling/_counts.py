"""Binomial and Poisson draws from one 32-bit word each."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ._lattice import SMALL_MEAN, count_small, offset_large
from ._tails import INVALID, normal_quantile, tails, unit

_LARGEST = float(2**31 - 128)  # the largest float32 below 2^31


def _count(n: jax.Array | int | float) -> tuple[jax.Array, jax.Array]:
    """A count argument as int32, and whether it is one: integral, 0 <= n < 2^31."""
    n = jnp.asarray(n)
    if jnp.issubdtype(n.dtype, jnp.integer):
        n = n.astype(jnp.int32)
        return n, n >= 0
    valid = (n >= 0) & (n <= _LARGEST) & (n == jnp.floor(n))
    return jnp.where(valid, n, 0).astype(jnp.int32), valid


def _upper_half(x: jax.Array) -> jax.Array:
    """x with the low 12 bits of its significand cleared, so that products of halves are exact."""
    raw = jax.lax.bitcast_convert_type(x, jnp.uint32) & np.uint32(0xFFFFF000)
    return jax.lax.bitcast_convert_type(raw, jnp.float32)


def binomial_from_bits(bits: jax.Array, n: jax.Array, p: jax.Array) -> jax.Array:
    """Binomial draw, monotone in its word: the number of successes in n trials."""
    p = jnp.asarray(p, jnp.float32)
    n, valid = _count(n)
    valid = valid & (p >= 0) & (p <= 1)
    bits, n, p, valid = jnp.broadcast_arrays(jnp.asarray(bits), n, p, valid)
    fold = p > 0.5
    q = jnp.where(fold, p, 1.0 - p)
    p = jnp.where(fold, 1.0 - p, p)
    bits = jnp.where(fold, ~bits, bits)
    upper, tail = tails(bits)
    nf = n.astype(jnp.float32)
    odds = p / q
    small = count_small(upper, tail, lambda k: (nf - (k - 1)) * (odds * np.float32(1 / k)))
    high = n & ~4095
    p_high = _upper_half(p)
    a = high.astype(jnp.float32) * p_high
    b = (n & 4095).astype(jnp.float32) * p_high
    whole_a, whole_b = jnp.floor(a), jnp.floor(b)
    part = (a - whole_a) + (b - whole_b) + nf * (p - p_high)
    sd = jnp.sqrt(nf * p * q)
    offset = offset_large(normal_quantile(bits), jnp.maximum(sd, 1.0), p * q, q - p)
    large = jnp.floor(part + (offset + 0.5)).astype(jnp.int32)
    large = large + (whole_a.astype(jnp.int32) + whole_b.astype(jnp.int32))
    k = jnp.where(nf * p <= SMALL_MEAN, small.astype(jnp.int32), large)
    k = jnp.clip(k, 0, n)
    return jnp.where(valid, jnp.where(fold, n - k, k), INVALID)


def poisson_from_bits(bits: jax.Array, rate: jax.Array) -> jax.Array:
    """Poisson draw, monotone in its word."""
    rate = jnp.asarray(rate, jnp.float32)
    bits, rate = jnp.broadcast_arrays(jnp.asarray(bits), rate)
    valid = (rate >= 0) & (rate <= 2.0e9)
    safe = jnp.where(valid, rate, 0.0)
    upper, tail = tails(bits)
    small = count_small(upper, tail, lambda k: safe * np.float32(1 / k))
    whole = jnp.floor(safe)
    sd = jnp.sqrt(jnp.maximum(safe, 1.0))
    offset = offset_large(normal_quantile(bits), sd, jnp.zeros_like(sd), jnp.ones_like(sd))
    large = jnp.floor((safe - whole) + (offset + 0.5)).astype(jnp.int32)
    large = jnp.maximum(large + whole.astype(jnp.int32), 0)
    return jnp.where(valid, jnp.where(safe <= SMALL_MEAN, small.astype(jnp.int32), large), INVALID)


def bernoulli_from_bits(bits: jax.Array, p: jax.Array) -> jax.Array:
    """Bernoulli draw, monotone in its word: 1 with probability p."""
    p = jnp.asarray(p, jnp.float32)
    upper, tail = tails(bits)
    # 1 where 1 - u < p, each side compared in the tail that is exact there.
    hit = jnp.where(upper, tail < p, tail > 1.0 - p)
    return jnp.where((p >= 0) & (p <= 1), hit.astype(jnp.int32), INVALID)


def categorical_from_bits(bits: jax.Array, probs: jax.Array) -> jax.Array:
    """Index drawn with the given (not necessarily normalised) probabilities on the last axis."""
    probs = jnp.asarray(probs, jnp.float32)
    total = jnp.cumsum(probs, axis=-1)
    valid = jnp.all(probs >= 0, axis=-1) & (total[..., -1] > 0) & jnp.isfinite(total[..., -1])
    below = total[..., :-1] < (unit(bits) * total[..., -1])[..., None]
    return jnp.where(valid, jnp.sum(below, axis=-1).astype(jnp.int32), INVALID)
