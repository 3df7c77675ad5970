"""What a diagnosis rests on: plain arrays, so that it needs nothing of the calibrator's insides."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Cells:
    """Means over all forecasts of a cell, a pair of horizon and variable.

    Leading axes are free: none for the data, [B] for replicas.

    Attributes:
        count: float64[..., H, V], forecasts in the cell.
        crps: float64[..., H, V], continuous ranked probability score in units of the scale.
        error: float64[..., H, V], mean forecast minus observation, natural units.
        rank: float64[..., H, V], 12 times the squared distance of the observation's rank from the
            middle of the draws: 1 for a calibrated forecast, more when it is too narrow.
    """

    count: np.ndarray
    crps: np.ndarray
    error: np.ndarray
    rank: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """Scores of the data under a candidate and of B data sets drawn from the candidate.

    Attributes:
        horizons: names of the H horizons.
        variables: labels of the V scored variables.
        score: overall score of the data.
        null_scores: float64[B], overall scores of the replicas.
        observed: cells of the data.
        null: cells of the replicas.
        residuals: float64[n, T, V], one-step errors in units of the forecast's spread.
        counted: bool[n, T, V], where residuals exist.
        failed: share of draws that failed.
    """

    horizons: tuple[str, ...]
    variables: tuple[str, ...]
    score: float
    null_scores: np.ndarray
    observed: Cells
    null: Cells
    residuals: np.ndarray
    counted: np.ndarray
    failed: float
