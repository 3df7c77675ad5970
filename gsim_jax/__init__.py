"""gsim_jax: simulators found from words and data, calibrated and swept in JAX.

The public names, imported when they are first used, so that the command line starts at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gsim_jax.calibrate import Evolution as Evolution
    from gsim_jax.calibrate import Exact as Exact
    from gsim_jax.calibrate import NeuralPosterior as NeuralPosterior
    from gsim_jax.calibrate import Objective as Objective
    from gsim_jax.calibrate import Posterior as Posterior
    from gsim_jax.calibrate import check_calibration as check_calibration
    from gsim_jax.calibrate import check_data as check_data
    from gsim_jax.calibrate import energy_score as energy_score
    from gsim_jax.calibrate import exact_posterior as exact_posterior
    from gsim_jax.calibrate import fit_posterior as fit_posterior
    from gsim_jax.calibrate import log_likelihood as log_likelihood
    from gsim_jax.propose import ChatProposer as ChatProposer
    from gsim_jax.propose import LibraryProposer as LibraryProposer
    from gsim_jax.propose import Proposal as Proposal
    from gsim_jax.propose import Proposer as Proposer
    from gsim_jax.search import RunResult as RunResult
    from gsim_jax.search import resume as resume
    from gsim_jax.search import run as run
    from gsim_jax.simulator.check import check_file as check_file
    from gsim_jax.simulator.contract import Simulator as Simulator
    from gsim_jax.simulator.keep import Keep as Keep
    from gsim_jax.simulator.keep import KeepLast as KeepLast
    from gsim_jax.simulator.keep import KeepMoments as KeepMoments
    from gsim_jax.simulator.keep import KeepPaths as KeepPaths
    from gsim_jax.simulator.lane_values import PerLane as PerLane
    from gsim_jax.simulator.native import from_functions as from_functions
    from gsim_jax.simulator.predict import Plan as Plan
    from gsim_jax.simulator.predict import predict as predict
    from gsim_jax.simulator.program import Program as Program
    from gsim_jax.simulator.rollout import Rollout as Rollout
    from gsim_jax.simulator.rollout import rollout as rollout
    from gsim_jax.simulator.sandbox import Sandbox as Sandbox
    from gsim_jax.task import Schema as Schema
    from gsim_jax.task import Task as Task
    from gsim_jax.task import Trajectories as Trajectories
    from gsim_jax.task import load_task as load_task
    from gsim_jax.task import profile as profile
    from gsim_jax.whatif import Model as Model
    from gsim_jax.whatif import Scenario as Scenario
    from gsim_jax.whatif import start_from as start_from
    from gsim_jax.whatif import sweep as sweep

_HOMES = {
    "gsim_jax.calibrate": (
        "Evolution",
        "Exact",
        "NeuralPosterior",
        "Objective",
        "Posterior",
        "check_calibration",
        "check_data",
        "energy_score",
        "exact_posterior",
        "fit_posterior",
        "log_likelihood",
    ),
    "gsim_jax.propose": ("ChatProposer", "LibraryProposer", "Proposal", "Proposer"),
    "gsim_jax.search": ("RunResult", "resume", "run"),
    "gsim_jax.simulator.check": ("check_file",),
    "gsim_jax.simulator.contract": ("Simulator",),
    "gsim_jax.simulator.keep": ("Keep", "KeepLast", "KeepMoments", "KeepPaths"),
    "gsim_jax.simulator.lane_values": ("PerLane",),
    "gsim_jax.simulator.native": ("from_functions",),
    "gsim_jax.simulator.predict": ("Plan", "predict"),
    "gsim_jax.simulator.program": ("Program",),
    "gsim_jax.simulator.rollout": ("Rollout", "rollout"),
    "gsim_jax.simulator.sandbox": ("Sandbox",),
    "gsim_jax.task": ("Schema", "Task", "Trajectories", "load_task", "profile"),
    "gsim_jax.whatif": ("Model", "Scenario", "start_from", "sweep"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gsim_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
