"""P0 and P1: what a method answers when the world is changed, against what the truth answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks import _worlds
from benchmarks._table2 import compiled
from benchmarks._table2.changes import Found, Intervention, Place, Probe
from benchmarks._table2.fitted import Fitted
from gsim_jax.diagnose.next_state import Cells, Request
from gsim_jax.simulator.predict import Plan
from gsim_jax.task import Task
from gsim_jax.whatif import Model, start_from, sweep

#: Days on which mean curves are compared.
GRID = (5, 10, 20, 30, 40, 60)
#: Lanes of a simulator for each draw of a forecaster per trajectory.
_LANES_PER_DRAW = 100
_KEY = 31
NO_MODEL = "no: it has no submodule that could be changed"
INSIDE = "no: a forecaster, though there is a program inside"


@dataclass(frozen=True, eq=False)
class Curves:
    """Mean curves float64[V, G] on the days of the grid, as the world is and changed."""

    base: np.ndarray
    changed: np.ndarray


class Judge:
    """The truth's answers to a change, against which methods are held.

    Attributes:
        task: the task.
        change: the change.
        lanes: simulated per mean curve.
    """

    def __init__(
        self, task: Task, truth: _worlds.Simulator, change: Intervention, lanes: int
    ) -> None:
        """Nothing is simulated yet."""
        self.task, self.change, self.lanes = task, change, lanes
        self._truth = Model.at(truth.program, task.schema, truth.parameters)

    @cached_property
    def probe(self) -> Probe:
        """The truth's first steps under the change."""
        return Probe(self.change, self._truth)

    @cached_property
    def truth(self) -> Curves:
        """The truth's mean curves."""
        return self._curves(self._truth, [Place(target) for target in self.change.targets])

    @property
    def days(self) -> list[int]:
        """The days of the grid that the test data have."""
        last = int(_worlds.held_out(self.task).length.min()) - 1
        return [day for day in GRID if day <= last]

    def _curves(self, model: Model, places: Sequence[Place]) -> Curves:
        """From the first rows of the test trajectories, under their inputs."""
        steps = self.days[-1]
        start = start_from("first", self.task, model.simulator, model.draws, steps, split="test")
        scenarios = [self.change.scenario(places)] if places else []
        with compiled.quickly():
            found = sweep(
                model, scenarios, start, steps=steps, replicates=self.lanes, key=_KEY,
                keep="moments", rules=False,
            )  # fmt: skip
        picked = found["mean"].sel(variable=list(self.change.variables)).isel(t=self.days)
        means = picked.transpose("scenario", "variable", "t").values
        return Curves(means[0], means[-1])

    def judge(self, fitted: Fitted, seed: int) -> dict[str, Any]:
        """Whether the change can be made in a method, and how well its answer holds.

        Args:
            fitted: what a method found.
            seed: for the draws of forecasters.

        Returns:
            `change`, `possible`, `where` (or why not), and `missed`: the distance of the answered
            mean curves to the truth's, in units of what the change does in the truth. 0 is the
            truth's answer; 1 is that of somebody who knows the world as it is and nothing of the
            change. `missed_unchanged` is the same without a change.
        """
        if fitted.simulator is None:
            curve = self._forecast(fitted, seed)
            return self._told(INSIDE if fitted.title else NO_MODEL, None, Curves(curve, curve))
        model = Model.at(fitted.simulator, self.task.schema, fitted.values)
        found = self.probe.find(model)
        places = found.places if found is not None else ()
        where = str(found) if found is not None else "not found: nothing in it has this effect"
        return self._told(where, found, self._curves(model, places))

    def _told(self, where: str, found: Found | None, own: Curves) -> dict[str, Any]:
        effect = np.abs(self.truth.changed - self.truth.base).sum(axis=1)
        moved = effect > 1e-9

        def missed(ours: np.ndarray, theirs: np.ndarray) -> float:
            share = np.abs(ours - theirs).sum(axis=1)[moved] / effect[moved]
            return float(share.mean()) if moved.any() else float("nan")

        return {
            "change": self.change.title,
            "possible": found is not None,
            "where": where,
            "cosine": None if found is None else found.cosine,
            "missed": missed(own.changed, self.truth.changed),
            "missed_unchanged": missed(own.base, self.truth.base),
            "days": self.days,
            "variables": list(self.change.variables),
            "curves": own.changed,
            "curves_of_truth": self.truth.changed,
        }

    def _forecast(self, fitted: Fitted, seed: int) -> np.ndarray:
        """Mean curves of a forecaster from the same first rows, float64[V, G]."""
        data, days = _worlds.held_out(self.task), self.days
        labels = [output.label for output in self.task.schema.outputs]
        keep = tuple(labels.index(label) for label in self.change.variables)
        everybody = np.arange(len(data))
        cells = {day: Cells(everybody, np.full(len(data), day)) for day in days}
        # Forecasts from the first row alone: one track per day.
        plan = Plan(tuple(days), free=False, stride=max(days))
        draws = max(1, self.lanes // _LANES_PER_DRAW)
        request = Request(self.task.schema, data, plan, cells, keep, draws)
        drawn = fitted.draw(request, seed)
        return np.stack([np.nanmean(drawn[day], axis=(0, 1), dtype=float) for day in days], axis=1)
