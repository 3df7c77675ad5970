"""What one observed series shows: its course, and whether it repeats itself."""

from __future__ import annotations

from typing import Literal

import numpy as np

Course = Literal["increasing", "decreasing", "constant"]
MIN_CORRELATION = 0.3
MIN_CYCLES = 3


def monotone(values: np.ndarray, seen: np.ndarray) -> Course | None:
    """Whether a series only rises, only falls, or never changes along each trajectory.

    Args:
        values: float64[n, rows].
        seen: bool[n, rows]; a missing row is stepped over.

    Returns:
        The course, or None where it does both or was never seen twice.
    """
    changes = [np.diff(v[s]) for v, s in zip(values, seen, strict=True)]
    joined = np.concatenate(changes) if changes else np.zeros(0)
    if joined.size == 0:
        return None
    if np.all(joined == 0):
        return "constant"
    if np.all(joined >= 0):
        return "increasing"
    return "decreasing" if np.all(joined <= 0) else None


def period(values: np.ndarray, seen: np.ndarray, longest: int = 60) -> int | None:
    """The number of rows after which a series repeats itself, beside its slow course.

    For every candidate p the moving average over p rows is taken away, which leaves cycles of p
    rows untouched and removes slower courses; the rest has to correlate with itself p and 2p rows
    later, more than at the lags around p, and little on average at the lags between p and 2p, where
    a cycle is out of step. A single hump fails at 2p, noise at both, a slow course with noise
    between them.

    Args:
        values: float64[n, rows].
        seen: bool[n, rows].
        longest: the longest period looked for.

    Returns:
        The shortest period found, or None.
    """
    rows = values.shape[1]
    strengths: dict[int, float] = {}
    for p in range(2, min(longest, rows // MIN_CYCLES) + 1):
        rest, known = _without_course(values, seen, p)
        at = {lag: _correlation(rest, known, lag) for lag in (p - 1, p, p + 1, 2 * p)}
        here, pairs = at[p]
        enough = here > max(MIN_CORRELATION, 4 / np.sqrt(max(pairs, 1)))
        peak = here > max(at[p - 1][0], at[p + 1][0])
        if not (enough and peak and at[2 * p][0] > here / 2 and pairs >= 2 * p):
            continue
        between = [_correlation(rest, known, lag)[0] for lag in range(p + 1, 2 * p)]
        if np.mean(between) < here / 2:
            strengths[p] = here
    if not strengths:
        return None
    strongest = max(strengths.values())
    return min(p for p, strength in strengths.items() if strength > 0.8 * strongest)


def _without_course(values: np.ndarray, seen: np.ndarray, p: int) -> tuple[np.ndarray, np.ndarray]:
    """The series minus its centred moving average over p rows, where all of it was seen."""
    weights = np.ones(p) / p if p % 2 else np.r_[0.5, np.ones(p - 1), 0.5] / p
    half = len(weights) // 2
    filled = np.where(seen, values, 0.0)
    known = np.zeros(seen.shape, bool)
    rest = np.zeros(values.shape)
    if values.shape[1] < len(weights):
        return rest, known
    for i, (series, mask) in enumerate(zip(filled, seen, strict=True)):
        inner = slice(half, values.shape[1] - half)
        known[i, inner] = np.convolve(mask.astype(float), weights, "valid") > 1 - 1e-9
        rest[i, inner] = series[inner] - np.convolve(series, weights, "valid")
    scale = np.sqrt(np.mean(rest[known] ** 2)) if known.any() else 0.0
    if scale <= 1e-9 * (np.abs(filled).max() + 1):
        known[:] = False  # rounding errors of an exactly smooth series
    return np.where(known, rest, 0.0), known


def _correlation(rest: np.ndarray, known: np.ndarray, lag: int) -> tuple[float, int]:
    """Correlation of a series with itself `lag` rows later, and the effective number of pairs."""
    if lag >= rest.shape[1] or lag < 1:
        return 0.0, 0
    both = known[:, :-lag] & known[:, lag:]
    pairs = int(both.sum())
    if pairs < 4:
        return 0.0, pairs
    a, b = rest[:, :-lag][both], rest[:, lag:][both]
    pairs = min(effective_size(a), effective_size(b))
    size = float(np.sqrt(np.sum(a**2) * np.sum(b**2)))
    return (float(np.sum(a * b)) / size if size > 0 else 0.0), pairs


def effective_size(values: np.ndarray) -> int:
    """How many Gaussian numbers vary as much as these: fewer where a few hold most of the variance.

    An epidemic's noise sits in the days around its peak; counting the quiet days as evidence makes
    chance look significant.
    """
    fourth = float(np.sum(values**4))
    if fourth == 0:
        return 0
    return int(min(len(values), 3 * float(np.sum(values**2)) ** 2 / fourth))
