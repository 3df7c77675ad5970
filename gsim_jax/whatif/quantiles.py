"""Quantiles over lanes that need not all be in memory: exact while they are, else a sketch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Points that a sketch keeps of every chunk. The rank of a quantile is off by 1 / (2 POINTS) at
#: most for every time that points are thinned out: by 1e-3 for any number of lanes.
POINTS = 1024
#: Chunks that are kept before they are thinned out.
PENDING = 16


class Sketch:
    """Quantiles of columns of values that come in chunks.

    Mergeable in the sense of Agarwal et al. (2012, PODS): the sketch of a whole is made of those of
    its parts, at no more than the sum of their rank errors.
    """

    def __init__(self) -> None:
        self._exact: np.ndarray | None = None
        self._counts: list[np.ndarray] = []
        self._points: list[np.ndarray] = []

    def add(self, ordered: np.ndarray, counts: np.ndarray) -> None:
        """Takes the lanes of a chunk.

        Args:
            ordered: float32[..., lanes], sorted along the last axis, NaN last.
            counts: int[...], how many of each column are numbers.
        """
        if self._exact is None and not self._points:
            self._exact, self._counts = ordered, [counts]
            return
        if self._exact is not None:
            self._points, self._exact = [_thin(self._exact, self._counts[0])], None
        self._points.append(_thin(ordered, counts))
        self._counts.append(counts)
        if len(self._points) > PENDING:
            levels = (np.arange(POINTS) + 0.5) / POINTS
            merged = _weighted(self._points, self._counts, levels)
            self._points, self._counts = [merged], [np.sum(self._counts, axis=0)]

    def quantiles(self, levels: Sequence[float]) -> np.ndarray:
        """float32[..., levels]; NaN for columns without any number."""
        wanted = np.asarray(levels, float)
        if self._exact is not None:
            return _linear(self._exact, self._counts[0], wanted)
        return _weighted(self._points, self._counts, wanted)


def _linear(ordered: np.ndarray, counts: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Linear interpolation between order statistics, as in `np.quantile`."""
    place = np.maximum(counts - 1, 0)[..., None] * levels
    below = np.floor(place).astype(np.int64)
    above = np.minimum(below + 1, np.maximum(counts - 1, 0)[..., None])
    low = np.take_along_axis(ordered, below, -1)
    high = np.take_along_axis(ordered, above, -1)
    found = low + (high - low) * (place - below)
    return np.where(counts[..., None] > 0, found, np.nan).astype(np.float32)


def _thin(ordered: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """POINTS order statistics in the middles of as many equal shares, [..., POINTS]."""
    middles = (np.arange(POINTS) + 0.5) / POINTS
    place = (middles * counts[..., None]).astype(np.int64)
    place = np.minimum(place, np.maximum(counts - 1, 0)[..., None])
    return np.take_along_axis(ordered, place, -1)


def _weighted(
    points: Sequence[np.ndarray], counts: Sequence[np.ndarray], levels: np.ndarray
) -> np.ndarray:
    """Quantiles of points of which each stands for counts / POINTS lanes, [..., levels]."""
    values = np.concatenate(points, axis=-1)
    shares = [np.broadcast_to(n[..., None], p.shape) for n, p in zip(counts, points, strict=True)]
    weight = np.concatenate(shares, axis=-1).astype(float)
    order = np.argsort(values, axis=-1, kind="stable")
    values = np.take_along_axis(values, order, -1)
    total = np.cumsum(np.take_along_axis(weight, order, -1), axis=-1)
    whole = total[..., -1:]
    found = np.empty((*values.shape[:-1], len(levels)), np.float32)
    for i, level in enumerate(levels):
        at = np.sum(total < level * whole, axis=-1, keepdims=True)
        at = np.minimum(at, values.shape[-1] - 1)
        found[..., i] = np.take_along_axis(values, at, -1)[..., 0]
    return np.where(whole > 0, found, np.nan).astype(np.float32)
