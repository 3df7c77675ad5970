"""What exact methods sample: a likelihood on the unit cube, relative to a reference point.

A sum over thousands of transitions is a large number, and differences of large float32 numbers are
noise. So each trajectory's log likelihood is taken relative to its own at a good reference point;
what was taken off is added up in float64 on the host.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from scipy import optimize
from scipy.stats import norm

from gsim_jax.compilation import lanes_jit
from gsim_jax.simulator.parameters import EDGE, ParameterSpace, sobol
from gsim_jax.task import InputError, Problem

#: What is impossible has this relative log likelihood: finite, so that 0 times it is 0.
IMPOSSIBLE = -1e10
#: x = Phi^-1(u) is kept inside +-X_EDGE, where quantile functions stop (`parameters.EDGE`).
X_EDGE = float(-norm.ppf(EDGE))
#: Combinations of integers and choices that are enumerated at most.
MOST_CELLS = 4096
#: Points of the first scan per dimension, and how many of them an optimiser starts from.
_SCAN, _STARTS = 128, 3
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Space:
    """The unit cube of a posterior: continuous coordinates, and discrete ones to be summed out.

    Attributes:
        labels: one per coordinate.
        counts: int[d], number of values of a discrete coordinate, 0 for a continuous one.
        parameters: the parameters behind the coordinates; None where the cube itself is meant.
    """

    labels: tuple[str, ...]
    counts: np.ndarray
    parameters: ParameterSpace | None

    @classmethod
    def of(cls, parameters: ParameterSpace | tuple[str, ...]) -> Space:
        """The cube of a parameter space, or of labels: uniform parameters on (0, 1)."""
        if not isinstance(parameters, ParameterSpace):
            return cls(tuple(parameters), np.zeros(len(parameters), int), None)
        counts = []
        for entry in parameters.entries:
            arguments, count = entry.arguments, 0
            if entry.prior == "Integer":
                count = int(arguments["high"]) - int(arguments["low"]) + 1
            elif entry.prior == "Choice":
                count = len(arguments["values"])
            counts += [count] * entry.size
        return cls(parameters.labels, np.asarray(counts, int), parameters)

    @property
    def free(self) -> np.ndarray:
        """Numbers of the continuous coordinates."""
        return np.flatnonzero(self.counts == 0)

    def cells(self) -> Iterator[np.ndarray]:
        """The cube's points in the middle of each combination of discrete values, float64[d].

        Raises:
            InputError: there are too many.
        """
        sizes = np.maximum(self.counts, 1)
        if np.prod(sizes, dtype=float) > MOST_CELLS:
            text = (
                f"parameters: expected at most {MOST_CELLS} combinations of integers and choices; "
                f"got {int(np.prod(sizes, dtype=float))}: narrow them, or use another method"
            )
            raise InputError((Problem("too-many-combinations", text),))
        for indices in itertools.product(*map(range, sizes.tolist())):
            yield (np.asarray(indices) + 0.5) / sizes


class Target:
    """A log likelihood on the cube, relative to a reference.

    Attributes:
        function: `u -> float32[n]`, log likelihood per trajectory (or one number).
        space: the coordinates.
        reference: float64[d], the reference point.
        offset: what was taken off, the total log likelihood there.
        evaluations: points evaluated so far, apart from those inside samplers.
    """

    def __init__(self, function: Callable[[jax.Array], jax.Array], space: Space, seed: int) -> None:
        """Scans the prior for a reference point.

        Raises:
            InputError: the data are impossible wherever it looked.
        """
        self.function, self.space = function, space
        self.evaluations = 0
        self.cells = list(space.cells())
        self._parts = jnp.zeros(())
        self._modes: dict[int, np.ndarray] = {}
        best, self.scans = -np.inf, []
        for cell in self.cells:
            points = self._design(cell, seed)
            values = self._totals(points)
            self.scans.append((points, values))
            if values.max(initial=-np.inf) > best:
                best, self.reference = values.max(), points[int(values.argmax())]
        if not np.isfinite(best):
            raise InputError((Problem("impossible-data", self._words()),))
        self._take_off()

    def _design(self, cell: np.ndarray, seed: int) -> np.ndarray:
        free = self.space.free
        count = _SCAN * max(len(free), 1) if len(free) else 1
        points = np.repeat(cell[None], count, axis=0)
        points[:, free] = EDGE + (1 - 2 * EDGE) * sobol(len(free), count, seed)
        return points

    def _words(self) -> str:
        explain = getattr(self.function, "explain", None)
        guess = self.space.parameters.guess() if self.space.parameters is not None else None
        why = explain(guess) if explain is not None and guess is not None else None
        tried = sum(len(points) for points, _ in self.scans)
        return (
            f"data: expected rows that the simulator can produce; they are impossible at all of "
            f"{tried} points of the prior" + (f". At the guesses: {why}" if why else "")
        )

    def _take_off(self) -> None:
        parts = np.asarray(self.function(jnp.asarray(self.reference, jnp.float32)))
        self._parts = jnp.asarray(parts, jnp.float32)
        self.offset = float(parts.astype(np.float64).sum())

    def relative(self, u: jax.Array, parts: jax.Array) -> jax.Array:
        """Relative log likelihood at one point, float32; never below `IMPOSSIBLE`, never NaN."""
        total = jnp.sum(self.function(u) - parts)
        return jnp.where(total > IMPOSSIBLE, total, IMPOSSIBLE)

    def _totals(self, points: np.ndarray) -> np.ndarray:
        rows = []
        for start in range(0, len(points), _BATCH):
            batch = points[start : start + _BATCH]
            full = np.resize(batch, (_BATCH, points.shape[1])) if len(batch) < _BATCH else batch
            parts = np.asarray(self._many(jnp.asarray(full, jnp.float32)), np.float64)
            rows.append(parts.reshape(_BATCH, -1).sum(axis=1)[: len(batch)])
        self.evaluations += len(points)
        totals = np.concatenate([np.zeros(0), *rows])
        return np.where(np.isnan(totals), -np.inf, totals)

    @cached_property
    def _many(self) -> Any:
        return lanes_jit(jax.vmap(self.function))

    def values(self, points: np.ndarray) -> np.ndarray:
        """Relative log likelihood of many points, summed in float64; -inf where impossible.

        Args:
            points: float64[m, d] on the cube.
        """
        return self._totals(points) - self.offset

    # On the continuous coordinates of one cell.

    def _inside(self, z: jax.Array, cell: jax.Array) -> jax.Array:
        return self.relative(cell.at[self.space.free].set(z), self._parts)

    def on_cube(self, cell: np.ndarray) -> Callable[[jax.Array], jax.Array]:
        """Relative log likelihood as a function of the continuous coordinates of u."""
        fixed = jnp.asarray(cell, jnp.float32)
        return lambda z: self._inside(z, fixed)

    def on_normal(self, cell: np.ndarray) -> Callable[[jax.Array], jax.Array]:
        """The same as a function of x = Phi^-1(u), whose prior is standard normal."""
        inside = self.on_cube(cell)
        return lambda x: inside(ndtr(x))

    @cached_property
    def _slope(self) -> Any:
        # One compilation for all cells; the constant taken off is no matter to a climber.
        parts = self._parts

        def down(x: jax.Array, cell: jax.Array) -> jax.Array:
            return -self.relative(cell.at[self.space.free].set(ndtr(x)), parts)

        return jax.jit(jax.value_and_grad(down))

    def modes(self, number: int) -> np.ndarray:
        """Peaks of the likelihood in one cell, float64[k, d] points of the cube, best first.

        Args:
            number: of the cell.
        """
        if number not in self._modes:
            self._modes[number] = self._climb(number)
        return self._modes[number]

    def _climb(self, number: int) -> np.ndarray:
        points, values = self.scans[number]
        free, cell = self.space.free, self.cells[number]
        order = np.argsort(-values, kind="stable")
        starts = [i for i in order[:_STARTS] if np.isfinite(values[i])]
        if not len(free) or not starts:
            return points[starts]
        fixed = jnp.asarray(cell, jnp.float32)

        def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = self._slope(jnp.asarray(x, jnp.float32), fixed)
            return float(value), np.nan_to_num(np.asarray(gradient, float))

        found = []
        for i in starts:
            x = norm.ppf(points[i][free])
            bounds = [(-X_EDGE, X_EDGE)] * len(free)
            result = optimize.minimize(objective, x, jac=True, method="L-BFGS-B", bounds=bounds)
            point = cell.copy()
            point[free] = norm.cdf(result.x)
            found.append(point)
        stacked = np.stack(found)
        return stacked[np.argsort(-self.values(stacked), kind="stable")]

    def refine(self) -> None:
        """Moves the reference to the best peak of all cells, where differences are smallest."""
        peaks = [self.modes(k)[:1] for k in range(len(self.cells))]
        stacked = np.concatenate([np.zeros((0, len(self.space.labels))), *peaks])
        totals = self._totals(stacked)
        if totals.max(initial=-np.inf) > self.offset:
            self.reference = stacked[int(totals.argmax())]
            self._take_off()
