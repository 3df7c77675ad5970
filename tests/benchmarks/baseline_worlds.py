"""Small worlds that baselines are fitted to, and how far off what they learn is."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks._table2.rollout import Rollout, one_step
from benchmarks._table2.supervised import StepModel, series
from gsim_jax.diagnose.next_state import Request, choose, plan_for
from gsim_jax.task import Task, Trajectories
from gsim_jax.task.schema import Input, Schema
from tests.simulator.worlds import data_of, schema_of

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


@cache
def walk(rows: int = 200) -> tuple[Task, np.ndarray]:
    """A random walk in two dimensions with correlated steps, and their covariance."""
    root = np.array([[2.0, 0.0], [-0.9, 0.5]])
    schema = schema_of("x", "y")
    generator = np.random.default_rng(0)
    x = (generator.normal(size=(60, rows, 2)) @ root.T).cumsum(1)
    data = data_of(schema, {"x": x[..., 0], "y": x[..., 1]})
    return task_of(schema, data.take(range(30)), data.take(range(30, 60))), root @ root.T


class Straight(StepModel):
    """A linear network."""

    def __init__(self, states: int, inputs: int) -> None:
        self.layer = nnx.Linear(states + inputs, states, rngs=nnx.Rngs(0))

    def step(self, memory: Any, z: jax.Array, v: jax.Array) -> tuple[jax.Array, Any]:
        return self.layer(jnp.concatenate([z, v])), memory
