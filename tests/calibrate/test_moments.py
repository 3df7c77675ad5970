"""The simulated estimating equation against scores, information and estimates known exactly."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import Any

import jax
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from gsim_jax import sampling
from gsim_jax.calibrate.fitness import Energy
from gsim_jax.calibrate.gauss_newton import WIDTH, cloud_shape, solve
from gsim_jax.calibrate.moments import Equation, design
from gsim_jax.calibrate.weights import AVERAGE, RIDGE, inflation, pooling, weigh
from gsim_jax.simulator import priors
from gsim_jax.simulator.native import NativeSimulator, from_functions
from tests.calibrate.fitting import (
    POOL,
    counts,
    draw_thinning,
    energy_of,
    equation_at,
    forecasts_of,
    thinning,
    thinning_score,
    walk_score,
    walk_unit,
)
from tests.simulator.worlds import ar1, data_of, draw_ar1, schema_of

P, COUNT, ROWS = 0.2, 20, 11
POOLS = thinning()
REAL = schema_of("x")
WALK = ar1(REAL)


class TestDesign:
    @pytest.mark.parametrize("dimension", [1, 2, 3, 5, 7, 8, 14])
    @pytest.mark.parametrize("members", [4, 16, 64])
    def test_columns_are_clear_of_one_another_and_of_products(
        self, dimension: int, members: int
    ) -> None:
        points, copy = design(dimension, members)
        assert set(np.unique(points)) == {-1.0, 1.0}
        assert len(points) % members == 0
        assert len(points) < 2 * max(members, 4 * dimension)
        np.testing.assert_array_equal(points.T @ points, len(points) * np.eye(dimension))
        for i, j in combinations_with_replacement(range(dimension), 2):
            np.testing.assert_array_equal(points.T @ (points[:, i] * points[:, j]), 0)
        for number in range(copy[-1] + 1):  # each copy is a whole design, folded over
            own = points[copy == number]
            half = len(own) // 2
            np.testing.assert_array_equal(own[:half], -own[half:])
            np.testing.assert_array_equal(own.T @ own, len(own) * np.eye(dimension))


class TestWeights:
    def covariances(self) -> np.ndarray:
        roots = np.random.default_rng(0).normal(size=(3, 5, 2, 4, 6))
        return roots @ np.swapaxes(roots, -1, -2) / 6

    def ridge(self, covariance: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """A share of the average variance of each moment, [h, F, F]."""
        variance = np.diagonal(covariance, axis1=-2, axis2=-1)
        average = np.where(seen, variance, 0).sum((0, 1)) / seen.sum((0, 1))
        return RIDGE * average[..., None] * np.eye(4)

    def test_chance_in_variances_is_not_taken_for_precision(self) -> None:
        """Counts of rare events in rows of the same law, weighted by what few draws say of them."""
        rng = np.random.default_rng(0)
        draws, share, off = 128, 0.01, []
        seen = np.ones((60, 60, 1, 2), bool)
        for _ in range(40):
            found = rng.binomial(1, share, (60, 60, 1, draws)).astype(float)
            phi = found - found.mean(axis=-1, keepdims=True)
            phi = np.stack([phi, phi**2], axis=3)
            phi -= phi.mean(axis=-1, keepdims=True)
            covariance = np.einsum("nthak,nthbk->nthab", phi, phi) / draws
            pooled = pooling(covariance, seen, draws)
            seen_once = rng.binomial(1, share, (60, 60)) - share
            both = []
            for given in (None, pooled):
                weight = weigh(covariance, seen, draws, given)[:, :, 0, 0, 0]
                both.append((weight * seen_once).sum() / weight.sum())
            off.append(both)
        best = np.sqrt(share * (1 - share) / 3600)
        plain, empirical = np.sqrt(np.mean(np.square(off), axis=0)) / best
        assert empirical < 1.1
        assert plain > 1.1

    def test_rows_that_differ_are_not_pooled(self) -> None:
        variance = np.random.default_rng(0).uniform(0.01, 100.0, (40, 50, 1))
        covariance = np.zeros((40, 50, 1, 2, 2))
        covariance[..., 0, 0], covariance[..., 1, 1] = variance, 2 * variance**2  # normal draws
        pooled = pooling(covariance, np.ones((40, 50, 1, 2), bool), 256)
        assert pooled.shape == (1, 2)
        np.testing.assert_array_less(pooled, 0.05)

    def test_inverse_where_everything_is_seen(self) -> None:
        covariance, seen = self.covariances(), np.ones((3, 5, 2, 4), bool)
        found = weigh(covariance, seen, 10**9)
        expected = np.linalg.inv(covariance + self.ridge(covariance, seen))
        np.testing.assert_allclose(found, expected, rtol=1e-5)

    def test_units_do_not_matter(self) -> None:
        """Forecasts a hundred times sharper than the scale weigh as much, among themselves."""
        covariance, seen = self.covariances(), np.ones((3, 5, 2, 4), bool)
        units = np.array([1.0, 0.1, 0.02, 3.0])
        found = weigh(covariance * units[:, None] * units, seen, 500)
        expected = weigh(covariance, seen, 500) / units[:, None] / units
        np.testing.assert_allclose(found, expected, rtol=1e-6)

    def test_what_was_not_seen_has_no_weight(self) -> None:
        covariance, seen = self.covariances(), np.ones((3, 5, 2, 4), bool)
        seen[1, 2, 0, [0, 2]] = False
        seen[2, 4, 1] = False
        found = weigh(covariance, seen, 10**9)
        rest = [1, 3]
        part = (covariance[1, 2, 0] + self.ridge(covariance, seen)[0])[np.ix_(rest, rest)]
        expected = np.zeros((4, 4))
        expected[np.ix_(rest, rest)] = np.linalg.inv(part)
        np.testing.assert_allclose(found[1, 2, 0], expected, rtol=1e-5)
        assert not found[2, 4, 1].any()

    def test_a_rare_event_that_no_draw_met_does_not_outweigh_the_rest(self) -> None:
        draws, variance = 256, 0.5
        covariance = np.tile(variance * np.eye(2), (4, 10, 1, 1, 1))
        covariance[0, 0] = 0.0
        found = weigh(covariance, np.ones((4, 10, 1, 2), bool), draws)
        # Rows of which one in (draws / AVERAGE) is like the average: not infinitely sure.
        bound = (draws + AVERAGE) / (AVERAGE * variance * 39 / 40)
        assert 0 < found[0, 0, 0, 0, 0] <= bound
        np.testing.assert_allclose(found[1:], np.eye(2) / (variance * (1 + RIDGE)) + 0 * found[1:],
                                   rtol=1e-3)  # fmt: skip

    def test_few_draws_do_not_make_moments_look_determined_by_others(self) -> None:
        """Three draws of four moments: a covariance without an inverse."""
        draws = np.random.default_rng(1).normal(size=(6, 8, 1, 4, 3))
        covariance = draws @ np.swapaxes(draws, -1, -2) / 3
        values = np.linalg.eigvalsh(weigh(covariance, np.ones((6, 8, 1, 4), bool), 3))
        assert values.min() > 0
        assert values.max() < 50


def test_misfit_beyond_noise_widens_what_a_moment_is_trusted_by() -> None:
    """Residuals of 1, 1.5 and 30 standard deviations: only the last ones are no noise."""
    sizes = np.array([1.0, 1.5, 30.0])
    residual = sizes * np.random.default_rng(3).normal(size=(40, 25, 2, 3))
    mask = np.ones(residual.shape, bool)
    mask[:, ::2] = False
    residual[:, ::2] = 1e6
    found = inflation(residual * 0.1, np.full(residual.shape, 100.0), mask)
    assert (found[:, :2] == 1).all()
    np.testing.assert_allclose(found[:, 2], 30, rtol=0.1)


def test_a_cloud_has_the_axes_of_the_errors() -> None:
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    errors = np.array([1e-4, 0.01, 10.0])
    shape = cloud_shape(turn @ np.diag(errors**2) @ turn.T, 0.005, 0.15)
    axes = np.sort(np.linalg.norm(shape, axis=0))
    np.testing.assert_allclose(axes, [0.005, WIDTH * 0.01, 0.15])
    np.testing.assert_allclose(shape.T @ shape, np.diag(np.diag(shape.T @ shape)), atol=1e-12)


def pool_energy(n: np.ndarray, seed: int = 1) -> Energy:
    data = counts(n)
    return energy_of(forecasts_of(POOLS, POOL, data, replicates=32), data, seed)


def walk_energy(path: np.ndarray, seed: int = 1) -> Energy:
    data = data_of(REAL, {"x": path})
    return energy_of(forecasts_of(WALK, REAL, data, replicates=64), data, seed)


class TestExactAnswers:
    """At the truth and two posterior deviations off: information and slope of the likelihood."""

    REPEATS = 8

    def agrees(self, found: list[Equation], shape: np.ndarray, score: Any, fisher: Any) -> None:
        unit = np.linalg.inv(shape)
        error = 1 / np.sqrt(np.diag(np.atleast_2d(fisher)))
        slopes = np.array([q.slope @ unit for q in found]) * error
        information = np.mean([unit.T @ q.information @ unit for q in found], axis=0)
        near = slopes.std(axis=0, ddof=1) / np.sqrt(len(found))
        expected = np.atleast_1d(score) * error
        assert near.max() < 0.15
        np.testing.assert_array_less(
            np.abs(slopes.mean(axis=0) - expected), 4.5 * near + 0.05 * np.abs(expected)
        )
        ratio = information * np.outer(error, error)
        np.testing.assert_allclose(ratio, np.eye(len(error)), atol=0.05)
        for q in found:
            np.testing.assert_allclose(q.units.sum(axis=0), q.slope, rtol=1e-9, atol=1e-9)

    @pytest.mark.parametrize("off", [0.0, -2.0, 2.0])
    def test_binomial_thinning(self, off: float) -> None:
        n = draw_thinning(P, COUNT, ROWS, seed=1)
        _, fisher = thinning_score(n, float(norm.ppf(P)))
        x = norm.ppf(P) + off / np.sqrt(fisher)
        energy, shape = pool_energy(n), 4 / np.sqrt(fisher) * np.eye(1)
        found = [equation_at(energy, np.array([x]), shape) for _ in range(self.REPEATS)]
        self.agrees(found, shape, *thinning_score(n, x))

    @pytest.mark.parametrize("off", [(0.0, 0.0), (2.0, -1.0)])
    def test_gaussian_autoregression(self, off: tuple[float, float]) -> None:
        path = draw_ar1(0.8, 0.5, 24, 16, seed=1)
        error = 1 / np.sqrt(np.diag(walk_score(path, walk_unit(0.8, 0.5))[1]))
        x = walk_unit(0.8, 0.5) + np.asarray(off) * error
        energy, shape = walk_energy(path), np.diag(np.minimum(2 * error, 0.15))
        found = [equation_at(energy, x, shape) for _ in range(self.REPEATS)]
        self.agrees(found, shape, *walk_score(path, x))

    def test_slopes_do_not_depend_on_the_axes_of_the_cloud(self) -> None:
        path = draw_ar1(0.8, 0.5, 24, 16, seed=2)
        x = walk_unit(0.75, 0.55)
        score, fisher = walk_score(path, x)
        error = 1 / np.sqrt(np.diag(fisher))
        shape = np.array([[1.2, 0.9], [0.3, -1.5]]) * error[:, None]
        energy = walk_energy(path)
        found = [equation_at(energy, x, shape) for _ in range(self.REPEATS)]
        self.agrees(found, shape, score, fisher)


def solved(energy: Energy, x: np.ndarray, shape: np.ndarray, steps: int = 3) -> Any:
    """Gauss-Newton steps without the conveniences of `refine`."""
    covariance = np.eye(len(x))
    for _ in range(steps):
        found = equation_at(energy, x, shape)
        step, covariance = solve(found, x, shape, energy.forecasts.count)
        x = x + step
    return x, covariance


def thinning_mode(n: np.ndarray) -> tuple[float, float]:
    """Mode of the exact posterior in x, and its deviation."""
    mode = brentq(lambda x: thinning_score(n, x)[0] - x, -3.0, 1.0)
    return float(mode), 1 / np.sqrt(thinning_score(n, float(mode))[1] + 1)


class TestSolve:
    def test_root_is_the_mode_without_bias(self) -> None:
        """Over data sets, each with words of its own: mean and RMS distance from the exact mode."""
        away, ratio = [], []
        for seed in range(16):
            n = draw_thinning(P, COUNT, ROWS, seed=100 + seed)
            mode, error = thinning_mode(n)
            start = np.array([mode + 3 * error])
            x, covariance = solved(pool_energy(n, seed), start, 6 * error * np.eye(1))
            away.append((x[0] - mode) / error)
            ratio.append(np.sqrt(covariance[0, 0]) / error)
        away = np.array(away)
        assert abs(away.mean()) < 3.3 * away.std(ddof=1) / np.sqrt(len(away))
        assert np.sqrt(np.mean(away**2)) < 0.4
        # Errors come from 20 units and as much from the model: some ten per cent of scatter.
        assert np.mean(ratio) == pytest.approx(1.0, abs=0.1)

    def test_without_data_the_prior_stays(self) -> None:
        empty = Equation(np.zeros(2), np.zeros((2, 2)), np.zeros((12, 2)), np.zeros((2, 2)))
        shape = np.diag([0.1, 2.0])
        step, covariance = solve(empty, np.array([0.15, -1.0]), shape, 12)
        np.testing.assert_allclose(step, [-0.15, 1.0], rtol=1e-6)
        np.testing.assert_allclose(covariance, np.eye(2), rtol=1e-6)

    def test_steps_are_cut_axis_by_axis(self) -> None:
        found = Equation(
            np.array([1e4, 1.0]), np.diag([100.0, 100.0]), np.zeros((12, 2)), np.zeros((2, 2))
        )
        step, _ = solve(found, np.zeros(2), 0.01 * np.eye(2), 12, reach=2.0)
        np.testing.assert_allclose(step, [0.02, 0.0001], rtol=1e-3)

    def test_directions_that_drown_in_noise_are_left_to_the_prior(self) -> None:
        noise = np.diag([0.0, 1e6])
        units = np.random.default_rng(3).normal(size=(400, 2)) / 2
        found = Equation(np.zeros(2), 100 * np.eye(2), units, noise)
        _, covariance = solve(found, np.zeros(2), np.eye(2), 400)
        assert covariance[0, 0] == pytest.approx(1 / 101, rel=0.2)
        assert covariance[1, 1] == pytest.approx(1.0, abs=0.02)


class TestMisspecified:
    """At p = 1/2 the second moment has no slope, so that the mean alone decides: closed forms."""

    START, STEPS_ONE = 100, 2

    def error(self, precision: float) -> float:
        """Stated error in units of the naive one, 1 / sqrt(Fisher information + 1)."""
        n = draw_thinning(0.5, 200, self.STEPS_ONE, 5, start=self.START, precision=precision)
        mode, naive = thinning_mode(n)
        _, covariance = solved(pool_energy(n), np.array([mode]), 6 * naive * np.eye(1), 1)
        return float(np.sqrt(covariance[0, 0]) / naive)

    def test_the_right_law_has_the_naive_error(self) -> None:
        assert self.error(np.inf) == pytest.approx(1.0, abs=0.15)

    def test_more_variance_than_the_law_has_widens_the_error(self) -> None:
        precision = 20.0
        exact = np.sqrt(1 + (self.START - 1) / (precision + 1))
        # A variance from 200 units is known to ten per cent; 12 pseudo-units pull by three.
        assert self.error(precision) == pytest.approx(exact, rel=0.2)


def drifting() -> NativeSimulator:
    """n' = n - Binomial(n, p) with logit p = m + s e: s shows in the variance only."""

    def leave(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
        one, two = jax.random.split(key)
        p = jax.nn.sigmoid(params["m"] + params["s"] * sampling.normal(one))
        return {"left": sampling.binomial(two, state["n"], p)}

    def couple(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
        return {"n": state["n"] - outputs["left"]}

    parameters = {
        "leave": {"m": priors.Normal(0.0, 2.0, guess=0.0), "s": priors.Uniform(0.0, 1.0, guess=0.5)}
    }
    return from_functions(POOL, parameters, [leave], couple)


@pytest.mark.slow
def test_noise_on_a_rate_is_found_through_second_moments() -> None:
    m, s, generator = -0.5, 0.4, np.random.default_rng(6)
    p = 1 / (1 + np.exp(-m - s * generator.normal(size=150)))
    n = np.stack([np.full(150, 100), 100 - generator.binomial(100, p)], axis=1)
    data = counts(n)
    energy = energy_of(forecasts_of(drifting(), POOL, data, replicates=32), data)
    x, covariance = solved(energy, np.array([0.0, 0.0]), 0.2 * np.eye(2), 4)
    truth, error = np.array([m / 2, norm.ppf(s)]), np.sqrt(np.diag(covariance))
    assert (np.abs(x - truth) < 4 * error).all()
    # A variance v from 150 draws has the error v sqrt(2 / 150), and binomial variance is a part of
    # it: v = var + 100 p (1 - p). So s is known to some ten per cent, and no better.
    mean = 100 / (1 + np.exp(0.5))
    binomial = mean * (1 - mean / 100)
    extra = (s * binomial) ** 2
    least = s * (binomial + extra) / (2 * extra) * np.sqrt(2 / 150)
    stated = error[1] * norm.pdf(x[1])
    assert 0.7 * least < stated < 1.6 * least
