"""Inverse CDFs on the integers: summed terms for small means, an expansion for large ones."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

SMALL_MEAN = 12.0
TERMS = 42


def count_small(
    upper: jax.Array, tail: jax.Array, ratio: Callable[[int], jax.Array]
) -> jax.Array:
    """Quantile of a law whose terms from 0 to ``TERMS`` hold all but 2^-33 of its mass.

    The terms start from 1 and are normalised by their own sum. The lower side adds upward
    from 0 and the upper side downward from the far end, so that both tails keep their
    relative precision.

    Args:
        upper: side of the word. tail: its tail probability.
        ratio: k -> p(k) / p(k - 1), for k from 1.

    Returns:
        float32, the smallest k with P(X <= k) >= u.
    """
    terms = [jnp.ones_like(tail)]
    for k in range(1, TERMS):
        terms.append(terms[-1] * ratio(k))
    above, acc = [], jnp.zeros_like(tail)
    for term in reversed(terms):
        above.append(acc)
        acc = acc + term
    above.reverse()
    target = tail * acc
    low = high = jnp.zeros_like(tail)
    acc = jnp.zeros_like(tail)
    for k, term in enumerate(terms[:-1]):
        if k < 16:
            acc = acc + term
            low = low + (acc < target).astype(jnp.float32)
        high = high + (above[k] > target).astype(jnp.float32)
    return jnp.where(upper, high, low)


def offset_large(w: jax.Array, sd: jax.Array, v: jax.Array, d: jax.Array) -> jax.Array:
    """Quantile of a lattice law minus its mean, from its normal quantile w."""
    inverse = 1.0 / sd
    first = d * (w * w - 1.0) * np.float32(1 / 6)
    return sd * w + first + 0.0 * v * inverse
