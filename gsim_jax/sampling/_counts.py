"""Binomial and Poisson draws from one 32-bit word each."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ._lattice import count_small, expansion
from ._tables import SMALL_MEAN
from ._tails import INVALID, normal_quantile, settle, tails, unit

_LARGEST = float(2**31 - 128)  # the largest float32 below 2^31
_LARGEST_RATE = 2.0**31 - 2.0**19  # leaves room for ten standard deviations below 2^31


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
    fold = p > 0.5
    bits, fold = jnp.broadcast_arrays(jnp.asarray(bits), fold)
    bits = jnp.where(fold, ~bits, bits)
    upper, tail = tails(bits)
    # The bound is never reached; it ties all that follows to the word (see count_small).
    p = jnp.minimum(jnp.where(fold, 1.0 - p, p), 1.0 + tail)
    q = 1.0 - p
    trials = n.astype(jnp.float32)
    odds = (p / q) * np.float32(1 / SMALL_MEAN)
    small = count_small(upper, tail, lambda k: (trials - (k - 1)) * odds)
    large = _binomial_large(normal_quantile(bits, tail), n, trials, p, q)
    k = jnp.where(trials * p <= SMALL_MEAN, small.astype(jnp.float32), large)
    k = jnp.clip(k, 0.0, trials)
    k = jnp.where(valid, jnp.where(fold, trials - k, k), float(INVALID))
    return jnp.minimum(settle(k, tail).astype(jnp.int32), n)


def _binomial_large(
    w: jax.Array, n: jax.Array, trials: jax.Array, p: jax.Array, q: jax.Array
) -> jax.Array:
    # n p without rounding: products of 12-bit halves are exact, and stay exact when a
    # compiler contracts them with the subtractions.
    p_high = _upper_half(p)
    a = (n & ~4095).astype(jnp.float32) * p_high
    b = (n & 4095).astype(jnp.float32) * p_high
    whole_a, whole_b = jnp.floor(a), jnp.floor(b)
    part = (a - whole_a) + (b - whole_b) + trials * (p - p_high)
    sd = jnp.sqrt(jnp.maximum(trials * p * q, 1.0))
    x = w + expansion(w, 1.0 / sd, p * q, q - p)
    return jnp.floor(part + (sd * x + 0.5)) + (whole_a + whole_b)


def poisson_from_bits(bits: jax.Array, rate: jax.Array) -> jax.Array:
    """Poisson draw, monotone in its word."""
    rate = jnp.asarray(rate, jnp.float32)
    bits, rate = jnp.broadcast_arrays(jnp.asarray(bits), rate)
    valid = (rate >= 0) & (rate <= _LARGEST_RATE)
    upper, tail = tails(bits)
    rate = jnp.clip(rate, 0.0, _LARGEST_RATE + tail)
    scaled = jnp.minimum(rate, SMALL_MEAN + tail) * np.float32(1 / SMALL_MEAN)
    small = count_small(upper, tail, lambda k: scaled)
    whole = jnp.floor(rate)
    sd = jnp.sqrt(jnp.maximum(rate, 1.0))
    w = normal_quantile(bits, tail)
    x = w + expansion(w, 1.0 / sd, None, None)
    large = jnp.maximum(jnp.floor((rate - whole) + (sd * x + 0.5)) + whole, 0.0)
    k = jnp.where(rate <= SMALL_MEAN, small.astype(jnp.float32), large)
    return settle(jnp.where(valid, k, float(INVALID)), tail).astype(jnp.int32)


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
