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
#: Up to so many parameters derivatives are differences.
DIFFERENCES = 16
#: How often differences are taken four times as narrow before they are given up.
SHRINK = 5
#: Longest step in x, where the prior's standard deviation is 1.
LONGEST = 1.0


@dataclass(frozen=True)
class Refined:
    """A point with its error.

    Attributes:
        x: float64[d], coordinates of the search.
        covariance: float64[d, d]; 0 for discrete coordinates.
        warnings: sentences about what went wrong.
        score: mean energy score there, where it is known already.
    """

    x: np.ndarray
    covariance: np.ndarray
    warnings: tuple[str, ...] = ()
    score: float | None = None


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
        for coordinate in np.flatnonzero(cells).tolist():
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
    count = density.members
    padded = np.resize(x, (-(-len(x) // count) * count, x.shape[1]))
    parts = np.split(padded, len(padded) // count)
    return np.concatenate([density.sample(part) for part in parts])[: len(x)]


Derivatives = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def _derivatives(density: LogDensity, free: np.ndarray) -> Derivatives:
    """Gradient and Hessian: central differences of few parameters, else automatic ones.

    Differences need no compilation beyond the one that the search has paid for.
    """
    return _Differences(density, free) if len(free) <= DIFFERENCES else _automatic(density, free)


class _Differences:
    """Central differences over steps of half a standard error, as far as it is known."""

    def __init__(self, density: LogDensity, free: np.ndarray) -> None:
        self.density, self.free = density, free
        self.widths = np.full(len(free), 0.02)

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        for _ in range(SHRINK):  # a difference may reach where the data are impossible
            gradient, hessian = self._at(x)
            if np.isfinite(hessian).all():
                break
            self.widths = self.widths / 4
        known = np.diag(hessian)
        if np.isfinite(hessian).all():
            wanted = 0.5 / np.sqrt(np.maximum(known, 1.0))
            rough = (self.widths > 3 * wanted) | (self.widths < wanted / 3)
            self.widths = np.clip(wanted, 1e-3, 0.25)
            if rough.any():
                again = self._at(x)
                if np.isfinite(again[1]).all():
                    gradient, hessian = again
        return gradient, hessian

    def _at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count = len(self.free)
        pairs = [(i, j) for i in range(count) for j in range(i)]
        axes = np.eye(count)
        offsets = [np.zeros(count)]
        offsets += [sign * axes[i] for i in range(count) for sign in (1, -1)]
        offsets += [a * axes[i] + b * axes[j] for i, j in pairs for a in (1, -1) for b in (1, -1)]
        points = np.tile(x, (len(offsets), 1))
        points[:, self.free] += np.stack(offsets) * self.widths
        values = _values(self.density, points)
        centre, single = values[0], values[1 : 1 + 2 * count].reshape(count, 2)
        with np.errstate(invalid="ignore"):
            gradient = (single[:, 0] - single[:, 1]) / (2 * self.widths)
            hessian = np.diag((single.sum(axis=1) - 2 * centre) / self.widths**2)
        for (i, j), four in zip(pairs, values[1 + 2 * count :].reshape(-1, 4), strict=True):
            mixed = (four[0] - four[1] - four[2] + four[3]) / 4
            hessian[i, j] = hessian[j, i] = mixed / (self.widths[i] * self.widths[j])
        return gradient, hessian


def _automatic(density: LogDensity, free: np.ndarray) -> Derivatives:
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
