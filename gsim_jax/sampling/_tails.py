"""From a 32-bit word to probabilities and normal quantiles, both tails kept exact."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ._tables import LOG, NORMAL_DENOMINATOR, NORMAL_NUMERATOR

INVALID = int(np.iinfo(np.int32).min)
"""What an integer draw with parameters out of range returns (floats return NaN)."""

_SIGN = np.uint32(1 << 31)


def tails(bits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Side and tail probability of a word: u = (bits + 1/2) 2^-32 without losing 1 - u.

    Args:
        bits: uint32[...].

    Returns:
        upper: bool, whether u is above 1/2; tail: float32 min(u, 1 - u) with full relative
        precision, from 2^-33 to 1/2.
    """
    upper = bits >= _SIGN
    # Below 2^31, so the signed conversion is exact in range and is the one CPUs vectorise.
    magnitude = jnp.where(upper, ~bits, bits).astype(jnp.int32).astype(jnp.float32)
    return upper, magnitude * np.float32(2.0**-32) + np.float32(2.0**-33)


def settle(draw: jax.Array) -> jax.Array:
    """Divide a draw by a one that XLA cannot see.

    XLA computes an elementwise value anew in each consumer unless its last operation counts
    as expensive. A draw computed twice costs twice, and worse: two fusions may contract
    multiplications and additions differently, so that the people who leave one compartment
    would differ from those who enter the next. A division stops that; an optimization
    barrier, which is removed before fusion, does not. What comes after fusion, LLVM, sees
    that the divisor is one, and nothing is left of the division. The divisor varies with the
    draw, because one that is broadcast (words shared by many parameter values) becomes a cheap
    product.
    """
    bits = jax.lax.bitcast_convert_type(draw, jnp.uint32)
    one = np.float32(1.0).view(np.uint32) | (bits & ~bits)
    return draw / jax.lax.bitcast_convert_type(one, jnp.float32)


def shared(x: jax.Array) -> jax.Array:
    """The value itself, for results of divisions, logarithms, ... that are used several times.

    XLA refuses to fuse an expensive operation with several consumers and then computes all
    that leads to it once more in each part. A bound that is never reached is cheap, takes
    the several consumers, and leaves the expensive operation with one.
    """
    return jnp.maximum(x, np.float32(-3.0e38))


def polynomial(coefficients: Sequence[jax.Array | np.floating], x: jax.Array) -> jax.Array:
    """Horner evaluation, constant term first."""
    out = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        out = out * x + c
    return jnp.asarray(out)


def _log(x: jax.Array) -> jax.Array:
    """Natural logarithm of positive normal numbers, as exact as float32 allows.

    Half the instructions of one that also minds zero, infinity and what is not a number.
    """
    bits = jax.lax.bitcast_convert_type(x, jnp.int32)
    two_thirds = np.float32(2 / 3).view(np.int32)
    exponent = jax.lax.shift_right_arithmetic(bits - two_thirds, np.int32(23))
    # x = 2^exponent (1 + f) with 1 + f from 2/3 to 4/3.
    f = jax.lax.bitcast_convert_type(bits - (exponent << 23), jnp.float32) - 1.0
    f2 = f * f
    # In pairs (Estrin's scheme): more products than Horner's, but a shorter chain.
    a, b, c, d = (np.float32(LOG[i]) + np.float32(LOG[i + 1]) * f for i in range(0, 8, 2))
    rest = (a + b * f2) + (c + d * f2) * (f2 * f2)
    return exponent.astype(jnp.float32) * np.float32(np.log(2.0)) + (f + f2 * rest)


def normal_quantile(bits: jax.Array, tail: jax.Array) -> jax.Array:
    """Standard normal quantile of a word, float32, out to 6.3 standard deviations.

    w = (2 u - 1) N(L) / D(L) with L = -log(4 t (1 - t)); error in the CDF below 8e-8 and in
    the tail probability below 1e-5 of it.

    Args:
        bits: uint32[...].
        tail: the word's tail probability, from ``tails``.
    """
    centred = jax.lax.bitcast_convert_type(bits ^ _SIGN, jnp.int32).astype(jnp.float32)
    centred = centred * np.float32(2.0**-31) + np.float32(2.0**-32)
    logit = -_log(4.0 * tail * (1.0 - tail))
    numerator = polynomial([np.float32(c) for c in NORMAL_NUMERATOR], logit)
    denominator = polynomial([np.float32(c) for c in NORMAL_DENOMINATOR], logit)
    # The division has one consumer, so that XLA fuses it (see settle).
    return centred * (numerator / denominator)


def exponential_quantile(bits: jax.Array) -> jax.Array:
    """Standard exponential quantile -log(1 - u) of a word, float32."""
    upper, tail = tails(bits)
    return -jnp.where(upper, jnp.log(tail), jnp.log1p(-tail))
