"""Calibrators: scores of forecasts, and the search for the parameters that make them small."""

from gsim_jax.calibrate.calibration import Calibration, Calibrator
from gsim_jax.calibrate.evolution import Evolution
from gsim_jax.calibrate.objective import Objective, Settings, settings_for
from gsim_jax.calibrate.score import (
    FEW,
    Scores,
    energy_score,
    increment_scale,
    standard_error,
)

__all__ = [
    "FEW",
    "Calibration",
    "Calibrator",
    "Evolution",
    "Objective",
    "Scores",
    "Settings",
    "energy_score",
    "increment_scale",
    "settings_for",
    "standard_error",
]
