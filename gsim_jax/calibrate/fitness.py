"""What an evolution strategy minimises: simulated energy scores, or minus the exact log density."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from scipy.stats import norm

from gsim_jax.calibrate.forecasts import Forecasts, energies
from gsim_jax.calibrate.likelihood import LogLikelihood, log_likelihood
from gsim_jax.calibrate.objective import Objective
from gsim_jax.calibrate.score import overall
from gsim_jax.simulator.panel import is_complete
from gsim_jax.task import InputError, Trajectories
from gsim_jax.words import named_words

#: Counted operations of one look at the data. Expensive programs see a part of it only.
OPERATIONS = 5e9
#: Coordinates of the search are kept inside +-X_EDGE: Phi(4) leaves 3e-5 of the prior on each side.
X_EDGE = 4.0


class Fitness(Protocol):
    """Values of points, smaller is better."""

    members: int

    def quick(self, x: np.ndarray, generation: int) -> np.ndarray:
        """float64[P] for points float64[P, d] of one generation."""
        ...

    def sample(self, x: np.ndarray) -> np.ndarray:
        """float64[P] on all data, or on as much as the cost of the program allows."""
        ...


class Energy:
    """Energy scores of simulated forecasts.

    Attributes:
        forecasts: the compiled draws.
        scale: float32[H, V].
        weights: float64[H].
        members: points per call, P.
        used: all that has simulated for this objective; its calls are what it has cost.
    """

    def __init__(
        self, forecasts: Forecasts, scale: np.ndarray, weights: np.ndarray, seed: int
    ) -> None:
        """`seed`: all words follow from it and from the order of calls."""
        self.forecasts, self.weights, self._seed = forecasts, weights, seed
        self.scale = np.asarray(scale, np.float32)
        self.members = forecasts.shape.members
        self.used = [forecasts]
        self._used = 0

    def fresh(self) -> np.ndarray:
        """New words, uint32[2]."""
        self._used += 1
        return named_words(self._seed, "words", self._used)

    def to_unit(self, x: np.ndarray) -> np.ndarray:
        """From the coordinates of the search to the unit cube."""
        return norm.cdf(np.clip(x, -X_EDGE, X_EDGE))

    def _sums(self, x: np.ndarray, pieces: Sequence[int], words: np.ndarray) -> list[Any]:
        """Sums and numbers of terms of several pieces of the data, on the host."""
        u = self.to_unit(x)
        # Everything is on its way before anything is waited for.
        started = [
            energies(
                self.forecasts.draws(u, piece, words)[0], *self.forecasts.seen(piece), self.scale
            )
            for piece in pieces
        ]
        return [tuple(np.asarray(part, float) for part in found) for found in started]

    def quick(self, x: np.ndarray, generation: int) -> np.ndarray:
        """One piece of the data per generation, in turn, with fresh words."""
        piece = generation % len(self.forecasts.panels)
        ((energy, count),) = self._sums(x, [piece], self.fresh())
        return overall(energy.sum(axis=1), count.sum(axis=0), self.weights)

    def sample(self, x: np.ndarray) -> np.ndarray:
        """As much of the data as `OPERATIONS` allow, with fresh words."""
        energy, count = self.by_trajectory(x, self.fresh())
        return overall(energy.sum(axis=1), count.sum(axis=0), self.weights)

    def at(self, x: np.ndarray) -> float:
        """The score of one point float64[d]; all members stand there, with words of their own."""
        words = np.stack([self.fresh() for _ in range(self.members)])
        energy, count = self.by_trajectory(np.tile(x, (self.members, 1)), words)
        return float(
            overall(energy.sum(axis=(0, 1)) / self.members, count.sum(axis=0), self.weights)
        )

    def by_trajectory(self, x: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energy of single trajectories, as many as `OPERATIONS` allow.

        Args:
            x: float64[P, d].
            words: uint32[2] for all points, or uint32[P, 2].

        Returns:
            Sums of the energy float64[P, n, H] and numbers of forecasts float64[n, H].
        """
        forecasts = self.forecasts
        pieces = int(np.clip(OPERATIONS / forecasts.operations, 1, len(forecasts.panels)))
        energy, count = zip(*self._sums(x, range(pieces), words), strict=True)
        kept = forecasts.count
        return np.concatenate(energy, axis=1)[:, :kept], np.concatenate(count)[:kept]


class LogDensity:
    """Minus the log posterior density of complete data, exact; see `log_likelihood`.

    Attributes:
        members: points per call, P.
        calls: how often the compiled function has run.
    """

    def __init__(self, likelihood: Any, members: int) -> None:
        """`likelihood`: a `LogLikelihood`, or u -> log likelihoods of the trajectories."""
        self._likelihood = likelihood
        known = isinstance(likelihood, LogLikelihood)
        self._many = likelihood.many if known else jax.jit(jax.vmap(likelihood))
        self.members = members
        self.calls = 0

    def at(self, x: jax.Array) -> jax.Array:
        """Minus the log density at one point up to a constant, to be differentiated.

        The prior is standard normal in x: flat on the unit cube.
        """
        return 0.5 * jnp.sum(x * x) - jnp.sum(self._likelihood(ndtr(x)))

    def sample(self, x: np.ndarray) -> np.ndarray:
        """Values at float64[P, d]; inf where the data are impossible."""
        self.calls += 1
        single = np.asarray(self._many(jnp.asarray(norm.cdf(x), jnp.float32)), float)
        # Added up here in float64: differences of a fraction of a nat matter in sums of thousands.
        values = 0.5 * np.sum(x * x, axis=1) - single.sum(axis=1)
        return np.where(np.isfinite(values), values, np.inf)

    def quick(self, x: np.ndarray, generation: int) -> np.ndarray:
        """The same: nothing is simulated."""
        del generation
        return self.sample(x)


def exact_density(objective: Objective, data: Trajectories, score: str) -> LogDensity | None:
    """The exact density where `score` asks for it and the program and the data have one.

    Args:
        objective: the candidate's objective.
        data: training data.
        score: "auto", "energy" or "log".

    Raises:
        InputError: `score` is "log", and there is none.
    """
    if score == "energy" or (score == "auto" and not is_complete(data)):
        return None
    try:
        likelihood = log_likelihood(objective.simulator, objective.schema, data)
    except InputError:
        if score == "log":
            raise
        return None
    return LogDensity(likelihood, objective.settings.members)
