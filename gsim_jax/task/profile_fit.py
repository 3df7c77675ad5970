"""A smooth one-step fit: what the next increment is on average, given the row before."""

from __future__ import annotations

import itertools
import math

import numpy as np

FOLDS = 5
MAX_TERMS = 120
ROWS_PER_TERM = 8


def one_step_fit(features: np.ndarray, target: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Cross-validated predictions of a target from the features of the same row.

    Polynomials of degree 0 to 3 in the features are compared by their error on groups that were
    left out; the best one predicts. Each prediction is thus made without its own group, so that
    the error of the fit is never understated.

    Args:
        features: float64[m, k].
        target: float64[m].
        groups: int[m], the trajectory of each row; with fewer than `FOLDS` of them, stretches of
            rows take their place.

    Returns:
        float64[m], NaN where there are too few rows to fit anything.
    """
    m = len(target)
    if m < 2 * FOLDS:
        return np.full(m, np.nan)
    fold = groups % FOLDS if len(np.unique(groups)) >= FOLDS else np.arange(m) * FOLDS // m
    scaled = _scaled(features)
    best, best_error = np.full(m, np.nan), np.inf
    for degree in range(4):
        terms = math.comb(scaled.shape[1] + degree, degree)
        if degree > 1 and (terms > MAX_TERMS or terms * ROWS_PER_TERM > m):
            break
        design = polynomial(scaled, degree)
        predicted = np.empty(m)
        for k in range(FOLDS):
            out = fold == k
            predicted[out] = design[out] @ _ridge(design[~out], target[~out])
        error = float(np.mean((target - predicted) ** 2))
        if error < best_error * 0.999:
            best, best_error = predicted, error
    return best


def polynomial(features: np.ndarray, degree: int) -> np.ndarray:
    """All products of up to `degree` features, float64[m, terms], beginning with 1."""
    columns = [np.ones(len(features))]
    for d in range(1, degree + 1):
        for chosen in itertools.combinations_with_replacement(range(features.shape[1]), d):
            columns.append(np.prod(features[:, chosen], axis=1))
    return np.stack(columns, axis=1)


def _scaled(features: np.ndarray) -> np.ndarray:
    """Features with mean 0 and sd 1; those that never change are left out."""
    sd = features.std(axis=0)
    return (features[:, sd > 0] - features[:, sd > 0].mean(axis=0)) / sd[sd > 0]


def _ridge(design: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least squares with a whiff of ridge: S + I + R = N makes the columns dependent."""
    gram = design.T @ design
    gram[np.diag_indices_from(gram)] += 1e-8 * len(design)
    return np.linalg.solve(gram, design.T @ target)


def dispersion(flow: np.ndarray, predicted: np.ndarray) -> float | None:
    """Variance of a flow around its prediction, divided by its mean; 1 for a Poisson law.

    Args:
        flow: float64[m], not negative.
        predicted: float64[m] from `one_step_fit`.
    """
    mean = float(np.mean(flow))
    if not np.all(np.isfinite(predicted)) or mean <= 0:
        return None
    return float(np.mean((flow - predicted) ** 2) / mean)


def dispersion_between_neighbours(flow: np.ndarray, steps: np.ndarray) -> float | None:
    """The same from neighbouring rows: a flow against the mean of those before and after it.

    Args:
        flow: float64[n, rows], not negative.
        steps: bool[n, rows], False where the flow is unknown.
    """
    inner = steps[:, :-2] & steps[:, 1:-1] & steps[:, 2:]
    middle = flow[:, 1:-1][inner]
    if middle.size < 8 or middle.mean() <= 0:
        return None
    residual = middle - (flow[:, :-2][inner] + flow[:, 2:][inner]) / 2
    return float(np.mean(residual**2) / (1.5 * middle.mean()))


def dispersion_of_changes(flow: np.ndarray, predicted: np.ndarray) -> float | None:
    """The same from what surprises of neighbouring rows do not share.

    What a smooth fit misses of a smooth course it misses in the next row too, while the draws of
    two steps are independent: half the mean square of the difference leaves the draws. In counts of
    hundreds of thousands a fit that errs by a hundredth would drown them otherwise.

    Args:
        flow: float64[n, rows], not negative; NaN where unknown.
        predicted: float64[n, rows] from `one_step_fit`; NaN where unknown.
    """
    surprise = flow - predicted
    change = surprise[:, 1:] - surprise[:, :-1]
    both = np.isfinite(change)
    mean = float(np.mean((flow[:, 1:][both] + flow[:, :-1][both]) / 2)) if both.any() else 0.0
    if both.sum() < 8 or mean <= 0:
        return None
    return float(np.mean(change[both] ** 2) / (2 * mean))
