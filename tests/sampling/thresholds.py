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
    """Largest errors of a sampler's CDF over a grid, and where they are."""

    absolute: float
    relative: float  # over the tail probability, where that is at least 1e-7
    where: str


@partial(jax.jit, static_argnums=0)
def words_up_to(draw: Draw, k: jax.Array, *arguments: jax.Array) -> jax.Array:
    """How many words draw at most k, uint32, for k and parameters of one shape.

    The very last word is never looked at, which changes the CDF by 2^-32.
    """

    def halve(i: jax.Array, low: jax.Array) -> jax.Array:
        step = jnp.uint32(1) << (jnp.uint32(31) - i.astype(jnp.uint32))
        middle = low + (step - jnp.uint32(1))
        return jnp.where(draw(middle, *arguments) <= k, low + step, low)

    return jax.lax.fori_loop(0, 32, halve, jnp.zeros(k.shape, jnp.uint32))


def compare(
    draw: Draw, k: np.ndarray, below: np.ndarray, above: np.ndarray, *arguments: np.ndarray
) -> Deviation:
    """The sampler's CDF against exact probabilities.

    Args:
        draw: from_bits of a law that takes one word.
        k: values, any shape.
        below: P(X <= k), float64.
        above: P(X > k), float64.
        *arguments: parameters of the law, of the shape of k.
    """
    words = np.asarray(words_up_to(draw, jnp.asarray(k), *map(jnp.asarray, arguments)))
    words = words.astype(np.float64)
    error = np.where(below < 0.5, words * 2.0**-32 - below, above - (2.0**32 - words) * 2.0**-32)
    tail = np.minimum(below, above)
    relative = np.where(tail >= 1e-7, np.abs(error) / np.maximum(tail, 1e-300), 0.0)
    at = np.unravel_index(np.argmax(np.abs(error)), error.shape)
    where = f"k={k[at]} of {[float(a[at]) for a in arguments]}"
    return Deviation(float(np.abs(error).max()), float(relative.max()), where)


def spread(low: np.ndarray, high: np.ndarray, points: int) -> np.ndarray:
    """int32[rows, points]: integers from low to high, all of them where there are few."""
    steps = np.linspace(0.0, 1.0, points)
    return np.round(low[:, None] + (high - low)[:, None] * steps).astype(np.int32)


def rows(*columns: np.ndarray, like: np.ndarray) -> list[np.ndarray]:
    """Columns of parameters, one value per row of k, copied along the row."""
    return [np.ascontiguousarray(np.broadcast_to(c[:, None], like.shape)) for c in columns]
