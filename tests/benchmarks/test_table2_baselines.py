"""The baselines of Table 2: what they learn, their noise, and what they may and may not see."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

pytest.importorskip("sklearn")
pytest.importorskip("diffrax")

from benchmarks._table2 import deterministic, dynode, genetic, last_value, sindy, twin
from benchmarks._table2.forecaster import BASELINES, FROM_PROGRAM
from benchmarks._table2.noise import Noise, draw_noise, fit_noise
from benchmarks._table2.rnn import Recurrent
from benchmarks._table2.rollout import Rollout, fit_predictor, one_step
from benchmarks._table2.supervised import (
    REACH,
    Recipe,
    StepModel,
    fit_network,
    pairs,
    scale_of,
    series,
    splits,
)
from benchmarks._table2.transformer import Causal
from gsim_jax.diagnose.next_state import Request, choose, plan_for
from gsim_jax.simulator._trace import trace_source
from gsim_jax.simulator.program import Program
from gsim_jax.task import InputError, Task, Trajectories, load_task
from gsim_jax.task.schema import Input, Schema, Variable
from tests.simulator.worlds import data_of, schema_of

COVID = Path(__file__).resolve().parents[2] / "envs" / "covid19"
#: The library that a baseline needs beyond those above.
NEEDS = {"sindy": "pysindy", "genetic program": "gplearn"}
#: Those that take long to compile.
COSTLY = {"dynode", "rnn", "transformer", "deterministic code", "hybrid twin"}
#: x' = A x + b u: a slow spiral, driven.
A, B = np.array([[0.95, -0.2], [0.2, 0.95]]), np.array([0.3, -0.1])


def request_of(
    schema: Schema, data: Trajectories, horizons: tuple[int, ...], states: int, draws: int
) -> Request:
    plan = plan_for(horizons, data.length, states)
    cells = {h: choose(h, plan.stride, data.length, states, 0) for h in horizons}
    return Request(schema, data, plan, cells, tuple(range(len(schema.outputs))), draws)


def task_of(schema: Schema, *parts: Trajectories) -> Task:
    return Task(Path("world"), schema, *parts)


@cache
def spiral() -> Task:
    schema = schema_of("x", "y", inputs={"u": Input("u", "real")})

    def drawn(seed: int, n: int) -> Trajectories:
        generator = np.random.default_rng(seed)
        u = generator.normal(size=(n, 25)).astype(np.float32)
        state = [generator.normal(size=(n, 2))]
        for t in range(24):
            state.append(state[-1] @ A.T + u[:, t, None] * B)
        x = np.stack(state, 1)
        return data_of(schema, {"x": x[..., 0], "y": x[..., 1]}, inputs={"u": u})

    return task_of(schema, drawn(0, 60), drawn(1, 10), drawn(2, 10))


def one_step_error(found: Rollout, task: Task) -> float:
    """Mean squared error over the variance of the increments, on test data."""
    assert task.test is not None
    now, mean, ahead = one_step(found.model, found.scale, series(task.schema, task.test, "test"))
    return float(np.mean((mean - ahead) ** 2) / np.var(ahead - now))


def forecast_error(found: Any, task: Task, h: int) -> float:
    """Mean squared error over the variance of what happens in h steps, on test data."""
    assert task.test is not None
    request = request_of(task.schema, task.test, (h,), 50, 1)
    cells = request.cells[h]
    ahead = task.test.outputs[cells.trajectory, cells.row]
    now = task.test.outputs[cells.trajectory, cells.row - h]
    made = found.draw(request, 0)[h][:, 0]
    return float(np.mean((made - ahead) ** 2) / np.var(ahead - now))


def test_sindy_finds_a_linear_system() -> None:
    pytest.importorskip("pysindy")
    found = sindy.fit(spiral(), seed=0, quick=True, noise=False)
    assert found.numbers == 6  # the increment of each variable: both variables and the input
    assert one_step_error(found, spiral()) < 1e-5
    assert forecast_error(found, spiral(), 10) < 1e-4


class Straight(StepModel):
    """A linear network."""

    def __init__(self, states: int, inputs: int) -> None:
        self.layer = nnx.Linear(states + inputs, states, rngs=nnx.Rngs(0))

    def step(self, memory: Any, z: jax.Array, v: jax.Array) -> tuple[jax.Array, Any]:
        return self.layer(jnp.concatenate([z, v])), memory


def test_training_finds_the_weights_of_a_linear_system() -> None:
    recipe = Recipe(epochs=80, batch=6, rate=3e-2, patience=80)
    found = fit_predictor(lambda v, u, scale: Straight(v, u), [recipe], spiral(), 0, False)
    assert found.numbers == 8
    assert one_step_error(found, spiral()) < 1e-6
    assert forecast_error(found, spiral(), 10) < 1e-5
    assert isinstance(found.model, Straight)
    # In the units of the data the weights are A - 1 and b.
    rows = np.asarray(found.scale.step)[:, None] * np.asarray(found.model.layer.kernel[...]).T
    weights = rows / np.concatenate([found.scale.sd, found.scale.u_sd])
    np.testing.assert_allclose(weights, np.column_stack([A - np.eye(2), B]), atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [dynode.DyNode, Recurrent, Causal])
def test_networks_learn_a_linear_system(kind: Any) -> None:
    def build(states: int, inputs: int, scale: Any) -> Any:
        more = (scale,) if kind is dynode.DyNode else ()
        return kind(states, inputs, *more, 0)

    found = fit_predictor(build, [Recipe(epochs=60, batch=6)], spiral(), 0, False)
    assert one_step_error(found, spiral()) < 0.01
    assert forecast_error(found, spiral(), 10) < 0.03


def test_a_genetic_program_finds_an_expression_and_is_read_as_gplearn_reads_it() -> None:
    gplearn = pytest.importorskip("gplearn.genetic")
    generator = np.random.default_rng(0)
    x = generator.normal(size=(300, 3))
    y = x[:, 0] * x[:, 1] - x[:, 2] / x[:, 0]
    settings = {"population_size": 200, "generations": 4, "metric": "mse", "random_state": 0}
    evolved = gplearn.SymbolicRegressor(function_set=tuple(genetic._FUNCTIONS), **settings)
    expected = evolved.fit(x, y).predict(x)
    expression = genetic._evolve(x, y, {"population_size": 200, "generations": 4}, 0)
    assert "div" in expression or "mul" in expression
    made = jax.vmap(partial(genetic.evaluate, expression))(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-4)


def test_sindy_on_compressed_rows_is_pysindy_on_all_rows() -> None:
    pysindy = pytest.importorskip("pysindy")
    train, _ = splits(spiral())
    steps = pairs(train, scale_of(spiral().schema, train, center=False))
    _, terms, targets = sindy.compressed(train, steps)
    assert len(terms) <= terms.shape[1] + targets.shape[1] < train.steps.sum()
    whole = pysindy.SINDy(
        optimizer=pysindy.STLSQ(threshold=0.05, alpha=sindy.PENALTY),
        feature_library=pysindy.PolynomialLibrary(sindy.ORDER),
    )
    whole.fit(list(steps.z), t=1.0, x_dot=list(steps.target), u=list(steps.v))
    ours = sindy.regress(terms, targets, 0.05)
    np.testing.assert_allclose(ours, np.asarray(whole.coefficients()), atol=2e-5)


@cache
def walk(rows: int = 200) -> tuple[Task, np.ndarray]:
    """A random walk in two dimensions with correlated steps, and their covariance."""
    root = np.array([[2.0, 0.0], [-0.9, 0.5]])
    schema = schema_of("x", "y")
    generator = np.random.default_rng(0)
    x = (generator.normal(size=(60, rows, 2)) @ root.T).cumsum(1)
    data = data_of(schema, {"x": x[..., 0], "y": x[..., 1]})
    return task_of(schema, data.take(range(30)), data.take(range(30, 60))), root @ root.T


def test_residual_noise_has_the_covariance_of_a_random_walk() -> None:
    task, covariance = walk()
    found = last_value.fit(task, seed=0, quick=False, noise=True)
    request = request_of(task.schema, task.train, (1, 5), 100, 100)
    drawn = found.draw(request, 1)
    sds = np.sqrt(np.diag(covariance))
    for h, cells in request.cells.items():
        now = task.train.outputs[cells.trajectory, cells.row - h]
        moved = drawn[h] - now[:, None]
        inside = np.cov((moved - moved.mean(1, keepdims=True)).reshape(-1, 2).T) * 100 / 99
        # Covariances of 5,970 residuals are known to 1.8 % (one sd); 10,000 draws add 1.4 %.
        error = (inside / h - covariance) / np.outer(sds, sds)
        assert np.abs(error).max() < 0.09, h
        assert np.abs(moved.mean((0, 1)) / sds).max() < 5 * np.sqrt(h / 1e4), h


def test_residual_noise_grows_where_the_residuals_do() -> None:
    generator = np.random.default_rng(0)
    seen = generator.uniform(-1, 1, (4000, 3)).astype(np.float32)
    sd = np.where(seen[:, 1] > 0.3, 3.0, 0.5)
    noise = fit_noise(seen, (sd * generator.normal(size=4000))[:, None] + 7.0, 0)
    probe = jnp.asarray([[0.0, 0.8, 0.0], [0.0, -0.5, 0.0]], jnp.float32)
    keys = jax.random.split(jax.random.key(0), (2, 3000))

    @jax.jit
    def draw(noise: Noise, probe: jax.Array, keys: jax.Array) -> jax.Array:
        return jax.vmap(lambda x, k: jax.vmap(partial(draw_noise, noise, x))(k))(probe, keys)

    drawn = np.asarray(draw(noise, probe, keys))
    np.testing.assert_allclose(np.std(drawn, axis=(1, 2)), [3.0, 0.5], rtol=0.15)
    # Noise has no mean: the 7 belongs to the predictor.
    assert np.abs(np.mean(drawn, axis=(1, 2)) / [3.0, 0.5]).max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Recurrent, Causal])
def test_a_pass_over_a_trajectory_is_the_same_as_step_by_step(kind: Any) -> None:
    model = kind(2, 1, 0)
    generator = np.random.default_rng(0)
    z, v = (jnp.asarray(generator.normal(size=(9, d)), jnp.float32) for d in (2, 1))
    together = nnx.jit(lambda model, z, v: model.increments(z, v))(model, z, v)

    @partial(jax.jit, static_argnums=0)
    def stepwise(graph: Any, state: Any, z: jax.Array, v: jax.Array, row: jax.Array) -> Any:
        model = nnx.merge(graph, state)
        # Rows that have not happened yet must not be looked at.
        hidden = jnp.arange(9)[:, None] >= row
        memory = model.read(jnp.where(hidden, 1e3, z), jnp.where(hidden, 1e3, v), row, 5)
        made = []
        for k in range(5):
            one, memory = model.step(memory, z[row + k], v[row + k])
            made.append(one)
        return jnp.stack(made)

    for row in (0, 4):
        made = stepwise(*nnx.split(model), z, v, jnp.int32(row))
        np.testing.assert_allclose(made, together[row : row + 5], atol=2e-5)


class Exploding(StepModel):
    """z' = z + 3 z^2."""

    def step(self, memory: Any, z: jax.Array, v: jax.Array) -> tuple[jax.Array, Any]:
        return 3 * z**2, memory


def test_forecasts_that_explode_are_clipped_and_counted_but_for_one_step() -> None:
    schema = schema_of("x")
    x = np.linspace(1.0, 5.0, 40).reshape(2, 20)
    data = data_of(schema, {"x": x})
    train = series(schema, data, "training")
    unit = scale_of(schema, train)._replace(
        mean=np.zeros(1, np.float32), sd=np.ones(1, np.float32),
        drift=np.zeros(1, np.float32), step=np.ones(1, np.float32),
    )  # fmt: skip
    found = Rollout(Exploding(), unit)
    request = request_of(schema, data, (1, 7), 10, 3)
    drawn = found.draw(request, 0)
    cells = request.cells[1]
    now = data.outputs[cells.trajectory, cells.row - 1]
    np.testing.assert_allclose(drawn[1][:, 0], now + 3 * now**2, rtol=1e-6)
    assert drawn[1].max() > 5 + REACH * x.std()
    assert drawn[7].max() == pytest.approx(5 + REACH * x.std(), rel=1e-6)
    assert found.failed == {1: 0.0, 7: 1.0}


def test_a_forecast_sees_the_inputs_up_to_the_row_before_its_target() -> None:
    task = spiral()
    assert task.test is not None
    train, _ = splits(task)
    found = Rollout(Straight(2, 1), scale_of(task.schema, train))
    request = request_of(task.schema, task.test, (3,), 10, 1)
    cells = request.cells[3]._replace(trajectory=np.arange(10), row=np.full(10, 8))
    request = request._replace(cells={3: cells})
    drawn = found.draw(request, 0)[3]
    for row, matters in ((4, False), (5, True), (7, True), (8, False)):
        u = task.test.inputs["u"].copy()
        u[:, row] += 1
        other = replace(task.test, inputs={"u": u})
        assert (found.draw(request._replace(data=other), 0)[3] != drawn).any() == matters, row


def test_missing_entries_are_refused_with_their_place() -> None:
    schema = schema_of("x", "y")
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 4, 6))
    seen = np.ones((4, 6), bool)
    seen[2, 3] = False
    gaps = data_of(schema, {"x": x, "y": y}, {"y": seen})
    for fit in (last_value.fit, BASELINES["rnn"]):
        with pytest.raises(InputError, match=r"y of trajectory site 2 is not seen at t = 3"):
            fit(task_of(schema, gaps, gaps), seed=0, quick=True, noise=False)
    whole = data_of(schema, {"x": x, "y": y}).take([0])
    with pytest.raises(InputError, match="expected validation data, or several training"):
        last_value.fit(task_of(schema, whole), seed=0, quick=True, noise=False)


def test_a_fit_that_fails_says_so() -> None:
    task, _ = walk()
    train, held = splits(task)
    scale = scale_of(task.schema, train)
    model = Straight(2, 0)
    broken = pairs(train, scale)._replace(target=np.full_like(pairs(train, scale).target, np.inf))
    with pytest.raises(InputError, match="not finite after any epoch"):
        fit_network(model, broken, broken, Recipe(epochs=2), 0)
    assert np.isfinite(one_step(model, scale, held)[1]).all()


def test_the_scale_knows_whole_numbers_bounds_and_constants() -> None:
    level = Variable("level", "real", min=-3.0, max=9.0)
    schema = schema_of("x", states={"n": Variable("n", "count"), "level": level})
    generator = np.random.default_rng(0)
    states = {
        "x": np.full((3, 8), 2.5),
        "n": generator.integers(0, 9, (3, 8)),
        "level": generator.normal(size=(3, 8)),
    }
    scale = scale_of(schema, series(schema, data_of(schema, states), "training"))
    labels = [output.label for output in schema.outputs]
    at = {label: labels.index(label) for label in labels}
    assert [bool(scale.whole[at[k]]) for k in ("x", "n", "level")] == [False, True, False]
    assert scale.least[at["n"]] == 0
    assert scale.most[at["n"]] == np.inf
    assert (scale.least[at["level"]], scale.most[at["level"]]) == (-3, 9)
    assert scale.least[at["x"]] == -np.inf
    assert (scale.sd[at["x"]], scale.step[at["x"]]) == (1, 0)


@cache
def covid() -> tuple[Task, Program]:
    """A few trajectories of the epidemic, and the program that made them."""
    task = load_task(COVID)
    assert task.validation is not None
    assert task.test is not None
    signature = task.schema.signature()
    source = (COVID / "truth.py").read_text(encoding="utf-8")
    few = (task.train.take(range(20)), task.validation.take(range(20)), task.test.take(range(6)))
    return task_of(task.schema, *few), Program.from_document(
        trace_source(source, signature), signature
    )


def hide_future(data: Trajectories, start: np.ndarray) -> Trajectories:
    """The same histories up to a row, and nonsense after it."""
    after = np.arange(data.rows)[None] > start[:, None]
    return replace(
        data,
        outputs=np.where(after[..., None], 999.0, data.outputs).astype(np.float32),
        states={k: np.where(after, 999, v).astype(v.dtype) for k, v in data.states.items()},
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in COSTLY)) for name in BASELINES],
)
def test_the_contract_of_every_baseline(name: str) -> None:
    pytest.importorskip(NEEDS.get(name, "sklearn"))
    task, program = covid()
    given = {"program": program, "horizons": (1, 4)} if name in FROM_PROGRAM else {}
    found = BASELINES[name](task, seed=0, quick=True, noise=True, **given)
    assert task.test is not None
    start = np.array([3, 9, 14, 5, 20, 30])
    request = request_of(task.schema, task.test, (1, 4), 6, 25)
    cells = {h: request.cells[h]._replace(trajectory=np.arange(6), row=start + h) for h in (1, 4)}
    request = request._replace(cells=cells)
    drawn = found.draw(request, 0)
    for h in (1, 4):
        assert drawn[h].shape == (6, 25, 3)
        assert drawn[h].dtype == np.float32
        np.testing.assert_array_equal(drawn[h], np.rint(drawn[h]))
        assert drawn[h].min() >= 0
        assert (drawn[h].std(axis=1).max(axis=-1) > 0).all()
    assert found.numbers > 0
    again = found.draw(request, 0)
    other = found.draw(request, 1)
    blind = found.draw(request._replace(data=hide_future(task.test, start)), 0)
    one = found.draw(request._replace(keep=(1,)), 0)
    for h in (1, 4):
        np.testing.assert_array_equal(drawn[h], again[h])
        np.testing.assert_array_equal(drawn[h], blind[h])
        np.testing.assert_array_equal(drawn[h][..., 1:2], one[h])
        assert (drawn[h] != other[h]).any()
    still = replace(found, **({"noises": None} if name in FROM_PROGRAM else {"noise": None}))
    for h, cloud in still.draw(request, 0).items():
        assert cloud.shape == (6, 25, 3), h
        assert (cloud == cloud[:, :1]).all()
        assert np.isfinite(cloud).all()


def test_deterministic_code_is_the_mean_of_its_program() -> None:
    task, program = covid()
    assert task.test is not None
    truth = {"infection.beta": 0.5, "recovery.gamma": 0.1}
    found = deterministic.fit(
        task, seed=0, quick=True, noise=False, program=program, parameters=truth
    )
    assert found.numbers == 0
    request = request_of(task.schema, task.test, (1,), 60, 2)
    cells = request.cells[1]
    s, i, r = task.test.outputs[cells.trajectory, cells.row - 1].astype(float).T
    p = 1 - np.exp(-0.5 * i / (s + i + r))
    expected = np.stack([s * (1 - p), i + s * p - 0.1 * i, r + 0.1 * i], -1)
    sd = np.sqrt(np.stack([s * p * (1 - p), s * p * (1 - p) + 0.09 * i, 0.09 * i], -1))
    made = found.draw(request, 0)[1]
    z = (made[:, 0] - expected)[sd > 0] / (sd[sd > 0] / np.sqrt(deterministic.RUNS))
    assert np.abs(z).max() < 5
    assert 0.6 < np.mean(z**2) < 1.5
    with pytest.raises(InputError, match="expected parameters out of"):
        deterministic.fit(
            task, seed=0, quick=True, noise=False, program=program, parameters={"b": 1.0}
        )


@pytest.mark.slow
def test_a_twin_mends_its_program() -> None:
    task, program = covid()
    code = deterministic.fit(task, seed=0, quick=True, noise=False, program=program)
    found = twin.fit(task, seed=0, quick=True, noise=False, program=program, horizons=(1, 5))
    assert forecast_error(found, task, 5) < 0.5 * forecast_error(code, task, 5)
    # A horizon in between is corrected like the nearest one, not refused.
    assert forecast_error(found, task, 4) < forecast_error(code, task, 4)


def test_the_nearest_horizon_is_the_nearest_factor() -> None:
    assert [deterministic.nearest(h, (1, 7, 20)) for h in (1, 2, 3, 11, 12, 60)] == [
        1, 1, 7, 7, 20, 20,
    ]  # fmt: skip
