"""RNN: two layers of gated recurrent units, 250 each (arXiv 2506.09272), and a linear read-out.

It has read the trajectory from its first row when it starts to forecast. The paper gives the layers
and no training settings; here Adam falls along a cosine on the one-step error of whole
trajectories, ten at a time: 10 epochs from 2e-3 and 25 from 1e-3. The best epoch of both on
validation data is kept; longer training overfits.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks._table2.rollout import Rollout, fit_predictor
from benchmarks._table2.supervised import Recipe, Scale, StepModel
from gsim_jax.task import Task

UNITS, LAYERS = 250, 2
SHORT, LONG = Recipe(epochs=10), Recipe(epochs=25, rate=1e-3)
FULL, QUICK = (SHORT, LONG), (SHORT,)


class Recurrent(StepModel):
    """Stacked GRU cells.

    Args:
        states: V.
        inputs: U.
        seed: of the weights.
    """

    def __init__(self, states: int, inputs: int, seed: int) -> None:
        rngs = nnx.Rngs(seed)
        sizes = [states + inputs, *([UNITS] * LAYERS)]
        self.cells = nnx.List(nnx.GRUCell(a, b, rngs=rngs) for a, b in pairwise(sizes))
        self.out = nnx.Linear(UNITS, states, rngs=rngs)

    def _empty(self) -> tuple[jax.Array, ...]:
        return (jnp.zeros(UNITS),) * LAYERS

    def _cells(self, memory: tuple[jax.Array, ...], z: jax.Array, v: jax.Array) -> Any:
        x, after = jnp.concatenate([z, v], -1), []
        for cell, carry in zip(self.cells, memory, strict=True):
            carry, x = cell(carry, x)
            after.append(carry)
        return x, tuple(after)

    def read(self, z: jax.Array, v: jax.Array, row: jax.Array, ahead: int) -> Any:
        """The hidden states after the rows before `row`."""
        del ahead

        def after(t: jax.Array, memory: Any) -> Any:
            return self._cells(memory, z[t], v[t])[1]

        return jax.lax.fori_loop(0, row, after, self._empty())

    def step(self, memory: Any, z: jax.Array, v: jax.Array) -> tuple[jax.Array, Any]:
        """The increment after one more row."""
        x, memory = self._cells(memory, z, v)
        return self.out(x), memory

    def increments(self, z: jax.Array, v: jax.Array) -> jax.Array:
        """Increments after each row."""

        def one(memory: Any, row: Any) -> Any:
            x, memory = self._cells(memory, *row)
            return memory, x

        return self.out(jax.lax.scan(one, self._empty(), (z, v))[1])


def fit(task: Task, *, seed: int, quick: bool, noise: bool) -> Rollout:
    """Fits it on the training trajectories.

    Args:
        task: the task.
        seed: of weights and batches.
        quick: the short schedule only.
        noise: whether residual noise is fitted on the validation data.

    Raises:
        InputError: entries are missing, or the fit failed.
    """

    def build(states: int, inputs: int, scale: Scale) -> Recurrent:
        del scale
        return Recurrent(states, inputs, seed)

    return fit_predictor(build, QUICK if quick else FULL, task, seed, noise)
