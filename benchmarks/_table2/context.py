"""What a method is given, the clock of its cost, and the calibration of one structure."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _worlds
from benchmarks._table2 import spared
from benchmarks._table2.fitted import Cost, Effort, Fitted
from gsim_jax.calibrate import (
    Calibration,
    Calibrator,
    Objective,
    increment_scale,
    settings_for,
)
from gsim_jax.simulator.panel import build_panel, is_complete
from gsim_jax.simulator.program import Program
from gsim_jax.task import Task

RECORDINGS = Path(__file__).resolve().parents[1] / "recordings"


@dataclass(frozen=True)
class Context:
    """What a method is given.

    Attributes:
        task: the task with its data.
        truth: the simulator that made the data; for rows that are told it.
        seed: everything random follows from it.
        effort: how much may be spent.
        folder: where runs of this task and seed are kept, so that what was cut short goes on.
        recordings: folder of recorded conversations.
    """

    task: Task
    truth: _worlds.Simulator
    seed: int
    effort: Effort
    folder: Path
    recordings: Path = RECORDINGS


def has_arrays(task: Task) -> bool:
    """Whether a task has states that are arrays: candidates of the library then take minutes."""
    return any(state.shape for state in task.schema.states.values())


class Clock:
    """Wall and processor seconds since it was made, with what was `spared`."""

    def __init__(self) -> None:
        self.wall, self.cpu, self.spared = (
            time.perf_counter(),
            time.process_time(),
            spared.seconds(),
        )

    def read(self) -> tuple[float, float]:
        """Both, in seconds."""
        more = spared.seconds() - self.spared
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        return wall + more, cpu + more


def objective_of(task: Task, simulator: Any, filtered: bool = True) -> Objective:
    """The objective that the search would have."""
    settings = settings_for(task)
    scale = increment_scale(build_panel(task.schema, task.train, rows=settings.rows), settings.plan)
    complete = all(is_complete(split) for split in (task.train, task.validation) if split)
    return Objective(
        simulator, task.schema, settings, np.asarray(scale), complete=complete, filtered=filtered
    )


def calibrated(
    context: Context, program: Program, calibrator: Calibrator, filtered: bool = True
) -> Fitted:
    """A structure with its parameters fitted to the training data."""
    clock = Clock()
    objective = objective_of(context.task, program, filtered)
    found = calibrator.calibrate(objective, context.task.train, context.seed)
    return Fitted(
        program,
        found.parameters,
        cost=_cost(clock, found),
        details={"errors": found.errors, "warnings": list(found.warnings)},
    )


def _cost(clock: Clock, found: Calibration) -> Cost:
    wall, cpu = clock.read()
    return Cost(wall, cpu, found.evaluations, None, len(found.parameters))


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Two processes that need the same run: the second waits, and reads what the first made."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
