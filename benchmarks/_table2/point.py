"""The truth's mean without its spread: what a point forecast can reach at best, or nearly.

W1 between a cloud and a single point is the mean distance to that point, which is least at the
cloud's geometric median; the mean is close to it, and is what squared errors are minimised by.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from benchmarks._table2.context import Context
from benchmarks._table2.fitted import Fitted
from gsim_jax.diagnose.next_state import Request, clouds
from gsim_jax.simulator.contract import Params, Simulator
from gsim_jax.words import named_words


@dataclass
class MeanOf:
    """Forecasts the mean of a simulator's draws.

    Attributes:
        simulator: the simulator.
        params: its parameters.
        failed: nothing ever is.
    """

    simulator: Simulator
    params: Params
    failed: dict[int, float] = field(default_factory=dict)

    @property
    def numbers(self) -> int:
        """Nothing is fitted."""
        return 0

    def draw(self, request: Request, seed: int) -> dict[int, np.ndarray]:
        """By horizon float32[S, N, d], N equal rows."""
        key = named_words(seed, "table 2, mean")
        made = clouds(self.simulator, self.params, request, [key])[0]
        means = {h: np.nanmean(cloud, axis=1, keepdims=True) for h, cloud in made.items()}
        return {h: np.repeat(mean, request.draws, axis=1) for h, mean in means.items()}


def truth_mean(context: Context) -> Fitted:
    """The truth, with its spread taken away."""
    truth = context.truth
    return Fitted(forecaster=MeanOf(truth.program, truth.params), title="the truth's mean")
