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
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from evosax.algorithms import CMA_ES
from scipy.stats import norm

from gsim_jax.calibrate import quadratic
from gsim_jax.calibrate.calibration import Calibration
from gsim_jax.calibrate.objective import Objective
from gsim_jax.calibrate.score import Scores, contributions, horizon_sums, overall
from gsim_jax.simulator.parameters import sobol
from gsim_jax.task import Trajectories

#: x is kept inside +-X_EDGE: Phi(4) leaves 3e-5 of the prior on either side.
X_EDGE = 4.0
#: Initial standard deviation of a search, where the prior's is 1.
SPREAD = 0.5

_sums = jax.jit(horizon_sums)


@dataclass(frozen=True)
class Evolution:
    """CMA-ES with growing words, then a quadratic fit.

    Attributes:
        design: points of the first scan over the prior, as multiples of the population.
        restarts: searches from different good points of the scan; the best of them goes on.
        explore: generations of each such search at dimension 0; 3 more per dimension.
        refine: generations of the one that goes on, at dimension 0; 2 more per dimension.
        most: upper limit of generations of either kind.
        polish: rounds of the quadratic fit.
        passes: passes over the data per point of the quadratic fit.
    """

    name: str = "es"
    design: int = 6
    restarts: int = 2
    explore: int = 10
    refine: int = 8
    most: int = 40
    polish: int = 2
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
        explore = min(self.explore + 3 * space.dimension, self.most)
        refine = min(self.refine + 2 * space.dimension, self.most)
        run.total = self.design + self.restarts * explore + refine + self.polish + 1
        centres = run.scan(np.stack([_to_x(u) for u in starts]), self.design, self.restarts)
        searches = [run.search(i, centre) for i, centre in enumerate(centres)]
        for search in searches:
            run.evolve(search, explore, run.quick)
        best = run.best_of(searches)
        run.evolve(best, refine, run.thorough)
        centre, spread = best.distribution()
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


class _Search:
    """One CMA-ES; what changes is its state."""

    def __init__(self, centre: np.ndarray, members: int, key: np.ndarray) -> None:
        self.strategy, params = _strategy(members, len(centre))
        self.params = params.replace(std_init=jnp.float32(SPREAD), std_min=1e-4, std_max=1.5)
        self.key = jax.random.wrap_key_data(jnp.asarray(key))
        self.state = self.strategy.init(self.key, jnp.asarray(centre, jnp.float32), self.params)
        self.generation = 0

    def step(self, fitness_of: Callable[[np.ndarray], np.ndarray]) -> float:
        """One generation; its best fitness."""
        ask, tell = jax.random.split(jax.random.fold_in(self.key, self.generation))
        with jax.numpy_rank_promotion("allow"):  # evosax adds vectors to matrices
            population, state = self.strategy.ask(ask, self.state, self.params)
        x = np.asarray(population, float)
        fitness = fitness_of(x)
        # A soft wall: beyond the edge Phi is flat and the strategy would drift.
        wall = fitness + np.sum(np.maximum(np.abs(x) - X_EDGE, 0) ** 2, axis=1)
        wall = jnp.asarray(wall, jnp.float32)
        with jax.numpy_rank_promotion("allow"):
            self.state, _ = self.strategy.tell(tell, population, wall, state, self.params)
        self.generation += 1
        return float(fitness.min())

    def distribution(self) -> tuple[np.ndarray, np.ndarray]:
        """Centre float64[d] and covariance float64[d, d]."""
        covariance = np.asarray(self.state.std**2 * self.state.C, float)
        centre = np.clip(np.asarray(self.state.mean, float), -X_EDGE, X_EDGE)
        return centre, (covariance + covariance.T) / 2


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

    def scan(self, starts: np.ndarray, batches: int, count: int) -> list[np.ndarray]:
        """The best of the starts and a Sobol design over the prior that are apart from another."""
        dimension = starts.shape[1]
        points = sobol(dimension, batches * self.members, int(self._key(0, "design")[0]))
        points = np.concatenate([starts, _to_x(points)])[: batches * self.members]
        words, scores = self._fresh(), []
        for b in range(batches):
            batch = points[b * self.members : (b + 1) * self.members]
            scores.append(self.mean_scores(batch, words, [0]))
            self._tick()
        order = np.argsort(np.concatenate(scores), kind="stable")
        chosen = [points[order[0]]]
        for index in order[1:]:
            apart = min(np.linalg.norm(points[index] - other) for other in chosen)
            if len(chosen) < count and apart > 2 * SPREAD:
                chosen.append(points[index])
        return chosen

    def search(self, number: int, centre: np.ndarray) -> _Search:
        """A CMA-ES that starts at `centre`."""
        return _Search(centre, self.members, self._key(number, "search"))

    def evolve(
        self,
        search: _Search,
        generations: int,
        fitness: Callable[[int, int], Callable[[np.ndarray], np.ndarray]],
    ) -> None:
        """Runs a search on; `fitness(g, generations)` is the fitness of its generation g."""
        for g in range(generations):
            self.history.append(search.step(fitness(g, generations)))
            self._tick()

    def quick(self, g: int, generations: int) -> Callable[[np.ndarray], np.ndarray]:
        """One chunk of the data per generation, in turn, with fresh words."""
        del generations
        return lambda x: self.mean_scores(x, self._fresh(), [g % len(self.panels)])

    def thorough(self, g: int, generations: int) -> Callable[[np.ndarray], np.ndarray]:
        """All data per generation, twice towards the end."""
        everything = list(range(len(self.panels)))
        passes = 1 if 2 * g < generations else 2

        def fitness(x: np.ndarray) -> np.ndarray:
            runs = [self.mean_scores(x, self._fresh(), everything) for _ in range(passes)]
            return np.mean(runs, axis=0)

        return fitness

    def best_of(self, searches: list[_Search]) -> _Search:
        """The search whose centre scores best on all data with words that none has met."""
        if len(searches) == 1:
            return searches[0]
        centres = np.stack([search.distribution()[0] for search in searches])
        x = np.resize(centres, (self.members, centres.shape[1]))
        scores = self.mean_scores(x, self._fresh(), list(range(len(self.panels))))
        return searches[int(np.argmin(scores[: len(searches)]))]

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
            total[free, free] = np.minimum(np.diag(spread)[free], 1.0)
            return self.finish(centre, total)
        shape = quadratic.cloud_shape(spread[np.ix_(free, free)], 0.03, 0.5)
        candidates = [centre]
        for r in range(rounds):
            size = quadratic.cloud_size(len(free), self.members)
            points = quadratic.cloud(len(free), size, int(self._key(r, "cloud")[0]))
            x = np.tile(candidates[-1], (size, 1))
            x[:, free] += points @ shape.T
            scores = np.mean([self.unit_scores(x, self._fresh()) for _ in range(passes)], axis=0)
            fitted = quadratic.fit(points, scores)
            moved = candidates[-1].copy()
            moved[free] = np.clip(moved[free] + shape @ fitted.step, -X_EDGE, X_EDGE)
            candidates.append(moved)
            small = quadratic.covariance(fitted, shape, self.units)
            shape = quadratic.cloud_shape(small, 0.02, 0.7)
            self._tick()
        total[np.ix_(free, free)] = small
        return self.finish(self._best(np.stack(candidates), passes), total)

    def _best(self, candidates: np.ndarray, passes: int) -> np.ndarray:
        x = np.resize(candidates, (self.members, candidates.shape[1]))
        everything = list(range(len(self.panels)))
        runs = [self.mean_scores(x, self._fresh(), everything) for _ in range(2 * passes)]
        scores = np.stack(runs)[:, : len(candidates)]
        # The last fit is the most exact; an earlier point must be better by more than the noise of
        # the words. The data are the same for all, so their noise does not enter.
        lead = scores[:, :-1] - scores[:, -1:]
        error = lead.std(axis=0, ddof=1) / np.sqrt(len(lead))
        better = lead.mean(axis=0) + 2.0 * error
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
