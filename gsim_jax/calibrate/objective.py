"""The compiled objective of one candidate: scores of many points of the cube at once.

Compilation is what a candidate costs, so one compiled function serves calibration, ranking and
diagnosis: `members` points of the unit cube, each with its own panel of `chunk` trajectories.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike

from gsim_jax.calibrate.forecasts import EXPENSIVE, Forecasts, shape_for
from gsim_jax.calibrate.score import Scores, horizon_sums, overall, panel_scores
from gsim_jax.compilation import lanes_jit
from gsim_jax.simulator.panel import TRAJECTORIES, Panel, build_panel, repeat, take
from gsim_jax.simulator.predict import Plan
from gsim_jax.task import Schema, Task, Trajectories

#: Transitions (trajectories x rows) above which one phase of a long horizon is enough.
_PLENTY = 2000
#: Replicates whose free runs a call hands out, per member.
SHOWN = 8
#: Lanes that one call keeps in flight: enough to fill the vector units, little enough for caches.
_LANES = 25_000


@dataclass(frozen=True)
class Settings:
    """How the objective is computed; equal for all candidates of a run.

    Attributes:
        plan: horizons.
        replicates: draws per forecast.
        particles: draws per forecast where something is latent or missing.
        members: points of the cube per call.
        chunk: trajectories per call.
        rows: rows to which every panel is padded.
    """

    plan: Plan
    replicates: int
    particles: int
    members: int
    chunk: int
    rows: int


def settings_for(task: Task, *, horizons: tuple[int, ...] = (7,), members: int = 16) -> Settings:
    """Settings from the size of a task's data alone."""
    splits = [task.train, *([task.validation] if task.validation else [])]
    rows = max(split.rows for split in splits)
    count = max(len(split) for split in splits)
    transitions = count * (rows - 1)
    steps = tuple(h for h in horizons if 1 < h < rows - 1)
    stride = max(steps, default=1) if transitions >= _PLENTY else 1
    particles = int(np.clip(2 ** round(np.log2(6000 / count)), 32, 128))
    replicates = int(np.clip(2 ** round(np.log2(2000 / count)), 16, 128))
    tracks = len(Plan(steps, True, stride).tracks[0])
    chunk = int(np.clip(_LANES // (members * replicates * tracks), 1, count))
    chunk = int(np.ceil(count / np.ceil(count / chunk)))
    return Settings(Plan(steps, True, stride), replicates, particles, members, chunk, rows)


class PointScore(NamedTuple):
    """The score of one point, the points simulated for it, and their counted operations."""

    score: float
    evaluations: int
    cost: float


class Objective:
    """Scores of one simulator on panels of one task; compiles once, on first use.

    Attributes:
        simulator: the candidate.
        schema: the task's schema.
        settings: shapes.
        scale: float32[H, V], frozen for the run.
        compile_seconds: time spent compiling so far.
    """

    def __init__(
        self,
        simulator: Any,
        schema: Schema,
        settings: Settings,
        scale: np.ndarray,
        *,
        complete: bool = True,
        filtered: bool = True,
    ) -> None:
        """Nothing is compiled yet.

        Args:
            simulator: the candidate.
            schema: the task's schema.
            settings: shapes.
            scale: float32[H, V], frozen for the run.
            complete: whether every state of the data is seen, so that no particle is needed.
            filtered: whether particles are weighted by the data and resampled. Without it what is
                not seen is only simulated, and parameters are biased; there to show by how much.
        """
        self.simulator = simulator
        self.schema = schema
        self.settings = settings
        self.scale = np.asarray(scale, np.float32)
        self.weighted = not complete or bool(simulator.latent) or bool(simulator.observed)
        self.filtered = filtered
        self.replicates = settings.particles if self.weighted else settings.replicates
        if not self.weighted and simulator.cost > EXPENSIVE:
            self.replicates = max(self.replicates // 2, SHOWN)
        self.compile_seconds = 0.0

    def panels(self, data: Trajectories) -> list[Panel]:
        """Chunks of `chunk` trajectories each, the last one padded with empty trajectories."""
        settings = self.settings
        panel = build_panel(self.schema, data, rows=settings.rows, multiple=settings.chunk)
        starts = range(0, panel.length.shape[0], settings.chunk)
        return [take(panel, start, settings.chunk) for start in starts]

    def shared(self, panel: Panel) -> Panel:
        """One panel for all members."""
        return repeat(panel, self.settings.members)

    def scores_of(self, u: ArrayLike, data: Trajectories, key: ArrayLike) -> Iterator[Scores]:
        """Scores of every member on a data set, one chunk of trajectories after the other.

        Args:
            u: float32[P, d] on the unit cube.
            data: the trajectories.
            key: as for `scores`.
        """
        for number, panel in enumerate(self.panels(data)):
            yield self.scores(u, self.shared(panel), key, number * self.settings.chunk)

    def score_at(self, u: np.ndarray, data: Trajectories, words: np.ndarray) -> PointScore:
        """The score of one point on a data set.

        Args:
            u: float64[d] on the unit cube.
            data: the trajectories.
            words: uint32[2].
        """
        settings = self.settings
        points = np.repeat(np.asarray(u)[None], settings.members, axis=0)
        energy, count, panels = 0.0, 0.0, 0
        for scores in self.scores_of(points, data, words):
            part, valid = horizon_sums(scores)
            energy = energy + np.asarray(part, float)[:1]
            count = count + np.asarray(valid, float)[:1]
            panels += 1
        weights = settings.plan.weights(settings.rows)
        score = overall(np.asarray(energy), np.asarray(count), weights)
        lanes = settings.members * self.replicates * len(settings.plan.tracks[0])
        rows = settings.chunk * (settings.rows - 1) * panels
        cost = float(self.simulator.cost) * lanes * rows
        return PointScore(float(score[0]), settings.members * panels, cost)

    def scoring(self, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
        """Scale float32[H, V] and weights float64[H] of a plan whose horizons are among ours."""
        ours = self.settings.plan
        weights = ours.weights(self.settings.rows)
        index = [ours.names.index(name) for name in plan.names]
        return self.scale[index], weights[index] / weights[index].sum()

    @cached_property
    def _compiled(self) -> Any:
        run = partial(
            panel_scores,
            self.simulator,
            self.schema,
            self.settings.plan,
            jnp.asarray(self.scale),
            replicates=self.replicates,
            weighted=self.weighted and self.filtered,
        )
        return lanes_jit(jax.vmap(run, in_axes=(0, TRAJECTORIES, 0, None, 0)))

    def scores(self, u: ArrayLike, panel: Panel, key: ArrayLike, first: int = 0) -> Scores:
        """Scores of every member.

        Args:
            u: float32[P, d] on the unit cube, P = `settings.members`.
            panel: leaves [P, chunk, ...], see `shared`.
            key: uint32[2], words of all members (common random numbers), or uint32[P, 2], one each.
            first: number of the first trajectory of the chunk.

        Returns:
            `Scores` with axes [P, chunk, T, ...]; the free runs of `SHOWN` replicates, on an axis
            after T.
        """
        members = self.settings.members
        # Members that share their words show different replicates, as far as there are enough.
        each = np.arange(members)[:, None] * SHOWN + np.arange(SHOWN)[None]
        show = (each % self.replicates).astype(np.int32)
        keys = np.broadcast_to(np.asarray(key, np.uint32), (members, 2))
        arguments = (jnp.asarray(u, jnp.float32), panel, keys, jnp.uint32(first), show)
        if self._executable is None:
            begin = time.perf_counter()
            self._executable = self._compiled.lower(*arguments).compile()
            self.compile_seconds += time.perf_counter() - begin
        return self._executable(*arguments)

    _executable: Any = None


def forecasts_for(objective: Objective, data: Trajectories, mesh: Mesh | None = None) -> Forecasts:
    """The draws that calibration runs on: single steps, and more where something is hidden.

    Complete rows make all of a Markov process's information visible in single steps. Where states
    are latent or missing, longer horizons tell what a filter forgets.
    """
    settings, simulator = objective.settings, objective.simulator
    rows = data.rows
    few = len(data) * (rows - 1) < _PLENTY
    if not objective.weighted:
        plan = Plan((), free=False)
    elif few:
        plan = settings.plan
    else:
        plan = Plan((), free=settings.plan.free)
    particles = settings.particles if objective.weighted else None
    shape = shape_for(plan, len(data), rows, simulator.cost, settings.members, particles)
    weighted = objective.weighted and objective.filtered
    return Forecasts(simulator, objective.schema, data, shape, weighted=weighted, mesh=mesh)
