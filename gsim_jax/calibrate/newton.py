"""Newton's method on the exact log density, with discrete parameters searched by coordinate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from gsim_jax.calibrate.fitness import X_EDGE, LogDensity

#: Steps at most; a quadratic takes one.
STEPS = 30
#: A step that promises less than this, in nats, is the last.
ENOUGH = 1e-3
#: Longest step in x, where the prior's standard deviation is 1.
LONGEST = 1.0


@dataclass(frozen=True)
class Refined:
    """A point with its error.

    Attributes:
        x: float64[d], coordinates of the search.
        covariance: float64[d, d]; 0 for discrete coordinates.
        warnings: sentences about what went wrong.
    """

    x: np.ndarray
    covariance: np.ndarray
    warnings: tuple[str, ...] = ()


def neighbours(x: np.ndarray, coordinate: int, cells: int, most: int) -> np.ndarray:
    """Other cells of one discrete coordinate, nearest first, as points float64[k, d]."""
    at = int(np.clip(np.floor(norm.cdf(x[coordinate]) * cells), 0, cells - 1))
    others = sorted((c for c in range(cells) if c != at), key=lambda c: abs(c - at))[:most]
    points = np.tile(x, (len(others), 1))
    points[:, coordinate] = norm.ppf((np.asarray(others, float) + 0.5) / cells)
    return points


def maximise(density: LogDensity, x: np.ndarray, cells: np.ndarray) -> Refined:
    """The mode of the posterior density and the Laplace approximation of its covariance.

    Args:
        density: minus the log density.
        x: float64[d], where to start; discrete coordinates in the middle of a cell.
        cells: int[d], number of values of discrete coordinates, 0 for continuous ones.

    Returns:
        The mode, and the inverse of the observed information there (with the prior's).
    """
    free = np.flatnonzero(cells == 0)
    derivatives = _derivatives(density, free)
    x, value, hessian = _climb(density, derivatives, x, free)
    for _ in range(3):
        moved = False
        for coordinate in np.flatnonzero(cells):
            for other in neighbours(x, coordinate, int(cells[coordinate]), density.members):
                if not np.isfinite(_values(density, other[None])[0]):
                    continue
                point, found, curvature = _climb(density, derivatives, other, free)
                if found < value - ENOUGH:
                    x, value, hessian, moved = point, found, curvature, True
        if not moved:
            break
    covariance = np.zeros((len(x), len(x)))
    if len(free):
        values, vectors = np.linalg.eigh(hessian)
        inverse = (vectors / np.maximum(values, 1.0)) @ vectors.T  # never wider than the prior
        covariance[np.ix_(free, free)] = inverse
    return Refined(x, covariance)


def _values(density: LogDensity, x: np.ndarray) -> np.ndarray:
    """Values at any number of points."""
    padded = np.resize(x, (density.members, x.shape[1])) if len(x) < density.members else x
    return density.sample(padded)[: len(x)]


Derivatives = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def _derivatives(density: LogDensity, free: np.ndarray) -> Derivatives:
    def along(moved: jax.Array, x: jax.Array) -> jax.Array:
        return density.at(x.at[free].set(moved))

    slope = jax.grad(along)

    @jax.jit
    def both(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return slope(x[free], x), jax.jacfwd(slope)(x[free], x)

    def at(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        gradient, hessian = both(jnp.asarray(x, jnp.float32))
        return np.asarray(gradient, float), np.asarray(hessian, float)

    return at


def _climb(
    density: LogDensity, derivatives: Derivatives, x: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray]:
    """Newton steps with halving; curvature of the wrong sign is turned round."""
    value = float(_values(density, x[None])[0])
    hessian = np.eye(len(free))
    if not len(free):
        return x, value, hessian
    shares = 0.5 ** np.arange(min(density.members, 12))
    for _ in range(STEPS):
        gradient, hessian = derivatives(x)
        if not (np.isfinite(gradient).all() and np.isfinite(hessian).all()):
            return x, value, np.eye(len(free))
        hessian = (hessian + hessian.T) / 2
        values, vectors = np.linalg.eigh(hessian)
        step = -(vectors / np.maximum(np.abs(values), 1.0)) @ (vectors.T @ gradient)
        step *= min(1.0, LONGEST / max(float(np.abs(step).max()), 1e-12))
        if -0.5 * gradient @ step < ENOUGH:
            break
        trial = np.tile(x, (len(shares), 1))
        trial[:, free] = np.clip(x[free] + shares[:, None] * step, -X_EDGE, X_EDGE)
        found = _values(density, trial)
        best = int(np.argmin(found))
        if not found[best] < value:
            break
        x, value = trial[best], float(found[best])
    return x, value, hessian
