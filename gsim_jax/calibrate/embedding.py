"""What a flow sees of a data set: fixed summaries, and a learned context.

An embedding takes x as the simulator gives it, NaN where nothing was observed. `prepare` makes of
it what needs no learning: first of all a summary, fixed functions of x that a pilot sample has
brought to the scale of a standard normal, which enters the flow linearly. `learn` adds a context.
Stored simulations are prepared once. Which embedding suits is seen from x's shape and from whether
its first axis is exchangeable:

- `VectorEmbedding`: a vector;
- `SetEmbedding`: exchangeable rows [n, k], pooled by moments and learned features (Zaheer et al.
  2017);
- `TrajectoryEmbedding` (`trajectory.py`): rows in time, of one trajectory or of several.
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from scipy.stats import norm

from gsim_jax.calibrate.flow import Fixed, lecun, zeros

Prepared = tuple[jax.Array, ...]
"""What is made of x once: arrays with an axis of data sets, the summary first."""
#: Quantiles that the map to normal scores is drawn through.
_KNOTS = 33
#: Beyond so many standard deviations inputs grow slowly only.
_SOFT = 6.0


def soften(value: jax.Array) -> jax.Array:
    """The identity near 0, slower and slower growth beyond a few units."""
    return _SOFT * jnp.arcsinh(value / _SOFT)


class Standardiser(nnx.Module):
    """Columns to standard scale and to normal scores, learned from a pilot sample.

    Standard scores keep linear relations linear, normal scores resolve columns that span orders of
    magnitude; missing entries become 0 in both, with a mask as third channel where the pilot or
    the observation has any.
    """

    def __init__(self, columns: int, masked: bool) -> None:
        """`columns`: length of the vectors; `masked`: whether entries may be missing."""
        self.columns, self.masked = columns, masked
        self.mean = Fixed(zeros(columns))
        self.scale = Fixed(zeros(columns) + 1)
        self.knots = Fixed(zeros(_KNOTS, columns))
        self.bends = Fixed(zeros(_KNOTS, columns))
        self.start = Fixed(zeros(2, columns))
        self.robust = Fixed(zeros(2, columns) + 1)

    @property
    def size(self) -> int:
        """Length of the result."""
        return self.columns * (3 if self.masked else 2)

    def fit(self, pilot: np.ndarray) -> None:
        """Learns from float[N, columns], NaN where missing."""
        mean, scale = np.zeros(self.columns), np.ones(self.columns)
        knots, bends = np.zeros((2, _KNOTS, self.columns))
        start, robust = np.zeros((2, self.columns)), np.ones((2, self.columns))
        for c in range(self.columns):
            column = pilot[np.isfinite(pilot[:, c]), c].astype(float)
            if len(column) == 0:
                continue
            mean[c] = column.mean()
            # A column that never varies says nothing, unless the observation differs.
            scale[c] = column.std() or max(abs(mean[c]), 1.0)
            low, middle, high = np.quantile(column, [0.25, 0.5, 0.75])
            robust[:, c] = middle, (high - low) / 2 or scale[c]
            squeezed = np.arcsinh((column - middle) / robust[1, c])
            knots[:, c], bends[:, c], start[:, c] = _normal_scores(squeezed)
        self.mean[...] = jnp.asarray(mean, jnp.float32)
        self.scale[...] = jnp.asarray(scale, jnp.float32)
        self.knots[...] = jnp.asarray(knots, jnp.float32)
        self.bends[...] = jnp.asarray(bends, jnp.float32)
        self.start[...] = jnp.asarray(start, jnp.float32)
        self.robust[...] = jnp.asarray(robust, jnp.float32)

    def __call__(self, x: jax.Array) -> jax.Array:
        """float32[B, size] of float32[B, columns]."""
        seen = jnp.isfinite(x)
        mean, scale = self.mean[...][None], self.scale[...][None]
        z = (jnp.where(seen, x, mean) - mean) / scale
        middle, unit = self.robust[...][:, None]
        # Squeezed first, so that no tail makes the knots' slopes steep.
        squeezed = jnp.arcsinh((jnp.where(seen, x, mean) - middle) / unit)
        beyond = jnp.maximum(squeezed[:, None] - self.knots[...][None], 0.0)
        offset, slope = self.start[...][:, None]
        scores = offset + slope * squeezed + jnp.sum(beyond * self.bends[...][None], axis=1)
        parts = [soften(z), jnp.where(seen, soften(scores), 0.0)]
        if self.masked:
            parts.append(seen.astype(jnp.float32))
        return jnp.concatenate(parts, axis=-1)


def _normal_scores(standard: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Knots, changes of slope, and (offset, slope) at the left of a map to normal scores."""
    share = (np.arange(_KNOTS) + 0.5) / _KNOTS
    values = np.quantile(standard, share)
    # Ties (counts, atoms) get the mean score of all their quantiles.
    knots, group = np.unique(values, return_inverse=True)
    scores = np.bincount(group, norm.ppf(share)) / np.bincount(group)
    if len(knots) < 2:
        return np.zeros(_KNOTS), np.zeros(_KNOTS), np.array([0.0, 1.0])
    slopes = np.minimum(np.diff(scores) / np.diff(knots), 50.0)
    bends = np.diff(slopes)
    inner = knots[1:-1]
    padded = np.zeros((2, _KNOTS))
    padded[:, : len(inner)] = inner, bends
    middle = len(knots) // 2
    at = slopes[0] * knots[middle] + np.sum(np.maximum(knots[middle] - inner, 0) * bends)
    return padded[0], padded[1], np.array([scores[middle] - at, slopes[0]])


class Perceptron(nnx.Module):
    """Linear layers with SiLU between, the last one linear."""

    def __init__(self, sizes: tuple[int, ...], random: np.random.Generator) -> None:
        """`sizes`: lengths from input to output."""
        self.weights = nnx.List([nnx.Param(lecun(random, p)) for p in itertools.pairwise(sizes)])
        self.biases = nnx.List([nnx.Param(zeros(size)) for size in sizes[1:]])

    def __call__(self, x: jax.Array) -> jax.Array:
        """float32[..., last] of float32[..., first]."""
        pairs = list(zip(self.weights, self.biases, strict=True))
        for number, (weight, bias) in enumerate(pairs):
            x = jnp.matmul(x, weight[...])
            x = x + jnp.reshape(bias[...], (1,) * (x.ndim - 1) + (-1,))
            x = jax.nn.silu(x) if number + 1 < len(pairs) else x
        return x


class VectorEmbedding(nnx.Module):
    """A vector of `length` entries."""

    def __init__(
        self,
        shape: tuple[int, ...],
        masked: bool,
        context: int,
        width: int,
        random: np.random.Generator,
    ) -> None:
        """`shape`: of one x; any shape, flattened."""
        self.length = int(np.prod(shape))
        self.standard = Standardiser(self.length, masked)
        self.summary = self.standard.size
        self.size = self.summary + context
        self.network = Perceptron((self.summary, width, context), random)

    def fit(self, pilot: np.ndarray) -> None:
        """Learns the scales from x[N, ...]."""
        self.standard.fit(pilot.reshape(len(pilot), -1))

    def prepare(self, x: jax.Array) -> Prepared:
        """Summary float32[B, summary] of x[B, ...]."""
        return (self.standard(jnp.reshape(x, (x.shape[0], -1))),)

    def learn(self, ready: Prepared) -> jax.Array:
        """Context float32[B, size]."""
        (summary,) = ready
        return jnp.concatenate([summary, self.network(summary)], axis=-1)


def _moments(x: jax.Array) -> jax.Array:
    """Means, log variances and correlations of the columns of x[n, k], and the shares seen."""
    seen = jnp.isfinite(x)
    weight = seen.astype(jnp.float32)
    count = jnp.sum(weight, axis=0)
    mean = jnp.sum(jnp.where(seen, x, 0.0), axis=0) / jnp.maximum(count, 1.0)
    off = jnp.where(seen, x - mean[None], 0.0)
    pairs = weight.T @ weight
    covariance = off.T @ off / jnp.maximum(pairs, 1.0)
    variance = jnp.diagonal(covariance)
    tiny = 1e-12 * (1.0 + mean**2)
    spread = jnp.sqrt(variance + tiny)
    upper = np.triu_indices(x.shape[1], 1)
    related = jnp.clip((covariance / (spread[:, None] * spread[None]))[upper], -1.0, 1.0)
    # Missing columns have no moments; what is not known is said by NaN, as in x itself.
    known = jnp.where(count > 0, 0.0, jnp.nan)
    angle = jnp.arctanh(0.9999 * related)
    return jnp.concatenate([mean + known, jnp.log(variance + tiny) + known, angle])


class SetEmbedding(nnx.Module):
    """Exchangeable rows x[n, k]: moments, and the mean of a learned function of the rows."""

    def __init__(
        self,
        shape: tuple[int, ...],
        masked: bool,
        context: int,
        width: int,
        random: np.random.Generator,
    ) -> None:
        """`shape`: (n, k) of one x."""
        self.count, self.columns = shape
        moments = 2 * self.columns + self.columns * (self.columns - 1) // 2
        self.standard = Standardiser(moments, masked)
        self.rows = Standardiser(self.columns, masked)
        self.each = Perceptron((self.rows.size, width, width), random)
        self.summary = self.standard.size
        self.size = self.summary + context
        self.network = Perceptron((self.summary + width, width, context), random)

    def fit(self, pilot: np.ndarray) -> None:
        """Learns the scales from x[N, n, k]."""
        self.rows.fit(pilot.reshape(-1, self.columns)[:20_000])
        self.standard.fit(np.asarray(jax.vmap(_moments)(jnp.asarray(pilot))))

    def prepare(self, x: jax.Array) -> Prepared:
        """Summary float32[B, summary] and rows float32[B, n, .] of x[B, n, k]."""
        rows = self.rows(jnp.reshape(x, (-1, self.columns)))
        rows = jnp.reshape(rows, (x.shape[0], self.count, -1))
        return self.standard(jax.vmap(_moments)(x)), rows

    def learn(self, ready: Prepared) -> jax.Array:
        """Context float32[B, size]."""
        summary, rows = ready
        learned = jax.nn.silu(self.each(jnp.reshape(rows, (-1, rows.shape[-1]))))
        pooled = jnp.mean(jnp.reshape(learned, (rows.shape[0], self.count, -1)), axis=1)
        deep = self.network(jnp.concatenate([summary, pooled], axis=-1))
        return jnp.concatenate([summary, deep], axis=-1)
