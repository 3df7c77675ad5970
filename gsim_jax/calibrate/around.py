"""Draws of parameters from what a calibration left: its posterior, or the normal law of its error.

Whatever carries the uncertainty of a calibrated point on (replicas of data, the alarm, what-if
questions) takes its points from here.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from gsim_jax.calibrate.calibration import Calibration
from gsim_jax.calibrate.fitness import X_EDGE


def draws_around(
    u: np.ndarray, covariance: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws around a calibrated point, normal in x = Phi^-1(u).

    Args:
        u: float64[d] on the unit cube.
        covariance: float64[d, d] of x; coordinates without variance (whole numbers, choices) stay
            where they are.
        count: number of draws D.
        rng: where they come from.

    Returns:
        float64[D, d] on the unit cube.
    """
    x = np.clip(norm.ppf(u), -X_EDGE, X_EDGE)
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0))
    moved = x + rng.standard_normal((count, len(x))) @ root.T
    return np.where(np.diag(covariance) > 0, norm.cdf(np.clip(moved, -X_EDGE, X_EDGE)), u)


def posterior_draws(
    calibration: Calibration, count: int, rng: np.random.Generator | int
) -> np.ndarray:
    """Points of the cube from a calibration.

    Args:
        calibration: with draws from a posterior, or a point with its covariance.
        count: number of draws D.
        rng: where they come from, or a seed.

    Returns:
        float64[D, d]: the posterior's draws (one as often as another) where the calibration has
        them, else `draws_around` its point.
    """
    rng = np.random.default_rng(rng)
    if calibration.draws is None:
        return draws_around(calibration.u, calibration.covariance, count, rng)
    have = len(calibration.draws)
    return calibration.draws[rng.choice(have, size=count, replace=count > have)]
