"""A local quadratic fit of the score: the last step of calibration, and its error estimate.

Simulated scores are piecewise constant and rough at a fine scale, so derivatives are read from a
regression over a cloud of points with common random numbers. The minimum of the fitted quadratic
averages over the roughness; the spread of the units' own slopes gives the error of the point by the
sandwich formula for minimum-score estimates, H^-1 J H^-1 / n (Dawid, Musio and Ventura, 2016,
Scandinavian Journal of Statistics 43, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gsim_jax.calibrate.score import covariance_of_mean
from gsim_jax.simulator.parameters import sobol

#: A quadratic in more coordinates than this would need more points than it is worth.
MAX_DIMENSION = 12
#: Half-width of a cloud in standard errors: wider is biased, narrower sees the scores' roughness.
WIDTH = 2.0
#: Standard error, in radii of the cloud, of directions that a fit says nothing about.
FLAT = 2.0
#: Slopes and curvatures below this many of their own standard errors are noise of the fit. What no
#: score depends on gets some of either from points that no quadratic meets, never zeros.
CLEAR = 2.0


@dataclass(frozen=True)
class Fit:
    """A fitted quadratic around a centre, in coordinates z of the cloud: x = centre + shape z.

    Attributes:
        step: float64[d], from the centre to the minimum, at most `reach` long.
        hessian: float64[d, d], positive semidefinite; 0 in directions in which the curvature does
            not stand out of the fit's own noise.
        slopes: float64[n, d], gradient of each unit's score at the centre.
    """

    step: np.ndarray
    hessian: np.ndarray
    slopes: np.ndarray


def cloud_size(dimension: int, members: int) -> int:
    """Points for a stable fit, a multiple of `members`."""
    terms = (dimension + 1) * (dimension + 2) // 2
    return members * int(np.ceil(2 * terms / members))


def cloud(dimension: int, count: int, seed: int) -> np.ndarray:
    """Points in [-1, 1]^d with unit scale per axis, float64[count, d]; even counts are antithetic.

    Antithetic pairs make slope and curvature estimates independent of one another.
    """
    points = 2.0 * sobol(dimension, -(-count // 2), seed) - 1.0
    return np.concatenate([points, -points])[:count]


def cloud_shape(covariance: np.ndarray, low: float, high: float) -> np.ndarray:
    """Axes of a cloud as wide as the errors: x = centre + shape z, float64[d, d].

    Parameters that make up for one another have a long and narrow error ellipse. A cloud that is
    no ellipse is either too narrow along it or far too wide across it, where no quadratic holds.

    Args:
        covariance: float64[d, d] of x, from the search or from the last fit.
        low: the shortest half-axis.
        high: the longest one.
    """
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.clip(WIDTH * np.sqrt(np.maximum(values, 0.0)), low, high)


def fit(points: np.ndarray, scores: np.ndarray, reach: float = 2.0) -> Fit:
    """Fits score(z) = c + b z + z H z / 2 by least squares.

    Args:
        points: float64[Q, d], from `cloud`.
        scores: float64[Q, n], one column per unit (trajectory or block of rows); the score of a
            point is the mean of its row.
        reach: the longest step accepted, in radii of the cloud.

    Returns:
        The fit. Directions of negative or vanishing curvature are given the smallest curvature
        that the step length allows; where the slope is noise as well, no step is taken.
    """
    count, dimension = points.shape
    upper = np.triu_indices(dimension)
    products = points[:, upper[0]] * points[:, upper[1]]
    design = np.concatenate([np.ones((count, 1)), points, products], axis=1)
    beta, *_ = np.linalg.lstsq(design, scores, rcond=None)
    mean = beta.mean(axis=1)
    gradient = mean[1 : 1 + dimension]
    hessian = np.zeros((dimension, dimension))
    hessian[upper] = mean[1 + dimension :]
    hessian = hessian + hessian.T
    values, vectors = np.linalg.eigh(hessian)
    along = vectors.T @ gradient
    # Along an axis v the slope is b v and the curvature 2 sum over i <= j of beta_ij v_i v_j.
    residual = scores.mean(axis=1) - design @ mean
    noise = residual @ residual / max(count - design.shape[1], 1) * np.linalg.inv(design.T @ design)
    linear, square = (
        noise[1 : 1 + dimension, 1 : 1 + dimension],
        noise[1 + dimension :, 1 + dimension :],
    )
    pairs = 2.0 * vectors[upper[0]] * vectors[upper[1]]
    slope_error = np.sqrt(np.einsum("ik,ij,jk->k", vectors, linear, vectors))
    curve_error = np.sqrt(np.einsum("ik,ij,jk->k", pairs, square, pairs))
    largest = max(float(np.abs(values).max()), 1e-12)
    curved = values > np.maximum(CLEAR * curve_error, 1e-9 * largest)
    sloped = np.abs(along) > CLEAR * slope_error
    raised = np.maximum(values, np.maximum(np.abs(along) / reach, 1e-3 * largest))
    step = -vectors @ np.where(curved | sloped, along / raised, 0.0)
    length = float(np.linalg.norm(step))
    if length > reach:
        step *= reach / length
    known = (vectors * np.where(curved, values, 0.0)) @ vectors.T
    return Fit(step, known, beta[1 : 1 + dimension].T)


def covariance(fitted: Fit, shape: np.ndarray, trajectories: int) -> np.ndarray:
    """Covariance of the estimate in the coordinates of the search, float64[d, d].

    Args:
        fitted: the last fit.
        shape: float64[d, d], from the cloud's coordinates to those of the search, in which the
            prior is standard normal.
        trajectories: number of trajectories behind the units.

    Returns:
        Sandwich covariance combined with the prior, so that what the data do not determine has
        the prior's standard deviation of 1 and not an infinite one.
    """
    units, dimension = fitted.slopes.shape
    values, vectors = np.linalg.eigh(fitted.hessian)
    curved = values > 1e-9 * max(float(values.max()), 1e-12)
    known, unknown = vectors[:, curved], vectors[:, ~curved]
    inverse = (known / values[curved]) @ known.T
    sandwich = inverse @ covariance_of_mean(fitted.slopes, trajectories) @ inverse
    # d slopes were made to vanish on average (MacKinnon and White, 1985, HC1).
    sandwich *= (units - 1) / max(units - dimension, 1)
    sandwich += FLAT**2 * unknown @ unknown.T
    spread, axes = np.linalg.eigh((sandwich + sandwich.T) / 2)
    sandwich = shape @ ((axes * np.clip(spread, 0.0, FLAT**2)) @ axes.T) @ shape.T
    # Parallel sum with the prior's unit covariance, A (A + I)^-1, by eigenvalues: A may be huge.
    spread, axes = np.linalg.eigh((sandwich + sandwich.T) / 2)
    spread = np.maximum(spread, 0.0)
    return (axes * (spread / (1.0 + spread))) @ axes.T
