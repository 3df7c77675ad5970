"""No calibration: the values that the simulator file itself guesses."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from gsim_jax.calibrate.calibration import Calibration
from gsim_jax.calibrate.objective import Objective
from gsim_jax.calibrate.score import horizon_sums, overall
from gsim_jax.task import Trajectories

WARNING = "parameters are the guesses of the file: nothing was calibrated, no error is known"

_sums = jax.jit(horizon_sums)


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
        settings, space = objective.settings, objective.simulator.parameters
        u = np.asarray(space.guess(), float)
        point = np.tile(u, (settings.members, 1))
        words = np.random.SeedSequence([seed, zlib.crc32(b"guess"), 0]).generate_state(2, np.uint32)
        energy = count = np.zeros(())
        panels = objective.panels(data)
        for index, panel in enumerate(panels):
            scores = objective.scores(point, objective.shared(panel), words, index * settings.chunk)
            part, number = _sums(scores)
            energy, count = energy + np.asarray(part, float), count + np.asarray(number, float)
        score = float(overall(energy, count, settings.plan.weights(settings.rows))[0])
        if progress is not None:
            progress(1.0)
        tracks = len(settings.plan.tracks[0])
        lanes = settings.members * settings.chunk * objective.replicates * tracks
        return Calibration(
            u=u,
            parameters=space.flat(u),
            errors=dict.fromkeys(space.labels, 0.0),
            covariance=np.zeros((len(u), len(u))),
            score=score,
            evaluations=1,
            cost=float(len(panels)) * lanes * (settings.rows - 1) * objective.simulator.cost,
            warnings=(WARNING,),
        )
