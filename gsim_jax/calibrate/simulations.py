"""Simulations for training: drawn on the device, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.compilation import lanes_jit

#: Data sets of one compiled call, where they are not made inside of the training.
PIECE = 256


@dataclass(frozen=True, eq=False)
class Source:
    """Where simulations come from.

    Attributes:
        draw: (key, box float32[2, d]) -> y float32[d], one draw from the prior.
        simulate: (y, box, key) -> x, one data set.
    """

    draw: Callable[[jax.Array, jax.Array], jax.Array]
    simulate: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]

    def batch(self, box: jax.Array, key: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
        """Coordinates float32[count, d] from the prior, and data sets x[count, ...] made there.

        Whatever is not finite in x is NaN.
        """
        first, second = jax.random.split(key)
        y = jax.vmap(self.draw, in_axes=(0, None))(jax.random.split(first, count), box)
        keys = jax.random.split(second, count)
        x = jax.vmap(self.simulate, in_axes=(0, None, 0))(y, box, keys)
        return y, jnp.where(jnp.isfinite(x), x, jnp.nan).astype(jnp.float32)


def usable(x: jax.Array) -> jax.Array:
    """bool[B]: data sets of x[B, ...] in which anything is finite."""
    return jnp.any(jnp.isfinite(jnp.reshape(x, (x.shape[0], -1))), axis=1)


def _piece(source: Source, box: jax.Array, key: jax.Array) -> tuple[jax.Array, ...]:
    y, x = source.batch(box, key, PIECE)
    return y, x, usable(x)


simulate_piece = lanes_jit(_piece, static_argnums=(0,))
"""(source, box, key) -> y, x and which are usable, `PIECE` data sets; compiled."""


def simulate_many(
    source: Source, count: int, box: jax.Array, key: jax.Array
) -> Iterator[tuple[np.ndarray, jax.Array, np.ndarray]]:
    """Simulates in pieces: y[PIECE, d], x[PIECE, ...] and which of them count.

    Of the last piece only as many count as are missing; the usable ones among them.
    """
    for at in range(0, count, PIECE):
        y, x, good = simulate_piece(source, box, jax.random.fold_in(key, at))
        asked = np.arange(PIECE) < count - at
        yield np.asarray(y), x, np.asarray(good) & asked
