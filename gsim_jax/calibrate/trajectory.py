"""What a flow sees of trajectories: any length, any missing entries, one of them or many.

A transition is to a Markov process what an independent observation is to a sample: the likelihood
is a product over transitions, so what matters can be pooled over time as over a set. Moments of
levels and increments are pooled first (with their logarithms, in which ratios of sums, the usual
estimators of rates, are linear); a learned function of windows of rows adds what they miss, and a
learned function of each trajectory's moments what is lost by pooling over trajectories.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gsim_jax.calibrate.embedding import Perceptron, Prepared, Standardiser
from gsim_jax.calibrate.flow import Fixed, zeros

#: Rows in all up to which windows are learned from; beyond, moments have to do.
MOST_ROWS = 1024
#: Columns up to which products of all pairs are pooled.
MOST_PAIRS = 8
#: Rows in a window.
WINDOW = 5
#: What logarithms of pooled moments end at, in squared units of the columns' scale.
_TINY = 1e-6


def fill_forward(x: jax.Array) -> jax.Array:
    """The last value seen up to each row of x[T, k], NaN before the first."""

    def later(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(jnp.isfinite(b), b, a)

    return jax.lax.associative_scan(later, x, axis=0)


def transition_sums(x: jax.Array, masked: bool) -> tuple[jax.Array, jax.Array]:
    """Sums over the rows of one trajectory of levels, increments and their products.

    Args:
        x: float32[T, k], columns of scale 1, NaN where missing.
        masked: whether anything may be missing.

    Returns:
        Sums float32[M], and the numbers of their terms float32[M].
    """
    k = x.shape[1]
    last = fill_forward(x)[:-1] if masked else x[:-1]
    step = x[1:] - last
    known = jnp.isfinite(last).astype(jnp.float32)
    moved = jnp.isfinite(step).astype(jnp.float32)
    last, step = jnp.nan_to_num(last), jnp.nan_to_num(step)
    sums = [jnp.sum(last, 0), jnp.sum(step, 0), jnp.sum(jnp.abs(step), 0), jnp.sum(step**2, 0)]
    counts = [jnp.sum(known, 0), *[jnp.sum(moved, 0)] * 3]
    if k <= MOST_PAIRS:
        upper = np.triu_indices(k)
        sums += [(last.T @ last)[upper], jnp.ravel(step.T @ last)]
        counts += [(known.T @ known)[upper], jnp.ravel(moved.T @ known)]
    else:
        sums += [jnp.sum(last**2, 0), jnp.sum(step * last, 0)]
        counts += [jnp.sum(known, 0), jnp.sum(moved * known, 0)]
    return jnp.concatenate(sums), jnp.concatenate(counts)


def moments(sums: jax.Array, counts: jax.Array) -> jax.Array:
    """Means and logarithms of their sizes, NaN where nothing was seen; float32[..., 2 M]."""
    mean = jnp.where(counts > 0, sums / jnp.maximum(counts, 1.0), jnp.nan)
    return jnp.concatenate([mean, jnp.log(jnp.abs(mean) + _TINY)], axis=-1)


class TrajectoryEmbedding(nnx.Module):
    """Rows in time x[T, k], or exchangeable trajectories x[n, T, k]; NaN where missing."""

    def __init__(
        self,
        shape: tuple[int, ...],
        masked: bool,
        context: int,
        width: int,
        random: np.random.Generator,
    ) -> None:
        """`shape`: of one x."""
        self.count = shape[0] if len(shape) == 3 else 1
        self.rows, self.columns = shape[-2:]
        self.masked, self.half = masked, max(width // 2, 8)
        self.scale = Fixed(zeros(self.columns) + 1)
        self.standard = Standardiser(2 * self._moments, masked)
        self.summary = self.standard.size
        self.size = self.summary + context
        pooled = 0
        if self.count > 1:
            self.single = Standardiser(2 * self._moments, masked)
            self.each = Perceptron((self.single.size, self.half, self.half), random)
            pooled += self.half
        if self.windowed:
            self.levels = Standardiser(self.columns, masked)
            inputs = WINDOW * (self.levels.size + 1)
            self.window = Perceptron((inputs, self.half, self.half), random)
            pooled += self.half
        self.network = Perceptron((self.summary + pooled, width, context), random)

    @property
    def windowed(self) -> bool:
        """Whether windows are learned from."""
        return self.count * self.rows <= MOST_ROWS and self.rows >= WINDOW

    @property
    def _moments(self) -> int:
        k = self.columns
        return 4 * k + (k * (k + 1) // 2 + k * k if k <= MOST_PAIRS else 2 * k)

    def _sums(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Sums and counts float32[B, n, M] of x[B, ..., T, k]."""
        x = jnp.reshape(x, (-1, self.rows, self.columns)) / self.scale[...][None, None]
        sums, counts = jax.vmap(lambda one: transition_sums(one, self.masked))(x)
        shape = (-1, self.count, self._moments)
        return jnp.reshape(sums, shape), jnp.reshape(counts, shape)

    def fit(self, pilot: np.ndarray) -> None:
        """Learns the scales from x[N, ...]."""
        flat = pilot.reshape(-1, self.columns)
        size = np.sqrt(np.nanmean(np.where(np.isfinite(flat), flat, np.nan) ** 2, axis=0))
        self.scale[...] = jnp.asarray(np.where(size > 0, np.nan_to_num(size, nan=1.0), 1.0), "f4")
        sums, counts = jax.lax.map(lambda x: self._sums(x[None]), jnp.asarray(pilot))
        sums, counts = sums[:, 0], counts[:, 0]
        self.standard.fit(np.asarray(moments(sums.sum(1), counts.sum(1))))
        if self.count > 1:
            rows = np.asarray(moments(sums, counts)).reshape(-1, 2 * self._moments)
            self.single.fit(rows[:: max(len(rows) // 20_000, 1)])
        if self.windowed:
            self.levels.fit(flat[:: max(len(flat) // 20_000, 1)])

    def prepare(self, x: jax.Array) -> Prepared:
        """Summary, moments of each trajectory and rows, as far as they are used, of x[B, ...]."""
        sums, counts = self._sums(x)
        ready = [self.standard(moments(jnp.sum(sums, axis=1), jnp.sum(counts, axis=1)))]
        if self.count > 1:
            single = moments(sums, counts)
            flat = self.single(jnp.reshape(single, (-1, single.shape[-1])))
            there = jnp.any(counts > 0, axis=-1, keepdims=True).astype(jnp.float32)
            flat = jnp.reshape(flat, (x.shape[0], self.count, -1))
            ready.append(jnp.concatenate([flat, there], axis=-1))
        if self.windowed:
            rows = jnp.reshape(x, (-1, self.rows, self.columns))
            levels = self.levels(jnp.reshape(rows, (-1, self.columns)))
            # Rows behind a trajectory's end hold nothing.
            exists = jnp.any(jnp.isfinite(rows), axis=-1, keepdims=True).astype(jnp.float32)
            levels = jnp.reshape(levels, (*rows.shape[:2], -1))
            rows = jnp.concatenate([levels, exists], axis=-1)
            ready.append(jnp.reshape(rows, (x.shape[0], -1, *rows.shape[1:])))
        return tuple(ready)

    def _windows(self, rows: jax.Array) -> jax.Array:
        """Mean of a learned function of windows of rows[B, n, T, .], float32[B, half]."""
        levels, exists = rows[..., :-1], rows[..., -1:]
        time = jnp.linspace(-1.0, 1.0, self.rows)[None, None, :, None]
        time = jnp.broadcast_to(time, exists.shape)
        inputs = jnp.concatenate([levels, time], axis=-1)
        starts = self.rows - WINDOW + 1
        stacked = jnp.concatenate([inputs[:, :, s : s + starts] for s in range(WINDOW)], axis=-1)
        # A window counts where its middle row exists.
        weight = exists[:, :, WINDOW // 2 : WINDOW // 2 + starts]
        learned = weight * jax.nn.silu(self.window(stacked))
        return jnp.sum(learned, axis=(1, 2)) / jnp.maximum(jnp.sum(weight, axis=(1, 2)), 1.0)

    def learn(self, ready: Prepared) -> jax.Array:
        """Context float32[B, size]."""
        summary, *rest = ready
        parts = [summary]
        if self.count > 1:
            single, *rest = rest
            flat, there = single[..., :-1], single[..., -1:]
            learned = there * jax.nn.silu(self.each(flat))
            parts.append(jnp.sum(learned, axis=1) / jnp.maximum(jnp.sum(there, axis=1), 1.0))
        if self.windowed:
            parts.append(self._windows(rest[0]))
        deep = self.network(jnp.concatenate(parts, axis=-1))
        return jnp.concatenate([summary, deep], axis=-1)
