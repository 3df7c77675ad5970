"""Sums over all rows of the data, as products of matrices.

A row is trajectory n and time t; Z are its regressors [n, T, H, q], F its moments and d parameters.
`np.einsum` would walk through n T H F q^2 numbers one by one: it knows no way to hand contractions
to BLAS in which horizons stand beside one another. These are 10 to 30 times as fast.
"""

from __future__ import annotations

import numpy as np


def by_horizon(values: np.ndarray) -> np.ndarray:
    """Values [n, T, H, ...] as one table of rows per horizon, [H, n T, ...]."""
    moved = np.moveaxis(values, 2, 0)
    return np.ascontiguousarray(moved).reshape(moved.shape[0], -1, *values.shape[3:])


def grams(known: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Z' G Z for each moment.

    Args:
        known: float64[n, T, H, q], Z.
        precision: float64[n, T, H, F], the diagonals of G.

    Returns:
        float64[H, F, q, q].
    """
    z, g = by_horizon(known), by_horizon(precision)
    each = [(z * g[:, :, f, None]).swapaxes(1, 2) @ z for f in range(g.shape[2])]
    return np.stack(each, axis=1)


def crossed(known: np.ndarray, precision: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Z' G J for each moment.

    Args:
        known: float64[n, T, H, q], Z.
        precision: float64[n, T, H, F], the diagonals of G.
        slopes: float64[n, T, H, F, d], J.

    Returns:
        float64[H, q, F, d].
    """
    z, weighted = by_horizon(known), by_horizon(precision[..., None] * slopes)
    made = z.swapaxes(1, 2) @ weighted.reshape(*weighted.shape[:2], -1)
    return made.reshape(*made.shape[:2], *weighted.shape[2:])


def regressed(known: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Z C, what a regression says of every row.

    Args:
        known: float64[n, T, H, q], Z.
        coefficients: float64[H, q, F, d], C.

    Returns:
        float64[H, n T, F, d].
    """
    z = by_horizon(known)
    made = z @ coefficients.reshape(*coefficients.shape[:2], -1)
    return made.reshape(*made.shape[:2], *coefficients.shape[2:])
