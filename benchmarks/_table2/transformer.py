"""A causal Transformer: one block, 10 heads, 250 units (arXiv 2506.09272).

A row of states and inputs becomes one token with a sinusoidal position; the block is Vaswani et al.
(2017) with normalisation before each part (Xiong et al. 2020), which needs no warm-up. The paper
gives no more: the feed-forward part is 250 wide like the rest, and there is no dropout. Adam falls
along a cosine on the one-step error of ten trajectories at a time: 15 epochs from 2e-3 and 30 from
7e-4. The best epoch of both on validation data is kept; longer training overfits.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks._table2.rollout import Rollout, fit_predictor
from benchmarks._table2.supervised import Recipe, Scale, StepModel
from gsim_jax.task import Task

UNITS, HEADS = 250, 10
SHORT, LONG = Recipe(epochs=15), Recipe(epochs=30, rate=7e-4)
FULL, QUICK = (SHORT, LONG), (SHORT,)


class Memory(NamedTuple):
    """Keys and values of the rows so far.

    The rows of the data are shared by all draws from one state: only what a draw adds is its own.

    Attributes:
        past: [T, 2, heads, units / heads], keys and values of the data's rows.
        row: where the forecast started: rows of `past` from there on do not count.
        own: [ahead, 2, heads, units / heads], those of the rows since.
        count: how many rows that is.
    """

    past: jax.Array
    row: jax.Array
    own: jax.Array
    count: jax.Array


class Causal(StepModel):
    """One block of causal attention.

    Args:
        states: V.
        inputs: U.
        seed: of the weights.
    """

    def __init__(self, states: int, inputs: int, seed: int) -> None:
        rngs = nnx.Rngs(seed)
        self.embed = nnx.Linear(states + inputs, UNITS, rngs=rngs)
        self.before, self.between, self.after = (nnx.LayerNorm(UNITS, rngs=rngs) for _ in range(3))
        self.query = nnx.Linear(UNITS, UNITS, rngs=rngs)
        self.known = nnx.Linear(UNITS, 2 * UNITS, rngs=rngs)
        self.join = nnx.Linear(UNITS, UNITS, rngs=rngs)
        self.up = nnx.Linear(UNITS, UNITS, rngs=rngs)
        self.down = nnx.Linear(UNITS, UNITS, rngs=rngs)
        self.out = nnx.Linear(UNITS, states, rngs=rngs)

    def _token(self, z: jax.Array, v: jax.Array, t: jax.Array) -> jax.Array:
        return self.embed(jnp.concatenate([z, v], -1)) + _position(t)

    def _known(self, token: jax.Array) -> jax.Array:
        """Keys and values, [..., 2, heads, units / heads]."""
        made = self.known(self.before(token))
        return made.reshape(*token.shape[:-1], 2, HEADS, UNITS // HEADS)

    def _asked(self, token: jax.Array) -> jax.Array:
        made = self.query(self.before(token)) / math.sqrt(UNITS // HEADS)
        return made.reshape(*token.shape[:-1], HEADS, UNITS // HEADS)

    def _rest(self, token: jax.Array, found: jax.Array) -> jax.Array:
        x = token + self.join(found.reshape(*token.shape))
        x = x + self.down(jax.nn.gelu(self.up(self.between(x))))
        return self.out(self.after(x))

    def read(self, z: jax.Array, v: jax.Array, row: jax.Array, ahead: int) -> Memory:
        """Keys and values of all rows; those from `row` on are masked when used."""
        past = self._known(self._token(z, v, jnp.arange(len(z))))
        own = jnp.zeros((ahead, 2, HEADS, UNITS // HEADS))
        return Memory(past, row, own, jnp.zeros((), jnp.int32))

    def step(self, memory: Any, z: jax.Array, v: jax.Array) -> tuple[jax.Array, Any]:
        """The increment after one more row."""
        past, row, own, count = memory
        token = self._token(z, v, row + count)
        own = own.at[count].set(self._known(token))
        asked = self._asked(token)
        scores = jnp.concatenate(
            [
                _masked(jnp.einsum("hf,thf->ht", asked, past[:, 0]), jnp.arange(len(past)) < row),
                _masked(jnp.einsum("hf,thf->ht", asked, own[:, 0]), jnp.arange(len(own)) <= count),
            ],
            -1,
        )
        share = jax.nn.softmax(scores, -1)
        found = jnp.einsum("ht,thf->hf", share[:, : len(past)], past[:, 1])
        found += jnp.einsum("ht,thf->hf", share[:, len(past) :], own[:, 1])
        return self._rest(token, found), Memory(past, row, own, count + 1)

    def increments(self, z: jax.Array, v: jax.Array) -> jax.Array:
        """Increments after each row."""
        token = self._token(z, v, jnp.arange(len(z)))
        known, asked = self._known(token), self._asked(token)
        scores = jnp.einsum("qhf,thf->hqt", asked, known[:, 0])
        share = jax.nn.softmax(_masked(scores, np.tri(len(z), dtype=bool)), -1)
        return self._rest(token, jnp.einsum("hqt,thf->qhf", share, known[:, 1]))


def _masked(scores: jax.Array, visible: Any) -> jax.Array:
    return jnp.where(jnp.broadcast_to(visible, scores.shape), scores, -jnp.inf)


def _position(t: jax.Array) -> jax.Array:
    """Sines and cosines of the row's number, [..., units]."""
    rates = np.exp(-math.log(1e4) * np.arange(0, UNITS, 2) / UNITS).astype(np.float32)
    angle = jnp.einsum("...,f->...f", jnp.asarray(t, jnp.float32), rates)
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)


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

    def build(states: int, inputs: int, scale: Scale) -> Causal:
        del scale
        return Causal(states, inputs, seed)

    return fit_predictor(build, QUICK if quick else FULL, task, seed, noise)
