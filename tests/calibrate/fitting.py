"""Worlds whose information is known exactly, and the compiled draws that calibration runs on."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from scipy.stats import norm

from gsim_jax import sampling
from gsim_jax.calibrate import increment_scale
from gsim_jax.calibrate.fitness import Energy
from gsim_jax.calibrate.forecasts import Forecasts, Shape
from gsim_jax.calibrate.moments import Equation, equation
from gsim_jax.simulator import priors
from gsim_jax.simulator.native import NativeSimulator, from_functions
from gsim_jax.simulator.panel import build_panel
from gsim_jax.simulator.predict import Plan
from gsim_jax.task import Schema, Trajectories, Variable
from tests.simulator.worlds import data_of, schema_of

#: Single steps: all the information of a Markov process that is seen completely.
STEPS = Plan((), free=False)
POOL = schema_of(states={"n": Variable("n", "count", min=0)})


def forecasts_of(
    simulator: Any, schema: Schema, data: Trajectories, *, chunk: int | None = None,
    members: int = 16, replicates: int = 16,
) -> Forecasts:  # fmt: skip
    """Single-step draws of complete data, in one piece unless told otherwise."""
    shape = Shape(STEPS, members, replicates, chunk or len(data))
    return Forecasts(simulator, schema, data, shape, weighted=False)


def energy_of(forecasts: Forecasts, data: Trajectories, seed: int = 1) -> Energy:
    """Energy scores of such draws."""
    scale = increment_scale(build_panel(forecasts.schema, data), forecasts.shape.plan)
    return Energy(forecasts, scale, np.ones(1), seed)


def equation_at(energy: Energy, x: np.ndarray, shape: np.ndarray, passes: int = 4) -> Equation:
    """The estimating equation at x, in coordinates z with x + shape z."""
    return equation(
        energy.forecasts, energy.to_unit, x, shape, energy.scale, energy.weights, passes,
        energy.fresh,
    )  # fmt: skip


def thinning(schema: Schema = POOL) -> NativeSimulator:
    """n' = n - Binomial(n, p)."""

    def leave(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
        return {"left": sampling.binomial(key, state["n"], params["p"])}

    def couple(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
        return {"n": state["n"] - outputs["left"]}

    parameters = {"leave": {"p": priors.Uniform(0.0, 1.0, guess=0.5)}}
    return from_functions(schema, parameters, [leave], couple)


def draw_thinning(
    p: float, n: int, rows: int, seed: int, *, start: int = 100, precision: float = np.inf
) -> np.ndarray:
    """Trajectories of the same world, int64[n, rows].

    Args:
        p: probability to leave.
        n: trajectories.
        rows: rows of each.
        seed: of the generator.
        start: everybody in the first row.
        precision: with a finite one each step's probability is a beta draw of mean p and this sum
            of concentrations: more variance than any binomial law has.
    """
    generator = np.random.default_rng(seed)
    path = [np.full(n, start)]
    for _ in range(rows - 1):
        share = np.full(n, p)
        if np.isfinite(precision):
            share = generator.beta(p * precision, (1 - p) * precision, n)
        path.append(path[-1] - generator.binomial(path[-1], share))
    return np.stack(path, axis=1)


def counts(n: np.ndarray) -> Trajectories:
    """Data of one counted pool."""
    return data_of(POOL, {"n": n})


def thinning_score(n: np.ndarray, x: float) -> tuple[float, float]:
    """Slope of the log likelihood in x, where p = Phi(x), and Fisher information given the rows."""
    p, density = norm.cdf(x), norm.pdf(x)
    before, left = n[:, :-1].sum(), (n[:, :-1] - n[:, 1:]).sum()
    each = p * (1 - p)
    return float((left - before * p) / each * density), float(before / each * density**2)


def walk_unit(a: float, sd: float) -> np.ndarray:
    """Coordinates x of the AR(1)'s parameters: uniform on (0, 1), log-uniform on (0.1, 10)."""
    return norm.ppf([a, np.log(sd / 0.1) / np.log(100.0)])


def walk_score(path: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope [2] of the AR(1)'s log likelihood in x, Fisher information [2, 2] given the rows."""
    u = norm.cdf(x)
    a, sd = u[0], 0.1 * 100.0 ** u[1]
    before, after = path[:, :-1], path[:, 1:]
    gap = after - a * before
    slopes = norm.pdf(x) * [1.0, sd * np.log(100.0)]
    score = np.array([(before * gap).sum(), (gap**2 / sd - sd).sum()]) / sd**2
    fisher = np.diag([(before**2).sum(), 2.0 * before.size]) / sd**2
    return score * slopes, fisher * np.outer(slopes, slopes)


def refilled(schema: Schema = POOL) -> NativeSimulator:
    """n' = n - Binomial(n, p) + step: a probability, an integer, a number that nothing reads."""

    def flows(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
        return {"left": sampling.binomial(key, state["n"], params["p"]), "came": params["step"]}

    def couple(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
        return {"n": state["n"] - outputs["left"] + outputs["came"]}

    parameters = {
        "flows": {
            "p": priors.Uniform(0.0, 1.0, guess=0.5),
            "step": priors.Integer(0, 9, guess=1),
            "spare": priors.Normal(0.0, 3.0, guess=0.0),
        }
    }
    return from_functions(schema, parameters, [flows], couple)


def draw_refilled(p: float, step: int, n: int, rows: int, seed: int) -> np.ndarray:
    """Trajectories of the same world, int64[n, rows]; every other one starts empty."""
    generator = np.random.default_rng(seed)
    path = [np.where(np.arange(n) % 2, 0, generator.integers(20, 200, n))]
    for _ in range(rows - 1):
        path.append(path[-1] - generator.binomial(path[-1], p) + step)
    return np.stack(path, axis=1)
