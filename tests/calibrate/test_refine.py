"""From the end of a search to an estimate: modes, discrete neighbours, and wrong structures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from gsim_jax.calibrate import refine as refine_
from gsim_jax.calibrate.fitness import Energy
from gsim_jax.calibrate.newton import Refined
from gsim_jax.calibrate.refine import _Near, _worse, refine
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
#: Covariance of a search's last generation: three to five errors of the data.
SEARCH = 0.1**2
P, STEP = 0.15, 5
CELLS = np.array([0, 10, 0])


def walk_energy(path: np.ndarray, seed: int = 1) -> Energy:
    data = data_of(REAL, {"x": path})
    return energy_of(forecasts_of(WALK, REAL, data, replicates=32), data, seed)


def refined(energy: Energy, centre: np.ndarray, cells: np.ndarray) -> tuple[Refined, list[float]]:
    shares: list[float] = []
    spread = SEARCH * np.eye(len(centre))
    return refine(energy, centre, spread, cells, 6, 16, shares.append), shares


def walk_mode(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mode of the AR(1)'s exact posterior in x and its deviations, by scoring."""
    x = walk_unit(0.8, 0.5)
    for _ in range(30):
        score, fisher = walk_score(path, x)
        precision = fisher + np.eye(2)
        x = x + np.linalg.solve(precision, score - x)
    return x, 1 / np.sqrt(np.diag(precision))


class TestWalk:
    @pytest.mark.slow
    def test_it_ends_at_the_mode_with_the_errors_of_likelihood(self) -> None:
        """Over data sets: no bias, and the simulation adds little to what the data leave."""
        away, ratio = [], []
        for seed in range(8):
            path = draw_ar1(0.8, 0.5, 24, 16, seed=50 + seed)
            mode, error = walk_mode(path)
            found, shares = refined(walk_energy(path, seed), mode + [2, -3] * error, np.zeros(2))
            away.append((found.x - mode) / error)
            ratio.append(np.sqrt(np.diag(found.covariance)) / error)
            assert found.warnings == ()
            assert shares == sorted(shares)
            assert shares[-1] <= 1.0
        away = np.array(away)
        near = away.std(axis=0, ddof=1) / np.sqrt(len(away))
        assert (np.abs(away.mean(axis=0)) < 4 * near).all()  # t with 7 degrees: 0.5 % each
        assert np.sqrt(np.mean(away**2)) < 0.4
        # 24 units know their own spread to fifteen per cent, eight data sets to five.
        np.testing.assert_allclose(np.mean(ratio, axis=0), 1.0, atol=0.2)

    def test_the_same_words_give_the_same_point(self) -> None:
        path = draw_ar1(0.8, 0.5, 24, 16, seed=50)
        start = walk_unit(0.7, 0.6)
        one, two = (refined(walk_energy(path, 3), start, np.zeros(2))[0] for _ in range(2))
        np.testing.assert_array_equal(one.x, two.x)
        np.testing.assert_array_equal(one.covariance, two.covariance)


@pytest.fixture(scope="module")
def energy() -> Energy:
    data = counts(draw_refilled(P, STEP, 24, 16, 1))
    return energy_of(forecasts_of(POOLS, POOL, data), data)


@pytest.fixture(scope="module")
def found(energy: Energy) -> Refined:
    wrong = np.array([norm.ppf(P) + 0.02, norm.ppf(0.25), 1.0])  # step 2 for 5, spare 3.0
    return refined(energy, wrong, CELLS)[0]


class TestDiscrete:
    def test_neighbours_lead_to_the_right_integer(self, found: Refined) -> None:
        assert found.x[1] == pytest.approx(norm.ppf((STEP + 0.5) / 10))
        assert not found.covariance[1].any()
        assert not found.covariance[:, 1].any()

    def test_the_probability_beside_it_has_the_error_of_its_likelihood(
        self, energy: Energy, found: Refined
    ) -> None:
        paths = draw_refilled(P, STEP, 24, 16, 1)
        before = paths[:, :-1].sum()
        left = (paths[:, :-1] + STEP - paths[:, 1:]).sum()
        least = np.sqrt(P * (1 - P) / before) / norm.pdf(norm.ppf(P))
        error = np.sqrt(found.covariance[0, 0])
        assert 0.7 * least < error < 1.4 * least
        assert abs(found.x[0] - norm.ppf(left / before)) < least

    def test_what_nothing_reads_keeps_the_prior(self, found: Refined) -> None:
        assert 0.85 < np.sqrt(found.covariance[2, 2]) <= 1.001
        assert abs(found.covariance[0, 2]) < 0.02

    @pytest.mark.xfail(
        strict=True, reason="neighbours are compared with p where the old cell left it"
    )
    def test_a_probability_ten_errors_off_does_not_settle_the_integer(self, energy: Energy) -> None:
        """A higher p asks for a higher step: a ridge, along which one has to look."""
        start = np.array([norm.ppf(P) + 0.1, norm.ppf((STEP + 0.5) / 10), 0.0])
        assert refined(energy, start, CELLS)[0].x[1] == pytest.approx(start[1])

    def test_without_free_parameters_only_cells_are_searched(self, energy: Energy) -> None:
        start = np.array([norm.ppf(0.155), norm.ppf(0.05), norm.ppf(0.25)])
        found, _ = refined(energy, start, np.array([100, 10, 2]))
        assert found.x[1] == pytest.approx(norm.ppf((STEP + 0.5) / 10))
        np.testing.assert_array_equal(found.covariance, np.zeros((3, 3)))

    def test_a_bad_solution_and_the_cell_that_suits_it_do_not_replace_the_searchs_point(
        self, energy: Energy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As a wrong structure's moments may lead anywhere; other cells are looked at there."""
        start = np.array([norm.ppf(P), norm.ppf((STEP + 0.5) / 10), 0.0])
        solved_from = []

        def astray(energy: Energy, centre: np.ndarray, *rest: Any) -> tuple[np.ndarray, np.ndarray]:
            solved_from.append(centre)
            return np.array([norm.ppf(0.6), centre[1], 0.0]), 0.01 * np.eye(2)

        monkeypatch.setattr(refine_, "_solve", astray)
        found, _ = refined(energy, start, CELLS)
        assert len(solved_from) == 2
        assert solved_from[1][1] > start[1]
        np.testing.assert_allclose(found.x, start)
        assert len(found.warnings) == 1


@pytest.fixture(scope="module")
def path() -> np.ndarray:
    """An AR(1) with a shock thirty times as large now and then, float64[24, 16]."""
    generator = np.random.default_rng(7)
    shocks = generator.normal(0, 0.5, (24, 15))
    shocks *= np.where(generator.uniform(size=shocks.shape) < 0.03, 30.0, 1.0)
    x = np.zeros((24, 16))
    for t in range(15):
        x[:, t + 1] = 0.8 * x[:, t] + shocks[:, t]
    return x


class TestWrongStructure:
    """Where shocks have heavy tails, their variance is no width of forecasts."""

    def test_the_searchs_point_is_kept_and_it_is_said(self, path: np.ndarray) -> None:
        centre = walk_unit(0.8, 0.6)  # what most rows ask for
        assert walk_unit(0.8, path.std())[1] > centre[1] + 0.5
        found, _ = refined(walk_energy(path), centre, np.zeros(2))
        np.testing.assert_array_equal(found.x, centre)
        (warning,) = found.warnings
        assert "forecast worse than those the search found, which were kept" in warning
        assert np.linalg.eigvalsh(found.covariance).min() > 0

    def test_worse_is_judged_beyond_the_datas_noise(self, path: np.ndarray) -> None:
        energy = walk_energy(path)
        near, wide = walk_unit(0.8, 0.6), walk_unit(0.8, 4.0)
        assert _worse(energy, wide, near)[0]
        assert not _worse(energy, near, wide)[0]
        assert not _worse(energy, near, near)[0]


def test_ends_near_the_root_are_averaged_by_their_precision() -> None:
    near = _Near()
    assert near.noise == np.inf
    np.testing.assert_array_equal(near.add(np.array([1.0, 3.0]), 0.5), [1.0, 3.0])
    assert near.noise == pytest.approx(0.5)
    np.testing.assert_allclose(near.add(np.array([2.0, 5.0]), 1.0), [1.2, 3.4])
    assert near.noise == pytest.approx(np.sqrt(0.2))
