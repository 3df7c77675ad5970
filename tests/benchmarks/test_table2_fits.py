"""What the baselines of Table 2 learn, and the noise that is fitted to what is left."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

pytest.importorskip("sklearn")
pytest.importorskip("diffrax")

from benchmarks._table2 import dynode, genetic, last_value, sindy
from benchmarks._table2.noise import Noise, draw_noise, fit_noise
from benchmarks._table2.rnn import Recurrent
from benchmarks._table2.rollout import fit_predictor
from benchmarks._table2.supervised import (
    Recipe,
    pairs,
    scale_of,
    splits,
)
from benchmarks._table2.transformer import Causal
from tests.benchmarks.baseline_worlds import (
    A,
    B,
    Straight,
    forecast_error,
    one_step_error,
    request_of,
    spiral,
    walk,
)


def test_sindy_finds_a_linear_system() -> None:
    pytest.importorskip("pysindy")
    found = sindy.fit(spiral(), seed=0, quick=True, noise=False)
    assert found.numbers == 6  # the increment of each variable: both variables and the input
    assert one_step_error(found, spiral()) < 1e-5
    assert forecast_error(found, spiral(), 10) < 1e-4


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
