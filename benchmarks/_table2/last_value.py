"""The last value: tomorrow is as today. What any predictor has to beat."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._table2.rollout import Rollout, rollout
from benchmarks._table2.supervised import StepModel, scale_of, splits
from gsim_jax.task import Task


class LastValue(StepModel):
    """No increment; nothing is fitted."""

    def step(self, memory: Any, z: jax.Array, v: jax.Array) -> tuple[jax.Array, Any]:
        """Zero."""
        del v
        return jnp.zeros_like(z), memory


def fit(task: Task, *, seed: int, quick: bool, noise: bool) -> Rollout:
    """The last value; with `noise`, the increments of the validation data around it.

    Args:
        task: the task.
        seed: of the noise's fit.
        quick: makes no difference.
        noise: whether residual noise is fitted.

    Raises:
        InputError: entries are missing.
    """
    del quick
    train, held = splits(task)
    scale = scale_of(task.schema, train)
    still = scale._replace(drift=np.zeros_like(scale.drift))
    return rollout(LastValue(), still, held, noise=noise, seed=seed)
