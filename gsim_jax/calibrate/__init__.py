"""Calibrators: scores of forecasts, and the search for the parameters that make them small."""

from gsim_jax.calibrate.alarm import AlarmReport, check_data
from gsim_jax.calibrate.around import draws_around, posterior_draws
from gsim_jax.calibrate.calibration import Calibration, Calibrator
from gsim_jax.calibrate.checks import CalibrationReport, Trials, check_calibration, run_trials
from gsim_jax.calibrate.evolution import Evolution
from gsim_jax.calibrate.exact import Exact, exact_posterior
from gsim_jax.calibrate.exact_result import ExactPosterior
from gsim_jax.calibrate.fit import fit_posterior
from gsim_jax.calibrate.likelihood import LogLikelihood, log_likelihood
from gsim_jax.calibrate.npe import NeuralPosterior
from gsim_jax.calibrate.objective import Objective, Settings, settings_for
from gsim_jax.calibrate.posterior import Posterior
from gsim_jax.calibrate.score import (
    FEW,
    Scores,
    energy_score,
    increment_scale,
    standard_error,
)

__all__ = [
    "FEW",
    "AlarmReport",
    "Calibration",
    "CalibrationReport",
    "Calibrator",
    "Evolution",
    "Exact",
    "ExactPosterior",
    "LogLikelihood",
    "NeuralPosterior",
    "Objective",
    "Posterior",
    "Scores",
    "Settings",
    "Trials",
    "check_calibration",
    "check_data",
    "draws_around",
    "energy_score",
    "exact_posterior",
    "fit_posterior",
    "increment_scale",
    "log_likelihood",
    "posterior_draws",
    "run_trials",
    "settings_for",
    "standard_error",
]
