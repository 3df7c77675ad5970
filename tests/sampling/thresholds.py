"""Threshold search: the exact CDF of a sampler, without sampling.

A monotone draw of one word is described completely by its thresholds: for each k, how many
of the 2^32 words draw at most k. Bisection finds that number for every k at once, and the
CDF of the sampler is that number times 2^-32.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Draw = Callable[..., jax.Array]


class Deviation(NamedTuple):
    """Largest errors of a sampler's CDF over a grid."""

    absolute: float
    """max |CDF error|."""
    relative: float
    """max |CDF error| / tail probability, where that is at least 1e-7."""


@partial(jax.jit, static_argnums=0)
def _words_up_to(draw: Draw, k: jax.Array, *arguments: jax.Array) -> jax.Array:
    """Number of words, minus one, that draw at most k; uint32 maximum when all of them do.

    Returns -1 as float64-safe pairs would; callers use ``words_up_to``.
    """
    low = jnp.zeros(k.shape, jnp.uint32)  # words below low draw at most k

    def halve(i: jax.Array, low: jax.Array) -> jax.Array:
        step = jnp.uint32(1) << (jnp.uint32(31) - i.astype(jnp.uint32))
        middle = low + (step - jnp.uint32(1))
        return jnp.where(draw(middle, *arguments) <= k, low + step, low)

    low = jax.lax.fori_loop(0, 32, halve, low)
    return low


def words_up_to(draw: Draw, k: np.ndarray, *arguments: np.ndarray) -> np.ndarray:
    """How many words draw at most k, float64, for arrays of k and parameters of one shape.

    The search leaves out the last word of all, which changes the CDF by 2^-32.
    """
    return np.asarray(_words_up_to(draw, k, *arguments)).astype(np.float64)


def deviation(
    draw: Draw,
    k: np.ndarray,
    below: np.ndarray,
    above: np.ndarray,
    *arguments: np.ndarray,
) -> Deviation:
    """Compare the sampler's CDF with exact probabilities at k.

    Args:
        draw: from_bits of a law. k: values, any shape.
        below: P(X <= k), float64. above: P(X > k), float64.
        *arguments: parameters of the law, of the shape of k.
    """
    words = words_up_to(draw, k, *arguments)
    lower = below < 0.5
    error = np.where(lower, words * 2.0**-32 - below, above - (2.0**32 - words) * 2.0**-32)
    tail = np.minimum(below, above)
    seen = tail >= 1e-7
    relative = np.abs(error[seen] / tail[seen])
    return Deviation(float(np.abs(error).max()), float(relative.max(initial=0.0)))
