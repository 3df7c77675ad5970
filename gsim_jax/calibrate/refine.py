"""From the centre of a search to an efficient estimate: Gauss-Newton steps and discrete neighbours.

Each step solves the simulated estimating equation of `moments` around the last point, over a cloud
as wide as the last step's errors. Passes over the data are added until the simulation's own noise
is a small part of the error that the data leave. Where that would take too long because forecasts
need a particle filter, moments of whole trajectories take its place (`free_runs`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from gsim_jax.calibrate.fitness import X_EDGE, Energy
from gsim_jax.calibrate.free_runs import minimise
from gsim_jax.calibrate.gauss_newton import Look, cloud_shape, join, longest, solve
from gsim_jax.calibrate.moments import Equation, design, equation
from gsim_jax.calibrate.newton import Refined, neighbours
from gsim_jax.calibrate.score import FEW, overall, standard_error

#: Half-axes of the first cloud and of later ones, in x.
FIRST, LATER = (0.1, 0.3), (0.002, 0.3)
#: A step of fewer standard errors per parameter than this stays where moments are all but linear.
NEAR = 2.5
#: As long as a step leaves less than this share of the misfit, the point is still far off.
SETTLED = 0.8
#: Noise of the simulation that is accepted, in standard errors of the data.
NOISE = 0.25
#: Counted operations of all steps together; the part of the data that first steps look at.
OPERATIONS, PART = 1.2e11, 1 / 7
#: A program so expensive that fewer looks at all data use those up gets so many looks' worth, and
#: looks at one part after the other.
LOOKS = 1.9
#: What fits the moments may be worse by the energy score by so many standard errors of the data.
#: More says that the structure is wrong, and then the score that ranks structures decides.
WORSE = 2.0


@dataclass
class _Progress:
    report: Callable[[float], None]
    total: int
    done: int = 0

    def tick(self) -> None:
        self.done += 1
        self.report(min(1.0, self.done / self.total))


def refine(
    energy: Energy,
    centre: np.ndarray,
    spread: np.ndarray,
    cells: np.ndarray,
    steps: int,
    passes: int,
    report: Callable[[float], None],
) -> Refined:
    """Refines a point of the search.

    Args:
        energy: simulated scores and forecasts.
        centre: float64[d], discrete coordinates in the middle of their cells.
        spread: float64[d, d], covariance of the search's last generation.
        cells: int[d], number of values of discrete coordinates, 0 for continuous ones.
        steps: Gauss-Newton steps at most.
        passes: passes over the data per step at most.
        report: told the share that is done.
    """
    free = np.flatnonzero(cells == 0)
    progress = _Progress(report, 2 * steps + 2)
    total = np.zeros((len(centre), len(centre)))
    rivals: list[np.ndarray] = []
    if len(free) and _filters_too_long(energy, free):
        around = spread[np.ix_(free, free)]
        x, covariance = minimise(energy, centre, cells, around, steps, progress.tick)
    else:
        centre = _discrete(energy, centre, cells)
        progress.tick()
        if not len(free):
            return Refined(centre, total)
        shape = cloud_shape(spread[np.ix_(free, free)], *FIRST)
        x, covariance = _solve(energy, centre, free, shape, steps, passes, progress)
        settled = _discrete(energy, x, cells)
        if not np.array_equal(settled, x):
            shape = cloud_shape(covariance, *LATER)
            x, covariance = _solve(energy, settled, free, shape, steps, passes, progress)
            # Where the first solution was bad, so is the cell that suited it.
            rivals.append(settled)
    total[np.ix_(free, free)] = covariance
    return _unless_worse(energy, x, total, [*rivals, centre])


def _unless_worse(
    energy: Energy, x: np.ndarray, covariance: np.ndarray, rivals: Sequence[np.ndarray]
) -> Refined:
    """The point, or, where that forecasts the data worse, one of the rivals and words about it."""
    score, kept = np.nan, False
    for rival in rivals:
        worse, scores = _worse(energy, x, rival)
        x, score, kept = (rival, scores[1], True) if worse else (x, scores[0], kept)
    text = (
        "the parameters that fit the first two moments forecast worse than those the search found, "
        "which were kept; the structure misses something, and errors are rough"
    )
    return Refined(x, covariance, (text,) if kept else (), score)


def _filters_too_long(energy: Energy, free: np.ndarray) -> bool:
    """Whether looks through particle filters would use up all operations, and there is another way.

    Free runs need trajectories enough to tell what each of them says.
    """
    forecasts = energy.forecasts
    return forecasts.weighted and forecasts.count >= FEW and _expensive(energy, free)


def _expensive(energy: Energy, free: np.ndarray) -> bool:
    return LOOKS * _look(energy, free) > OPERATIONS


def _look(energy: Energy, free: np.ndarray) -> float:
    """Counted operations of a look at all data."""
    forecasts = energy.forecasts
    return forecasts.operations * len(forecasts.panels) * (2 + 2 * _calls(energy, free))


def _solve(
    energy: Energy,
    centre: np.ndarray,
    free: np.ndarray,
    shape: np.ndarray,
    steps: int,
    passes: int,
    progress: _Progress,
) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Newton steps; the point and the covariance of its free part.

    First steps look at a part of the data. Once a step is short, its end and those of later steps,
    on all data, differ by the simulation's noise only, and they are averaged until that noise is
    small. Where a step on all data is too expensive, steps look at one part after the other, and
    the equations of the last few, which are all of the data, are solved together.
    """
    forecasts, x, number = energy.forecasts, centre.copy(), 2
    embed = np.eye(len(centre))[:, free]
    weights = energy.weights / energy.weights[0]
    near, misfit = _Near(), np.inf
    full = forecasts.operations * len(forecasts.panels)
    calls = _calls(energy, free)
    least, expensive = _look(energy, free), _expensive(energy, free)
    covariance, left = shape @ shape.T, max(OPERATIONS, LOOKS * least)
    looks = _Looks(len(forecasts.panels))
    for _ in range(steps):
        whole = not expensive and (near.reached or left < (1 + PART) * least)
        part = 1.0 if whole else PART
        # With what is left, in the first steps with a part of it; but one look is always taken.
        most = (left if whole else left / 8) / (part * full)
        number = int(np.clip(number, 2, max(2, (most - 2) // calls // 2 * 2)))
        left -= part * full * (2 + number * calls)
        found = equation(
            forecasts, energy.to_unit, x, embed @ shape, energy.scale, weights, number,
            energy.fresh, looks.next(part, expensive),
        )  # fmt: skip
        if expensive:
            found = looks.add(Look(found, x[free], shape, part), near.reached)
        step, covariance = solve(found, x[free], shape, forecasts.count)
        end = np.clip(x[free] + step, -X_EDGE, X_EDGE)
        progress.tick()
        noise = _noise(found.noise, found.information, shape)
        short = _length(step, covariance) < NEAR * np.sqrt(len(free))
        # Errors are wide where moments misfit: what looks short then may be one step of many.
        short &= not _cut(step, covariance, shape)
        short &= found.misfit == 1.0 or found.misfit > SETTLED * misfit
        misfit = found.misfit
        x[free] = near.add(end, noise) if short and whole else end
        near.reached |= short
        if expensive:
            done = left < PART * least or (looks.all and noise < NOISE)
        else:
            done = near.noise < NOISE or (whole and left < least)
        if done:
            break
        # The variance of what is simulated falls with the passes.
        number = int(np.clip(2 * np.ceil(number * (noise / NOISE) ** 2 / 2), 2, passes))
        shape = cloud_shape(covariance, *LATER)
    return x, covariance


class _Looks:
    """Looks at parts of the data in turn."""

    def __init__(self, pieces: int) -> None:
        self.pieces, self.seen = pieces, 0
        self.kept: list[Look] = []

    @property
    def all(self) -> bool:
        """Whether those that are kept have looked at all data."""
        return sum(each.share for each in self.kept) > 1 - PART / 2

    def next(self, part: float, turn: bool) -> list[int]:
        """Numbers of the pieces of the next look."""
        count = int(np.ceil(part * self.pieces))
        found = np.sort((self.seen + np.arange(count)) % self.pieces).tolist()
        self.seen += count if turn else 0
        return found

    def add(self, look: Look, near: bool) -> Equation:
        """The equation of the last looks together, at most all of the data; of one while far."""
        self.kept = [*self.kept, look] if near else [look]
        while sum(each.share for each in self.kept) > 1 + PART / 2:
            self.kept = self.kept[1:]
        return join(self.kept)


def _calls(energy: Energy, free: np.ndarray) -> int:
    """Calls per piece and pass."""
    return len(design(len(free), energy.members)[0]) // energy.members


@dataclass
class _Near:
    """Ends of the steps that stay where moments are all but linear; they differ by noise only."""

    reached: bool = False
    ends: list[np.ndarray] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    @property
    def noise(self) -> float:
        """Noise of their average, in errors of the data."""
        return 1.0 / np.sqrt(sum(self.shares)) if self.shares else np.inf

    def add(self, end: np.ndarray, noise: float) -> np.ndarray:
        """The average with one more."""
        self.ends.append(end)
        self.shares.append(1.0 / max(noise, 1e-3) ** 2)
        return np.average(self.ends, axis=0, weights=self.shares)


def _length(step: np.ndarray, covariance: np.ndarray) -> float:
    return float(np.sqrt(step @ np.linalg.solve(covariance + 1e-12 * np.eye(len(step)), step)))


def _cut(step: np.ndarray, covariance: np.ndarray, shape: np.ndarray) -> bool:
    """Whether a step was cut off though it is long in standard errors."""
    back = np.linalg.inv(shape)
    along, spread = np.abs(back @ step), back @ covariance @ back.T
    errors = np.sqrt(np.diag(spread))
    return bool(np.any((along > 0.999 * longest(spread)) & (along > NEAR * errors)))


def _noise(noise: np.ndarray, information: np.ndarray, shape: np.ndarray) -> float:
    """Standard deviation that simulation adds to the point, in errors, averaged over axes."""
    whole = information + shape.T @ shape
    values = np.linalg.eigvals(np.linalg.solve(whole, noise)).real
    return float(np.sqrt(np.maximum(values, 0.0).mean()))


def _discrete(energy: Energy, x: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Moves discrete coordinates to neighbouring cells that score better, one at a time."""
    for _ in range(4):
        before = x
        for coordinate in np.flatnonzero(cells).tolist():
            others = neighbours(x, coordinate, int(cells[coordinate]), energy.members - 1)
            points = np.concatenate([x[None], others])
            filled = np.resize(points, (energy.members, len(x)))
            scores = energy.sample(filled)
            if np.argmin(scores):  # a move has to show twice
                scores = scores + energy.sample(filled)
            x = points[int(np.argmin(scores[: len(points)]))]
        if np.array_equal(x, before):
            break
    return x


def _worse(energy: Energy, x: np.ndarray, other: np.ndarray) -> tuple[bool, tuple[float, float]]:
    """Whether x forecasts the data worse than another point, beyond the data's own noise.

    Returns:
        That, and the scores of both.
    """
    half = energy.members // 2
    points = np.repeat(np.stack([x, other]), half, axis=0)
    words = np.stack([energy.fresh() for _ in range(half)])
    energies, count = energy.by_trajectory(points, np.concatenate([words, words]))
    share = energy.weights / np.maximum(count.sum(axis=0), 1)
    both = np.stack([energies[:half].mean(axis=0), energies[half:].mean(axis=0)])
    lead = ((both[0] - both[1]) * share).sum(axis=1)
    units = len(lead)
    worse = units >= FEW and bool(lead.sum() > WORSE * units * standard_error(lead, units))
    own, others = overall(both.sum(axis=1), count.sum(axis=0), energy.weights).tolist()
    return worse, (own, others)
