"""Calibration by evolution strategy (evosax), finished by the method of simulated moments.

The search runs in x with u = Phi(x), so the prior is a standard normal in x. It sees the energy
score of small pieces of the data: points of one generation share their words (common random
numbers), generations do not. What comes out is not the best draw ever seen: from the centre of the
final distribution Gauss-Newton steps solve an efficient estimating equation on all data
(`moments`), or, where two rows reveal every draw, the exact likelihood is maximised (`newton`).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal

import evosax.algorithms
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from scipy.stats import norm

from gsim_jax.calibrate.calibration import Calibration
from gsim_jax.calibrate.fitness import X_EDGE, Energy, Fitness, exact_density
from gsim_jax.calibrate.newton import maximise
from gsim_jax.calibrate.objective import Objective, forecasts_for
from gsim_jax.calibrate.refine import refine
from gsim_jax.simulator.parameters import ParameterSpace, sobol
from gsim_jax.task import Trajectories
from gsim_jax.words import named_words

#: Initial standard deviation of a search, where the prior's is 1.
SPREAD = 0.5
#: Beyond TAIL prior deviations points are drawn back, by PULL per squared deviation in units of the
#: score: a parameter that the pieces of data say little about would else drift to an edge.
TAIL, PULL = 1.5, 0.02
#: Where all standard deviations of a generation are below this, what is left is not for a search.
NARROW = 0.1


@dataclass(frozen=True)
class Evolution:
    """An evolution strategy over the prior, then an efficient estimate from where it ends.

    Attributes:
        score: what is fitted: "energy" (simulated forecasts), "log" (the exact likelihood of
            programs with `implied` on complete data), or "auto" (the latter where it exists).
        strategy: an evosax strategy that searches with a distribution: "CMA_ES", "Sep_CMA_ES",
            "MA_ES", "xNES", "SNES".
        design: points of the first scan over the prior, as multiples of the members of a call, at
            most; as many multiples as parameters, but two at least.
        restarts: searches from different good points of the scan; the best of them goes on.
        explore: generations of the search at dimension 0, 2 more per dimension; every restart has
            a third as many before the best goes on.
        most: upper limit of generations.
        steps: upper limit of Gauss-Newton steps.
        passes: upper limit of passes over the data per step.
        mesh: devices to spread the members of a generation over; None leaves it to JAX.
    """

    name: str = "es"
    score: Literal["auto", "energy", "log"] = "auto"
    strategy: str = "CMA_ES"
    design: int = 4
    restarts: int = 2
    explore: int = 8
    most: int = 60
    steps: int = 16
    passes: int = 16
    mesh: Mesh | None = None

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
            objective: the candidate's objective: simulator, scale and shapes.
            data: training data.
            seed: everything random follows from it.
            start: float64[d], a point of the unit cube to start from (a parent's).
            progress: called with the share of the work that is done.

        Returns:
            The calibrated point with its error.

        Raises:
            InputError: `score` is "log" and the program or the data have no exact likelihood.
        """
        space = objective.simulator.parameters
        forecasts = forecasts_for(objective, data, self.mesh)
        energy = Energy(forecasts, *objective.scoring(forecasts.shape.plan), seed)
        report = progress or (lambda _: None)
        if not space.dimension:
            return _finish(objective, energy, np.zeros(0), np.zeros((0, 0)))
        exact = exact_density(objective, data, self.score)
        starts = [space.guess()] + ([np.asarray(start)] if start is not None else [])
        points = np.stack([to_x(u) for u in starts])
        if exact is not None and self.score == "auto" and not _possible(exact, points, seed):
            exact = None  # no point of the prior could have produced the data: forecasts decide
        search = _Search(self, exact or energy, seed, lambda share: report(0.5 * share))
        centre, spread = search.run(points)
        centre = _settled(centre, space)
        if exact is not None:
            found = maximise(exact, centre, space.cells)
        else:
            found = refine(
                energy, centre, spread, space.cells, self.steps, self.passes,
                lambda share: report(0.5 + 0.5 * share),
            )  # fmt: skip
        report(1.0)
        return _finish(
            objective, energy, found.x, found.covariance, score=found.score,
            history=tuple(search.history), warnings=found.warnings, exact=exact,
        )  # fmt: skip


def to_x(u: np.ndarray) -> np.ndarray:
    """From the unit cube to the coordinates of the search, cut off at `X_EDGE`."""
    return np.clip(norm.ppf(np.asarray(u, float)), -X_EDGE, X_EDGE)


def _scan_points(starts: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The starts and a Sobol design over the prior, float64[count, d]."""
    number = int(named_words(seed, "design", 0)[0])
    return np.concatenate([starts, to_x(sobol(starts.shape[1], count, number))])[:count]


def _possible(exact: Fitness, starts: np.ndarray, seed: int) -> bool:
    return bool(np.isfinite(exact.sample(_scan_points(starts, exact.members, seed))).any())


def _settled(x: np.ndarray, space: ParameterSpace) -> np.ndarray:
    """Discrete coordinates on the middle of their cell, where the refinement leaves them."""
    if not space.discrete.any():
        return x
    middle = to_x(space.to_unit(space.flat(norm.cdf(x))))
    return np.where(space.discrete, middle, x)


@lru_cache(maxsize=32)
def _strategy(name: str, members: int, dimension: int) -> tuple[Any, Any]:
    # One instance per size: evosax compiles ask and tell per instance.
    strategy = getattr(evosax.algorithms, name)(
        population_size=members, solution=jnp.zeros(dimension)
    )
    params = strategy.default_params.replace(std_init=jnp.float32(SPREAD))
    if hasattr(params, "std_min"):
        params = params.replace(std_min=1e-4, std_max=1.5)
    return strategy, params


@partial(jax.jit, static_argnums=0)
def _ask(strategy: Any, key: jax.Array, generation: Any, state: Any, params: Any) -> Any:
    """The points of a generation, the state after, and the key for telling."""
    ask, tell = jax.random.split(jax.random.fold_in(key, generation))
    with jax.numpy_rank_promotion("allow"):  # evosax adds vectors to matrices
        population, state = strategy.ask(ask, state, params)
    return population, state, tell


class _Climb:
    """One run of a strategy; what changes is its state."""

    def __init__(self, name: str, centre: np.ndarray, members: int, key: np.ndarray) -> None:
        self.strategy, self.params = _strategy(name, members, len(centre))
        self.key = jax.random.wrap_key_data(jnp.asarray(key))
        self.state = self.strategy.init(self.key, jnp.asarray(centre, jnp.float32), self.params)
        self.generation = 0
        self.population = np.asarray(centre)[None]

    def step(self, fitness: Callable[[np.ndarray, int], np.ndarray]) -> float:
        """One generation; its best value of (points, generation) -> values."""
        population, state, tell = _ask(
            self.strategy, self.key, self.generation, self.state, self.params
        )
        self.population = np.asarray(population, float)
        values = fitness(self.population, self.generation)
        worst = np.max(values, where=np.isfinite(values), initial=0.0)
        finite = np.where(np.isfinite(values), values, worst + 1.0 + abs(worst))
        # Soft walls: where Phi is flat no score could bring the strategy back.
        beyond = np.maximum(np.abs(self.population)[..., None] - [TAIL, X_EDGE], 0) ** 2
        wall = np.sum(beyond @ [PULL, 1.0], axis=1)
        wall = jnp.asarray(finite + wall, jnp.float32)
        with jax.numpy_rank_promotion("allow"):
            self.state, _ = self.strategy.tell(tell, population, wall, state, self.params)
        self.generation += 1
        return float(finite.min())

    @property
    def narrow(self) -> bool:
        """Whether the last generation spans so little that the refinement does better."""
        return len(self.population) > 1 and bool(self.population.std(axis=0).max() < NARROW)

    @property
    def centre(self) -> np.ndarray:
        """float64[d]."""
        return np.clip(np.asarray(self.state.mean, float), -X_EDGE, X_EDGE)

    @property
    def spread(self) -> np.ndarray:
        """Covariance of the last generation, drawn towards its mean variance, float64[d, d]."""
        found = np.atleast_2d(np.cov(self.population, rowvar=False))
        return 0.5 * found + 0.5 * np.mean(np.diag(found)) * np.eye(len(found))


def _rehearse(strategy: str, members: int, dimension: int) -> None:
    """One generation that compiles everything and changes nothing."""
    rehearsal = _Climb(strategy, np.zeros(dimension), members, np.zeros(2, np.uint32))
    rehearsal.step(lambda points, generation: np.zeros(len(points)))


class _Search:
    """Scan, several runs of the strategy from good points of the scan, the best one further."""

    def __init__(
        self, plan: Evolution, fitness: Fitness, seed: int, report: Callable[[float], None]
    ) -> None:
        self.plan, self.fitness, self.seed, self.report = plan, fitness, seed, report
        self.history: list[float] = []

    def run(self, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Centre float64[d] and covariance float64[d, d] of the best run's last generation."""
        plan = self.plan
        generations = min(plan.explore + 2 * starts.shape[1], plan.most)
        first = -(-generations // 3) if plan.restarts > 1 else 0
        members = self.fitness.members
        # The strategy compiles while the scan's first call compiles the forecasts.
        with ThreadPoolExecutor(1) as pool:
            rehearsed = pool.submit(_rehearse, plan.strategy, members, starts.shape[1])
            chosen = self._scan(starts)
            rehearsed.result()
        runs = [
            _Climb(plan.strategy, x, members, named_words(self.seed, "search", i))
            for i, x in enumerate(chosen)
        ]
        total = len(runs) * first + generations
        for run in runs:
            self._evolve(run, first, total)
        best = self._best(runs) if len(runs) > 1 else runs[0]
        self._evolve(best, generations, total)
        return best.centre, best.spread

    def _evolve(self, run: _Climb, generations: int, total: float) -> None:
        for _ in range(generations):
            if run.narrow:
                return
            self.history.append(run.step(self.fitness.quick))
            self.report(min(1.0, len(self.history) / total))

    def _scan(self, starts: np.ndarray) -> list[np.ndarray]:
        """The best of the starts and of a Sobol design over the prior that are apart."""
        members = self.fitness.members
        calls = min(self.plan.design, max(2, starts.shape[1]))
        points = _scan_points(starts, calls * members, self.seed)
        scores = np.concatenate([self.fitness.quick(batch, 0) for batch in np.split(points, calls)])
        order = np.argsort(scores, kind="stable")
        chosen = [points[order[0]]]
        for index in order[1:]:
            apart = min(np.linalg.norm(points[index] - other) for other in chosen)
            if len(chosen) < self.plan.restarts and apart > 2 * SPREAD:
                chosen.append(points[index])
        return chosen

    def _best(self, runs: list[_Climb]) -> _Climb:
        """The run whose centre scores best on all data with words that none has met."""
        centres = np.stack([run.centre for run in runs])
        scores = self.fitness.sample(np.resize(centres, (self.fitness.members, len(centres[0]))))
        return runs[int(np.argmin(scores[: len(runs)]))]


def _finish(
    objective: Objective,
    energy: Energy,
    x: np.ndarray,
    covariance: np.ndarray,
    *,
    score: float | None = None,
    history: tuple[float, ...] = (),
    warnings: tuple[str, ...] = (),
    exact: Any = None,
) -> Calibration:
    space = objective.simulator.parameters
    u = norm.cdf(x)
    if exact is not None:
        score = float(exact.sample(np.tile(x, (exact.members, 1)))[0])
    elif score is None:
        score = energy.at(x)
    # dw = (dw/du) phi(x) dx; discrete coordinates have slope 0.
    deviation = space.slopes(u) * norm.pdf(x) * np.sqrt(np.diag(covariance))
    calls = sum(used.calls for used in energy.used) + (exact.calls if exact is not None else 0)
    objective.compile_seconds += sum(used.compile_seconds for used in energy.used)
    return Calibration(
        u=u,
        parameters=space.flat(u),
        errors=dict(zip(space.labels, np.abs(deviation).tolist(), strict=True)),
        covariance=covariance,
        score=float(score),
        evaluations=calls * energy.members,
        cost=sum(used.calls * used.operations for used in energy.used),
        history=history,
        warnings=warnings,
    )
