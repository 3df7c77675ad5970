"""What a search minimises: simulated scores piece by piece, and the exact log density."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.stats import norm

from gsim_jax.calibrate import Objective, Settings
from gsim_jax.calibrate.fitness import X_EDGE, Energy, LogDensity, exact_density
from gsim_jax.calibrate.forecasts import energies
from gsim_jax.task import InputError
from gsim_jax.words import named_words
from tests.calibrate import programs
from tests.calibrate.fitting import (
    POOL,
    STEPS,
    counts,
    draw_thinning,
    energy_of,
    forecasts_of,
    thinning,
)

WORLD, MEMBERS, P = thinning(), 4, 0.2
COUNTS = programs.schema_of(n="count")
LEAVE = """
PARAMS = {"leave": {"p": Uniform(0.0, 1.0, guess=0.5)}}
def leave(state, inputs, params, key):
    return {"left": binomial(key, state["n"], params["p"])}
def couple(state, inputs, outputs, params, key):
    return {"n": state["n"] - outputs["left"]}
SUBMODULES = (leave,)
"""


def pool(seed: int = 1) -> Energy:
    """Seven trajectories in pieces of three."""
    data = counts(draw_thinning(P, 7, 9, 1))
    forecasts = forecasts_of(WORLD, POOL, data, chunk=3, members=MEMBERS, replicates=32)
    return energy_of(forecasts, data, seed)


def objective_of(simulator: object, schema: object) -> Objective:
    settings = Settings(STEPS, 16, 32, MEMBERS, 7, 9)
    return Objective(simulator, schema, settings, np.ones((1, 1)))  # type: ignore[arg-type]


X = np.array([[norm.ppf(P)], [norm.ppf(P) + 0.3], [norm.ppf(P) - 0.3], [1.0]])


class TestWords:
    def test_they_follow_from_seed_stage_and_number(self) -> None:
        given = [
            (seed, stage, k) for seed in (0, 1) for stage in ("words", "search") for k in (0, 1)
        ]
        found = {tuple(named_words(*each).tolist()) for each in given}
        assert len(found) == len(given)
        np.testing.assert_array_equal(named_words(3, "a", 4), named_words(3, "a", 4))

    def test_fresh_words_are_fresh_and_repeatable(self) -> None:
        one, two = pool(5), pool(5)
        words = [tuple(one.fresh().tolist()) for _ in range(50)]
        assert len(set(words)) == 50
        assert words == [tuple(two.fresh().tolist()) for _ in range(50)]
        assert tuple(pool(6).fresh().tolist()) not in words


class TestEnergy:
    def test_the_truth_scores_best(self) -> None:
        energy = pool()
        scores = np.mean([energy.sample(X) for _ in range(4)], axis=0)
        assert scores.argmin() == 0
        assert scores.argmax() == 3

    def test_generations_see_the_pieces_in_turn_and_samples_all_of_them(self) -> None:
        energy, words = pool(2), pool(2)
        forecasts = energy.forecasts
        sums, numbers = np.zeros((MEMBERS, 7)), np.zeros(7)
        for generation in range(4):
            piece, own = generation % 3, words.fresh()
            draws, _ = forecasts.draws(norm.cdf(X), piece, own)
            e, count = energies(draws, *forecasts.seen(piece), energy.scale)
            expected = np.asarray(e).sum((1, 2)) / np.asarray(count).sum()
            np.testing.assert_allclose(energy.quick(X, generation), expected, rtol=1e-6)
        own = words.fresh()
        for piece in range(3):
            draws, _ = forecasts.draws(norm.cdf(X), piece, own)
            e, count = energies(draws, *forecasts.seen(piece), energy.scale)
            kept = slice(3 * piece, min(3 * piece + 3, 7))
            sums[:, kept] = np.asarray(e)[:, : kept.stop - kept.start, 0]
            numbers[kept] = np.asarray(count)[: kept.stop - kept.start, 0]
        np.testing.assert_allclose(energy.sample(X), sums.sum(1) / numbers.sum(), rtol=1e-6)
        got, count = energy.by_trajectory(X, own)
        np.testing.assert_allclose(got[..., 0], sums, rtol=1e-6)
        np.testing.assert_array_equal(count[:, 0], numbers)

    def test_expensive_programs_look_at_a_part_of_the_data(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        energy = pool()
        monkeypatch.setattr(
            "gsim_jax.calibrate.fitness.OPERATIONS", 2.5 * energy.forecasts.operations
        )
        got, count = energy.by_trajectory(X, energy.fresh())
        assert got.shape == (MEMBERS, 6, 1)
        assert count.shape == (6, 1)

    def test_the_score_of_a_point_is_less_noisy_than_that_of_a_member(self) -> None:
        energy = pool()
        members = np.array([energy.sample(np.tile(X[0], (MEMBERS, 1)))[0] for _ in range(40)])
        points = np.array([energy.at(X[0]) for _ in range(40)])
        error = members.std() / np.sqrt(40)
        assert points.mean() == pytest.approx(members.mean(), abs=5 * error)
        # A quarter of the variance; a ratio of two from 40 each is below 0.6 but one time in 1000.
        assert points.var() < 0.6 * members.var()

    def test_points_are_kept_off_the_edges_of_the_cube(self) -> None:
        np.testing.assert_allclose(pool().to_unit(np.array([[-9.0], [9.0]])),
                                   norm.cdf([[-X_EDGE], [X_EDGE]]))  # fmt: skip


class TestLogDensity:
    @pytest.fixture(scope="class")
    @staticmethod
    def density() -> LogDensity:
        program = programs.program_of(LEAVE, COUNTS)
        data = programs.data_of(COUNTS, n=draw_thinning(P, 7, 9, 1))
        found = exact_density(objective_of(program, COUNTS), data, "log")
        assert found is not None
        return found

    def exact(self, x: np.ndarray) -> np.ndarray:
        """Minus the log density by scipy, float64."""
        n = draw_thinning(P, 7, 9, 1)
        p = norm.cdf(x)[:, :, None]
        mass = stats.binom.logpmf(n[:, :-1] - n[:, 1:], n[:, :-1], p[..., None][:, 0])
        return 0.5 * x[:, 0] ** 2 - mass.sum(axis=(1, 2))

    def test_values_are_scipys(self, density: LogDensity) -> None:
        assert density.members == MEMBERS
        np.testing.assert_allclose(density.sample(X), self.exact(X), rtol=1e-5)
        np.testing.assert_array_equal(density.quick(X, 3), density.sample(X))

    def test_differences_near_the_mode_are_resolved(self, density: LogDensity) -> None:
        x = X[0] + np.array([[-0.02], [0.0], [0.02], [0.04]])
        found, exact = density.sample(x), self.exact(x)
        np.testing.assert_allclose(found - found[0], exact - exact[0], atol=2e-3)

    def test_the_slope_is_that_of_the_values(self, density: LogDensity) -> None:
        slope = jax.jit(jax.grad(density.at))(jnp.asarray(X[1], jnp.float32))
        h = 1e-4
        up, down = self.exact(X[1:2] + h), self.exact(X[1:2] - h)
        assert float(slope[0]) == pytest.approx(float((up - down)[0] / (2 * h)), rel=1e-3)

    def test_calls_are_counted(self, density: LogDensity) -> None:
        before = density.calls
        density.sample(X)
        density.quick(X, 0)
        assert density.calls == before + 2

    def test_impossible_points_are_infinitely_bad(self) -> None:
        density = LogDensity(
            lambda u: jnp.stack([jnp.where(u[0] < 0.5, 0.0, -jnp.inf), u[0] * 0]), 2
        )
        found = density.sample(np.array([[-1.0], [1.0]]))
        np.testing.assert_array_equal(found, [0.5, np.inf])


class TestWhatIsExact:
    def test_auto_takes_the_density_where_there_is_one(self) -> None:
        program = programs.program_of(LEAVE, COUNTS)
        data = programs.data_of(COUNTS, n=draw_thinning(P, 3, 9, 1))
        objective = objective_of(program, COUNTS)
        assert isinstance(exact_density(objective, data, "auto"), LogDensity)
        assert exact_density(objective, data, "energy") is None

    def test_gaps_leave_it_to_forecasts_unless_the_density_was_asked_for(self) -> None:
        program = programs.program_of(LEAVE, COUNTS)
        data = programs.data_of(COUNTS, n=draw_thinning(P, 3, 9, 1))
        gaps = data.seen["n"].copy()
        gaps[1, 2:4] = False
        holed = replace(data, seen={"n": gaps})
        objective = objective_of(program, COUNTS)
        assert exact_density(objective, holed, "auto") is None
        with pytest.raises(InputError, match=r"entries are missing of n \(2\)"):
            exact_density(objective, holed, "log")

    def test_programs_without_one_are_named_when_asked_for_it(self) -> None:
        data = counts(draw_thinning(P, 3, 9, 1))
        objective = objective_of(WORLD, POOL)
        assert exact_density(objective, data, "auto") is None
        with pytest.raises(InputError) as caught:
            exact_density(objective, data, "log")
        (problem,) = caught.value.problems
        assert problem.code == "no-likelihood"
        assert "expected a program from a simulator file; got NativeSimulator" in str(caught.value)
