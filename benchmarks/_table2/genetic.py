"""A genetic program: one expression per variable, evolved by gplearn on the increments.

The G-Sim paper names the method and no settings. Here expressions of +, −, × and protected ÷ with
constants in [−1, 1] evolve for 20 generations of 500, gplearn's defaults otherwise (tournaments of
20, crossover 0.9, parsimony 0.001), on `ROWS` steps drawn from the training data. A variable that
never changes gets no program.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._table2.extras import need
from benchmarks._table2.rollout import Rollout, rollout
from benchmarks._table2.supervised import StepModel, pairs, scale_of, splits
from gsim_jax.task import Task

ROWS = 2000
FULL, QUICK = (
    {"population_size": 500, "generations": 20},
    {"population_size": 300, "generations": 8},
)

#: Prefix notation: a function's name, a feature's number, or a constant.
Expression = tuple[str | int | float, ...]


def _divide(a: jax.Array, b: jax.Array) -> jax.Array:
    safe = jnp.abs(b) > 0.001
    return jnp.where(safe, a / jnp.where(safe, b, 1.0), 1.0)


_FUNCTIONS = {"add": jnp.add, "sub": jnp.subtract, "mul": jnp.multiply, "div": _divide}


def evaluate(expression: Expression, x: jax.Array) -> jax.Array:
    """The value of an expression.

    Args:
        expression: in prefix notation.
        x: [F], the features.
    """
    stack: list[jax.Array] = []
    for item in reversed(expression):
        if isinstance(item, str):
            stack.append(_FUNCTIONS[item](stack.pop(), stack.pop()))
        else:
            stack.append(x[item] if isinstance(item, int) else jnp.asarray(item, x.dtype))
    (value,) = stack
    return value


class Expressions(StepModel):
    """One expression per variable.

    Args:
        expressions: of the increments.
    """

    def __init__(self, expressions: tuple[Expression, ...]) -> None:
        self.expressions = expressions

    def step(self, memory: Any, z: jax.Array, v: jax.Array) -> tuple[jax.Array, Any]:
        """The expressions' values."""
        x = jnp.concatenate([z, v])
        return jnp.stack([evaluate(e, x) for e in self.expressions]), memory

    @property
    def numbers(self) -> int:
        """Nodes of all expressions."""
        return sum(len(e) for e in self.expressions)


def fit(task: Task, *, seed: int, quick: bool, noise: bool) -> Rollout:
    """Evolves the expressions on steps of the training data.

    Args:
        task: the task.
        seed: of the evolution.
        quick: 8 generations of 300 instead of 20 of 500.
        noise: whether residual noise is fitted on the validation data.

    Raises:
        InputError: entries are missing, gplearn is not installed, or no prediction is finite.
    """
    need("gplearn")
    train, held = splits(task)
    scale = scale_of(task.schema, train)
    steps = pairs(train, scale)
    x = np.concatenate([steps.z, steps.v], -1)[train.steps].astype(float)
    y = steps.target[train.steps].astype(float)
    rows = np.random.default_rng(seed).permutation(len(x))[:ROWS]
    found = tuple(
        _evolve(x[rows], y[rows, v], QUICK if quick else FULL, seed)
        if scale.step[v] > 0
        else (0.0,)
        for v in range(y.shape[1])
    )
    return rollout(Expressions(found), scale, held, noise=noise, seed=seed)


def _evolve(x: np.ndarray, y: np.ndarray, settings: dict[str, Any], seed: int) -> Expression:
    from gplearn.genetic import SymbolicRegressor

    evolved = SymbolicRegressor(
        function_set=tuple(_FUNCTIONS), metric="mse", random_state=seed, **settings
    ).fit(x, y)
    return tuple(
        item.name if hasattr(item, "name") else item if isinstance(item, int) else float(item)
        for item in evolved._program.program
    )
