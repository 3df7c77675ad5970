"""A hybrid twin: the mean of a mechanistic program, and a network that corrects it.

As in hybrid digital twins (Holt et al. 2024, arXiv 2410.23691) a mechanism is completed by a
network that is trained on what the mechanism misses. The forecast h steps ahead is the program's
mean h steps ahead, see `benchmarks._table2.deterministic`, plus a correction by a perceptron of two
layers of 64 tanh units, which knows the state, the program's forecast of it, the mean inputs on the
way and the horizon (of those fitted the nearest). It begins as no correction. (Feeding corrected
values back step by step is not possible where the program's state is more than what is scored.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks._table2.deterministic import (
    FULL,
    HORIZONS,
    QUICK,
    Means,
    Mechanism,
    PointForecasts,
    forecasts,
    held_out,
    nearest,
)
from benchmarks._table2.supervised import Recipe, Scale, fit_network, scale_of, splits
from gsim_jax.simulator.program import Program
from gsim_jax.task import Task

WIDTH = 64
RECIPE = Recipe(epochs=100, batch=100, rate=3e-3, patience=20)


class Rows(NamedTuple):
    """What the correction is fitted on.

    Attributes:
        x: float32[B, F], what it knows.
        target: float32[B, V], what it should say.
    """

    x: np.ndarray
    target: np.ndarray


class Correction(nnx.Module):
    """A perceptron whose last layer starts at zero.

    Args:
        known: F.
        states: V.
        seed: of the weights.
    """

    def __init__(self, known: int, states: int, seed: int) -> None:
        rngs = nnx.Rngs(seed)
        self.first = nnx.Linear(known, WIDTH, rngs=rngs)
        self.second = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.last = nnx.Linear(WIDTH, states, kernel_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """The correction, in units of its horizon."""
        return self.last(jnp.tanh(self.second(jnp.tanh(self.first(x)))))


def _loss(model: Any, rows: Rows) -> jax.Array:
    return jnp.mean((model(rows.x) - rows.target) ** 2)


@dataclass
class Twin(PointForecasts):
    """A corrected program as a forecaster.

    Attributes:
        correction: the network.
        units: by horizon float32[V], standard deviation of what the program missed.
    """

    correction: Correction | None = None
    units: Mapping[int, np.ndarray] | None = None

    @property
    def numbers(self) -> int:
        """Fitted numbers: weights, and those of the noise."""
        weights = jax.tree.leaves(nnx.state(self.correction, nnx.Param))
        return sum(leaf.size for leaf in weights) + super().numbers

    def improved(self, means: Mapping[int, Means]) -> dict[int, np.ndarray]:
        """By horizon the corrected forecasts, float32[S, V]."""
        assert self.correction is not None
        assert self.units is not None
        found = {}
        for h, made in means.items():
            as_if = nearest(h, self.units)
            x = jnp.asarray(_known(self.scale, made, as_if, list(self.units)))
            found[h] = made.mean + self.units[as_if] * np.asarray(self.correction(x))
        return found


def _known(scale: Scale, means: Means, h: int, order: list[int]) -> np.ndarray:
    """What the network knows of forecasts at a horizon, float32[S, F]."""
    which = np.broadcast_to(
        np.eye(len(order), dtype=np.float32)[order.index(h)], (len(means.now), len(order))
    )
    moved = (means.mean - means.now) / np.where(scale.step > 0, scale.step * np.sqrt(h), 1.0)
    parts = (scale.state(means.now), moved, scale.inputs(means.given), which)
    return np.concatenate(parts, -1).astype(np.float32)


def fit(
    task: Task, *, seed: int, quick: bool, noise: bool, program: Program,
    parameters: Mapping[str, float] | None = None, horizons: Sequence[int] = HORIZONS,
) -> Twin:  # fmt: skip
    """Trains the correction on what the program's forecasts of the training data miss.

    Args:
        task: the task.
        seed: of runs, weights and noise.
        quick: 500 forecasts per horizon instead of 2,000.
        noise: whether residual noise is fitted on the validation data.
        program: the mechanism.
        parameters: values by label instead of its guesses.
        horizons: those that the correction is trained on; those that the data are too short for are
            left out.

    Raises:
        InputError: entries are missing, there is no such parameter, or the fit failed.
    """
    mechanism = Mechanism(program, dict(parameters or {}))
    scale = scale_of(task.schema, splits(task)[0])
    effort = QUICK if quick else FULL
    train = forecasts(mechanism, task.schema, task.train, horizons, effort, seed)
    held = forecasts(mechanism, task.schema, held_out(task), tuple(train), effort, seed + 1)
    units = {h: (ahead - means.mean).std(0) for h, (means, ahead) in train.items()}
    rows, others = _rows(scale, train, units), _rows(scale, held, units)
    model = Correction(rows.x.shape[1], rows.target.shape[1], seed)
    fitted, _ = fit_network(model, rows, others, RECIPE, seed, _loss)
    twin = Twin(mechanism, scale, correction=fitted, units=units)
    if noise:
        twin.with_noise(held, seed)
    return twin


def _rows(
    scale: Scale, part: Mapping[int, tuple[Means, np.ndarray]], units: Mapping[int, np.ndarray]
) -> Rows:
    order = list(units)
    x = [_known(scale, means, h, order) for h, (means, _) in part.items()]
    y = [
        (ahead - means.mean) / np.where(units[h] > 0, units[h], 1.0)
        for h, (means, ahead) in part.items()
    ]
    return Rows(np.concatenate(x), np.concatenate(y).astype(np.float32))
