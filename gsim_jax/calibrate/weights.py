"""Weights of simulated moments: inverse covariances from few draws, kept finite and honest."""

from __future__ import annotations

import numpy as np

#: Share of a moment's average variance that is added to its variance in every row: it keeps moments
#: that determine one another apart. (A share of the scale would drown forecasts that are far
#: sharper than the increments that set the scale.)
RIDGE = 1e-4
#: Least average variance, in squared scales: moments that never vary get finite weights.
LEAST = 1e-4
#: Pseudo-draws with the average variance in every estimated covariance, at least.
AVERAGE = 2.0
#: Mean squared residuals beyond so many variances are misfit, not noise: the point is still far
#: off, or the structure wrong.
MISFIT = 4.0


def pooling(covariance: np.ndarray, seen: np.ndarray, sample: int) -> np.ndarray:
    """How far the variances of rows are drawn towards their average, float64[H, F] in [0, 1].

    A variance estimated from few draws scatters, and where events are rare it is 0 in many rows by
    chance alone. Rows differ in truth by what their estimates scatter beyond that: the share is the
    best linear one (empirical Bayes: Morris, 1983, Journal of the American Statistical Association
    78). Second moments, whose own scatter is not known, are pooled as first ones are.

    Args:
        covariance: float64[n, T, H, F, F], of V moments y and, in the same order, V squares of y.
        seen: bool[n, T, H, F].
        sample: number of draws behind each.
    """
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    half = variance.shape[-1] // 2
    first, mask = variance[..., :half], seen[..., :half]
    count = np.maximum(mask.sum(axis=(0, 1)), 1)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.where(mask, values, 0.0).sum(axis=(0, 1)) / count

    chance = mean(variance[..., half:]) / sample
    apart = np.maximum(mean((first - mean(first)) ** 2), 1e-300)
    least = AVERAGE / (sample + AVERAGE)
    return np.tile(np.clip(chance / apart, least, 1.0), 2)


def weigh(
    covariance: np.ndarray, seen: np.ndarray, sample: int, pooled: np.ndarray | None = None
) -> np.ndarray:
    """Inverse covariances, float64[n, T, H, F, F]; 0 for what was not seen.

    Covariances of few draws are drawn towards their diagonal and towards the average over rows:
    else a row in which a rare event happened to no draw would outweigh all others.

    Args:
        covariance: float64[n, T, H, F, F].
        seen: bool[n, T, H, F].
        sample: number of draws behind each.
        pooled: float64[H, F], see `pooling`; by default `AVERAGE` pseudo-draws' worth.
    """
    if pooled is None:
        pooled = np.full(covariance.shape[2:4], AVERAGE / (sample + AVERAGE))
    count = covariance.shape[-1]
    eye = np.eye(count)
    both = seen[..., :, None] & seen[..., None, :]
    average = np.sum(np.where(both, covariance, 0.0), axis=(0, 1))
    average = average / np.maximum(both.sum(axis=(0, 1)), 1)
    ridge = RIDGE * np.maximum(np.diagonal(average, axis1=-2, axis2=-1), LEAST)[..., None] * eye
    shrink = count / (count + sample)
    covariance = (1 - shrink) * covariance + shrink * covariance * eye
    kept = np.sqrt(1.0 - pooled)
    covariance = kept[..., :, None] * kept[..., None, :] * covariance
    covariance = covariance + pooled[..., None] * average * eye
    covariance = np.where(both, covariance + ridge, eye)
    return np.where(both, np.linalg.inv(covariance), 0.0)


def inflation(residual: np.ndarray, precision: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """How much wider than the pilot's noise residuals are, float64[H, F]; 1 within `MISFIT`.

    Far from the solution residuals are misfit, which grows with the square of the distance in
    second moments and outweighs everything in rows that are forecast sharply. As long as it does,
    it is part of what a moment cannot be trusted by (over-dispersion, as in quasi-likelihood). It
    counts as noise of each moment's own: scaling covariances by it would turn the directions in
    which moments depend on one another, and what is certain there would outweigh everything.
    """
    square = np.where(mask, residual**2 * precision, 0.0).sum(axis=(0, 1))
    ratio = square / np.maximum(mask.sum(axis=(0, 1)), 1)
    return np.sqrt(np.where(ratio > MISFIT, ratio, 1.0))
