"""Simulated moments of whole trajectories, for programs that hide much and cost much.

Where states are latent, forecasts need a particle filter, and a filter's slopes are noisy: with an
expensive program there is no time to average that noise away. Free runs from the first row need no
filter. How their levels, variances and products over lags compare with the observed trajectories'
tells nearly as much about a process that is observed for long, and differences of free runs under
common random numbers are smooth (simulated moments of Markov processes: Duffie and Singleton, 1993,
Econometrica 61; Gourieroux, Monfort and Renault, 1993, Journal of Applied Econometrics 8).

With S the sum of a trajectory's statistics over all trajectories and W its inverse covariance under
the point, (S_observed - E S)' W (S_observed - E S) + |x|^2 is minimised, the prior standard normal
in x. (The sum gives all trajectories the same say, also where some tell much more than others.)
Levels of queues answer to parameters anything but linearly, so steps are Levenberg-Marquardt
ones (Marquardt, 1963, Journal of the Society for Industrial and Applied Mathematics 11), and which
damping is right is tried out: the members of a call are as many trial points.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import numpy as np

from gsim_jax.calibrate.fitness import X_EDGE, Energy
from gsim_jax.calibrate.forecasts import Forecasts, shape_for
from gsim_jax.calibrate.free_statistics import Statistics, levels, of_draws
from gsim_jax.calibrate.gauss_newton import cloud_shape, held, solve, without_noise
from gsim_jax.calibrate.moments import REACH, Equation, design
from gsim_jax.calibrate.newton import neighbours
from gsim_jax.simulator.predict import Plan

#: Free runs of each trajectory per member; passes over the design; words that trial points share.
REPLICATES, PASSES, TRIALS = 8, 2, 2
#: Share of its variance added to each statistic's: it keeps those that determine one another apart.
RIDGE = 1e-3
#: A median squared residual beyond so many variances is misfit and counts as noise of each
#: statistic's own, as in `weights.inflation`.
MISFIT = 4.0
#: Damping, as a share of the mean information of an axis, and shares of each step that are tried.
DAMPING, SHARES = (0.0, 1e-4, 1e-3, 1e-2, 0.1), (1.0, 0.5, 0.2)
#: Steps with the same slopes before another value of a discrete parameter is judged.
CHORDS = 4
#: Longest trial step in axes of the cloud.
LONGEST = 6.0
#: Half-axes of clouds in x; the prior's deviation is 1.
NARROW, WIDE = 0.02, 0.3
#: A step that lowers the criterion by less is short: the best of some trial points that are no
#: better seems so much better by simulation noise alone. So many of them in a row are the end.
SHORT, PATIENCE = 5.0, 2


@dataclass(frozen=True)
class _Pilot:
    """What runs at the centre say.

    Attributes:
        pivot: by piece float32[n, T, V].
        scale: float32[V].
        observed: float64[q], statistics of the data, summed over trajectories.
        residual: float64[n, q], observed less expected, of each trajectory.
        covariance: float64[q, q], of the sum.
        draws: number of runs of each trajectory behind expectations.
        sample: number of runs behind the covariance.
    """

    pivot: tuple[jax.Array, ...]
    scale: np.ndarray
    observed: np.ndarray
    residual: np.ndarray
    covariance: np.ndarray
    draws: int
    sample: int

    @property
    def misfit(self) -> float:
        """Median squared residual in variances, 1 within `MISFIT`."""
        variance = np.diag(self.covariance)
        ratio = np.median(self.residual.sum(axis=0) ** 2 / np.maximum(variance, 1e-12))
        return float(ratio) if ratio > MISFIT else 1.0

    @property
    def weights(self) -> np.ndarray:
        """W, float64[q, q].

        What never varied in `sample` runs, such as a capacity that is always reached, may vary in
        one of the next: an observed trajectory that does must not outweigh all others.
        """
        own, size = np.diag(self.covariance), len(self.covariance)
        variance = np.maximum(own, 1.0 / self.draws)
        shrink = size / (size + self.sample)
        covariance = (1 - shrink) * (1 + 1 / self.draws) * self.covariance
        more = shrink + RIDGE + self.misfit - own / variance
        unit = np.sqrt(np.outer(variance, variance))
        return np.linalg.inv(covariance / unit + np.diag(more)) / unit


class _Around(NamedTuple):
    """What is known around a centre.

    Attributes:
        pilot: runs there.
        equation: the estimating equation.
        slopes: float64[q, d] of the statistics.
    """

    pilot: _Pilot
    equation: Equation
    slopes: np.ndarray


class FreeRuns:
    """Free runs of a simulator on one data set, and what they say of its parameters.

    Attributes:
        energy: the objective whose coordinates and words are used.
        cells: int[D], number of values of discrete coordinates, 0 for continuous ones.
        free: int[d], the continuous coordinates.
        forecasts: the compiled runs.
        statistics: what is compared.
    """

    def __init__(self, energy: Energy, cells: np.ndarray) -> None:
        """Runs of the program of `energy`, from the first row of each of its trajectories."""
        self.energy, whole = energy, energy.forecasts
        self.cells, self.free = cells, np.flatnonzero(cells == 0)
        plan, cost = Plan((), free=True), whole.simulator.cost
        shape = shape_for(plan, whole.count, whole.rows, cost, energy.members, REPLICATES)
        self.forecasts = Forecasts(
            whole.simulator, whole.schema, whole.data, shape, weighted=False, mesh=whole.mesh
        )
        energy.used.append(self.forecasts)
        self.statistics = Statistics(whole.rows - 1, len(whole.schema.outputs))

    def _runs(self, x: np.ndarray, words: np.ndarray) -> Iterator[jax.Array]:
        """By piece the free runs float32[P, n, T, V, R]."""
        u = self.energy.to_unit(x)
        for piece in range(len(self.forecasts.panels)):
            yield self.forecasts.draws(u, piece, words)[0][..., -1, :]

    def _seen(self, piece: int) -> tuple[jax.Array, jax.Array]:
        """Observed values float32[n, T, V] and where they count."""
        target, seen = self.forecasts.seen(piece)
        return target, seen[..., -1]

    def sums(
        self, x: np.ndarray, words: np.ndarray, pilot: _Pilot
    ) -> tuple[np.ndarray, np.ndarray]:
        """Expected statistics, summed over trajectories, and shares of runs that failed.

        Args:
            x: float64[P, D].
            words: uint32[2] or uint32[P, 2].
            pilot: sets pivots and scales.

        Returns:
            float64[P, q] and float64[P].
        """
        # Everything is on its way before anything is waited for.
        started = [
            of_draws(self.statistics, draws, pilot.pivot[piece], pilot.scale, self._seen(piece)[1])
            for piece, draws in enumerate(self._runs(x, words))
        ]
        sums = sum(np.asarray(found, float).mean(axis=2).sum(axis=1) for found, _ in started)
        return sums, np.mean([np.asarray(failed, float) for _, failed in started], axis=0)

    def pilot(self, x: np.ndarray) -> _Pilot:
        """Runs at float64[D]: pivots, expectations and covariances, with words of their own."""
        members, energy = self.energy.members, self.energy
        points = np.tile(x, (members, 1))
        words = np.stack([[energy.fresh() for _ in range(members)] for _ in range(2)])
        pivot, variances = zip(*map(levels, self._runs(points, words[0])), strict=True)
        rows = self.statistics.rows * len(self.forecasts.panels) * self.forecasts.shape.chunk
        variance = sum(np.asarray(part, float) for part in variances) / rows
        scale = np.where(variance > 0, np.sqrt(variance), 1.0).astype(np.float32)
        observed, expected, covariance = [], [], 0.0
        runs = zip(self._runs(points, words[0]), self._runs(points, words[1]), strict=True)
        for piece, (first, again) in enumerate(runs):
            target, seen = self._seen(piece)
            at = (pivot[piece], scale, seen)
            own, _ = of_draws(self.statistics, target[None, ..., None], *at)
            # Weights and expectations from the same runs would go together where runs are skewed.
            flat = np.asarray(of_draws(self.statistics, first, *at)[0], float)
            flat = np.moveaxis(flat, 2, 1).reshape(-1, *flat.shape[1::2])
            apart = flat - flat.mean(axis=0)
            covariance += np.einsum("mnq,mnr->qr", apart, apart, optimize=True) / (len(flat) - 1)
            observed.append(np.asarray(own, float)[0, :, 0])
            mean = np.asarray(of_draws(self.statistics, again, *at)[0], float).mean(axis=(0, 2))
            expected.append(mean)
        count = self.forecasts.count
        shown = np.concatenate(observed)[:count]
        residual = shown - np.concatenate(expected)[:count]
        draws = members * REPLICATES
        return _Pilot(
            pivot, scale, shown.sum(axis=0), residual, np.asarray(covariance), draws, draws * count
        )

    def equation(
        self, x: np.ndarray, shape: np.ndarray, pilot: _Pilot
    ) -> tuple[Equation, np.ndarray]:
        """The estimating equation around float64[D], and slopes of the statistics float64[q, d].

        Args:
            x: the centre.
            shape: float64[D, d], from the cloud's coordinates to x.
            pilot: runs at the centre.
        """
        members, energy = self.energy.members, self.energy
        points, copy = design(shape.shape[1], members)
        slopes = []
        for _ in range(PASSES):
            words = np.stack([energy.fresh() for _ in range(copy[-1] + 1)])[copy]
            contrast = 0.0
            for batch in np.split(np.arange(len(points)), len(points) // members):
                sums, _ = self.sums(x + points[batch] @ shape.T, words[batch], pilot)
                contrast = contrast + sums.T @ points[batch]
            slopes.append(contrast / len(points))
        weights, total = pilot.weights, np.sum(slopes, axis=0)
        own = sum(slope.T @ weights @ slope for slope in slopes)
        information = (total.T @ weights @ total - own) / (PASSES * (PASSES - 1))
        each = np.stack([slope.T @ weights @ pilot.residual.sum(axis=0) for slope in slopes])
        apart = each - each.mean(axis=0)
        information = (information + information.T) / 2
        noise = apart.T @ apart / (PASSES * (PASSES - 1)) + information / pilot.draws
        units = pilot.residual @ weights @ (total / PASSES)
        found = Equation(units.sum(axis=0), information, units, noise, pilot.misfit)
        return found, total / PASSES

    def best(self, x: np.ndarray, others: np.ndarray, pilot: _Pilot) -> tuple[np.ndarray, float]:
        """The point with the lowest criterion, and by how much it is below that of x.

        Args:
            x: float64[D].
            others: float64[k, D], at most as many as members less one.
            pilot: runs near them.
        """
        points = np.clip(np.concatenate([x[None], others]), -X_EDGE, X_EDGE)
        points = np.resize(points, (self.energy.members, len(x)))
        weights, values = pilot.weights, np.zeros(len(points))
        for _ in range(TRIALS):
            sums, failed = self.sums(points, self.energy.fresh(), pilot)
            apart = pilot.observed - sums
            values += np.einsum("pq,qr,pr->p", apart, weights, apart, optimize=True) / TRIALS
            values += REACH * failed / TRIALS
        prior = (points[:, self.free] ** 2).sum(axis=1)
        values = np.where(np.isfinite(values), values, np.inf) + prior
        chosen = int(np.argmin(values))
        return points[chosen], float(values[0] - values[chosen])

    def other_cell(
        self, x: np.ndarray, coordinate: int, shape: np.ndarray, around: _Around, chords: int
    ) -> tuple[np.ndarray, float]:
        """The best point with another value of a discrete coordinate, see `best`.

        Other parameters may make up for it: with `chords` each cell is also tried after as many
        steps with the centre's slopes, which are nearly those there (the chord method).

        Args:
            x: float64[D].
            coordinate: which.
            shape: float64[d, d], axes of the cloud.
            around: what is known around it.
            chords: steps.
        """
        members, pilot = self.energy.members, around.pilot
        most = (members - 1) // 2 if chords else members - 1
        others = neighbours(x, coordinate, int(self.cells[coordinate]), most)
        moved, words = others.copy(), self.energy.fresh()
        for _ in range(chords):
            sums, _ = self.sums(np.resize(moved, (members, len(x))), words, pilot)
            slopes = (pilot.observed - sums[: len(moved)]) @ pilot.weights @ around.slopes
            for point, slope in zip(moved, slopes, strict=True):
                there = replace(around.equation, slope=slope)
                point[self.free] += _trials(there, point[self.free], shape, 1)[0]
            moved = np.clip(moved, -X_EDGE, X_EDGE)
        return self.best(x, np.concatenate([others, moved]) if chords else others, pilot)


def _trials(found: Equation, centre: np.ndarray, shape: np.ndarray, most: int) -> np.ndarray:
    """Levenberg-Marquardt steps in x with dampings and lengths to try, float64[k, d]."""
    information = without_noise(found.information)
    whole, eye = held(information, shape.T @ shape), np.eye(len(information))
    slope = found.slope - shape.T @ centre
    damping = np.asarray(DAMPING) * np.trace(information) / len(information)
    steps = [np.linalg.solve(whole + each * eye, slope) for each in damping]
    tried = np.stack([share * step for step in steps for share in SHARES])[:most]
    return np.clip(tried, -LONGEST, LONGEST) @ shape.T


def minimise(
    energy: Energy,
    centre: np.ndarray,
    cells: np.ndarray,
    spread: np.ndarray,
    steps: int,
    tick: Callable[[], None],
) -> tuple[np.ndarray, np.ndarray]:
    """The point that fits the moments of whole trajectories best.

    Args:
        energy: coordinates, words and data.
        centre: float64[D] to start from, discrete coordinates in the middle of a cell.
        cells: int[D], number of values of discrete coordinates, 0 for continuous ones, of which
            there is at least one.
        spread: float64[d, d], covariance of where the continuous part may be.
        steps: at most so many.
        tick: called after each.

    Returns:
        The point float64[D] and the covariance of its continuous part float64[d, d].
    """
    runs, x = FreeRuns(energy, cells), centre.copy()
    embed = np.eye(len(x))[:, runs.free]
    shape, short = cloud_shape(spread, NARROW, WIDE), 0
    for _ in range(steps):
        pilot = runs.pilot(x)
        found, slopes = runs.equation(x, embed @ shape, pilot)
        _, covariance = solve(found, x[runs.free], shape, energy.forecasts.count)
        tried = _trials(found, x[runs.free], shape, energy.members - 1)
        x, lower = runs.best(x, x + tried @ embed.T, pilot)
        around = _Around(pilot, found, slopes)
        for coordinate in np.flatnonzero(cells).tolist():
            chords = CHORDS if lower < SHORT else 0
            x, more = runs.other_cell(x, coordinate, shape, around, chords)
            lower += more
        tick()
        # Where no trial point is better the cloud was too wide for slopes to mean anything.
        shape = cloud_shape(covariance, NARROW, WIDE) if lower > 0 else shape / 2
        short = short + 1 if lower < SHORT and found.misfit == 1.0 else 0
        if short == PATIENCE:
            break
    return x, covariance
