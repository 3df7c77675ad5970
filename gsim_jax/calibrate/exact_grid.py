"""Posteriors in low dimension by quadrature: a box that holds the mass, and a grid in it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gsim_jax.calibrate.exact_target import Target
from gsim_jax.simulator.parameters import EDGE

#: Points per axis of the grid that finds the box, and of the one that is integrated, by dimension.
#: Those are 4 k + 1: every second point is again a grid for Simpson's rule.
_COARSE = {1: 65, 2: 17, 3: 9}
_FINE = {1: 257, 2: 65, 3: 33}
_FINER = {1: 1025, 2: 129, 3: 65}
#: Log density below its peak beyond which mass is left out: e^-16 of the density there.
_DEEP = 16.0
_ROUNDS = 40
#: Difference between the integrals of the grid and of every second point that is accepted, nats.
TOLERANCE = 0.02


class Piece(NamedTuple):
    """The posterior in one cell of discrete values.

    Attributes:
        draws: float64[m, d] points of the cube.
        log_evidence: log integral of the relative likelihood over the continuous coordinates.
        info: what to know about the run.
    """

    draws: np.ndarray
    log_evidence: float
    info: dict[str, float]


def integrate(target: Target, number: int, count: int, generator: np.random.Generator) -> Piece:
    """Evidence and draws by quadrature.

    Args:
        target: the likelihood.
        number: of the cell of discrete values; at most 3 coordinates are continuous.
        count: draws.
        generator: for the draws.

    Returns:
        The piece. Draws come from the piecewise linear interpolation of the density. `info` holds
        `evidence_error`, the difference to the integral over every second point of the grid.
    """
    cell, free = target.cells[number], target.space.free
    if not len(free):
        value = float(target.values(cell[None])[0])
        return Piece(np.repeat(cell[None], count, axis=0), value, {"evidence_error": 0.0})
    low, high = find_box(target, number)
    for points in (_FINE, _FINER):
        axes, values = _grid(target, cell, low, high, points[len(free)])
        fine, half = _simpson(axes, values), _simpson([a[::2] for a in axes], _halved(values))
        if abs(fine - half) < TOLERANCE:
            break
    draws = np.repeat(cell[None], count, axis=0)
    draws[:, free] = _draw(axes, values, count, generator)
    info = {"evidence_error": float(abs(fine - half)), "grid_points": float(values.size)}
    return Piece(draws, fine, info)


def find_box(target: Target, number: int) -> tuple[np.ndarray, np.ndarray]:
    """A box of the continuous coordinates that holds the posterior's mass.

    Args:
        target: the likelihood.
        number: of the cell of discrete values.

    Returns:
        Lower and upper ends, float64[k] each.
    """
    cell, free = target.cells[number], target.space.free
    peaks = target.modes(number)[:, free]
    low, high = np.full(len(free), EDGE), np.full(len(free), 1 - EDGE)
    if not len(peaks):
        return low, high
    # Shrinks onto what is high: first around the peaks that were found, then by what the grid sees.
    tops = target.values(_points(cell, free, peaks))
    peaks = peaks[tops > tops.max() - _DEEP]
    low, high = _start(target, cell, peaks, tops.max())
    for _ in range(_ROUNDS):
        axes, values = _grid(target, cell, low, high, _COARSE[len(free)])
        alive = values > max(values.max(), tops.max()) - _DEEP
        new_low, new_high = _around(axes, alive, peaks, low, high)
        settled = np.all(np.abs(new_low - low) + np.abs(new_high - high) < 0.15 * (high - low))
        low, high = new_low, new_high
        if settled:
            break
    return low, high


def _points(cell: np.ndarray, free: np.ndarray, z: np.ndarray) -> np.ndarray:
    points = np.repeat(cell[None], len(z), axis=0)
    points[:, free] = z
    return points


def _start(
    target: Target, cell: np.ndarray, peaks: np.ndarray, top: float
) -> tuple[np.ndarray, np.ndarray]:
    """A first box: from each peak along each axis, as far as the density falls by `_DEEP`."""
    free = target.space.free
    low, high = peaks.min(axis=0), peaks.max(axis=0)
    distances = np.concatenate([[0.0], np.geomspace(1e-7, 1.0, 57)])
    for peak in peaks:
        for k in range(len(free)):
            for sign in (-1.0, 1.0):
                z = np.repeat(peak[None], len(distances), axis=0)
                z[:, k] = np.clip(z[:, k] + sign * distances, EDGE, 1 - EDGE)
                alive = target.values(_points(cell, free, z)) > top - _DEEP
                # One step beyond the last point that is still high.
                last = min(int(np.flatnonzero(alive).max(initial=0)) + 1, len(z) - 1)
                low[k], high[k] = min(low[k], z[last, k]), max(high[k], z[last, k])
    return low, high


def _around(
    axes: list[np.ndarray],
    alive: np.ndarray,
    peaks: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The box around the living points, one step wider; half as wide again where it is cut off."""
    new_low, new_high = low.copy(), high.copy()
    for k, axis in enumerate(axes):
        others = tuple(i for i in range(len(axes)) if i != k)
        lives = np.flatnonzero(alive.any(axis=others))
        step, width = axis[1] - axis[0], high[k] - low[k]
        first = axis[lives[0]] if len(lives) else peaks[:, k].min()
        last = axis[lives[-1]] if len(lives) else peaks[:, k].max()
        first, last = min(first, peaks[:, k].min()), max(last, peaks[:, k].max())
        reach_low = 0.5 * width if len(lives) and lives[0] == 0 else step
        reach_high = 0.5 * width if len(lives) and lives[-1] == len(axis) - 1 else step
        new_low[k] = np.clip(first - reach_low, EDGE, 1 - EDGE)
        new_high[k] = np.clip(last + reach_high, EDGE, 1 - EDGE)
    return new_low, new_high


def _grid(
    target: Target, cell: np.ndarray, low: np.ndarray, high: np.ndarray, points: int
) -> tuple[list[np.ndarray], np.ndarray]:
    axes = [np.linspace(a, b, points) for a, b in zip(low, high, strict=True)]
    mesh = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    values = target.values(_points(cell, target.space.free, mesh.reshape(-1, len(axes))))
    return axes, values.reshape(mesh.shape[:-1])


def _halved(values: np.ndarray) -> np.ndarray:
    return values[(slice(None, None, 2),) * values.ndim]


def _simpson(axes: list[np.ndarray], values: np.ndarray) -> float:
    """Log of the integral of exp(values) by Simpson's rule."""
    total = values
    for k, axis in enumerate(axes):
        weights = np.full(len(axis), 2.0)
        weights[1::2] = 4.0
        weights[[0, -1]] = 1.0
        weights *= (axis[1] - axis[0]) / 3
        shape = [-1 if i == k else 1 for i in range(len(axes))]
        total = total + np.log(weights).reshape(shape)
    return float(np.logaddexp.reduce(total.ravel()))


def _draw(
    axes: list[np.ndarray], values: np.ndarray, count: int, generator: np.random.Generator
) -> np.ndarray:
    """Draws from the multilinear interpolation of exp(values), float64[count, k].

    The interpolation is a mixture of hats, one on each grid point: a point by its weight, then the
    difference of two uniform numbers; half hats at the ends.
    """
    weights = np.exp(values - values.max())
    for k, axis in enumerate(axes):
        half = np.ones(len(axis))
        half[[0, -1]] = 0.5
        weights = weights * half.reshape([-1 if i == k else 1 for i in range(len(axes))])
    flat = (weights / weights.sum()).ravel()
    # Systematic resampling: each point is taken its expected number of times, up to one.
    edges = np.cumsum(flat)
    marks = (np.arange(count) + generator.uniform()) / count
    chosen = np.minimum(np.searchsorted(edges / edges[-1], marks), flat.size - 1)
    indices = np.unravel_index(generator.permutation(chosen), weights.shape)
    columns = []
    for axis, index in zip(axes, indices, strict=True):
        step = axis[1] - axis[0]
        hat = generator.uniform(size=count) - generator.uniform(size=count)
        z = axis[index] + step * hat
        z = np.where(z < axis[0], 2 * axis[0] - z, z)
        columns.append(np.where(z > axis[-1], 2 * axis[-1] - z, z))
    return np.stack(columns, axis=1)
