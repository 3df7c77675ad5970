"""No calibration: the values that the simulator file itself guesses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gsim_jax.calibrate.calibration import Calibration
from gsim_jax.calibrate.objective import Objective
from gsim_jax.task import Trajectories
from gsim_jax.words import named_words

WARNING = "parameters are the guesses of the file: nothing was calibrated, no error is known"


@dataclass(frozen=True)
class Guess:
    """Takes each parameter's `guess` and fits nothing.

    With one proposal this is "zero shot": what a proposer knows before any calibration (the
    ablation G-Sim-ES ZeroShot of arXiv 2506.09272). Errors and covariance are 0: not estimated.
    """

    name: str = "guess"

    def calibrate(
        self,
        objective: Objective,
        data: Trajectories,
        seed: int,
        *,
        start: np.ndarray | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Calibration:
        """The guesses, with their score on the training data.

        Args:
            objective: the compiled objective.
            data: training data.
            seed: words of the score.
            start: not looked at: a parent's values are no guess of this file.
            progress: called once, with 1.

        Returns:
            The point, with a warning that nothing was fitted.
        """
        space = objective.simulator.parameters
        u = np.asarray(space.guess(), float)
        words = named_words(seed, "guess")
        found = objective.score_at(u, data, words)
        if progress is not None:
            progress(1.0)
        return Calibration(
            u=u,
            parameters=space.flat(u),
            errors=dict.fromkeys(space.labels, 0.0),
            covariance=np.zeros((len(u), len(u))),
            score=found.score,
            evaluations=1,
            cost=found.cost,
            warnings=(WARNING,),
        )
