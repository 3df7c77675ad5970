"""Simulated moments of whole trajectories: what they are, and how much of the data they use."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from scipy.stats import norm

from gsim_jax import sampling
from gsim_jax.calibrate import refine as refine_
from gsim_jax.calibrate.fitness import Energy
from gsim_jax.calibrate.free_runs import FreeRuns, minimise
from gsim_jax.calibrate.free_statistics import Statistics
from gsim_jax.simulator import priors
from gsim_jax.simulator.native import NativeSimulator, from_functions
from tests.calibrate.fitting import (
    POOL,
    counts,
    draw_refilled,
    energy_of,
    forecasts_of,
    refilled,
    walk_score,
    walk_unit,
)
from tests.simulator.worlds import ar1, data_of, draw_ar1, schema_of

REAL = schema_of("x")
WALK, POOLS = ar1(REAL), refilled()
BOTH = np.zeros(2, int)


def walk_energy(path: np.ndarray, seed: int = 1) -> Energy:
    data = data_of(REAL, {"x": path})
    return energy_of(forecasts_of(WALK, REAL, data), data, seed)


def minimised(
    energy: Energy, start: np.ndarray, cells: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    free = np.flatnonzero(cells == 0)
    return minimise(energy, start, cells, 0.1 * np.eye(len(free)), 12, lambda: None)


class TestStatistics:
    @pytest.mark.parametrize("variables", [1, 2, 5])
    def test_they_are_sums_of_products_and_extremes(self, variables: int) -> None:
        """Against loops that are read off the definition."""
        rows = 21
        z = np.random.default_rng(0).normal(size=(rows, variables))
        level = z + 3.0
        seen = np.random.default_rng(1).uniform(size=z.shape) < 0.8
        z[~seen] = 0
        every = [(a, b) for a in range(variables) for b in range(variables)]
        own = [(a, a) for a in range(variables)]
        pairs = every if variables <= 3 else own
        root = np.sqrt(rows)

        def lagged(a: np.ndarray, b: np.ndarray, k: int, which: Any) -> list[float]:
            return [a[: rows - k, i] @ b[k:, j] / root for i, j in which]

        expected: list[float] = []
        for first, last in ((0, 1), (1, 3), (3, 5), (5, 10), (10, 21)):
            expected += (z[first:last].sum(0) / np.sqrt(last - first)).tolist()
        expected += lagged(z, z, 0, [(a, b) for a, b in every if a <= b])
        for k in (1, 2, 3, 4, 6, 8):
            expected += lagged(z, z, k, every if k == 1 else pairs)
        expected += lagged(z**2, z, 0, pairs) + lagged(z**2, z**2, 0, pairs)
        expected += lagged(z**2, z, 1, pairs) + lagged(z, z**2, 1, pairs)
        expected += lagged(z**2, z**2, 1, pairs)
        for sign in (1, -1):
            expected += [(sign * level[seen[:, v], v]).max() for v in range(variables)]
        with jax.numpy_rank_promotion("allow"):
            found = Statistics(rows, variables).of(z, level, seen)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)

    def test_two_rows_are_enough_and_nothing_seen_is_no_extreme(self) -> None:
        z = np.zeros((1, 2))
        found = Statistics(1, 2).of(z, z, np.zeros((1, 2), bool))
        assert np.isfinite(found).all()


class TestWalk:
    @pytest.mark.slow
    def test_little_is_lost_against_likelihood_and_the_errors_say_so(self) -> None:
        """Over data sets: no bias, errors that fit, and nearly those of the exact posterior."""
        away, stated = [], []
        for seed in range(12):
            path = draw_ar1(0.8, 0.5, 40, 24, seed=50 + seed)
            x = walk_unit(0.8, 0.5)
            for _ in range(30):
                score, fisher = walk_score(path, x)
                x = x + np.linalg.solve(fisher + np.eye(2), score - x)
            error = 1 / np.sqrt(np.diag(fisher + np.eye(2)))
            found, covariance = minimised(walk_energy(path, seed), walk_unit(0.6, 0.8), BOTH)
            away.append((found - x) / error)
            stated.append(np.sqrt(np.diag(covariance)) / error)
        away = np.array(away)
        near = away.std(axis=0, ddof=1) / np.sqrt(len(away))
        assert (np.abs(away.mean(axis=0)) < 4 * near).all()
        # Distance to the mode adds to the error of likelihood: 1 would be half its efficiency.
        assert np.sqrt(np.mean(away**2)) < 0.7
        np.testing.assert_allclose(np.mean(stated, axis=0), 1.1, atol=0.25)

    def test_the_same_words_give_the_same_point(self) -> None:
        path = draw_ar1(0.8, 0.5, 24, 16, seed=50)
        one, two = (minimised(walk_energy(path, 3), walk_unit(0.6, 0.8), BOTH) for _ in range(2))
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])

    def test_what_was_not_seen_has_no_say(self) -> None:
        path = draw_ar1(0.8, 0.5, 24, 16, seed=50)
        seen = np.random.default_rng(2).uniform(size=path.shape) < 0.7
        seen[:, 0] = True
        data = data_of(REAL, {"x": path}, seen={"x": seen})
        other = replace(data, outputs=np.where(data.outputs_seen, data.outputs, 1e6))
        (x, covariance), (again, _) = (
            minimised(energy_of(forecasts_of(WALK, REAL, each), data, 3), walk_unit(0.6, 0.8), BOTH)
            for each in (data, other)
        )
        np.testing.assert_array_equal(x, again)
        away = x - walk_unit(0.8, 0.5)
        assert away @ np.linalg.solve(covariance, away) < 16


class TestDiscrete:
    def test_an_integer_is_found_beside_a_probability(self) -> None:
        data = counts(draw_refilled(0.15, 5, 24, 30, 1))
        energy = energy_of(forecasts_of(POOLS, POOL, data), data)
        wrong = np.array([norm.ppf(0.3), norm.ppf(0.25), 1.0])  # step 2 for 5
        found, covariance = minimised(energy, wrong, np.array([0, 10, 0]))
        assert found[1] == pytest.approx(norm.ppf(0.55))
        assert abs(norm.cdf(found[0]) - 0.15) < 0.01
        assert covariance.shape == (2, 2)
        assert 0.85 < np.sqrt(covariance[1, 1]) <= 1.001  # nothing reads it: the prior stays

    @pytest.mark.parametrize("start", [8, pytest.param(18, marks=pytest.mark.slow)])
    def test_a_capacity_shows_in_what_is_never_exceeded(self, start: int) -> None:
        data = counts(_draw_capped(5.0, 12, 30, 40, 3))
        energy = energy_of(forecasts_of(_capped(), POOL, data), data)
        found, _ = minimised(energy, norm.ppf([0.4, (start + 0.5) / 20]), np.array([0, 20]))
        assert int(norm.cdf(found[1]) * 20) == 12


def _capped() -> NativeSimulator:
    """n' = min(n - Binomial(n, 1/4) + Poisson(rate), capacity)."""

    def flows(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
        first, second = jax.random.split(key)
        came = sampling.poisson(first, params["rate"])
        left = sampling.binomial(second, state["n"], 0.25)
        return {"left": left, "came": came, "most": params["capacity"]}

    def couple(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
        n = state["n"] - outputs["left"] + outputs["came"]
        return {"n": jax.numpy.minimum(n, outputs["most"])}

    parameters = {
        "flows": {
            "rate": priors.Uniform(0.0, 20.0, guess=5.0),
            "capacity": priors.Integer(0, 19, guess=10),
        }
    }
    return from_functions(POOL, parameters, [flows], couple)


def _draw_capped(rate: float, capacity: int, n: int, rows: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    path = [np.zeros(n, int)]
    for _ in range(rows - 1):
        left = generator.binomial(path[-1], 0.25)
        path.append(np.minimum(path[-1] - left + generator.poisson(rate, n), capacity))
    return np.stack(path, axis=1)


class TestPilot:
    def test_expectations_are_those_of_the_law(self) -> None:
        """At the truth residuals are noise: chi-squared with as many degrees as statistics."""
        sizes = []
        for seed in range(4):
            energy = walk_energy(draw_ar1(0.8, 0.5, 60, 24, seed=seed), seed)
            runs = FreeRuns(energy, BOTH)
            pilot = runs.pilot(walk_unit(0.8, 0.5))
            total = pilot.residual.sum(axis=0)
            sizes.append(total @ pilot.weights @ total / len(total))
            assert pilot.misfit == 1.0
        assert 0.5 < np.mean(sizes) < 1.5

    def test_far_off_the_misfit_is_seen(self) -> None:
        energy = walk_energy(draw_ar1(0.8, 0.5, 60, 24, seed=1))
        assert FreeRuns(energy, BOTH).pilot(walk_unit(0.2, 0.11)).misfit > 4

    def test_its_runs_are_part_of_the_cost(self) -> None:
        energy = walk_energy(draw_ar1(0.8, 0.5, 24, 16, seed=1))
        runs = FreeRuns(energy, BOTH)
        assert energy.used == [energy.forecasts, runs.forecasts]
        runs.pilot(np.zeros(2))
        assert runs.forecasts.calls > 0


class TestWhenItIsUsed:
    """Only where particle filters are too expensive, and trajectories are enough."""

    @pytest.mark.parametrize(
        ("weighted", "count", "operations", "used"),
        [(True, 24, 1.0, True), (False, 24, 1.0, False), (True, 6, 1.0, False),
         (True, 24, 1e15, False)],
    )  # fmt: skip
    def test_refinement_chooses(
        self, weighted: bool, count: int, operations: float, used: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        energy = walk_energy(draw_ar1(0.8, 0.5, count, 16, seed=1))
        energy.forecasts.weighted = weighted
        monkeypatch.setattr(refine_, "OPERATIONS", operations)
        assert refine_._filters_too_long(energy, np.arange(2)) is used
