"""Residual noise of a predictor: what its forecasts of held-out data missed, drawn again.

A forest of regression trees groups the held-out residuals by the state and its predicted increment,
such that residuals of like size lie in one leaf (its targets are the squared residuals). A draw is
a residual *vector* out of the leaf of a random tree: a draw of the law that quantile regression
forests estimate (Meinshausen 2006), here of several variables at once. So the noise is
multivariate, of any shape, and changes with the prediction. Residuals are centred within their
leaf: the mean stays that of the predictor.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._table2.extras import need
from gsim_jax.task import InputError, Problem

TREES, LEAF = 16, 40


class Noise(NamedTuple):
    """Trees and residuals as arrays; M trees of at most K nodes, B residuals each.

    Attributes:
        feature: int32[M, K], what a node looks at; -1 in leaves.
        threshold: float32[M, K]; at most it goes left.
        left: int32[M, K].
        right: int32[M, K].
        start: int32[M, K], where a leaf's residuals begin.
        count: int32[M, K], how many there are.
        residual: float32[M, B, V], centred, in the order of the leaves.
        depth: int32[], levels of the deepest tree.
    """

    feature: Any
    threshold: Any
    left: Any
    right: Any
    start: Any
    count: Any
    residual: Any
    depth: Any

    @property
    def numbers(self) -> int:
        """Fitted numbers: two per split, and the residuals."""
        return int(2 * (self.feature >= 0).sum() + self.residual[0].size)


def features(scale: Any, x: Any, mean: Any) -> Any:
    """What the trees look at, [3 V]: state, predicted increment and predicted state, scaled.

    Args:
        scale: units, see `supervised.Scale`.
        x: [V], the state.
        mean: [V], the predicted next state.
    """
    unit = jnp.where(scale.step > 0, scale.step, 1.0)
    parts = (scale.state(x), (mean - x) / unit, scale.state(mean))
    return jnp.concatenate(parts, -1)


def looked_at_by(scale: Any, x: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """`features` of many forecasts, float32[B, 3 V] from float32[B, V] each."""
    return np.asarray(jax.vmap(partial(features, scale))(x, mean))


def fit_noise(looked_at: np.ndarray, residuals: np.ndarray, seed: int) -> Noise:
    """Groups residuals.

    Args:
        looked_at: float[B, F].
        residuals: float[B, V], observed less predicted, of data that the mean was not fitted on.
        seed: of the forest.

    Raises:
        InputError: scikit-learn is not installed, or residuals are not finite.
    """
    need("sklearn")
    from sklearn.ensemble import RandomForestRegressor

    sound = np.isfinite(residuals).all(1) & np.isfinite(looked_at).all(1)
    looked_at, residuals = looked_at[sound].astype(np.float32), residuals[sound]
    if len(residuals) < 2:
        text = "expected two finite forecasts of held-out data or more, to fit residual noise on"
        raise InputError((Problem("failed-fit", text),))
    squares = (residuals - residuals.mean(0)) ** 2
    size = squares.mean(0)
    varying = size > 1e-12 * max(float(size.max()), 1e-30)
    if not varying.any():
        varying[:] = True
    forest = RandomForestRegressor(
        TREES, min_samples_leaf=LEAF, max_features=0.5, bootstrap=False, random_state=seed, n_jobs=1
    )
    target = squares[:, varying] / np.maximum(size[varying], 1e-30)
    forest.fit(looked_at, target[:, 0] if target.shape[1] == 1 else target)
    return _pack([tree.tree_ for tree in forest.estimators_], looked_at, residuals)


def _pack(trees: list[Any], looked_at: np.ndarray, residuals: np.ndarray) -> Noise:
    nodes = max(tree.node_count for tree in trees)
    shape = (len(trees), nodes)
    found = {
        name: np.zeros(shape, np.int32) for name in ("feature", "left", "right", "start", "count")
    }
    found["feature"][:] = -1
    threshold = np.zeros(shape, np.float32)
    ordered = np.empty((len(trees), *residuals.shape), np.float32)
    for m, tree in enumerate(trees):
        inner = np.flatnonzero(tree.children_left >= 0)
        found["feature"][m, inner] = tree.feature[inner]
        found["left"][m, inner] = tree.children_left[inner]
        found["right"][m, inner] = tree.children_right[inner]
        # Rounded down, so that float32 features fall on the side that they fell on in fitting.
        threshold[m, inner] = _below(tree.threshold[inner])
        leaf = tree.apply(looked_at)
        order = np.argsort(leaf, kind="stable")
        names, first, counts = np.unique(leaf[order], return_index=True, return_counts=True)
        found["start"][m, names], found["count"][m, names] = first, counts
        for begin, many in zip(first, counts, strict=True):
            part = residuals[order[begin : begin + many]]
            # Centring n residuals leaves (n - 1) / n of their variance.
            ordered[m, begin : begin + many] = (part - part.mean(0)) * np.sqrt(
                many / max(many - 1, 1)
            )
    depth = np.int32(max(tree.max_depth for tree in trees))
    return Noise(threshold=threshold, residual=ordered, depth=depth, **found)


def _below(threshold: np.ndarray) -> np.ndarray:
    """The largest float32 that is not above each threshold."""
    near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)


def draw_noise(noise: Noise, looked_at: jax.Array, key: jax.Array) -> jax.Array:
    """One residual for one forecast; vmap over lanes.

    Args:
        noise: the forest.
        looked_at: float32[F], see `features`.
        key: of the draw.

    Returns:
        float32[V].
    """
    which, member = jax.random.split(key)
    tree = jax.random.randint(which, (), 0, noise.feature.shape[0])

    def down(_: Any, node: jax.Array) -> jax.Array:
        at = noise.feature[tree, node]
        goes_left = looked_at[jnp.maximum(at, 0)] <= noise.threshold[tree, node]
        below = jnp.where(goes_left, noise.left[tree, node], noise.right[tree, node])
        return jnp.where(at < 0, node, below)

    leaf = jax.lax.fori_loop(0, noise.depth, down, jnp.int32(0))
    many = noise.count[tree, leaf]
    picked = jnp.floor(jax.random.uniform(member) * many).astype(jnp.int32)
    return noise.residual[tree, noise.start[tree, leaf] + jnp.minimum(picked, many - 1)]
