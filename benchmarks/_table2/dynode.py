"""DyNODE: a neural differential equation of state and action (Alvarez et al. 2020, 2009.04278).

dz/dt = f(z, u) with the inputs held over each step, three hidden layers of 128 tanh units, Xavier
weights, one step of Tsit5 per step of the data (Diffrax), gradients through the solver. The G-Sim
paper names the method and no settings; layers are those of the authors' earlier comparison (code
to arXiv 2410.23691). Its optimiser there is Adam at 1e-2 over up to 2,000 epochs of batches of
1,000 steps; here Adam falls along a cosine from 2e-3 and the best epoch on validation data is kept.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks._table2.rollout import Rollout, fit_predictor
from benchmarks._table2.supervised import Recipe, Scale, StepModel
from gsim_jax.task import Task

WIDTH, HIDDEN = 128, 3
FULL, QUICK = (Recipe(epochs=50), Recipe(epochs=150)), (Recipe(epochs=25),)


class DyNode(StepModel):
    """The flow over one step of a network's vector field.

    The field has the units of increments: an untrained network moves a state as much as the data
    move.

    Args:
        states: V.
        inputs: U.
        scale: units.
        seed: of the weights.
    """

    def __init__(self, states: int, inputs: int, scale: Scale, seed: int) -> None:
        rngs = nnx.Rngs(seed)
        sizes = [states + inputs, *([WIDTH] * HIDDEN), states]
        init = nnx.initializers.xavier_uniform()
        self.layers = nnx.List(
            nnx.Linear(a, b, kernel_init=init, rngs=rngs) for a, b in pairwise(sizes)
        )
        self.drift = nnx.Variable(jnp.asarray(scale.drift / scale.sd))
        self.pace = nnx.Variable(jnp.asarray(scale.step / scale.sd))

    def field(self, z: jax.Array, v: jax.Array) -> jax.Array:
        """dz/dt, in scaled states per step."""
        x = jnp.concatenate([z, v], -1)
        for layer in self.layers[:-1]:
            x = jnp.tanh(layer(x))
        made = self.layers[-1](x)
        drift, pace = (jnp.broadcast_to(w[...], made.shape) for w in (self.drift, self.pace))
        return drift + pace * made

    def _flow(self, z: jax.Array, v: jax.Array) -> jax.Array:
        """Increments over one step from states [..., V], which are solved for as one."""
        graph, state = nnx.split(self)

        def slope(t: Any, y: jax.Array, args: Any) -> jax.Array:
            del t
            numbers, given = args
            return nnx.merge(graph, numbers).field(y, given)

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(slope), diffrax.Tsit5(), t0=0.0, t1=1.0, dt0=1.0, y0=z,
            args=(state, v), max_steps=2, throw=False,
        )  # fmt: skip
        assert solution.ys is not None
        drift, pace = (jnp.broadcast_to(w[...], z.shape) for w in (self.drift, self.pace))
        return (solution.ys[-1] - z - drift) / jnp.where(pace > 0, pace, 1.0)

    def step(self, memory: Any, z: jax.Array, v: jax.Array) -> tuple[jax.Array, Any]:
        """The increment over one step."""
        return self._flow(z, v), memory

    def increments(self, z: jax.Array, v: jax.Array) -> jax.Array:
        """Increments after each row: one solve for all of them is eight times as fast."""
        return self._flow(z, v)


def fit(task: Task, *, seed: int, quick: bool, noise: bool) -> Rollout:
    """Fits it on the steps of the training data.

    Args:
        task: the task.
        seed: of weights and batches.
        quick: 40 epochs, instead of the better of 50 and 150.
        noise: whether residual noise is fitted on the validation data.

    Raises:
        InputError: entries are missing, or the fit failed.
    """

    def build(states: int, inputs: int, scale: Scale) -> DyNode:
        return DyNode(states, inputs, scale, seed)

    return fit_predictor(build, QUICK if quick else FULL, task, seed, noise)
