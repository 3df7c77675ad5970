"""Data sets, exact answers and checks behind ``gsim bench calibrate``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.stats import binom

from benchmarks import _worlds
from gsim_jax.calibrate import Evolution, Objective, increment_scale, settings_for
from gsim_jax.calibrate.calibration import Calibration
from gsim_jax.calibrate.likelihood import log_likelihood
from gsim_jax.diagnose import next_state
from gsim_jax.simulator.panel import build_panel, is_complete
from gsim_jax.simulator.program import Program
from gsim_jax.simulator.rollout import rollout
from gsim_jax.task import Task, Trajectories, load_task

#: Two-sided 90 % of a normal distribution.
NINETY = 1.6449


@dataclass(frozen=True)
class World:
    """A task with its truth.

    Attributes:
        task: the task.
        truth: the simulator that made its data.
    """

    task: Task
    truth: _worlds.Simulator

    @classmethod
    def load(cls, name: str, sandbox: Any) -> World:
        """By the name of a folder in envs/."""
        task = load_task(_worlds.ENVS / name)
        return cls(task, _worlds.load_truth(task, sandbox))

    @property
    def program(self) -> Program:
        """The truth's structure."""
        return self.truth.program

    def draw(self, seed: int, count: int) -> Trajectories:
        """Fresh trajectories of the truth; starts and inputs are those of the training data."""
        schema, given = self.task.schema, self.task.train
        base = given.take([i % len(given) for i in range(count)])
        start = {k: v[:, 0] for k, v in base.states.items()}
        run = rollout(
            self.program, schema, self.truth.params, start, steps=base.rows - 1, lanes=count,
            key=seed, inputs={**base.inputs, **base.attributes},
        )  # fmt: skip
        outputs = np.where(base.outputs_seen, np.asarray(run.kept.outputs), 0)
        states = {k: np.asarray(run.kept.states[k]) for k in schema.states}
        return replace(base, states=states, outputs=outputs.astype(np.float32))

    def objective(self, data: Trajectories) -> Objective:
        """The objective of the truth's structure on other training data."""
        task = replace(self.task, train=data)
        settings = settings_for(task)
        scale = increment_scale(build_panel(task.schema, data, rows=settings.rows), settings.plan)
        complete = is_complete(data)
        return Objective(self.program, task.schema, settings, scale, complete=complete)

    def calibrate(
        self, data: Trajectories, seed: int, method: Evolution
    ) -> tuple[Calibration, float]:
        """A calibration, and the seconds it took after compilation."""
        objective = self.objective(data)
        begin = time.perf_counter()
        found = method.calibrate(objective, data, seed)
        return found, time.perf_counter() - begin - objective.compile_seconds


def marginals(world: World, data: Trajectories, found: Calibration) -> dict[str, Any]:
    """Exact posterior mean and standard deviation of each continuous parameter, on the unit cube.

    The posterior is integrated on a grid of all continuous parameters (two at most), discrete ones
    at their calibrated values; the prior is flat on the cube.
    """
    likelihood = log_likelihood(world.program, world.task.schema, data)
    space = world.program.parameters
    free = np.flatnonzero(~space.discrete)
    if len(free) > 2:
        raise ValueError(f"expected at most two continuous parameters; got {len(free)}")
    centre = found.u.copy()
    error = np.sqrt(np.diag(found.covariance)) * 0.4  # |dPhi/dx| <= 0.4
    for _ in range(3):  # first with the stated errors, then with the grid's own
        axes = [
            np.clip(centre[j] + np.linspace(-6, 6, 61) * max(error[j], 1e-4), 1e-4, 1 - 1e-4)
            for j in free
        ]
        mesh = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(free))
        points = np.tile(found.u, (len(mesh), 1))
        points[:, free] = mesh
        blocks = np.array_split(points, max(1, len(points) // 61))
        log = np.concatenate([_total(likelihood.many, block) for block in blocks])
        weight = np.exp(log - log.max())
        # Points beyond the cube were moved to its edge; they must not count twice.
        steps = [np.maximum(np.gradient(axis), 0.0) for axis in axes]
        weight = weight * np.stack(np.meshgrid(*steps, indexing="ij"), -1).prod(-1).ravel()
        weight /= weight.sum()
        mean = weight @ mesh
        sd = np.sqrt(weight @ (mesh - mean) ** 2)
        centre[free], error[free] = mean, sd
    return {"mean": mean, "sd": sd, "free": free}


def _total(batch: Any, points: np.ndarray) -> np.ndarray:
    return np.asarray(batch(jnp.asarray(points, jnp.float32)), float).sum(axis=1)


def distances(world: World, runs: Sequence[tuple[Trajectories, Calibration]]) -> dict[str, Any]:
    """RMS distance of calibrated points to exact posterior means, in posterior deviations."""
    rows = []
    for data, found in runs:
        exact = marginals(world, data, found)
        rows.append((found.u[exact["free"]] - exact["mean"]) / exact["sd"])
    labels = np.asarray(world.program.parameters.labels)[exact["free"]]
    table = np.stack(rows)
    rms, mean = np.sqrt((table**2).mean(axis=0)), table.mean(axis=0)
    return {
        str(label): {"rms_sd": float(r), "mean_sd": float(m)}
        for label, r, m in zip(labels, rms, mean, strict=True)
    }


def recovery(world: World, found: Sequence[Calibration]) -> dict[str, Any]:
    """Error and coverage per parameter; for discrete ones, how often they are right."""
    table = {}
    for label, discrete in zip(
        world.program.parameters.labels, world.program.parameters.discrete, strict=True
    ):
        truth = world.truth.parameters[label]
        values = np.array([each.parameters[label] for each in found], float)
        if discrete:
            table[label] = {"right": int((values == truth).sum()), "of": len(values)}
            continue
        errors = np.array([each.errors[label] for each in found])
        inside = int((np.abs(values - truth) <= NINETY * errors).sum())
        low, high = binom.ppf([0.005, 0.995], len(values), 0.9)
        table[label] = {
            "truth": truth,
            "rmse": float(np.sqrt(np.mean((values - truth) ** 2))),
            "bias": float(np.mean(values - truth)),
            "stated_error": float(errors.mean()),
            "inside_90": inside,
            "of": len(values),
            "allowed_at_1_percent": [int(low), int(high)],
        }
    return table


def metric(
    world: World, found: Sequence[Calibration], horizons: tuple[int, ...], states: int, seed: int
) -> list[list[dict[str, Any]]]:
    """The test metric of each calibration, per horizon."""
    against = next_state.yardstick(
        world.truth.program, world.truth.params, world.task.schema, _worlds.held_out(world.task),
        values=_worlds.values_for(world.task), horizons=horizons, states=states, draws=200,
        seed=seed, workers=2,
    )  # fmt: skip
    results = []
    for each in found:
        params = world.program.parameters.values(each.parameters)
        results.append([m.to_json() for m in against.measure(world.program, params)])
    return results
