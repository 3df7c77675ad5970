"""Calibration by evolution strategy (evosax) on the energy score.

The search runs in x with u = Phi(x), so the prior is a standard normal in x. Points of one
generation share their words (common random numbers), generations do not, and the number of words
grows as the search narrows. What comes out is not the best draw ever seen: the centre of the final
distribution is moved to the minimum of a local quadratic fit, and the candidates for the result are
compared on fresh words.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from evosax.algorithms import CMA_ES
from scipy.stats import norm

from gsim_jax.calibrate import quadratic
from gsim_jax.calibrate.objective import Objective
from gsim_jax.calibrate.score import Scores, contributions, horizon_sums, overall, standard_error
from gsim_jax.simulator.parameters import sobol
from gsim_jax.task import Trajectories

#: x is kept inside +-X_EDGE: Phi(4) leaves 3e-5 of the prior on either side.
X_EDGE = 4.0

_sums = jax.jit(horizon_sums)


@dataclass(frozen=True)
class Calibration:
    """A calibrated point.

    Attributes:
        u: float64[d], the point on the unit cube.
        parameters: `{label: value}` in the parameters' units.
        errors: `{label: standard error}`; for integers and choices 0 (not estimated).
        covariance: float64[d, d] of x = Phi^-1(u).
        score: score on the training data, fresh words.
        evaluations: points evaluated.
        cost: counted operations (operations per step x lanes x steps).
        history: best mean score per generation.
    """

    u: np.ndarray
    parameters: dict[str, float]
    errors: dict[str, float]
    covariance: np.ndarray
    score: float
    evaluations: int
    cost: float
    history: tuple[float, ...] = field(default=())


class Calibrator(Protocol):
    """Anything that fits a simulator's parameters to training data."""

    @property
    def name(self) -> str:
        """Name for the run record."""
        ...

    def calibrate(
        self,
        objective: Objective,
        data: Trajectories,
        seed: int,
        *,
        start: np.ndarray | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Calibration:
        """Fits parameters; deterministic in its arguments."""
        ...


@dataclass(frozen=True)
class Evolution:
    """CMA-ES with growing words, then a quadratic fit.

    Attributes:
        design: points of the first scan over the prior, as multiples of the population.
        generations: generations at dimension 0; 4 more per dimension, at most `most`.
        most: upper limit of generations.
        polish: rounds of the quadratic fit.
        passes: passes over the data per point of the quadratic fit.
    """

    name: str = "es"
    design: int = 4
    generations: int = 16
    most: int = 60
    polish: int = 3
    passes: int = 4

    def calibrate(
        self,
        objective: Objective,
        data: Trajectories,
        seed: int,
        *,
        start: np.ndarray | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Calibration:
        """Fits the parameters of `objective.simulator` to `data`.

        Args:
            objective: the compiled objective.
            data: training data.
            seed: everything random follows from it.
            start: float64[d], a point of the unit cube to start from (a parent's).
            progress: called with the share of the work that is done.

        Returns:
            The calibrated point with its error.
        """
        run = _Run(objective, data, seed, progress or (lambda _: None))
        space = objective.simulator.parameters
        if not space.dimension:
            return run.finish(np.zeros(0), np.zeros((0, 0)))
        starts = [space.guess()] + ([np.asarray(start)] if start is not None else [])
        generations = min(self.generations + 4 * space.dimension, self.most)
        run.total = self.design + generations + 2 * self.polish
        centre, spread = run.scan(np.stack([_to_x(u) for u in starts]), self.design)
        centre, spread = run.evolve(centre, spread, generations)
        centre = run.settle(centre, space.discrete)
        return run.polish(centre, spread, space.discrete, self.polish, self.passes)


def _to_x(u: np.ndarray) -> np.ndarray:
    return np.clip(norm.ppf(np.asarray(u, float)), -X_EDGE, X_EDGE)


def _to_u(x: np.ndarray) -> np.ndarray:
    return norm.cdf(np.clip(x, -X_EDGE, X_EDGE))


@lru_cache(maxsize=32)
def _strategy(members: int, dimension: int) -> tuple[CMA_ES, Any]:
    # One instance per size: evosax compiles ask and tell per instance.
    strategy = CMA_ES(population_size=members, solution=jnp.zeros(dimension))
    return strategy, strategy.default_params


class _Run:
    """One calibration: where the words, the chunks and the counters live."""

    def __init__(
        self,
        objective: Objective,
        data: Trajectories,
        seed: int,
        progress: Callable[[float], None],
    ) -> None:
        self.objective = objective
        self.seed = seed
        self.panels = [objective.shared(panel) for panel in objective.panels(data)]
        self.members = objective.settings.members
        self.units = max(len(data), 1)
        self.weights = objective.settings.plan.weights(objective.settings.rows)
        self.progress = progress
        self.done, self.total = 0, 1
        self.calls = 0
        self.words_used = 0
        self.history: list[float] = []

    def _tick(self) -> None:
        self.done += 1
        self.progress(min(1.0, self.done / self.total))

    def _fresh(self) -> int:
        self.words_used += 1
        return self.words_used

    def _key(self, number: int, stage: str = "words") -> np.ndarray:
        sequence = np.random.SeedSequence([self.seed, zlib.crc32(stage.encode()), number])
        return sequence.generate_state(2, np.uint32)

    def _pass(self, x: np.ndarray, words: int, chunks: list[int]) -> Iterator[Scores]:
        key = self._key(words)
        u = jnp.asarray(_to_u(x), jnp.float32)
        size = self.objective.settings.chunk
        for chunk in chunks:
            self.calls += 1
            yield self.objective.scores(u, self.panels[chunk], key, chunk * size)

    def mean_scores(self, x: np.ndarray, words: int, chunks: list[int]) -> np.ndarray:
        """Score of each member on some chunks, float64[P]; inf where nothing can be scored."""
        energy = count = 0.0
        for scores in self._pass(x, words, chunks):
            part, number = _sums(scores)
            energy, count = energy + np.asarray(part, float), count + np.asarray(number, float)
        return overall(np.asarray(energy), np.asarray(count), self.weights)

    def unit_scores(self, x: np.ndarray, words: int) -> np.ndarray:
        """Scores of Q points per unit, float64[Q, n]: trajectories, or blocks of rows of few."""
        rows = []
        for start in range(0, len(x), self.members):
            batch = x[start : start + self.members]
            parts = list(self._pass(batch, words, list(range(len(self.panels)))))
            energy = np.concatenate([np.asarray(part.energy, float) for part in parts], axis=1)
            valid = np.concatenate([np.asarray(part.valid) for part in parts], axis=1)
            rows.append(contributions(energy, valid, self.weights, self.units))
        return np.concatenate(rows)

    def scan(self, starts: np.ndarray, batches: int) -> tuple[np.ndarray, float]:
        """Best of the starts and a Sobol design over the prior; (x, initial spread)."""
        dimension = starts.shape[1]
        seed = int(self._key(0, "design")[0])
        points = sobol(dimension, batches * self.members, seed)
        points = np.concatenate([starts, _to_x(points)])[: batches * self.members]
        words, scores = self._fresh(), []
        for b in range(batches):
            batch = points[b * self.members : (b + 1) * self.members]
            scores.append(self.mean_scores(batch, words, [0]))
            self._tick()
        order = np.argsort(np.concatenate(scores), kind="stable")
        return points[order[0]], 0.5

    def evolve(
        self, centre: np.ndarray, spread: float, generations: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """CMA-ES from a centre; (centre, standard deviation per coordinate)."""
        strategy, params = _strategy(self.members, len(centre))
        params = params.replace(std_init=jnp.float32(spread), std_min=1e-4, std_max=1.5)
        key = jax.random.wrap_key_data(jnp.asarray(self._key(0, "search")))
        state = strategy.init(key, jnp.asarray(centre, jnp.float32), params)
        for g in range(generations):
            ask, tell = jax.random.split(jax.random.fold_in(key, g))
            population, state = strategy.ask(ask, state, params)
            x = np.asarray(population, float)
            fitness = self._fitness(x, g, generations)
            self.history.append(float(fitness.min()))
            # A soft wall: beyond the edge Phi is flat and the strategy would drift.
            fitness = fitness + np.sum(np.maximum(np.abs(x) - X_EDGE, 0) ** 2, axis=1)
            state, _ = strategy.tell(
                tell, population, jnp.asarray(fitness, jnp.float32), state, params
            )
            self._tick()
        deviation = np.asarray(state.std * jnp.sqrt(jnp.diag(state.C)), float)
        return np.clip(np.asarray(state.mean, float), -X_EDGE, X_EDGE), deviation

    def _fitness(self, x: np.ndarray, g: int, generations: int) -> np.ndarray:
        chunks = len(self.panels)
        if 2 * g < generations:
            return self.mean_scores(x, self._fresh(), [g % chunks])
        repeats = 1 if 4 * g < 3 * generations else 2
        return np.mean(
            [self.mean_scores(x, self._fresh(), list(range(chunks))) for _ in range(repeats)], 0
        )

    def settle(self, centre: np.ndarray, discrete: np.ndarray) -> np.ndarray:
        """Puts discrete coordinates on the middle of their cell, so that the polish leaves them."""
        if not discrete.any():
            return centre
        space = self.objective.simulator.parameters
        u = space.to_unit(space.flat(_to_u(centre)))
        return np.where(discrete, _to_x(u), centre)

    def polish(
        self,
        centre: np.ndarray,
        spread: np.ndarray,
        discrete: np.ndarray,
        rounds: int,
        passes: int,
    ) -> Calibration:
        """Quadratic fits around the centre, each at the scale that the last one found."""
        free = np.flatnonzero(~discrete)
        total = np.zeros((len(centre), len(centre)))
        if not 0 < len(free) <= quadratic.MAX_DIMENSION:
            total[free, free] = np.minimum(spread[free], 1.0) ** 2
            return self.finish(centre, total)
        radius = np.clip(2.0 * spread[free], 0.03, 0.5)
        candidates = [centre]
        for r in range(rounds):
            size = quadratic.cloud_size(len(free), self.members)
            points = quadratic.cloud(len(free), size, int(self._key(r, "cloud")[0]))
            x = np.tile(candidates[-1], (size, 1))
            x[:, free] += points * radius
            scores = np.mean([self.unit_scores(x, self._fresh()) for _ in range(passes)], axis=0)
            fitted = quadratic.fit(points, scores)
            moved = candidates[-1].copy()
            moved[free] = np.clip(moved[free] + fitted.step * radius, -X_EDGE, X_EDGE)
            candidates.append(moved)
            small = quadratic.covariance(fitted, radius, self.units)
            # The next cloud is as wide as the error: wider is biased, narrower sees roughness.
            radius = np.clip(2.0 * np.sqrt(np.diag(small)), 0.02, 0.7)
            self._tick()
        total[np.ix_(free, free)] = small
        return self.finish(self._best(np.stack(candidates), passes), total)

    def _best(self, candidates: np.ndarray, passes: int) -> np.ndarray:
        padded = np.resize(candidates, (self.members, candidates.shape[1]))
        scores = np.mean([self.unit_scores(padded, self._fresh()) for _ in range(passes)], axis=0)
        scores = scores[: len(candidates)]
        # The last fit is the most exact; an earlier point needs to be better by more than noise.
        lead = scores[:-1] - scores[-1]
        error = np.array([standard_error(row, self.units) for row in lead])
        better = lead.mean(axis=1) + 2.0 * error
        best = int(np.argmin(better))
        self._tick()
        return candidates[best] if better[best] < 0 else candidates[-1]

    def finish(self, x: np.ndarray, covariance: np.ndarray) -> Calibration:
        """The result at x."""
        objective, settings = self.objective, self.objective.settings
        space = objective.simulator.parameters
        u = _to_u(x)
        score = self.mean_scores(
            np.tile(x, (self.members, 1)), self._fresh(), list(range(len(self.panels)))
        )[0]
        # dw = (dw/du) phi(x) dx; discrete coordinates have slope 0.
        deviation = space.slopes(u) * norm.pdf(x) * np.sqrt(np.diag(covariance))
        lanes = self.members * settings.chunk * objective.replicates * len(settings.plan.tracks[0])
        return Calibration(
            u=u,
            parameters=space.flat(u),
            errors=dict(zip(space.labels, np.abs(deviation).tolist(), strict=True)),
            covariance=covariance,
            score=float(score),
            evaluations=self.calls * self.members,
            cost=float(self.calls) * lanes * (settings.rows - 1) * objective.simulator.cost,
            history=tuple(self.history),
        )
