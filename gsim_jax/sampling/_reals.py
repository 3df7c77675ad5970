"""Continuous draws from one 32-bit word each."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ._tails import exponential_quantile, normal_quantile, tails


def uniform_from_bits(bits: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Uniform draw on [low, high], increasing in its word."""
    low, high = jnp.asarray(low, jnp.float32), jnp.asarray(high, jnp.float32)
    upper, tail = tails(bits)
    width = high - low
    draw = jnp.where(upper, high - width * tail, low + width * tail)
    return jnp.where((low <= high) & jnp.isfinite(width), draw, jnp.nan)


def normal_from_bits(bits: jax.Array, mean: jax.Array, sd: jax.Array) -> jax.Array:
    """Normal draw, increasing in its word."""
    mean, sd = jnp.asarray(mean, jnp.float32), jnp.asarray(sd, jnp.float32)
    w = normal_quantile(bits, tails(bits)[1])
    return jnp.where(sd >= 0, mean + sd * w, jnp.nan)


def exponential_from_bits(bits: jax.Array, rate: jax.Array) -> jax.Array:
    """Exponential draw of mean 1 / rate, increasing in its word."""
    rate = jnp.asarray(rate, jnp.float32)
    return jnp.where(rate > 0, exponential_quantile(bits) / rate, jnp.nan)
