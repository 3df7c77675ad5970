"""Calibration finds what made the data, and says truly how well it knows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax import sampling
from gsim_jax.calibrate import (
    Calibration,
    Evolution,
    Objective,
    Settings,
    increment_scale,
    settings_for,
)
from gsim_jax.simulator import priors
from gsim_jax.simulator.native import from_functions
from gsim_jax.simulator.panel import build_panel, is_complete
from gsim_jax.simulator.predict import Plan
from gsim_jax.task import Schema, Task, Trajectories, Variable
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
        lanes = settings.members * settings.chunk * settings.replicates * 6
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
    """n' = n - Binomial(n, p) + step: a probability, an integer, a number that nothing reads."""
    schema = schema_of(states={"n": Variable("n", "count", min=0)})

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
    generator = np.random.default_rng(1)
    n = np.zeros((COUNT, ROWS), int)
    n[:, 0] = np.where(np.arange(COUNT) % 2, 0, generator.integers(20, 200, COUNT))
    for t in range(1, ROWS):
        n[:, t] = n[:, t - 1] - generator.binomial(n[:, t - 1], P) + STEP
    data = data_of(schema, {"n": n})
    simulator = from_functions(schema, parameters, [flows], couple)
    objective = objective_of(simulator, schema, data, Plan((4,)))
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
    lazy = replace(EVOLUTION, design=1, explore=0, refine=0, restarts=1, polish=1)
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
