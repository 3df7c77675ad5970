"""Calibration by the squared error of simulated trajectories, as the paper calibrates.

One simulated trajectory against one observed one: the error's expectation is squared bias plus the
simulator's own variance, so that too small a variance is rewarded (arXiv 2506.09272 minimises it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import evosax.algorithms
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from gsim_jax.calibrate import Calibration, Objective
from gsim_jax.calibrate.fitness import X_EDGE
from gsim_jax.calibrate.forecasts import Forecasts, shape_for
from gsim_jax.simulator.parameters import sobol
from gsim_jax.simulator.predict import Plan
from gsim_jax.task import Trajectories
from gsim_jax.words import named_words


@jax.jit
def _errors(draws: jax.Array, target: jax.Array, seen: jax.Array, scale: jax.Array) -> jax.Array:
    """Sums of squared errors of free runs, float32[P]; draws as `Forecasts.draws` gives them."""
    free = draws[..., -1, :]  # [P, n, T, V, R]
    error = (free - target[None, ..., None]) / scale[None, None, None, :, None]
    error = jnp.where(seen[None, ..., -1, None], jnp.where(jnp.isfinite(error), error, 1e3), 0.0)
    return jnp.sum(jnp.mean(error**2, axis=-1), axis=(1, 2, 3))


@dataclass(frozen=True)
class SquaredError:
    """CMA-ES on the mean squared error of free runs from the first rows.

    Attributes:
        design: points of the scan that it starts from, as multiples of the members of a call.
        generations: at dimension 0; four more per dimension.
    """

    name: str = "squared error"
    design: int = 4
    generations: int = 16

    def calibrate(
        self,
        objective: Objective,
        data: Trajectories,
        seed: int,
        *,
        start: np.ndarray | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Calibration:
        """Fits the parameters; see `gsim_jax.calibrate.Calibrator`.

        Args:
            objective: the candidate's objective.
            data: training data.
            seed: everything random follows from it.
            start: a point of the unit cube that joins the scan.
            progress: called once, with 1.
        """
        space, settings = objective.simulator.parameters, objective.settings
        plan, members = Plan((), free=True), settings.members
        shape = shape_for(plan, len(data), data.rows, objective.simulator.cost, members, None)
        forecasts = Forecasts(objective.simulator, objective.schema, data, shape, weighted=False)
        scale, _ = objective.scoring(plan)
        fitness = partial(_fitness, forecasts, jnp.asarray(scale[-1], jnp.float32))
        starts = [space.guess()] + ([np.asarray(start)] if start is not None else [])
        spread = sobol(space.dimension, self.design * members, seed)
        points = _x(np.concatenate([np.stack(starts), spread])[: self.design * members])
        words = named_words(seed, "squared error, scan", 0)
        values = [fitness(part, 0, words) for part in np.split(points, self.design)]
        centre = points[int(np.argmin(np.concatenate(values)))]
        centre, history = self._climb(fitness, centre, members, seed)
        u = norm.cdf(centre)
        if progress is not None:
            progress(1.0)
        unknown = dict.fromkeys(space.labels, 0.0)
        return Calibration(
            u=u, parameters=space.flat(u), errors=unknown, covariance=np.zeros((len(u), len(u))),
            score=history[-1], evaluations=forecasts.calls * members,
            cost=forecasts.calls * forecasts.operations, history=tuple(history),
            warnings=("the squared error gives no standard errors",),
        )  # fmt: skip

    def _climb(
        self, fitness: Callable[..., np.ndarray], centre: np.ndarray, members: int, seed: int
    ) -> tuple[np.ndarray, list[float]]:
        dimension = len(centre)
        with jax.numpy_rank_promotion("allow"):  # evosax adds vectors to matrices
            strategy = evosax.algorithms.CMA_ES(
                population_size=members, solution=jnp.zeros(dimension)
            )
            params = strategy.default_params.replace(std_init=jnp.float32(0.5))
            key = jax.random.key(seed)
            state = strategy.init(key, jnp.asarray(centre, jnp.float32), params)
            history = []
            for generation in range(self.generations + 4 * dimension):
                ask, tell = jax.random.split(jax.random.fold_in(key, generation))
                population, state = strategy.ask(ask, state, params)
                points = np.clip(np.asarray(population, float), -X_EDGE, X_EDGE)
                words = named_words(seed, "squared error", generation)
                values = fitness(points, generation, words)
                history.append(float(values.min()))
                wall = np.sum((np.asarray(population) - points) ** 2, axis=1)
                values = jnp.asarray(values + wall, jnp.float32)
                state, _ = strategy.tell(tell, population, values, state, params)
        return np.clip(np.asarray(state.mean, float), -X_EDGE, X_EDGE), history


def _x(u: np.ndarray) -> np.ndarray:
    return np.clip(norm.ppf(u), -X_EDGE, X_EDGE)


def _fitness(
    forecasts: Forecasts, scale: jax.Array, x: np.ndarray, generation: int, words: np.ndarray
) -> np.ndarray:
    """Mean squared errors float64[P] of one piece of the data, in squared scales."""
    piece = generation % len(forecasts.panels)
    draws, _ = forecasts.draws(norm.cdf(x), piece, words)
    target, seen = forecasts.seen(piece)
    total = np.asarray(_errors(draws, target, seen, scale), float)
    return total / max(int(seen[..., -1].sum()), 1)
