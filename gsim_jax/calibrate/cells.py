"""Integers and choices in a flow: a table of probabilities as a map of [0, 1] onto itself.

The k-th of C values owns the cell [k / C, (k + 1) / C). A map that is linear on every cell, its
slope C times the value's probability, makes a draw uniform within its cell (Hoogeboom et al. 2020
call that uniform dequantisation), and here it is exact: what a spline would smear over the edges of
cells stays where it belongs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.calibrate.splines import Bell

#: Smallest probability of a value: what is impossible in training must not have log density -inf.
LEAST = 1e-7


class Table(NamedTuple):
    """Probabilities of the values of variables; C rows, trailing shape of the data.

    Attributes:
        share: [C, ...], probabilities; 0 in rows beyond the variable's number of values.
        below: [C, ...], probabilities of the values before.
        count: [...], number of values.
    """

    share: jax.Array
    below: jax.Array
    count: jax.Array


def table(params: jax.Array, law: Bell, count: jax.Array) -> Table:
    """Probabilities around a normal law, which has the location that the regression starts at.

    Args:
        params: float32[C, ...], any real numbers; all zero leaves the normal law.
        law: over the middles of the cells.
        count: float32[...], numbers of values, C at most; trailing shape that broadcasts.
    """
    rows = jnp.reshape(jnp.arange(params.shape[0]), (-1,) + (1,) * (params.ndim - 1))
    middle = (rows + 0.5) / count[None]
    off = (middle - law.location[None]) / law.scale[None]
    there = rows < count[None]
    logits = jnp.where(there, params - 0.5 * off**2, -jnp.inf)
    share = jnp.where(there, LEAST + (1 - LEAST * count[None]) * jax.nn.softmax(logits, axis=0), 0)
    rows_below = np.tril(np.ones((len(params), len(params)), np.float32), -1)
    below = jnp.reshape(rows_below @ jnp.reshape(share, (len(params), -1)), share.shape)
    return Table(share, below, count)


def _of(entries: jax.Array, index: jax.Array) -> jax.Array:
    rows = jnp.reshape(jnp.arange(entries.shape[0]), (-1,) + (1,) * index.ndim)
    return jnp.sum(jnp.where(rows == index[None], entries, 0.0), axis=0)


def cells_forward(found: Table, value: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Images float32[...] in [0, 1] of values in [0, 1], and the log of the derivative."""
    place = value * found.count
    index = jnp.clip(jnp.floor(place), 0.0, found.count - 1)
    share = jnp.maximum(_of(found.share, index), LEAST)
    image = _of(found.below, index) + share * (place - index)
    return jnp.clip(image, 0.0, 1.0), jnp.log(share * found.count)


def cells_inverse(found: Table, image: jax.Array) -> jax.Array:
    """The values float32[...] whose images these are."""
    rows = jnp.reshape(jnp.arange(found.share.shape[0]), (-1,) + (1,) * image.ndim)
    reached = (image[None] >= found.below) & (rows < found.count[None]) & (found.share > 0)
    index = jnp.maximum(jnp.sum(reached, axis=0) - 1, 0)
    share = jnp.maximum(_of(found.share, index), LEAST)
    inside = jnp.clip((image - _of(found.below, index)) / share, 0.0, 0.9999)
    return (index + inside) / found.count


def settled(values: Any, cells: tuple[int, ...]) -> Any:
    """Values[..., d] with those of integers and choices in the middle of their cells."""
    if not any(cells):
        return values
    count = np.maximum(np.asarray(cells, np.float32), 1.0)
    count = np.broadcast_to(count, values.shape)
    index = jnp.clip(jnp.floor(values * count), 0.0, count - 1)
    return jnp.where(
        np.broadcast_to(np.asarray(cells) > 0, values.shape), (index + 0.5) / count, values
    )
