"""Statistics of whole trajectories: levels, products over lags, extremes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.calibrate.moments import REACH

#: Lags in rows, as far as they are below half of a trajectory, and ends of the blocks whose means
#: are taken, as shares of a trajectory: what starts away from its equilibrium moves first.
LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24)
BLOCKS = (0.05, 0.12, 0.25, 0.5, 1.0)
#: Up to so many variables all pairs are followed over all lags, beyond that only over one row.
FEW_PAIRS = 3


@dataclass(frozen=True)
class Statistics:
    """What is compared of a trajectory: sums of products over rows, and extremes.

    Nothing else tells of a capacity as plainly as the highest value ever reached.

    Attributes:
        rows: T, rows that are forecast.
        variables: V.
    """

    rows: int
    variables: int

    @property
    def lags(self) -> tuple[int, ...]:
        """Lags that are used."""
        return tuple(k for k in LAGS if k < self.rows / 2)

    @property
    def edges(self) -> np.ndarray:
        """Where blocks begin and end, int[b + 1]."""
        return np.unique([0, *(round(share * self.rows) for share in BLOCKS)])

    def of(self, z: jax.Array, level: jax.Array, counts: jax.Array) -> jax.Array:
        """The statistics of trajectories.

        Args:
            z: float32[..., T, V], values less what is expected in each row; 0 where not counted.
            level: float32[..., T, V], values less what is expected over all rows.
            counts: bool[..., T, V].

        Returns:
            float32[..., q].
        """
        every = np.arange(self.variables)
        own, all_pairs = (every, every), tuple(np.indices((self.variables,) * 2).reshape(2, -1))
        pairs = all_pairs if self.variables <= FEW_PAIRS else own

        def product(a: jax.Array, b: jax.Array, which: Any) -> jax.Array:
            return jnp.sum(a[..., which[0]] * b[..., which[1]], -2) / np.sqrt(self.rows)

        blocks = zip(self.edges, self.edges[1:], strict=False)
        found = [jnp.sum(z[..., a:b, :], -2) / np.sqrt(b - a) for a, b in blocks]
        found.append(product(z, z, np.triu_indices(self.variables)))
        for k in self.lags:
            found.append(product(z[..., :-k, :], z[..., k:, :], all_pairs if k == 1 else pairs))
        square = z * z
        found += [product(square, z, pairs), product(square, square, pairs)]
        if self.lags:
            before, after = (slice(None, -1), slice(None)), (slice(1, None), slice(None))
            for a, b in ((square, z), (z, square), (square, square)):
                found.append(product(a[..., *before], b[..., *after], pairs))
        never = ~jnp.any(counts, axis=-2)
        for sign in (1, -1):
            extreme = jnp.max(jnp.where(counts, sign * level, -jnp.inf), axis=-2)
            found.append(jnp.where(never, 0.0, extreme))
        return jnp.concatenate(found, axis=-1)


@partial(jax.jit, static_argnums=0)
def of_draws(
    statistics: Statistics, draws: jax.Array, pivot: jax.Array, scale: jax.Array, seen: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Statistics of free runs.

    Args:
        statistics: which.
        draws: float32[P, n, T, V, R].
        pivot: float32[n, T, V].
        scale: float32[V].
        seen: bool[n, T, V].

    Returns:
        float32[P, n, R, q], and the share of draws of each member that failed, float32[P].
    """
    y = jnp.moveaxis(draws, -1, 2)
    fine = jnp.isfinite(y)
    counts = fine & seen[None, :, None]

    def standard(pivot: jax.Array) -> jax.Array:
        return jnp.clip((y - pivot) / scale[None, None, None, None], -REACH, REACH)

    z = jnp.where(counts, standard(pivot[None, :, None]), 0.0)
    level = standard(jnp.mean(pivot, (0, 1))[None, None, None, None])
    return statistics.of(z, level, counts), 1.0 - jnp.mean(fine, (1, 2, 3, 4), dtype=jnp.float32)


@jax.jit
def levels(draws: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean float32[n, T, V] and sum of variances float32[V] of draws[P, n, T, V, R]."""
    fine = jnp.isfinite(draws)
    count = jnp.maximum(jnp.sum(fine, (0, -1)), 1)
    mean = jnp.sum(jnp.where(fine, draws, 0.0), (0, -1)) / count
    apart = jnp.where(fine, draws - mean[None, ..., None], 0.0)
    return mean, jnp.sum(jnp.sum(apart**2, (0, -1)) / count, (0, 1))
