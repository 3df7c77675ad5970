"""One proposal through check, calibration and diagnosis."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gsim_jax import diagnose
from gsim_jax.calibrate import (
    FEW,
    Calibration,
    Calibrator,
    Objective,
    Settings,
    posterior_draws,
)
from gsim_jax.calibrate.objective import SHOWN
from gsim_jax.propose import Proposal
from gsim_jax.search.evidence import Replicas, gather
from gsim_jax.simulator.check import failures, load_program, unread
from gsim_jax.simulator.panel import is_complete
from gsim_jax.simulator.parameters import sobol
from gsim_jax.simulator.program import Program
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import SimulatorError, Task, Trajectories
from gsim_jax.words import named_words

#: Data sets drawn from a candidate for its noise floor; more where data are few and cheap.
REPLICAS, REPLICAS_OF_FEW = 128, 256


@dataclass(frozen=True)
class Setting:
    """What is equal for all candidates of a run.

    Attributes:
        task: the task.
        settings: shapes of the objective.
        scale: float32[H, V], frozen.
        seed: the run's seed.
        calibrator: what fits the parameters.
        sandbox: where files are traced.
    """

    task: Task
    settings: Settings
    scale: np.ndarray
    seed: int
    calibrator: Calibrator
    sandbox: Sandbox

    @property
    def held_out(self) -> tuple[str, Trajectories]:
        """The data that candidates are ranked on, and its name."""
        task = self.task
        if task.validation is not None:
            return "validation", task.validation
        return "train", task.train


@dataclass(frozen=True)
class Candidate:
    """A calibrated and diagnosed program."""

    program: Program
    calibration: Calibration
    contributions: np.ndarray
    diagnosis: dict[str, Any]
    bands: dict[str, Any]


def build_candidate(
    setting: Setting,
    proposal: Proposal,
    warm: dict[str, float],
    stage: Callable[[str, float], None],
) -> Candidate:
    """Checks, calibrates and diagnoses one proposal.

    Args:
        setting: what is equal for all candidates.
        proposal: the simulator file.
        warm: the parent's parameter values by label; where names match, they are a start.
        stage: told the stage and the share of it that is done.

    Raises:
        SimulatorError: the file is refused.
    """
    stage("check", 0.0)
    begin = time.perf_counter()
    task = setting.task
    program = load_program(proposal.source, task.schema, setting.sandbox)
    checked = time.perf_counter()
    complete = all(is_complete(s) for s in (task.train, task.validation) if s is not None)
    objective = Objective(program, task.schema, setting.settings, setting.scale, complete=complete)
    _refuse_failing(objective, task.train)
    shared = set(warm) & set(program.parameters.labels)
    start = program.parameters.to_unit(warm) if shared else None
    calibration = setting.calibrator.calibrate(
        objective,
        task.train,
        setting.seed,
        start=start,
        progress=lambda share: stage("calibrate", share),
    )
    calibrated = time.perf_counter()
    stage("diagnose", 0.0)
    split, data = setting.held_out
    count = REPLICAS if len(data) >= FEW else REPLICAS_OF_FEW
    # In-sample the point has been fitted to the very data: its error is not in their scores.
    held_out = split != "train" and calibration.u.size > 0
    points = posterior_draws(calibration, count // SHOWN, setting.seed) if held_out else None
    evidence, replicas, parts = gather(
        objective, calibration.u, data, replicas=count, seed=setting.seed, points=points
    )
    done = time.perf_counter()
    times = {
        "check": checked - begin,
        "compile": objective.compile_seconds,
        "run": calibrated - checked - objective.compile_seconds,
        "diagnose": done - calibrated,
    }
    diagnosis = _diagnosis(setting, program, calibration, evidence, replicas)
    diagnosis |= {"warnings": [*unread(program), *calibration.warnings], "times": times}
    curves = diagnose.bands(task.schema, replicas.outputs, replicas.like)
    return Candidate(program, calibration, parts, diagnosis, curves)


def _refuse_failing(objective: Objective, data: Trajectories) -> None:
    """The contract's trial run, with the function that calibration has compiled anyway."""
    space = objective.simulator.parameters
    members = objective.settings.members
    spread = 0.02 + 0.96 * sobol(space.dimension, members, 0)
    points = np.concatenate([space.guess()[None], spread])[:members]
    panel = objective.panels(data)[0]
    scores = objective.scores(points, objective.shared(panel), named_words(0, "check"))
    problems = failures(np.asarray(scores.code))
    if problems:
        raise SimulatorError(problems)


def _diagnosis(
    setting: Setting,
    program: Program,
    calibration: Calibration,
    evidence: diagnose.Evidence,
    replicas: Replicas,
) -> dict[str, Any]:
    split, data = setting.held_out
    schema, space = setting.task.schema, program.parameters
    verdict = diagnose.judge(evidence, in_sample=split == "train")
    rules = diagnose.check_rules_on_replicas(schema, replicas.states, replicas.like)
    found = [
        *diagnose.from_failures(evidence.failed),
        *diagnose.from_rules(rules),
        *diagnose.from_table(verdict),
        *diagnose.from_residuals(evidence, _covariates(schema, data)),
        *diagnose.from_parameters(
            space.labels,
            calibration.u,
            np.sqrt(np.diag(calibration.covariance)),
            space.discrete,
        ),
    ]
    return {
        "split": split,
        "parameters": calibration.parameters,
        "errors": calibration.errors,
        "unit": dict(zip(space.labels, calibration.u.tolist(), strict=True)),
        "score": verdict.score,
        "floor": verdict.floor,
        "gap": verdict.gap,
        "gap_se": verdict.gap_se,
        "adequate": verdict.adequate,
        "p_value": verdict.p_value,
        "table": [_row(row) for row in verdict.table],
        "rules": rules,
        "findings": [_finding(misfit) for misfit in found],
        "unexplained": diagnose.unexplained(verdict, found),
        "failed": evidence.failed,
        "cost": program.cost,
        "expensive": [[words, round(share, 4)] for words, share in program.expensive(3)],
        "edges": sorted(map(list, program.graph.modulo(schema.invariants).edges)),
        "evaluations": calibration.evaluations,
        "training_score": calibration.score,
    }


def _row(row: diagnose.Row) -> dict[str, Any]:
    names = ("variable", "horizon", "score", "floor", "gap", "se", "z", "bias", "bias_se")
    return {name: getattr(row, name) for name in names} | {"within_noise": row.within_noise}


def _finding(misfit: diagnose.Misfit) -> dict[str, Any]:
    names = ("variable", "horizon", "kind", "amount", "z", "words", "related")
    out = {name: getattr(misfit, name) for name in names}
    # Infinity is no JSON; a broken rule is simply certain.
    return out | {"z": float(np.clip(misfit.z, -1e6, 1e6))}


def _covariates(schema: Any, data: Trajectories) -> dict[str, np.ndarray]:
    """What a one-step residual may go along with: values at the row it started from."""
    rows = data.rows - 1
    found = {
        output.label: data.outputs[:, :rows, v].astype(float)
        for v, output in enumerate(schema.outputs)
    }
    for name, values in data.inputs.items():
        if values.ndim == 2:
            found[name] = values[:, :rows].astype(float)
    for name, values in data.attributes.items():
        found[name] = np.repeat(values[:, None].astype(float), rows, axis=1)
    found["t"] = np.repeat(np.arange(rows, dtype=float)[None], len(data), axis=0)
    return found
