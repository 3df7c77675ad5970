"""The distance to a known truth: alignment, floors, errors, failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from gsim_jax import sampling
from gsim_jax.diagnose.metric import fill, standard_errors
from gsim_jax.diagnose.next_state import (
    choose,
    clouds,
    plan_for,
    score,
    yardstick,
)
from gsim_jax.simulator import priors
from gsim_jax.simulator.native import NativeSimulator, StateSpec, from_functions
from gsim_jax.simulator.predict import Plan
from gsim_jax.task import InputError, Schema, Trajectories
from gsim_jax.task.expr import parse
from gsim_jax.task.schema import Derived, Input
from tests.simulator.worlds import data_of, schema_of

N, ROWS = 30, 25


def walk(schema: Schema, move: Callable[[jax.Array, Any], Any]) -> NativeSimulator:
    """Every state moves by what `move(key, inputs)` says."""

    def change(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
        keys = jax.random.split(key, len(schema.states))
        return {f"d{name}": move(k, inputs) for name, k in zip(schema.states, keys, strict=True)}

    def couple(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
        return {name: value + outputs[f"d{name}"] for name, value in state.items()}

    return from_functions(schema, {}, [change], couple)


def normal_walk(schema: Schema, drift: float = 0.0, sd: float = 1.0) -> NativeSimulator:
    return walk(schema, lambda key, _: drift + sd * sampling.normal(key))


def random_data(schema: Schema, n: int = N, rows: int = ROWS) -> Trajectories:
    generator = np.random.default_rng(0)
    return data_of(schema, {k: generator.normal(size=(n, rows)).cumsum(1) for k in schema.states})


def test_draws_stand_where_the_data_stand() -> None:
    shapes = {"x": (), "u": ()}
    schema = schema_of(
        "x",
        inputs={"u": Input("u", "real")},
        derived={"sum": Derived("sum", parse("2 * x + u", shapes))},
    )
    generator = np.random.default_rng(1)
    u = generator.integers(-3, 4, (N, ROWS)).astype(np.float32)
    x = np.concatenate([np.zeros((N, 1)), u[:, :-1].cumsum(1)], axis=1) + 7.0
    data = data_of(schema, {"x": x}, inputs={"u": u}, length=generator.integers(9, ROWS + 1, N))
    truth = walk(schema, lambda key, inputs: inputs["u"])
    against = yardstick(truth, {}, schema, data, horizons=(1, 3, 8), states=60, draws=2)
    for h, (trajectory, row) in against.request.cells.items():
        assert (row >= h).all()
        assert (row < data.length[trajectory]).all()
        cloud = against.truth[h]
        assert cloud.shape == (60, 2, 2)
        for r in range(2):
            np.testing.assert_array_equal(cloud[:, r], data.outputs[trajectory, row])
    for metric in against.measure(truth, {}):
        assert (metric.w1, metric.floor, metric.ratio, metric.excess) == (0, 0, 1, 0)
        assert metric.mse == metric.mse_floor == 0


def expected_floor(draws: int, sd: float) -> float:
    """Mean W1 of two clouds of N(0, sd²): F_n - G_n is about normal of variance 2 F (1 - F) / n."""
    spread = integrate.quad(lambda x: np.sqrt(stats.norm.cdf(x) * stats.norm.sf(x)), -8, 8)[0]
    return 2 / np.sqrt(np.pi * draws) * spread * sd


def test_floor_and_distance_of_a_random_walk() -> None:
    schema = schema_of("x")
    data = random_data(schema)
    truth = normal_walk(schema)
    options = {"horizons": (1, 4), "states": 400, "draws": 100}
    for metric in score(normal_walk(schema, drift=9.0), {}, truth, {}, schema, data, **options):
        h = metric.horizon
        assert metric.states == 400
        assert metric.trajectories == N
        floor = expected_floor(100, np.sqrt(h))
        assert metric.floor == pytest.approx(floor, abs=3 * metric.floor_se + 0.02 * floor)
        # Clouds that do not touch: all of one moves to the other.
        assert metric.w1 == pytest.approx(9.0 * h, abs=4 * np.sqrt(2 * h / 100 / 400))
        assert metric.ratio == pytest.approx(metric.w1 / metric.floor)
        assert metric.excess == pytest.approx(metric.w1 - metric.floor)
        assert metric.variables["x"] == pytest.approx((metric.w1, metric.floor), rel=1e-4)


def test_the_truth_is_at_its_floor_and_a_neighbour_is_not() -> None:
    schema = schema_of("x", "y")
    data = random_data(schema)
    truth = normal_walk(schema)
    against = yardstick(truth, {}, schema, data, horizons=(1, 4), states=200, draws=60)
    for metric in against.measure(normal_walk(schema), {}):
        assert abs(metric.ratio - 1) < 3 * metric.ratio_se
        assert abs(metric.excess) < 3 * metric.excess_se
        assert 0 < metric.ratio_se < 0.1
    for metric in against.measure(normal_walk(schema, sd=1.5), {}):
        assert metric.ratio - 1 > 10 * metric.ratio_se
        assert metric.mmd > metric.mmd_floor
        assert metric.mse > metric.mse_floor


def test_clouds_are_independent_and_follow_from_the_seed() -> None:
    schema = schema_of("x")
    # 700 trajectories of 40 draws are two parts, which threads share.
    data, truth = random_data(schema, n=700, rows=4), normal_walk(schema)
    options: dict[str, Any] = {"horizons": (1,), "states": 800, "draws": 40}
    one, same = (score(truth, {}, truth, {}, schema, data, **options)[0] for _ in range(2))
    assert one == same
    assert score(truth, {}, truth, {}, schema, data, workers=3, **options)[0] == one
    # The candidate has the truth's program and parameters, yet neither of its clouds.
    assert one.w1 > 0
    assert one.w1 != one.floor
    other = score(truth, {}, truth, {}, schema, data, seed=1, **options)[0]
    assert other.w1 != one.w1


@pytest.mark.parametrize("stride", [1, 3, 4])
@pytest.mark.parametrize("horizon", [1, 4, 9])
def test_chosen_forecasts_are_those_of_the_plan(horizon: int, stride: int) -> None:
    plan = Plan((4, 9), free=False, stride=stride)
    length = np.array([20, 12, 6], np.int32)
    cells = choose(horizon, stride, length, 10**6, 0)
    offered = {
        (n, row)
        for row in range(1, 20)
        for n in range(3)
        if row < length[n]
        and np.asarray(plan.look_up(jnp.int32(row))[1])[plan.names.index(str(horizon))]
    }
    assert set(zip(cells.trajectory.tolist(), cells.row.tolist(), strict=True)) == offered


def test_states_are_spread_evenly_over_trajectories() -> None:
    length = np.array([30] * 8 + [4], np.int32)
    cells = choose(1, 1, length, 66, 0)
    counts = np.bincount(cells.trajectory)
    # The short one has three to give, the others share the rest.
    assert counts[8] == 3
    assert counts[:8].min() >= 7
    assert counts[:8].max() <= 8
    assert counts.sum() == 66
    again = choose(1, 1, length, 66, 1)
    assert again.row.tolist() != cells.row.tolist()


def test_the_plan_offers_enough_states_at_the_least_cost() -> None:
    length = np.full(100, 61, np.int32)
    plan = plan_for((1, 7, 20), length, 1000)
    assert plan.stride > 1
    for h in (1, 7, 20):
        assert len(choose(h, plan.stride, length, 1000, 0).row) == 1000
    assert any(len(choose(h, plan.stride + 1, length, 1000, 0).row) < 1000 for h in (7, 20))
    assert plan_for((1, 7, 20), length, 10**6).stride == 1


def test_hidden_states_are_carried_along() -> None:
    # z is -1 or 1, drawn once: after one step, every particle that is left knows it.
    schema = schema_of("x")

    def drift(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
        return {"dx": state["z"]}

    def initial(observed: Any, seen: Any, params: Any, key: jax.Array) -> Any:
        z = 2 * sampling.bernoulli(key, 0.5) - 1
        return {"x": observed["x"], "z": z.astype(jnp.float32)}

    def couple(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
        return {"x": state["x"] + outputs["dx"], "z": state["z"]}

    truth = from_functions(
        schema, {}, [drift], couple, latent={"z": StateSpec("real")}, initial=initial
    )
    z = np.where(np.arange(N) % 2, 1.0, -1.0)
    data = data_of(schema, {"x": 3.0 + z[:, None] * np.arange(ROWS)})
    metric = score(truth, {}, truth, {}, schema, data, horizons=(1,), states=10**6, draws=64)[0]
    # Before the first step half of the draws are off by 2; drawn anew at each row, all rows were.
    assert metric.mse == pytest.approx(2.0 / (ROWS - 1), rel=0.2)


def test_failed_draws_are_counted_and_left_out() -> None:
    schema = schema_of("x")
    data, truth = random_data(schema), normal_walk(schema)
    shaky = walk(schema, lambda key, _: jnp.where(
        sampling.uniform(key) < 0.25, jnp.nan, sampling.normal(jax.random.fold_in(key, 1))
    ))  # fmt: skip
    broken = walk(schema, lambda key, _: jnp.float32(jnp.nan))
    against = yardstick(truth, {}, schema, data, horizons=(1,), states=200, draws=80)
    found = against.measure(shaky, {})[0]
    assert found.failed == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 16000))
    assert found.floor < found.w1 < 1.5 * found.floor
    lost = against.measure(broken, {})[0]
    assert lost.failed == 1.0
    assert lost.w1 == lost.ratio == lost.excess == lost.mmd == np.inf
    assert np.isnan(lost.ratio_se)
    with pytest.raises(ValueError, match="expected the truth to have a next state everywhere"):
        yardstick(broken, {}, schema, data, horizons=(1,), states=20, draws=4)


def test_filling_repeats_the_draws_that_did_not_fail() -> None:
    cloud = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    cloud[0, 1, 0] = np.nan
    cloud[1] = np.nan
    filled = fill(cloud)
    np.testing.assert_array_equal(filled[0], [[0, 1], [0, 1], [4, 5]])
    assert np.isnan(filled[1]).all()
    assert np.isnan(cloud[0, 1, 0])


def test_standard_errors_are_those_of_independent_trajectories() -> None:
    # 60 trajectories of 10 states that share most of their noise: 60 numbers, not 600.
    generator = np.random.default_rng(3)
    shared, own = generator.normal(size=(60, 1)), generator.normal(size=(60, 10))
    floor = 5 + shared + 0.1 * own
    w1 = floor + 1 + 0.3 * generator.normal(size=(60, 10))
    trajectory = np.repeat(np.arange(60), 10)
    found = standard_errors(w1.ravel(), floor.ravel(), trajectory, 0)
    per = {"w1": w1.mean(1), "floor": floor.mean(1), "excess": (w1 - floor).mean(1)}
    for name, means in per.items():
        assert found[name] == pytest.approx(means.std(ddof=1) / np.sqrt(60), rel=0.1)
    ratio = w1.mean() / floor.mean()
    delta = (per["w1"] - ratio * per["floor"]) / floor.mean()
    assert found["ratio"] == pytest.approx(delta.std(ddof=1) / np.sqrt(60), rel=0.1)
    assert np.isnan(list(standard_errors(w1[0], floor[0], np.zeros(10, int), 0).values())).all()


def test_draws_of_something_that_is_no_simulator() -> None:
    schema = schema_of("x")
    data, truth = random_data(schema), normal_walk(schema)
    against = yardstick(truth, {}, schema, data, horizons=(1, 4), states=40, draws=30)
    key = np.array([5, 6], np.uint32)
    drawn = clouds(normal_walk(schema, 2.0), {}, against.request, [key])[0]
    for metric in against.measure_clouds(drawn):
        assert metric.w1 == pytest.approx(2.0 * metric.horizon, abs=0.3)


def test_what_does_not_fit_the_task_is_refused() -> None:
    schema = schema_of("x")
    data, truth = random_data(schema), normal_walk(schema)
    with pytest.raises(ValueError, match="expected values out of x; got y"):
        yardstick(truth, {}, schema, data, values=("x", "y"))
    for bad in ((), (0,), (ROWS,)):
        with pytest.raises(ValueError, match="expected horizons of 1 to 24 steps; got"):
            yardstick(truth, {}, schema, data, horizons=bad)


def test_parameters_by_label() -> None:
    schema = schema_of("x")
    parameters = {
        "move": {
            "rate": priors.Uniform(0.0, 1.0, guess=0.3, shape=(2,)),
            "lag": priors.Integer(1, 8, guess=4),
        }
    }

    def move(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
        return {}

    simulator = from_functions(schema, parameters, [move], lambda state, *_: state)
    found = simulator.parameters.values({"move.rate[1]": 0.1, "move.lag": 2})
    assert found["move"]["lag"].dtype == np.int32
    assert found["move"]["lag"] == 2
    np.testing.assert_array_equal(found["move"]["rate"], np.float32([0.3, 0.1]))
    assert found["move"]["rate"].dtype == np.float32
    with pytest.raises(InputError, match=r"expected parameters out of .*; got move\.delay"):
        simulator.parameters.values({"move.delay": 1.0})
