"""Draws among categories: categorical and multinomial."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ._arguments import compiled, count, real
from ._counts import binomial_from_bits
from ._lattice import SEAM, count_terms
from ._tails import INVALID, settle, tails

_UNROLLED = 24  # categories that are summed one by one
_INLINED = 3  # multinomial categories whose binomials are written out


def _weights_valid(probs: jax.Array) -> jax.Array:
    total = jnp.sum(probs, axis=-1)
    return jnp.all(probs >= 0, axis=-1) & (total > 0) & jnp.isfinite(total)


@compiled
def categorical_from_bits(bits: jax.Array, probs: jax.Array) -> jax.Array:
    """Index of a category.

    One word, non-decreasing in it; the CDF errs by at most 1e-7 times the number of
    categories, and a category of probability 0 is never drawn.

    Args:
        bits: uint32[...].
        probs: float32[..., k], probabilities up to a common factor; a negative or NaN one, or
            a sum of 0, gives INVALID.

    Returns:
        int32 of the broadcast shape without the last axis.
    """
    probs = real(probs)
    size = probs.shape[-1]
    batch = jnp.broadcast_shapes(jnp.shape(bits), probs.shape[:-1])
    bits = jnp.broadcast_to(jnp.asarray(bits), batch)
    probs = jnp.broadcast_to(probs, (*batch, size))
    upper, tail = tails(bits)
    if size == 1:
        index = jnp.zeros(batch, jnp.int32)
    elif size <= _UNROLLED:
        first, *terms = (probs[..., i] for i in range(size))
        index = count_terms(upper, tail, terms, size - 1, first=first)
        index = jnp.minimum(index, size - 1)
    else:
        index = _categorical_wide(upper, tail, probs)
    draw = jnp.where(_weights_valid(probs), index.astype(jnp.float32), float(INVALID))
    return settle(draw).astype(jnp.int32)


def _categorical_wide(upper: jax.Array, tail: jax.Array, probs: jax.Array) -> jax.Array:
    below = jnp.cumsum(probs, axis=-1)[..., :-1]
    above = jax.lax.cumsum(probs, axis=probs.ndim - 1, reverse=True)
    total = above[..., 0]
    target = (jnp.where(upper, tail, 1.0 - tail) * total)[..., None]
    high = jnp.sum(above[..., 1:] > target, axis=-1)
    low = jnp.sum(below < (tail * total)[..., None], axis=-1)
    return jnp.where(~upper & (tail < SEAM), low, high)


@compiled
def multinomial_from_bits(bits: jax.Array, n: jax.Array, probs: jax.Array) -> jax.Array:
    """Multinomial draw, as conditional binomials in the order of the categories.

    One word per category (the last is not used); each count is non-decreasing in its own
    word. Counts always sum to n; each binomial is as accurate as ``binomial_from_bits``.

    Args:
        bits: uint32[..., k].
        n: trials, int32 or integral float32.
        probs: float32[..., k], probabilities up to a common factor. A negative or NaN one, a
            sum of 0, or n that is no count give INVALID everywhere.

    Returns:
        int32[..., k].
    """
    probs = real(probs)
    size = probs.shape[-1]
    n, valid = count(n)
    bits = jnp.asarray(bits)
    batch = jnp.broadcast_shapes(bits.shape[:-1], n.shape, probs.shape[:-1])
    n, valid = jnp.broadcast_to(n, batch), jnp.broadcast_to(valid, batch)
    bits, probs = (jnp.broadcast_to(x, (*batch, size)) for x in (bits, probs))
    valid = valid & _weights_valid(probs)
    n, probs = jnp.where(valid, n, 0), jnp.where(valid[..., None], probs, 1.0)
    # Sums from the far end: where nothing is left, the last category with any takes all.
    left = jax.lax.cumsum(probs, axis=probs.ndim - 1, reverse=True)
    share = jnp.minimum(probs / jnp.where(left > 0, left, 1.0), 1.0)

    def take(rest: jax.Array, at: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        drawn = binomial_from_bits(at[0], rest, at[1])
        return rest - drawn, drawn

    if size <= _INLINED:
        counts = []
        for i in range(size - 1):
            n, drawn = take(n, (bits[..., i], share[..., i]))
            counts.append(drawn)
        draws = jnp.stack([*counts, n], axis=-1)
    else:
        leading = [jnp.moveaxis(x[..., :-1], -1, 0) for x in (bits, share)]
        n, drawn = jax.lax.scan(take, n, (leading[0], leading[1]))
        draws = jnp.concatenate([jnp.moveaxis(drawn, 0, -1), n[..., None]], axis=-1)
    return jnp.where(valid[..., None], draws, INVALID)
