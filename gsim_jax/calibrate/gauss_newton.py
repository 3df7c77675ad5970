"""Gauss-Newton steps on simulated estimating equations, of one look at the data or of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gsim_jax.calibrate.moments import Equation
from gsim_jax.calibrate.score import FEW, covariance_of_mean

#: Half-width of a cloud in standard errors: the noise of simulated slopes falls with it.
WIDTH = 8.0
#: Longest step, in axes of the cloud: beyond, slopes are no longer known.
LONGEST = 2.0
#: Pseudo-units of the model's own information in the spread of the units' slopes, plus 2 per
#: parameter: a few trajectories say little about their own covariance.
PSEUDO = 10.0
#: Directions with less than this share of the whole information are lost in its rounding.
ROUNDING = 1e-12


def solve(
    found: Equation,
    centre: np.ndarray,
    shape: np.ndarray,
    trajectories: int,
    reach: float = LONGEST,
) -> tuple[np.ndarray, np.ndarray]:
    """One Gauss-Newton step with the prior, and the covariance of where it leads.

    Args:
        found: the equation.
        centre: float64[d], in coordinates in which the prior is standard normal.
        shape: float64[d, d].
        trajectories: number of trajectories behind the units.
        reach: longest step per axis of the cloud; where its error is longer, as long as that.

    Returns:
        The step float64[d] and the covariance float64[d, d], both in x: mean and covariance of
        what slope = A z + error says together with the prior, A = J'WJ. The error's covariance is
        that of the units' slopes, which allows for a wrong structure (a sandwich estimate), plus
        the simulation's noise: directions that drown in it are left to the prior.
    """
    information = without_noise(found.information)
    number = len(found.units)
    spread = number**2 * covariance_of_mean(found.units, trajectories) - found.noise
    independent = number if trajectories >= FEW else number / 3
    pseudo = PSEUDO + 2 * len(centre)
    spread = (independent * spread + pseudo * information) / (independent + pseudo)
    # Noise must not make an error vanish.
    values, vectors = np.linalg.eigh(spread - information / 4)
    spread = information / 4 + (vectors * np.maximum(values, 0.0)) @ vectors.T + found.noise
    tiny = 1e-9 * max(float(np.trace(spread)), 1e-9) * np.eye(len(centre))
    gain = np.linalg.solve(spread + tiny, information)
    prior = shape.T @ shape
    covariance = np.linalg.inv(held(information @ gain, prior))
    step = covariance @ (gain.T @ found.slope - shape.T @ centre)
    # Axis by axis: one that the data say nothing about must not hold up the others.
    most = longest(covariance, reach)
    step = np.clip(step, -most, most)
    covariance = shape @ covariance @ shape.T
    return shape @ step, (covariance + covariance.T) / 2


def held(information: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The sum of both, float64[d, d], kept from being singular.

    Runs that explode have information of 1e16, in whose rounding a prior of .1 is lost. There the
    directions that are lost are held where they are; without such runs nothing is added.

    Args:
        information: float64[d, d], positive semidefinite but for rounding.
        prior: float64[d, d], positive definite.
    """
    whole = information + prior
    lost = ROUNDING * float(np.trace(whole))
    return whole + max(0.0, lost - float(np.linalg.eigvalsh(prior)[0])) * np.eye(len(prior))


def without_noise(information: np.ndarray) -> np.ndarray:
    """Simulated information float64[d, d] without the directions that drown in its noise."""
    values, vectors = np.linalg.eigh(information)
    # A sum of squares is not negative: what is shows how much of the rest is noise.
    floor = 2.0 * max(0.0, -float(values.min()))
    return (vectors * np.where(values > floor, values, 0.0)) @ vectors.T


def longest(covariance: np.ndarray, reach: float = LONGEST) -> np.ndarray:
    """Longest steps float64[d] along the axes of a cloud in whose coordinates covariance is."""
    return np.maximum(reach, np.sqrt(np.diag(covariance)))


@dataclass(frozen=True)
class Look:
    """An equation, and the cloud that it was simulated with: x = centre + shape z.

    Attributes:
        equation: on some trajectories.
        centre: float64[d].
        shape: float64[d, d].
        share: share of the data that it has looked at.
    """

    equation: Equation
    centre: np.ndarray
    shape: np.ndarray
    share: float


def join(looks: Sequence[Look]) -> Equation:
    """The equation of several looks at different trajectories, in coordinates of the last one.

    Equations of independent trajectories add up, each carried to the last centre by its own
    information. So the prior counts once for all of them, and what one look hardly sees another one
    may.

    Args:
        looks: at least one; their centres so near that the moments are all but linear in between.
    """
    last = looks[-1]
    slopes, informations, units, noises = [], [], [], []
    for look in looks:
        found = look.equation
        turn = np.linalg.solve(look.shape, last.shape)
        moved = found.information @ np.linalg.solve(look.shape, last.centre - look.centre)
        slopes.append((found.slope - moved) @ turn)
        informations.append(turn.T @ found.information @ turn)
        units.append((found.units - moved / len(found.units)) @ turn)
        noises.append(turn.T @ found.noise @ turn)
    return Equation(
        np.sum(slopes, axis=0), np.sum(informations, axis=0), np.concatenate(units),
        np.sum(noises, axis=0), last.equation.misfit,
    )  # fmt: skip


def cloud_shape(covariance: np.ndarray, low: float, high: float) -> np.ndarray:
    """Axes of a cloud of `WIDTH` standard errors: x = centre + shape z, float64[d, d].

    Parameters that make up for one another have a long and narrow error ellipse. A cloud that is
    no ellipse is either too narrow along it or far too wide across it.

    Args:
        covariance: float64[d, d] of x, from the search or from the last step.
        low: the shortest half-axis.
        high: the longest one.
    """
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.clip(WIDTH * np.sqrt(np.maximum(values, 0.0)), low, high)
