"""Scores against their definitions, and against closed forms."""

from __future__ import annotations

from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from gsim_jax.calibrate import energy_score, increment_scale, standard_error
from gsim_jax.calibrate.score import (
    BLOCK,
    FAILED,
    FEW,
    contributions,
    covariance_of_mean,
    overall,
    score_forecast,
)
from gsim_jax.simulator.panel import build_panel
from gsim_jax.simulator.predict import Forecast, Plan
from tests.simulator.worlds import data_of, schema_of

many = jax.jit(jax.vmap(energy_score, in_axes=(0, None, None, None)))


def scores(draws: np.ndarray, target: np.ndarray, scale: np.ndarray | None = None) -> np.ndarray:
    """Energy scores of forecasts [N, R, V] of one target."""
    scale = np.ones(len(target)) if scale is None else scale
    numbers = [jnp.asarray(a, jnp.float32) for a in (draws, target, scale)]
    seen = jnp.ones(len(target), bool)
    return np.asarray(many(numbers[0], numbers[1], seen, numbers[2]), float)


def by_definition(draws: np.ndarray, target: np.ndarray, scale: np.ndarray) -> float:
    """Mean |x_r - y| minus half the mean |x_r - x_s| over all pairs r != s."""
    near = np.mean([np.linalg.norm((x - target) / scale) for x in draws])
    pairs = [np.linalg.norm((x - z) / scale) for x, z in permutations(draws, 2)]
    return float(near - 0.5 * np.mean(pairs))


def crps_of_normal(mean: float, sd: float, y: float) -> float:
    """Gneiting and Raftery (2007), equation 21 with the opposite sign."""
    z = (y - mean) / sd
    return sd * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))


class TestEnergyScore:
    def test_three_draws_by_definition(self) -> None:
        # Two partners each: with three draws that is every pair.
        generator = np.random.default_rng(0)
        for _ in range(5):
            draws, y = generator.normal(size=(3, 2)), generator.normal(size=2)
            scale = np.array([0.5, 3.0])
            got = scores(draws[None], y, scale)[0]
            assert got == pytest.approx(by_definition(draws, y, scale), rel=1e-5)

    def test_shuffled_draws_average_to_the_definition(self) -> None:
        generator = np.random.default_rng(1)
        draws, y = generator.normal(size=(8, 3)), np.array([0.5, -1.0, 0.2])
        shuffled = np.stack([generator.permutation(draws) for _ in range(20_000)])
        got = scores(shuffled, y)
        exact = by_definition(draws, y, np.ones(3))
        assert got.mean() == pytest.approx(exact, abs=4.5 * got.std() / np.sqrt(len(got)))

    @pytest.mark.parametrize("replicates", [4, 64])
    def test_unbiased_for_the_crps_of_a_normal(self, replicates: int) -> None:
        generator = np.random.default_rng(replicates)
        for mean, sd, y in ((0.0, 1.0, 0.3), (2.0, 0.5, 0.0), (-1.0, 3.0, 4.0)):
            draws = generator.normal(mean, sd, size=(200_000 // replicates, replicates, 1))
            got = scores(draws, np.array([y]))
            error = got.std() / np.sqrt(len(got))
            assert got.mean() == pytest.approx(crps_of_normal(mean, sd, y), abs=4.5 * error)

    def test_few_and_many_replicates_have_one_expectation(self) -> None:
        generator = np.random.default_rng(5)
        y = np.array([0.4, -0.3])
        few = scores(generator.gamma(2.0, size=(50_000, 4, 2)), y)
        more = scores(generator.gamma(2.0, size=(4_000, 64, 2)), y)
        error = np.hypot(few.std() / np.sqrt(len(few)), more.std() / np.sqrt(len(more)))
        assert few.mean() == pytest.approx(more.mean(), abs=4.5 * error)
        assert error < 0.006  # of a score near 1.6: a bias of 1 / R would show

    def test_the_true_law_scores_best(self) -> None:
        """The expected score of N(m, s) against data of N(0, 1) is smallest at m = 0, s = 1."""
        generator = np.random.default_rng(6)
        data = generator.normal(size=3000)
        draws = generator.normal(size=(3000, 16, 1))
        each = jax.jit(jax.vmap(energy_score, in_axes=(0, 0, None, None)))

        def score(mean: float, sd: float) -> np.ndarray:
            x = jnp.asarray(mean + sd * draws, jnp.float32)
            y = jnp.asarray(data[:, None], jnp.float32)
            return np.asarray(each(x, y, jnp.ones(1, bool), jnp.ones(1)), float)

        true = score(0.0, 1.0)
        for mean, sd in ((0.0, 0.6), (0.0, 1.6), (0.4, 1.0), (-0.4, 1.0), (0.3, 0.7), (0.0, 0.0)):
            lead = score(mean, sd) - true
            assert lead.mean() > 3 * lead.std() / np.sqrt(len(lead))

    def test_the_scale_only_scales(self) -> None:
        generator = np.random.default_rng(7)
        draws, y = generator.normal(size=(1, 16, 2)), np.array([1.0, 2.0])
        wide = scores(draws * [10.0, 0.1], y * [10.0, 0.1], np.array([10.0, 0.1]))
        np.testing.assert_allclose(wide, scores(draws, y), rtol=1e-5)

    def test_unseen_variables_do_not_enter(self) -> None:
        generator = np.random.default_rng(8)
        draws = generator.normal(size=(16, 3)).astype(np.float32)
        draws[3, 2] = np.nan  # undefined and unobserved: no failure
        y, seen, scale = np.array([0.1, 9e9, 0.0]), np.array([True, False, False]), np.ones(3)
        got = energy_score(*map(jnp.asarray, (draws, y.astype(np.float32), seen, scale)))
        assert float(got) == pytest.approx(scores(draws[None, :, :1], y[:1])[0], rel=1e-5)


class TestFailedDraws:
    def test_all_failed(self) -> None:
        draws = np.full((1, 16, 2), np.nan)
        assert scores(draws, np.zeros(2))[0] == pytest.approx(FAILED * np.sqrt(2))

    def test_each_failed_draw_costs(self) -> None:
        generator = np.random.default_rng(9)
        draws = generator.normal(size=(1, 16, 1))
        found = [scores(draws, np.zeros(1))[0]]
        for k in range(16):
            draws[0, k] = np.nan
            found.append(scores(draws, np.zeros(1))[0])
        assert np.isfinite(found).all()
        assert np.all(np.diff(found) > -FAILED / 16)
        # A share f of failures lies FAILED away and adds f - f (1 - f) = f^2 of that on average.
        assert found[8] == pytest.approx(FAILED / 4, rel=0.5)
        assert found[-1] == pytest.approx(FAILED)


@pytest.fixture(scope="module")
def forecast() -> tuple[Forecast, np.ndarray]:
    """Three variables at two horizons; the second variable is unseen, the second horizon late."""
    generator = np.random.default_rng(10)
    draws = (
        generator.normal(size=(3, 2, 12)).astype(np.float32) + np.array([0, 5, -2])[:, None, None]
    )
    draws[0, 0, :3] = 0.25  # ties with the observation
    found = Forecast(
        draws=jnp.asarray(draws, jnp.float32),
        target=jnp.asarray([0.25, 0.0, -1.0], jnp.float32),
        seen=jnp.asarray([True, False, True]),
        valid=jnp.asarray([True, False]),
        code=jnp.asarray([0, 1, 2] + 9 * [0], jnp.int32),
        shown={"x": jnp.float32(3.0)},
        outputs=jnp.asarray([1.0, 2.0, 3.0]),
    )
    return found, np.array([[0.5, 1.0, 2.0], [1.0, 1.0, 1.0]], np.float32)


def test_one_row(forecast: tuple[Forecast, np.ndarray]) -> None:
    found, scale = forecast
    got = jax.jit(score_forecast)(found, jnp.asarray(scale))
    x = np.asarray(found.draws, float)[:, 0]
    y = np.asarray(found.target, float)
    assert got.valid.tolist() == [True, False]
    assert got.counted.tolist() == [[True, False, True], [False] * 3]
    both = energy_score(found.draws[:, 0].T, found.target, found.seen, jnp.asarray(scale[0]))
    np.testing.assert_allclose(got.energy, [both, 0.0], rtol=1e-5)
    for v in (0, 2):
        alone = scores(x[v][None, :, None], y[v : v + 1], scale[0, v : v + 1])[0]
        assert float(got.crps[0, v]) == pytest.approx(alone, rel=1e-4)
        assert float(got.error[0, v]) == pytest.approx(x[v].mean() - y[v], rel=1e-4)
        below = np.mean((x[v] < y[v]) + 0.5 * (x[v] == y[v]))
        assert float(got.below[0, v]) == pytest.approx(below)
    for values in (got.crps, got.error, got.below, got.spread):
        assert not np.asarray(values)[~np.asarray(got.counted)].any()
    assert float(got.failed) == pytest.approx(2 / 12)
    assert int(got.code) == 3


def test_the_spread_is_the_draws_deviation(forecast: tuple[Forecast, np.ndarray]) -> None:
    found, scale = forecast
    draws = 4.0 * np.random.default_rng(11).normal(size=(3, 2, 4096))
    wide = found._replace(draws=jnp.asarray(draws, jnp.float32), code=jnp.zeros(4096, jnp.int32))
    got = jax.jit(score_forecast)(wide, jnp.asarray(scale))
    np.testing.assert_allclose(np.asarray(got.spread)[0, [0, 2]], 4.0, rtol=0.05)


class TestOverall:
    WEIGHTS = np.array([0.6, 0.3, 0.1])

    def table(self, units: int) -> tuple[np.ndarray, np.ndarray]:
        generator = np.random.default_rng(12)
        energy = generator.gamma(2.0, size=(4, units + 2, 9, 3))
        valid = generator.random(energy.shape) < 0.7
        valid[:, units:] = False  # padding
        return np.where(valid, energy, 0.0), valid

    @pytest.mark.parametrize("units", [3, FEW, 17])
    def test_contributions_average_to_the_overall_score(self, units: int) -> None:
        energy, valid = self.table(units)
        parts = contributions(energy, valid, self.WEIGHTS, units)
        assert parts.shape == (4, units if units >= FEW else units * 9)
        sums = energy.sum((1, 2)), valid.sum((1, 2))
        np.testing.assert_allclose(parts.mean(1), overall(*sums, self.WEIGHTS))
        means = [[energy[p, ..., h][valid[p, ..., h]].mean() for h in range(3)] for p in range(4)]
        np.testing.assert_allclose(parts.mean(1), np.array(means) @ self.WEIGHTS)

    def test_a_horizon_without_forecasts_has_no_share(self) -> None:
        energy, valid = self.table(12)
        energy[..., 1], valid[..., 1] = 0.0, False
        weights = np.array([0.6, 0.0, 0.1]) / 0.7
        got = overall(energy.sum((1, 2)), valid.sum((1, 2)), self.WEIGHTS)
        expected = overall(energy.sum((1, 2)), valid.sum((1, 2)), weights)
        np.testing.assert_allclose(got, expected)
        parts = contributions(energy, valid, self.WEIGHTS, 12)
        np.testing.assert_allclose(parts.mean(1), expected)

    def test_nothing_to_score(self) -> None:
        assert overall(np.zeros(3), np.zeros(3), self.WEIGHTS) == np.inf


class TestCovarianceOfMean:
    def test_many_trajectories_are_independent(self) -> None:
        values = np.random.default_rng(13).normal(size=(40, 2))
        expected = np.cov(values.T) / 40
        np.testing.assert_allclose(covariance_of_mean(values, 40), expected)
        assert standard_error(values[:, 0], 40) == pytest.approx(np.sqrt(expected[0, 0]))

    def test_few_trajectories_by_a_block_bootstrap(self) -> None:
        """Blocks drawn and joined by hand: the closed form is the limit of many such draws."""
        generator = np.random.default_rng(14)
        count = 60
        noise = generator.normal(size=count + 2)
        values = np.stack(
            [noise[2:] + noise[1:-1] + noise[:-2], generator.gamma(2.0, size=count)], 1
        )
        starts = generator.integers(0, count, size=(40_000, count // BLOCK, 1))
        rows = (starts + np.arange(BLOCK)) % count
        means = values[rows.reshape(len(rows), -1)].mean(1)
        # The closed form corrects for the mean's own degrees of freedom.
        expected = np.cov(means.T) * count / (count - BLOCK)
        got = covariance_of_mean(values, 2)
        np.testing.assert_allclose(got, expected, rtol=0.03, atol=0.02 * expected.max())

    def test_blocks_see_what_rows_share(self) -> None:
        """Of a moving average of three the mean varies three times as much as rows say."""
        generator = np.random.default_rng(15)
        noise = generator.normal(size=(400, 62))
        values = noise[:, 2:] + noise[:, 1:-1] + noise[:, :-2]
        stated = np.mean([standard_error(row, 1) ** 2 for row in values])
        by_rows = np.mean(values.var(1, ddof=1) / 60)
        truth = values.mean(1).var()
        assert by_rows < 0.5 * truth
        assert 0.6 * truth < stated < 1.1 * truth

    def test_hardly_any_rows(self) -> None:
        assert covariance_of_mean(np.array([[1.0], [3.0]]), 1)[0, 0] > 0
        assert covariance_of_mean(np.array([[1.0]]), 1)[0, 0] == 0.0


class TestIncrementScale:
    PLAN = Plan((4,))

    def test_a_random_walk(self) -> None:
        schema = schema_of("x", "fixed", "flat")
        generator = np.random.default_rng(16)
        x = np.cumsum(generator.normal(0, 2.0, size=(400, 20)), axis=1)
        level = np.repeat(generator.normal(0, 7.0, size=(400, 1)), 20, axis=1)
        data = data_of(schema, {"x": x, "fixed": np.full_like(x, 5.0), "flat": level})
        got = increment_scale(build_panel(schema, data), self.PLAN)
        assert got.dtype == np.float32
        free = 2.0 * np.sqrt(np.mean(np.arange(1, 20)))
        np.testing.assert_allclose(got[:, 0], [2.0, 4.0, free], rtol=0.05)
        np.testing.assert_array_equal(got[:, 1], 1.0)  # never varies at all
        np.testing.assert_allclose(got[:, 2], data.states["flat"].std(), rtol=1e-5)

    def test_only_what_is_seen_counts(self) -> None:
        schema = schema_of("x")
        x = np.array([[0.0, 1.0, 4.0, 9.0, 16.0, 0.0], [5.0, 5.0, 7.0, 0.0, 0.0, 0.0]])
        seen = np.array([[1, 1, 0, 1, 1, 0], [0, 1, 1, 0, 0, 0]], bool)
        data = data_of(schema, {"x": x}, {"x": seen}, length=np.array([5, 3]))
        got = increment_scale(build_panel(schema, data, rows=9), self.PLAN)[:, 0]
        assert got[0] == pytest.approx(np.std([1.0, 7.0, 2.0]))
        # One pair four steps apart says nothing about a deviation: that of the values stands in.
        assert got[1] == pytest.approx(np.std([0, 1, 9, 16, 5, 7]))
        assert got[2] == pytest.approx(np.std([1, 9, 16, 0, 2]))
