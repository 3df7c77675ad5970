"""Deterministic code: a program as it was written, without its randomness.

In the spirit of WorldCoder (Tang, Key and Ellis 2024, arXiv 2402.12275), where a world model is a
deterministic program: nothing is calibrated, parameters stay at their guesses, and a forecast is
one point. A draw of a whole number cannot be replaced by its mean inside a program (0.4 people do
not fall ill), so the mean is taken of what comes out: the forecast h steps ahead is the average of
`RUNS` runs of h steps. The mean of a law would be the same for one step that is linear in its
draws, and is no better a forecast otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks._table2.noise import Noise, fit_noise, looked_at_by
from benchmarks._table2.rollout import shake
from benchmarks._table2.supervised import Scale, Series, scale_of, series, splits
from gsim_jax.compilation import lanes_jit
from gsim_jax.diagnose.next_state import Request, choose, clouds, plan_for
from gsim_jax.simulator.program import Program
from gsim_jax.task import Schema, Task, Trajectories

HORIZONS = (1, 7, 20)
#: Runs that a forecast is the average of.
RUNS = 64
#: Forecasts per horizon and split, and runs of each, that a fit looks at: in full and quickly.
FULL, QUICK = (2000, 32), (500, 16)


class Means(NamedTuple):
    """Mean forecasts of a program at one horizon; S of them.

    Attributes:
        now: float32[S, V], states that they start from.
        given: float32[S, U], the mean inputs on the way.
        mean: float32[S, V].
        failed: bool[S], whether all runs failed or left a value undefined: then the mean is `now`.
    """

    now: np.ndarray
    given: np.ndarray
    mean: np.ndarray
    failed: np.ndarray


@dataclass(frozen=True)
class Mechanism:
    """A program at a point of its parameters.

    Attributes:
        program: the structure.
        parameters: values by label; what is left out stands at its guess.
    """

    program: Program
    parameters: Mapping[str, float] = field(default_factory=dict)

    def means(self, request: Request, data: Series, seed: int) -> dict[int, Means]:
        """Mean forecasts of all values for the cells of a request.

        Args:
            request: cells and number of runs; its `keep` does not matter.
            data: its trajectories as arrays.
            seed: of the runs.
        """
        everything = request._replace(keep=tuple(range(len(request.schema.outputs))))
        key = np.random.SeedSequence([seed, 0x6D65616E]).generate_state(2, np.uint32)
        params: Any = self.program.parameters.values(self.parameters)
        (drawn,) = clouds(self.program, params, everything, [key])
        return {h: _mean(drawn[h], data, cells, h) for h, cells in request.cells.items()}


def _mean(drawn: np.ndarray, data: Series, cells: Any, h: int) -> Means:
    now = data.x[cells.trajectory, cells.row - h]
    way = cells.row[:, None] - np.arange(h, 0, -1)
    given = data.u[cells.trajectory[:, None], way].mean(1)
    sound = np.isfinite(drawn)
    total = np.where(sound, drawn, 0.0).sum(1, dtype=np.float64)
    mean = np.where(sound.any(1), total / np.maximum(sound.sum(1), 1), now)
    return Means(now, given, mean.astype(np.float32), np.asarray(~sound.any(1).all(-1)))


@dataclass
class PointForecasts:
    """The mean of a program as a forecaster, with residual noise where it has been fitted.

    The noise belongs to a horizon, not to a step: a program's state holds what the noise knows
    nothing of, so it is not added to the state and fed back. A horizon that was not fitted has the
    noise of the `nearest` one.

    Attributes:
        mechanism: the program.
        scale: units and limits of the values.
        noises: by horizon the residual noise; None for a deterministic forecaster.
        failed: by horizon the share of the forecasts drawn last that had no mean.
    """

    mechanism: Mechanism
    scale: Scale
    noises: Mapping[int, Noise] | None = None
    failed: dict[int, float] = field(default_factory=dict)

    @property
    def numbers(self) -> int:
        """Fitted numbers: those of the noise."""
        return sum(noise.numbers for noise in (self.noises or {}).values())

    def improved(self, means: Mapping[int, Means]) -> dict[int, np.ndarray]:
        """By horizon the forecasts float32[S, V]; a subclass may correct them."""
        return {h: found.mean for h, found in means.items()}

    def draw(self, request: Request, seed: int) -> dict[int, np.ndarray]:
        """Forecasts of the cells of a request.

        Args:
            request: cells, variables and number N of draws, see `gsim_jax.diagnose.next_state`.
            seed: runs and noise follow from it.

        Returns:
            By horizon float32[S, N, d]; N equal rows without noise.

        Raises:
            InputError: entries are missing.
        """
        data = series(request.schema, request.data, "given")
        means = self.mechanism.means(request._replace(draws=RUNS), data, seed)
        self.failed.update({h: float(found.failed.mean()) for h, found in means.items()})
        keep = np.asarray(request.keep, int)
        found = {}
        for h, mean in self.improved(means).items():
            if self.noises is None:
                made = np.broadcast_to(mean[:, None], (len(mean), request.draws, mean.shape[-1]))
            else:
                key = jax.random.fold_in(jax.random.key(seed % 2**32), h)
                given = (self.scale, self.noises[nearest(h, self.noises)], means[h].now, mean, key)
                made = np.asarray(_shaken(request.draws, *given))
            found[h] = np.ascontiguousarray(made[..., keep])
        return found

    def with_noise(self, held: Mapping[int, tuple[Means, np.ndarray]], seed: int) -> None:
        """Fits the noise on held-out forecasts.

        Args:
            held: by horizon the program's means, and float32[S, V] what was observed.
            seed: of the fit.
        """
        better = self.improved({h: means for h, (means, _) in held.items()})
        self.noises = {
            h: fit_noise(looked_at_by(self.scale, means.now, better[h]), ahead - better[h], seed)
            for h, (means, ahead) in held.items()
        }


@partial(lanes_jit, static_argnums=0)
def _shaken(
    draws: int, scale: Scale, noise: Noise, now: jax.Array, mean: jax.Array, key: jax.Array
) -> jax.Array:
    def one(now: jax.Array, mean: jax.Array, key: jax.Array) -> jax.Array:
        lane = partial(shake, scale, noise, now, mean)
        return jax.vmap(lane)(jax.random.split(key, draws))

    return jax.vmap(one)(now, mean, jax.random.split(key, len(now)))


def nearest(h: int, fitted: Iterable[int]) -> int:
    """The fitted horizon that serves for another: the one with the nearest logarithm."""
    return min(fitted, key=lambda other: abs(np.log(other / h)))


def forecasts(
    mechanism: Mechanism, schema: Schema, data: Trajectories, horizons: Sequence[int],
    effort: tuple[int, int], seed: int,
) -> dict[int, tuple[Means, np.ndarray]]:  # fmt: skip
    """Mean forecasts of a split, and what was observed.

    Args:
        mechanism: the program.
        schema: the task's schema.
        data: the split.
        horizons: those that the split is too short for are left out.
        effort: forecasts per horizon, and runs of each.
        seed: of choice and runs.

    Returns:
        By horizon the means and float32[S, V].
    """
    arrays = series(schema, data, "given")
    longest = int(data.length.max()) - 1
    reached = tuple(h for h in horizons if h <= longest)
    plan = plan_for(reached, data.length, effort[0])
    cells = {h: choose(h, plan.stride, data.length, effort[0], seed) for h in reached}
    means = mechanism.means(Request(schema, data, plan, cells, (), effort[1]), arrays, seed)
    return {h: (means[h], arrays.x[cells[h].trajectory, cells[h].row]) for h in reached}


def held_out(task: Task) -> Trajectories:
    """The data that residuals are taken from; without validation data the training data.

    A program at its guesses has not seen the training data either.
    """
    return task.train if task.validation is None else task.validation


def fit(
    task: Task, *, seed: int, quick: bool, noise: bool, program: Program,
    parameters: Mapping[str, float] | None = None, horizons: Sequence[int] = HORIZONS,
) -> PointForecasts:  # fmt: skip
    """The program's mean; with `noise`, residual noise around it.

    Args:
        task: the task.
        seed: of runs and noise.
        quick: residuals of 500 forecasts per horizon instead of 2,000.
        noise: whether residual noise is fitted on the validation data.
        program: the program.
        parameters: values by label instead of its guesses.
        horizons: those that the noise is fitted for.

    Raises:
        InputError: entries are missing, or there is no such parameter.
    """
    mechanism = Mechanism(program, dict(parameters or {}))
    program.parameters.values(mechanism.parameters)
    train, _ = splits(task)
    found = PointForecasts(mechanism, scale_of(task.schema, train))
    if noise:
        effort = QUICK if quick else FULL
        found.with_noise(
            forecasts(mechanism, task.schema, held_out(task), horizons, effort, seed), seed
        )
    return found
