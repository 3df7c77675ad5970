"""What predicts without being a simulator: the baselines of Table 2, behind one contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from benchmarks._table2 import (
    deterministic,
    dynode,
    genetic,
    last_value,
    rnn,
    sindy,
    transformer,
    twin,
)
from gsim_jax.diagnose.next_state import Request


class Forecaster(Protocol):
    """A fitted predictor.

    Attributes:
        failed: by horizon the share of the forecasts drawn last that had to be clipped or replaced.
    """

    failed: dict[int, float]

    @property
    def numbers(self) -> int:
        """Fitted numbers, those of residual noise among them."""
        ...

    def draw(self, request: Request, seed: int) -> dict[int, np.ndarray]:
        """Forecasts of the cells of a request.

        A forecast of h steps sees the rows of its trajectory up to the one it starts from, and the
        inputs up to the row before its target.

        Args:
            request: cells, variables and number N of draws.
            seed: the draws follow from it.

        Returns:
            By horizon float32[S, N, d], finite; N equal rows of a deterministic forecaster.
        """
        ...


#: By name ``fit(task, *, seed, quick, noise) -> Forecaster``. Deterministic without `noise`, as
#: the paper evaluates them; with it residual noise of held-out data is drawn in addition.
BASELINES: Mapping[str, Callable[..., Forecaster]] = {
    "last value": last_value.fit,
    "dynode": dynode.fit,
    "rnn": rnn.fit,
    "transformer": transformer.fit,
    "sindy": sindy.fit,
    "genetic program": genetic.fit,
    "deterministic code": deterministic.fit,
    "hybrid twin": twin.fit,
}

#: Those that take a program to start from, ``fit(..., program=Program)``; also ``parameters=``
#: (values by label instead of its guesses) and ``horizons=`` (those that they are fitted for;
#: others are forecast like the nearest).
FROM_PROGRAM = frozenset({"deterministic code", "hybrid twin"})
