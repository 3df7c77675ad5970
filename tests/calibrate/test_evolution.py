"""Calibration finds what made the data, and says truly how well it knows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom, norm

from gsim_jax import sampling
from gsim_jax.calibrate import (
    Calibration,
    Evolution,
    Objective,
    Settings,
    increment_scale,
    settings_for,
)
from gsim_jax.calibrate.evolution import _Search, to_x
from gsim_jax.calibrate.fitness import Energy, exact_density
from gsim_jax.calibrate.newton import maximise
from gsim_jax.calibrate.objective import forecasts_for
from gsim_jax.simulator.native import from_functions
from gsim_jax.simulator.panel import build_panel, is_complete
from gsim_jax.simulator.predict import Plan
from gsim_jax.task import InputError, Schema, Task, Trajectories
from tests.calibrate import programs
from tests.calibrate.fitting import POOL, counts, draw_refilled, refilled
from tests.simulator.worlds import ar1, data_of, draw_ar1, schema_of

A, SD = 0.8, 0.5
COUNT, ROWS = 24, 16
P, STEP = 0.15, 5
EVOLUTION = Evolution()


def objective_of(simulator: Any, schema: Schema, data: Trajectories, plan: Plan) -> Objective:
    """Sixteen points at once, the data in two chunks."""
    rows = data.rows
    settings = Settings(plan, replicates=16, particles=64, members=16, chunk=COUNT // 2, rows=rows)
    scale = increment_scale(build_panel(schema, data, rows=rows), plan)
    return Objective(simulator, schema, settings, scale)


class Walk:
    """An AR(1): its objective, compiled once, and data sets by number."""

    def __init__(self) -> None:
        self.schema = schema_of("x")
        self.objective = objective_of(ar1(self.schema), self.schema, self.data(0), Plan((4,)))

    def data(self, number: int) -> Trajectories:
        return data_of(self.schema, {"x": draw_ar1(A, SD, COUNT, ROWS, seed=number)})

    def calibrate(self, number: int, seed: int = 1, **options: Any) -> Calibration:
        return EVOLUTION.calibrate(self.objective, self.data(number), seed, **options)


@pytest.fixture(scope="module")
def walk() -> Walk:
    return Walk()


@pytest.fixture(scope="module")
def found(walk: Walk) -> Calibration:
    return walk.calibrate(0)


class TestWalk:
    def test_the_truth_is_found_within_the_error(self, found: Calibration) -> None:
        truth = {"drift.a": A, "drift.sd": SD}
        # What maximum likelihood would leave uncertain, from n = 24 x 15 transitions.
        n = COUNT * (ROWS - 1)
        least = {"drift.a": np.sqrt((1 - A * A) / n), "drift.sd": SD / np.sqrt(2 * n)}
        for label, value in truth.items():
            assert abs(found.parameters[label] - value) < 4 * found.errors[label]
            assert 0.6 * least[label] < found.errors[label] < 2.0 * least[label]

    def test_point_and_values_agree(self, walk: Walk, found: Calibration) -> None:
        space = walk.objective.simulator.parameters
        assert space.flat(found.u) == found.parameters
        assert found.covariance.shape == (2, 2)
        assert np.linalg.eigvalsh(found.covariance).min() > 0

    def test_the_same_seed_gives_the_same_numbers(self, walk: Walk, found: Calibration) -> None:
        again = walk.calibrate(0)
        np.testing.assert_array_equal(again.u, found.u)
        np.testing.assert_array_equal(again.covariance, found.covariance)
        assert replace(again, u=found.u, covariance=found.covariance) == found

    def test_another_seed_moves_less_than_the_error(self, walk: Walk, found: Calibration) -> None:
        shares: list[float] = []
        other = walk.calibrate(0, seed=2, progress=shares.append)
        assert not np.array_equal(other.u, found.u)
        for label, error in found.errors.items():
            assert abs(other.parameters[label] - found.parameters[label]) < error
        assert other.score == pytest.approx(found.score, rel=0.02)
        assert shares == sorted(shares)
        assert shares[-1] == pytest.approx(1.0)

    def test_what_was_spent_is_counted(self, walk: Walk, found: Calibration) -> None:
        settings = walk.objective.settings
        calls = found.evaluations // settings.members
        assert found.evaluations % settings.members == 0
        shape = forecasts_for(walk.objective, walk.data(0)).shape
        lanes = settings.members * shape.chunk * shape.replicates
        assert found.cost == calls * lanes * (ROWS - 1) * walk.objective.simulator.cost
        assert 0 < len(found.history) < calls

    def test_the_score_is_that_of_the_point(self, walk: Walk, found: Calibration) -> None:
        """The parameters found score better than the guess and no worse than the truth."""
        space = walk.objective.simulator.parameters
        points = np.stack(
            [found.u, space.to_unit({"drift.a": A, "drift.sd": SD}), space.guess()] + 13 * [found.u]
        )
        energy = np.zeros(16)
        for number in range(8):
            key = np.array([99, number], np.uint32)
            for chunk, panel in enumerate(walk.objective.panels(walk.data(0))):
                part = walk.objective.scores(points, walk.objective.shared(panel), key, 12 * chunk)
                energy += np.asarray(part.energy)[..., 0].sum((1, 2))
        assert energy[0] < energy[2]
        assert energy[0] < 1.01 * energy[1]

    @pytest.mark.slow
    def test_stated_errors_cover(self, walk: Walk) -> None:
        runs = [walk.calibrate(number) for number in range(1, 41)]
        for label, truth in (("drift.a", A), ("drift.sd", SD)):
            values = np.array([run.parameters[label] for run in runs])
            z = (values - truth) / [run.errors[label] for run in runs]
            assert abs(z.mean()) < 0.6
            assert 0.7 < z.std() < 1.5
            assert np.mean(np.abs(z) < 2) >= 0.85


@pytest.fixture(scope="module")
def pool() -> tuple[Objective, Calibration]:
    """A probability, an integer, a number that nothing reads."""
    data = counts(draw_refilled(P, STEP, COUNT, ROWS, 1))
    objective = objective_of(refilled(), POOL, data, Plan((4,)))
    return objective, EVOLUTION.calibrate(objective, data, 3)


class TestPool:
    def test_the_integer_is_found(self, pool: tuple[Objective, Calibration]) -> None:
        _, found = pool
        assert found.parameters["flows.step"] == STEP
        assert found.errors["flows.step"] == 0.0
        assert found.u[1] == pytest.approx((STEP + 0.5) / 10)

    def test_the_probability_is_found(self, pool: tuple[Objective, Calibration]) -> None:
        _, found = pool
        error = found.errors["flows.p"]
        assert abs(found.parameters["flows.p"] - P) < 4 * error
        # The step given, a binomial proportion of some 17,000 trials: 0.0027 at best.
        assert 0.0015 < error < 0.008

    def test_what_nothing_reads_is_left_undetermined(
        self, pool: tuple[Objective, Calibration]
    ) -> None:
        _, found = pool
        assert np.sqrt(found.covariance[2, 2]) > 0.6
        assert found.errors["flows.spare"] > 1.5
        assert abs(found.covariance[0, 2]) < 0.05


def test_a_parents_point_is_a_start(walk: Walk) -> None:
    """With next to no search, a start near the optimum is what the fit begins from."""
    lazy = replace(EVOLUTION, design=1, explore=0, restarts=1, steps=1, passes=2)
    near = walk.objective.simulator.parameters.to_unit({"drift.a": A, "drift.sd": SD})
    got = lazy.calibrate(walk.objective, walk.data(0), 4, start=near)
    assert abs(got.parameters["drift.sd"] - SD) < 0.1


def test_a_simulator_without_parameters() -> None:
    schema = schema_of("x")

    def stay(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
        return {"x": state["x"] + SD * sampling.normal(key)}

    simulator = from_functions(schema, {}, [stay], lambda s, i, o, p, k: o)
    data = data_of(schema, {"x": np.cumsum(draw_ar1(0.0, SD, COUNT, 6, 1), axis=1)})
    objective = objective_of(simulator, schema, data, Plan((), free=False))
    got = EVOLUTION.calibrate(objective, data, 0)
    assert got.parameters == {}
    assert got.covariance.shape == (0, 0)
    # A calibrated normal one step ahead: E CRPS = sd / sqrt(pi), in units of the increments' sd.
    assert got.score == pytest.approx(1 / np.sqrt(np.pi), rel=0.1)


COUNTS = programs.schema_of(S="count", I="count", R="count")
TRUTH = {"infection.beta": 0.5, "recovery.gamma": 0.1}
STRATEGIES = ("CMA_ES", "Sep_CMA_ES", "MA_ES", "xNES", "SNES")


def epidemics(number: int, count: int = 12, rows: int = 21) -> Trajectories:
    return programs.data_of(COUNTS, **programs.simulate_sir(0.5, 0.1, count, rows, number))


class Epidemic:
    """The chain-binomial SIR: its objective, and the exact mode of one data set."""

    def __init__(self) -> None:
        self.data = epidemics(1)
        program = programs.program_of(programs.SIR, COUNTS)
        self.objective = objective_of(program, COUNTS, self.data, Plan((), free=False))
        exact = exact_density(self.objective, self.data, "log")
        assert exact is not None
        self.exact = exact
        truth = to_x(program.parameters.to_unit(TRUTH))
        self.mode = maximise(exact, truth, np.zeros(2, int))

    def energy(self, seed: int = 1) -> Energy:
        forecasts = forecasts_for(self.objective, self.data)
        return Energy(forecasts, *self.objective.scoring(forecasts.shape.plan), seed)

    def away(self, x: np.ndarray) -> np.ndarray:
        """Distance from the exact mode in posterior deviations, per coordinate."""
        return (x - self.mode.x) / np.sqrt(np.diag(self.mode.covariance))


@pytest.fixture(scope="module")
def epidemic() -> Epidemic:
    return Epidemic()


class TestStrategies:
    def test_these_are_the_ones_that_are_named(self) -> None:
        assert Evolution.__doc__ is not None
        assert all(f'"{name}"' in Evolution.__doc__ for name in STRATEGIES)

    @pytest.mark.parametrize(
        "strategy",
        [STRATEGIES[0], *(pytest.param(name, marks=pytest.mark.slow) for name in STRATEGIES[1:])],
    )
    def test_the_search_alone_ends_near_the_mode(self, epidemic: Epidemic, strategy: str) -> None:
        """Without what refines it: within a fifth of the prior's deviation."""
        plan = replace(EVOLUTION, strategy=strategy)
        search = _Search(plan, epidemic.exact, 1, lambda _: None)
        guess = to_x(epidemic.objective.simulator.parameters.guess())
        centre, spread = search.run(guess[None])
        assert np.linalg.norm(centre - epidemic.mode.x) < 0.2
        assert np.linalg.norm(guess - epidemic.mode.x) > 0.4
        assert np.linalg.eigvalsh(spread).min() > 0
        assert search.history[-1] < search.history[0]


class TestScores:
    def test_forecasts_lead_to_the_mode_of_the_likelihood(self, epidemic: Epidemic) -> None:
        plan = replace(EVOLUTION, score="energy")
        found = plan.calibrate(epidemic.objective, epidemic.data, 1)
        assert np.abs(epidemic.away(norm.ppf(found.u))).max() < 1.0
        ratio = np.sqrt(np.diag(found.covariance) / np.diag(epidemic.mode.covariance))
        assert (ratio > 0.6).all()
        assert (ratio < 1.6).all()

    def test_where_rows_show_all_draws_the_likelihood_is_maximised(
        self, epidemic: Epidemic
    ) -> None:
        found = EVOLUTION.calibrate(epidemic.objective, epidemic.data, 1)
        # Newton stops within 1e-3 nats of the top.
        assert np.abs(epidemic.away(norm.ppf(found.u))).max() < 0.1
        np.testing.assert_allclose(found.covariance, epidemic.mode.covariance, rtol=0.1, atol=1e-4)
        asked = replace(EVOLUTION, score="log").calibrate(epidemic.objective, epidemic.data, 1)
        np.testing.assert_array_equal(asked.u, found.u)

    def test_data_that_no_point_could_have_made_are_left_to_forecasts(
        self, epidemic: Epidemic
    ) -> None:
        states = programs.simulate_sir(0.5, 0.1, 12, 21, 1)
        states["R"][3, 9:] += 1  # one recovers who was never infected
        data = programs.data_of(COUNTS, **states)
        assert exact_density(epidemic.objective, data, "auto") is not None
        found = EVOLUTION.calibrate(epidemic.objective, data, 1)
        assert np.isfinite(found.score)
        assert np.abs(epidemic.away(norm.ppf(found.u))).max() < 1.5

    def test_no_likelihood_where_one_was_asked_for_is_told_in_one_message(self, walk: Walk) -> None:
        with pytest.raises(InputError) as caught:
            replace(EVOLUTION, score="log").calibrate(walk.objective, walk.data(0), 1)
        assert len(caught.value.problems) == 1
        assert "expected a program from a simulator file; got NativeSimulator" in str(caught.value)
        assert "give a log likelihood of your own" in str(caught.value)


@pytest.mark.slow
def test_intervals_of_simulated_scores_cover(epidemic: Epidemic) -> None:
    """Forty small epidemics: 90 % intervals contain the truth as often as a binomial law allows."""
    plan = replace(EVOLUTION, score="energy")
    truth = to_x(epidemic.objective.simulator.parameters.to_unit(TRUTH))
    runs, half = 40, norm.ppf(0.95)
    low, high = binom.ppf([0.005, 0.995], runs, 0.9)
    inside = np.zeros(2)
    for number in range(runs):
        found = plan.calibrate(epidemic.objective, epidemics(1000 + number), number)
        error = np.sqrt(np.diag(found.covariance))
        inside += np.abs(norm.ppf(found.u) - truth) < half * error
    assert (inside >= low).all(), inside
    assert (inside <= high).all(), inside


class TestSettings:
    def task(self, n: int, rows: int, **splits: Any) -> Task:
        schema = schema_of("x")
        data = data_of(schema, {"x": np.zeros((n, rows))})
        return Task(None, schema, data, **splits)  # type: ignore[arg-type]

    @pytest.mark.parametrize(("n", "rows"), [(1, 15), (10, 21), (40, 61), (500, 101), (3, 3)])
    def test_they_follow_from_the_datas_size(self, n: int, rows: int) -> None:
        got = settings_for(self.task(n, rows))
        assert got.rows == rows
        assert got.members == 16
        assert 16 <= got.replicates <= 128
        assert got.particles >= got.replicates // 2
        assert 1 <= got.chunk <= n
        assert all(1 < h < rows - 1 for h in got.plan.steps)
        # Chunks are alike: hardly any padding.
        assert -(-n // got.chunk) * got.chunk - n < got.chunk

    def test_the_longest_split_sets_the_rows(self) -> None:
        other = self.task(5, 30).train
        assert settings_for(self.task(5, 20, validation=other)).rows == 30

    def test_completeness(self) -> None:
        schema = schema_of("x")
        x, seen = np.zeros((2, 4)), np.ones((2, 4), bool)
        assert is_complete(data_of(schema, {"x": x}, length=np.array([4, 2])))
        seen[1, 1] = False
        assert not is_complete(data_of(schema, {"x": x}, {"x": seen}))


@pytest.mark.slow
def test_chunks_and_padding_leave_scores_alone(walk: Walk) -> None:
    """The chunked objective gives every trajectory the score it has in one piece."""
    data = walk.data(0).take(range(15))
    panels = walk.objective.panels(data)
    assert [int((p.length > 0).sum()) for p in panels] == [12, 3]
    whole = replace(walk.objective.settings, chunk=15)
    joint = Objective(
        walk.objective.simulator, walk.schema, whole, walk.objective.scale, complete=True
    )
    u = np.tile([0.7, 0.4], (16, 1))
    key = np.array([1, 2], np.uint32)
    parts = [
        walk.objective.scores(u, walk.objective.shared(panel), key, 12 * i)
        for i, panel in enumerate(panels)
    ]
    got = jnp.concatenate([part.energy for part in parts], axis=1)[:, :15]
    (panel,) = joint.panels(data)
    expected = joint.scores(u, joint.shared(panel), key).energy
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert not np.asarray(parts[1].valid)[:, 3:].any()
