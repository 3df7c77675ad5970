"""Forecasts against exact laws, against a second implementation, and against themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax import sampling, words
from gsim_jax.simulator import predict as module
from gsim_jax.simulator.native import NativeSimulator, from_functions
from gsim_jax.simulator.panel import build_panel, take
from gsim_jax.simulator.predict import Forecast, Plan, predict
from gsim_jax.task import Derived, Input, Schema, Trajectories, Variable, parse
from tests.simulator.worlds import KEY, ar1, at, data_of, draw_ar1, schema_of

ROWS, MANY, FEW = 24, 2048, 8
A, SD = 0.8, 0.5
PLAN = Plan((7,))


def compiled(
    simulator: NativeSimulator, schema: Schema, plan: Plan = PLAN, **options: Any
) -> Callable[..., Any]:
    """A jitted forecast of (params, panel)."""
    options = {"replicates": FEW, "weighted": False} | options

    def run(params: Any, panel: Any, first: int = 0) -> Any:
        return predict(simulator, schema, params, panel, plan, KEY, first=first, **options)

    return jax.jit(run)


@pytest.fixture(scope="module")
def schema() -> Schema:
    return schema_of("x")


@pytest.fixture(scope="module")
def data(schema: Schema) -> Trajectories:
    x = draw_ar1(A, SD, 3, ROWS, seed=1, start=2.0)
    return data_of(schema, {"x": x}, length=np.array([ROWS, ROWS, 13]))


@pytest.fixture(scope="module")
def simulator(schema: Schema) -> NativeSimulator:
    return ar1(schema)


@pytest.fixture(scope="module")
def draws(simulator: NativeSimulator, schema: Schema, data: Trajectories) -> np.ndarray:
    """float[n, T, R, H] of an AR(1)."""
    run = compiled(simulator, schema, replicates=MANY)
    return np.asarray(run(at(simulator, a=A, sd=SD), build_panel(schema, data)))[..., 0]


class TestAgainstTheLaw:
    """An AR(1) predicts h steps ahead with mean a^h x and variance sd^2 (1 - a^2h) / (1 - a^2)."""

    def check(self, draws: np.ndarray, mean: np.ndarray, h: np.ndarray) -> None:
        sd = SD * np.sqrt((1 - A ** (2 * h)) / (1 - A * A))
        z_mean = (draws.mean(-1) - mean) / (sd / np.sqrt(MANY))
        z_sd = (draws.std(-1) / sd - 1) / np.sqrt(0.5 / MANY)
        for z in (z_mean, z_sd):
            assert np.abs(z).max() < 4.5
            assert abs(z.mean()) < 2.0  # tracks share words, so these are not independent

    def test_one_step(self, draws: np.ndarray, data: Trajectories) -> None:
        x = data.states["x"][:2]
        self.check(draws[:2, :, :, 0], A * x[:, :-1], np.float64(1))

    def test_seven_steps(self, draws: np.ndarray, data: Trajectories) -> None:
        x = data.states["x"][:2]
        self.check(draws[:2, 6:, :, 1], A**7 * x[:, :-7], np.float64(7))
        assert np.isnan(draws[:2, :6, :, 1]).all()

    def test_free_run(self, draws: np.ndarray, data: Trajectories) -> None:
        h = np.arange(1, ROWS)
        x = data.states["x"][:2]
        self.check(draws[:2, :, :, 2], A**h * x[:, :1], h)

    def test_a_trajectory_that_ends_early(self, draws: np.ndarray, data: Trajectories) -> None:
        x = data.states["x"][2:, :13]
        self.check(draws[2:, :12, :, 0], A * x[:, :-1], np.float64(1))
        self.check(draws[2:, 6:12, :, 1], A**7 * x[:, :-7], np.float64(7))
        h = np.arange(1, 13)
        self.check(draws[2:, :12, :, 2], A**h * x[:, :1], h)


def test_the_same_words_in_numpy(
    draws: np.ndarray, schema: Schema, data: Trajectories, simulator: NativeSimulator
) -> None:
    """Teacher forcing written down a second time, replicate by replicate."""
    count = 5
    lanes = np.arange(count)[:, None] * 2**20 + np.arange(3)
    keys = words.lane_keys(jnp.asarray(KEY), jnp.asarray(lanes.ravel(), jnp.uint32))
    sites = [np.uint32(words.site_id("drift", i)) for i in range(2)]

    def shock(lane: jax.Array, t: jax.Array) -> jax.Array:
        bits = jnp.stack([words.threefry(lane, t, jnp.asarray(site)) for site in sites])
        return sampling.normal(jax.random.wrap_key_data(bits, impl="threefry2x32"))

    every = jax.vmap(jax.vmap(shock, (None, 0)), (0, None))
    e = np.asarray(jax.jit(every)(keys, jnp.arange(ROWS - 1))).reshape(count, 3, ROWS - 1)
    x = data.states["x"]
    for i, length in enumerate(data.length):
        for target in range(1, length):
            for h, begin in ((0, target - 1), (1, target - 7), (2, 0)):
                if begin < 0:
                    continue
                state = np.full(count, x[i, begin])
                for t in range(begin, target):
                    state = A * state + SD * e[:, i, t]
                np.testing.assert_allclose(draws[i, target - 1, :count, h], state, atol=2e-5)


@pytest.fixture(scope="module")
def plain(simulator: NativeSimulator, schema: Schema, data: Trajectories) -> tuple[Any, np.ndarray]:
    """The compiled forecast with few replicates, and what it gives."""
    run = compiled(simulator, schema)
    return run, np.asarray(run(at(simulator, a=A, sd=SD), build_panel(schema, data)))


class TestAgainstItself:
    """What must not change a forecast: the same lanes in another program, up to its rounding."""

    def test_replicates_are_numbered(self, plain: Any, draws: np.ndarray) -> None:
        np.testing.assert_allclose(plain[1][..., 0], draws[:, :, :FEW], rtol=1e-5, atol=1e-6)

    def test_weights_change_nothing_where_rows_are_complete(
        self, plain: Any, simulator: NativeSimulator, schema: Schema, data: Trajectories
    ) -> None:
        run = compiled(simulator, schema, weighted=True)
        got = np.asarray(run(at(simulator, a=A, sd=SD), build_panel(schema, data)))
        for i, length in enumerate(data.length):
            rows = slice(0, length - 1)
            np.testing.assert_allclose(got[i, rows], plain[1][i, rows], rtol=1e-5, atol=1e-6)

    def test_words_made_step_by_step(
        self,
        plain: Any,
        simulator: NativeSimulator,
        schema: Schema,
        data: Trajectories,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(module, "_MOST_WORDS", 0)
        run = compiled(simulator, schema)
        got = np.asarray(run(at(simulator, a=A, sd=SD), build_panel(schema, data)))
        np.testing.assert_allclose(got, plain[1], rtol=1e-6, atol=1e-6)

    def test_chunks_and_padding(
        self, plain: Any, simulator: NativeSimulator, schema: Schema, data: Trajectories
    ) -> None:
        panel = build_panel(schema, data, rows=ROWS + 5, multiple=4)
        assert panel.length.tolist() == [ROWS, ROWS, 13, 0]
        run, whole = plain
        params = at(simulator, a=A, sd=SD)
        parts = [np.asarray(run(params, take(panel, i, 2), i)) for i in (0, 2)]
        got = np.concatenate(parts)[:3, : ROWS - 1]
        np.testing.assert_allclose(got, whole, rtol=1e-5, atol=1e-6)

    def test_every_second_phase(
        self, plain: Any, simulator: NativeSimulator, schema: Schema, data: Trajectories
    ) -> None:
        run = compiled(simulator, schema, Plan((7,), stride=2))
        got = np.asarray(run(at(simulator, a=A, sd=SD), build_panel(schema, data)))
        target = np.arange(1, ROWS)
        reached = (target >= 7) & (target % 7 % 2 == 0)
        np.testing.assert_array_equal(np.isfinite(got[0, :, 0, 1, 0]), reached)
        for h, rows in ((0, target > 0), (1, reached), (2, target > 0)):
            np.testing.assert_allclose(
                got[:, rows, :, h], plain[1][:, rows, :, h], rtol=1e-5, atol=1e-6
            )


class TestPlan:
    def test_names_and_tracks(self) -> None:
        plan = Plan((3, 4), stride=3)
        assert plan.names == ("1", "3", "4", "free")
        period, phase = plan.tracks
        assert period[:4].tolist() == [1, 3, 4, 4]
        assert phase[:4].tolist() == [0, 0, 0, 3]
        assert Plan((), free=False).names == ("1",)

    @pytest.mark.parametrize("plan", [Plan((7,)), Plan((2, 5), stride=2), Plan((3,), free=False)])
    def test_look_up_finds_the_track_that_began_h_steps_ago(self, plan: Plan) -> None:
        period, phase = plan.tracks
        for target in range(1, 30):
            track, valid = (np.asarray(v) for v in plan.look_up(jnp.int32(target)))
            for h, steps in enumerate(plan.steps, start=1):
                if valid[h]:
                    assert period[track[h]] == steps
                    assert (target - steps) % steps == phase[track[h]]
                    assert target >= steps
            assert valid[0]
            if plan.free:
                assert valid[-1]
                assert track[-1] == len(period) - 1

    def test_weights_count_independent_forecasts(self) -> None:
        w = Plan((7,)).weights(29)
        np.testing.assert_allclose(w / w[0], [1, 1 / 7, 1 / 28])
        assert w.sum() == pytest.approx(1)


def test_sums_over_windows() -> None:
    """A column of sums over 3 steps, in a world without chance: c' = c + step."""
    c = np.array([[2.0, 3, 5, 5, 6, 10, 10, 11], [1.0, 1, 1, 2, 2, 2, 3, 3]])
    rows = c.shape[1]
    sums = np.sum([np.pad(c, ((0, 0), (k, 0)))[:, :rows] for k in range(3)], axis=0)
    schema = schema_of("c", "start", inputs={"step": Input("step", "real")}, aggregates={"c": 3})
    data = data_of(
        schema,
        {"c": np.zeros_like(c), "start": np.repeat(c[:, :1], rows, 1)},
        {"c": np.zeros_like(c, bool)},
        inputs={"step": np.diff(c, append=0.0).astype(np.float32)},
        given={"c": (sums, np.broadcast_to(np.arange(rows) >= 2, sums.shape))},
    )

    def walk(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
        return {"next": state["c"] + inputs["step"]}

    def couple(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
        return {"c": outputs["next"], "start": state["start"]}

    def initial(observed: Any, seen: Any, params: Any, key: jax.Array) -> Any:
        return {**observed, "c": observed["start"]}

    simulator = from_functions(schema, {}, [walk], couple, initial=initial)
    run = compiled(simulator, schema, Plan((2,)), weighted=True, reduce=lambda f: f)
    forecast: Forecast = run({}, build_panel(schema, data))
    draws = np.asarray(forecast.draws)[:, :, 0]  # [n, T, H, R]
    # Whole sums are exact at every horizon, the first one, which holds the first row, included.
    for target in range(2, rows):
        for h in range(3):
            exact = np.repeat(sums[:, target, None], FEW, axis=1)
            np.testing.assert_allclose(draws[:, target - 1, h], exact, atol=1e-5)
    np.testing.assert_allclose(forecast.outputs[:, 1:, 0], sums[:, 2:], atol=1e-5)
    np.testing.assert_allclose(forecast.shown["c"], c[:, 1:], atol=1e-5)


@pytest.fixture(scope="module")
def failing() -> Forecast:
    """x' = 2 x in a world that ends at 8, and breaks where x is below 1.5 at t = 2."""
    schema = schema_of(states={"x": Variable("x", "real", max=8.0)})

    def double(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
        broken = (inputs["t"] == 2) & (state["x"] < 1.5)
        return {"next": jnp.where(broken, jnp.nan, 2.0 * state["x"])}

    def couple(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
        return {"x": outputs["next"]}

    x = np.array([[2.0, 2, 2, 2, 2, 2], [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]])
    data = data_of(schema, {"x": x}, length=np.array([6, 4]))
    simulator = from_functions(schema, {}, [double], couple)
    run = compiled(simulator, schema, Plan(()), reduce=lambda f: f)
    return run({}, build_panel(schema, data))


class TestFailures:
    """A lane that fails is NaN and carries a code; what the data show mends the filter."""

    def test_the_free_run_stays_failed(self, failing: Forecast) -> None:
        free = np.asarray(failing.draws)[:, :, 0, 1, 0]
        np.testing.assert_array_equal(free[0], [4, 8, np.nan, np.nan, np.nan])
        np.testing.assert_array_equal(free[1, :3], [1, 2, 4])
        np.testing.assert_array_equal(failing.outputs[0, :, 0], free[0])

    def test_the_filter_goes_on(self, failing: Forecast) -> None:
        one = np.asarray(failing.draws)[:, :, 0, 0, 0]
        np.testing.assert_array_equal(one[0], [4, 4, 4, 4, 4])
        np.testing.assert_array_equal(one[1, :3], [1, 1, np.nan])

    def test_codes_say_why_until_the_trajectory_ends(self, failing: Forecast) -> None:
        code = np.asarray(failing.code)
        assert code[0, :, 0].tolist() == [0, 0, 2, 2, 2]
        # The second one leaves the range behind its last row: that is no failure.
        assert code[1, :, 0].tolist() == [0, 0, 0, 0, 0]
        assert (code == code[:, :, :1]).all()


def test_outputs_are_of_the_row_they_are_about() -> None:
    """A derived value reads the inputs of the row predicted, the step those of the row before."""
    schema = schema_of(
        "x",
        inputs={"u": Input("u", "real")},
        derived={
            "both": Derived("both", parse("x + 100 * u + 10000 * t", {"x": (), "u": (), "t": ()}))
        },
    )
    u = np.array([[1.0, 2, 3, 4]], np.float32)
    data = data_of(schema, {"x": np.zeros((1, 4))}, inputs={"u": u})

    def move(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
        return {"next": inputs["u"] + 10.0 * inputs["t"]}

    def couple(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
        return {"x": outputs["next"]}

    simulator = from_functions(schema, {}, [move], couple)
    got = np.asarray(compiled(simulator, schema, Plan(()))({}, build_panel(schema, data)))
    t = np.arange(3)
    x = u[0, :3] + 10 * t
    np.testing.assert_allclose(
        got[0, :, 0, 0], np.stack([x, x + 100 * u[0, 1:] + 1e4 * (t + 1)], 1)
    )


def test_initial_is_called_once_per_lane_with_words_of_its_own() -> None:
    schema = schema_of("x")

    def stay(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
        return {"shock": sampling.normal(key)}

    def couple(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
        return {"x": state["x"]}

    def initial(observed: Any, seen: Any, params: Any, key: jax.Array) -> Any:
        return {"x": jnp.where(seen["x"], observed["x"], sampling.normal(key))}

    simulator = from_functions(schema, {}, [stay], couple, initial=initial)
    seen = np.array([[True, False, False, True], [False, False, False, False]])
    data = data_of(schema, {"x": np.full((2, 4), 7.0)}, {"x": seen})
    run = compiled(simulator, schema, Plan(()), replicates=64, weighted=True)
    got = np.asarray(run({}, build_panel(schema, data)))[..., 0]
    assert (got[0] == 7.0).all()
    drawn = got[1, 0, :, 0]
    assert len(np.unique(drawn)) == 64
    np.testing.assert_array_equal(got[1], np.broadcast_to(drawn[:, None], (3, 64, 2)))
