"""The neural posterior of a task: data sets like the data, and a calibration from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax.calibrate import (
    NeuralPosterior,
    exact_posterior,
    increment_scale,
    log_likelihood,
    settings_for,
)
from gsim_jax.calibrate.npe import _window_sums, given_columns, simulate_like
from gsim_jax.calibrate.objective import Objective
from gsim_jax.calibrate.train import Recipe
from gsim_jax.simulator.check import load_program
from gsim_jax.simulator.panel import build_panel
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import Task, load_task

COVID = Path(__file__).resolve().parents[2] / "envs" / "covid19"


@pytest.fixture(scope="module")
def covid() -> Iterator[tuple[Task, Any]]:
    task = load_task(COVID)
    source = (COVID / "truth.py").read_text(encoding="utf-8")
    with Sandbox() as sandbox:
        yield task, load_program(source, task.schema, sandbox)


def test_data_sets_have_the_data_s_shape_gaps_and_laws(covid: tuple[Task, Any]) -> None:
    task, program = covid
    data = task.train.take(np.arange(3))
    panel = build_panel(task.schema, data)
    seen = np.array(data.outputs_seen)
    seen[0, 5:9], seen[1, 30:] = False, False
    panel = panel.replace(outputs_seen=jnp.asarray(seen))
    params = program.parameters.values({"infection.beta": 0.5, "recovery.gamma": 0.1})
    keys = jax.random.split(jax.random.key(0), 400)
    run = jax.jit(
        jax.vmap(
            lambda key: simulate_like(
                program, task.schema, params, panel, jax.random.bits(key, (2,), jnp.uint32)
            )
        )
    )
    found = np.asarray(run(keys), float)
    np.testing.assert_array_equal(np.isfinite(found), np.broadcast_to(seen, found.shape))
    np.testing.assert_array_equal(found[:, :, 0], np.broadcast_to(data.outputs[:, 0], (400, 3, 3)))
    # Recoveries of the first step: binomial(I, gamma).
    infected = data.outputs[:, 0, 1]
    recovered = found[:, :, 1, 2] - found[:, :, 0, 2]
    sd = np.sqrt(infected * 0.09 / 400)
    np.testing.assert_array_less(np.abs(recovered.mean(axis=0) - 0.1 * infected), 4.5 * sd)
    total = found.sum(axis=-1)[np.isfinite(found).all(axis=-1)]
    assert set(np.unique(total)) == set(np.unique(data.outputs[:, 0].sum(axis=-1)))


def test_sums_over_steps_reach_back_as_far_as_their_window() -> None:
    values = jnp.arange(12.0).reshape(6, 2)
    found = np.asarray(_window_sums(values, np.array([1, 3])))
    np.testing.assert_array_equal(found[:, 0], np.arange(0, 12, 2))
    np.testing.assert_array_equal(found[:, 1], [1, 4, 9, 15, 21, 27])


@pytest.mark.parametrize(("online", "taken"), [(None, 500), (True, 500), (False, 3000)])
def test_cost_decides_whether_steps_simulate_anew_unless_told(
    covid: tuple[Task, Any], online: bool | None, taken: int
) -> None:
    task, program = covid
    method = NeuralPosterior(simulations=500, stored=3000, online=online)
    budget = method._budget(program, task.train.take(np.arange(1)))
    assert (budget.simulations, budget.online) == (taken, online is not False)
    dear = NeuralPosterior(simulations=10**9, stored=3000, online=online)
    assert dear._budget(program, task.train).online is (online is True)


def test_only_inputs_that_vary_stand_beside_the_outputs(covid: tuple[Task, Any]) -> None:
    task, _ = covid
    panel = build_panel(task.schema, task.train.take([0, 1]))
    assert given_columns(panel).shape == (2, task.train.rows, 0)
    steady = np.zeros((2, task.train.rows), np.float32)
    rising = np.broadcast_to(np.arange(task.train.rows, dtype=np.float32), steady.shape)
    panel = panel.replace(inputs={"steady": jnp.asarray(steady), "rising": jnp.asarray(rising)})
    np.testing.assert_array_equal(given_columns(panel)[..., 0], rising)


def test_a_point_is_scored_unless_told(covid: tuple[Task, Any]) -> None:
    task, program = covid
    data, settings = task.train.take(np.arange(2)), settings_for(task)
    panel = build_panel(task.schema, data, rows=settings.rows)
    scale = np.asarray(increment_scale(panel, settings.plan))
    objective = Objective(program, task.schema, settings, scale, complete=True)
    method = NeuralPosterior(stored=256, online=False, rounds=1, draws=64, recipe=Recipe(steps=20))
    scored = method.calibrate(objective, data, 0)
    bare = replace(method, scored=False).calibrate(objective, data, 0)
    np.testing.assert_array_equal(bare.u, scored.u)
    assert np.isfinite(scored.score)
    assert np.isnan(bare.score)
    assert bare.evaluations < scored.evaluations
    assert bare.cost < scored.cost


@pytest.mark.slow
@pytest.mark.parametrize(("count", "simulations"), [(1, 400_000), (100, 10**9)])
def test_it_agrees_with_the_exact_posterior(
    covid: tuple[Task, Any], count: int, simulations: int
) -> None:
    task, program = covid
    data = task.train.take(np.arange(count))
    likelihood = log_likelihood(program, task.schema, data)
    exact = exact_posterior(likelihood, program.parameters, 0).values.reshape(-1, 2)
    method = NeuralPosterior(simulations=simulations, stored=12_000, rounds=2 + (count > 1))
    found = method.posterior(program, task.schema, data, 0)
    drawn = np.asarray(found.sample(jax.random.key(1), 8000), float)
    off = np.abs(drawn.mean(axis=0) - exact.mean(axis=0)) / exact.std(axis=0)
    assert off.max() < 0.35
    np.testing.assert_allclose(drawn.std(axis=0), exact.std(axis=0), rtol=0.15)
