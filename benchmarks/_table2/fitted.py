"""What a method makes of a task, and the draws that it is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gsim_jax.calibrate import Evolution, NeuralPosterior
from gsim_jax.diagnose.next_state import Request, clouds
from gsim_jax.simulator.contract import Simulator
from gsim_jax.words import named_words

if TYPE_CHECKING:
    from benchmarks._table2.forecaster import Forecaster


@dataclass(frozen=True)
class Cost:
    """What a fit has cost.

    Attributes:
        seconds: wall time, compilation included.
        cpu_seconds: processor time of the process.
        points: parameter points that were simulated on (parts of) the data, or simulated data sets.
        tokens: of a conversation, prompts and replies together; None where there was none.
        parameters: numbers that were fitted.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    points: int = 0
    tokens: int | None = None
    parameters: int = 0


@dataclass(frozen=True)
class Fitted:
    """A simulator at a point, or a forecaster.

    Attributes:
        simulator: the simulator, None for forecasters.
        values: its parameters by label.
        forecaster: what forecasts, None for simulators.
        cost: what the fit has cost.
        title: what was found, in words.
        source: the simulator file, "" where there is none.
        details: what else the cell should keep, plain data.
    """

    simulator: Simulator | None = None
    values: Mapping[str, float] = field(default_factory=dict)
    forecaster: Forecaster | None = None
    cost: Cost = field(default_factory=Cost)
    title: str = ""
    source: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def params(self) -> dict[str, dict[str, Any]]:
        """The parameters as the simulator takes them."""
        assert self.simulator is not None
        return self.simulator.parameters.values(self.values)

    def draw(self, request: Request, seed: int) -> dict[int, np.ndarray]:
        """By horizon float32[S, N, d], see `gsim_jax.diagnose.next_state.clouds`.

        Args:
            request: which draws are wanted.
            seed: the draws follow from it.
        """
        if self.forecaster is not None:
            return self.forecaster.draw(request, seed)
        assert self.simulator is not None
        return clouds(self.simulator, self.params, request, [named_words(seed, "table 2")])[0]


#: Of a calibration where it is to be short.
SMALL: Mapping[str, Any] = {"design": 2, "restarts": 1, "explore": 4, "steps": 6, "passes": 4}


@dataclass(frozen=True)
class Effort:
    """How much is spent; equal for all cells of a call.

    Attributes:
        quick: small budgets, in methods that know only two.
        states: states per horizon that the metric averages over.
        draws: N, draws in a cloud.
        horizons: steps ahead.
        rounds: rounds of a search.
        proposals: structures per round.
        simulations: data sets of a neural posterior.
        lanes: lanes of mean curves.
    """

    quick: bool = False
    states: int = 150
    draws: int = 200
    horizons: tuple[int, ...] = (1, 7, 20)
    rounds: int = 5
    proposals: int = 4
    simulations: int = 2_048
    lanes: int = 2_000

    def evolution(
        self, score: Literal["auto", "energy"] = "auto", *, dear: bool = False
    ) -> Evolution:
        """The evolution strategy within the effort.

        Args:
            score: what is fitted.
            dear: many candidates, each of which takes minutes: less for each.
        """
        return Evolution(score=score, **SMALL) if self.quick or dear else Evolution(score=score)

    def neural(self) -> NeuralPosterior:
        """The neural posterior within the effort; its posterior mean is the point."""
        # Stored, whatever they cost: a half to a quarter of the time of 50,000 made step by step;
        # W1 over its floor, of good structures, is the same on two tasks and .03 more on one.
        return NeuralPosterior(stored=self.simulations, online=False, scored=False)


QUICK = Effort(
    quick=True,
    states=40,
    draws=100,
    rounds=1,
    proposals=1,
    simulations=450,  # three rounds, each of which needs 144
    lanes=500,
)
