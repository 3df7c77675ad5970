"""What a calibrator gives, and what it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from gsim_jax.calibrate.objective import Objective
from gsim_jax.task import Trajectories


@dataclass(frozen=True)
class Calibration:
    """A calibrated point.

    Attributes:
        u: float64[d], the point on the unit cube.
        parameters: `{label: value}` in the parameters' units.
        errors: `{label: standard error}`; for integers and choices 0 (not estimated).
        covariance: float64[d, d] of x = Phi^-1(u).
        score: what was minimised: the energy score on the training data with fresh words, or minus
            the log density.
        evaluations: points evaluated.
        cost: counted operations (operations per step x lanes x steps).
        history: best mean score per generation.
        draws: float64[n, d], draws from a posterior on the unit cube; None where the method gives
            a point with an error.
        evidence: log marginal likelihood of the training data in nats; None where unknown.
        warnings: sentences about what the method found amiss, for people and proposers.
    """

    u: np.ndarray
    parameters: dict[str, float]
    errors: dict[str, float]
    covariance: np.ndarray
    score: float
    evaluations: int
    cost: float
    history: tuple[float, ...] = field(default=())
    draws: np.ndarray | None = None
    evidence: float | None = None
    warnings: tuple[str, ...] = ()


class Calibrator(Protocol):
    """Anything that fits a simulator's parameters to training data."""

    @property
    def name(self) -> str:
        """Name for the run record."""
        ...

    def calibrate(
        self,
        objective: Objective,
        data: Trajectories,
        seed: int,
        *,
        start: np.ndarray | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Calibration:
        """Fits parameters; deterministic in its arguments."""
        ...
