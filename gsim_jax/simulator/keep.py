"""What a rollout keeps: whole paths, last states, or moments over lanes.

A rollout of ten million lanes cannot be stored; what is kept decides how much memory it takes. A
`Keep` is told every row of a chunk of lanes on the device and says what is stored per row; chunks
and devices are joined on the host. Write one of your own for quantiles, costs or histograms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np


class Row(NamedTuple):
    """One row of all lanes of a chunk, as a `Keep` sees it under jit.

    Attributes:
        t: row, int32 scalar; 0 is the start.
        states: `{name: [lanes, *shape]}`, latent states included.
        outputs: float32[lanes] for each of `Schema.outputs`; NaN where a lane has failed.
        code: int32[lanes], failure codes so far.
        exists: bool[lanes], false for lanes that only fill up the chunk.
    """

    t: jax.Array
    states: dict[str, jax.Array]
    outputs: tuple[jax.Array, ...]
    code: jax.Array
    exists: jax.Array


class Keep(Protocol):
    """What is stored of a rollout; hashable, since it is a static argument of the compiled one.

    Attributes:
        axis: where the axis of lanes (or of parts) stands in every leaf that `finish` returns.
        per_lane: whether that axis is one of lanes; else it has length 1 per device and chunk.
        every_row: whether what `row` returns is stored for each row; else only the last row's.
    """

    axis: ClassVar[int]
    per_lane: ClassVar[bool]
    every_row: ClassVar[bool]

    def row(self, row: Row) -> Any:
        """What is stored of a row: a pytree of arrays."""
        ...

    def finish(self, stored: Any) -> Any:
        """The stored pytree, leaves [rows, ...] (or of the last row), in the form for the host."""
        ...

    def join(self, parts: Sequence[Any]) -> Any:
        """On the host: the results of all chunks as one; NumPy leaves, lanes cut to those asked."""
        ...


class Paths(NamedTuple):
    """Trajectories of all lanes.

    Attributes:
        states: `{name: [lanes, steps + 1, *shape]}`, latent ones included.
        outputs: float32[lanes, steps + 1, V], in the order of `Schema.outputs`; NaN from the row on
            in which a lane failed.
    """

    states: dict[str, np.ndarray]
    outputs: np.ndarray


@dataclass(frozen=True)
class KeepPaths:
    """Keeps whole trajectories.

    Attributes:
        states: whether states are kept, or outputs only.
    """

    states: bool = True
    axis: ClassVar[int] = 1
    per_lane: ClassVar[bool] = True
    every_row: ClassVar[bool] = True

    def row(self, row: Row) -> Any:
        """States and outputs."""
        return row.states if self.states else {}, row.outputs

    def finish(self, stored: Any) -> Any:
        """Unchanged: lanes on axis 1."""
        return stored

    def join(self, parts: Sequence[Any]) -> Paths:
        """Chunks one after the other; lanes move to the front."""
        states, outputs = jax.tree.map(_joined, *parts)
        shape = _first(parts).shape
        empty = np.zeros((shape[1], shape[0], 0), np.float32)
        return Paths(states, np.stack(outputs, axis=-1) if outputs else empty)


def _joined(*parts: np.ndarray) -> np.ndarray:
    whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    return np.moveaxis(whole, 1, 0)


def _first(parts: Sequence[Any]) -> np.ndarray:
    leaves = jax.tree.leaves(parts[0])
    return leaves[0] if leaves else np.zeros((0, 0))


class Last(NamedTuple):
    """Where all lanes end.

    Attributes:
        states: `{name: [lanes, *shape]}`.
        outputs: float32[lanes, V]; NaN where a lane failed.
    """

    states: dict[str, np.ndarray]
    outputs: np.ndarray


@dataclass(frozen=True)
class KeepLast:
    """Keeps the last row only."""

    axis: ClassVar[int] = 0
    per_lane: ClassVar[bool] = True
    every_row: ClassVar[bool] = False

    def row(self, row: Row) -> Any:
        """States and outputs."""
        return row.states, row.outputs

    def finish(self, stored: Any) -> Any:
        """Unchanged."""
        return stored

    def join(self, parts: Sequence[Any]) -> Last:
        """Chunks one after the other."""
        states, outputs = jax.tree.map(lambda *x: np.concatenate(x), *parts)
        lanes = len(_first(parts))
        return Last(states, np.stack(outputs, axis=-1) if outputs else np.zeros((lanes, 0)))


class Moments(NamedTuple):
    """Moments over the lanes that have not failed, per row and output.

    Attributes:
        count: int64[rows, V], lanes whose value is defined.
        mean: float64[rows, V]; NaN where no lane counts.
        variance: float64[rows, V], with divisor count - 1.
        minimum: float32[rows, V].
        maximum: float32[rows, V].
    """

    count: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray

    @property
    def standard_error(self) -> np.ndarray:
        """Of the mean, for independent lanes, float64[rows, V]."""
        return np.sqrt(self.variance / np.maximum(self.count, 1))


@dataclass(frozen=True)
class KeepMoments:
    """Keeps count, mean, variance and range over lanes; memory does not grow with lanes.

    Sums are taken in float32 about a lane's own value, per device and chunk, and joined in float64
    with the update of Chan, Golub and LeVeque (1983, eq. 2.1), so that no accuracy is lost with
    millions of lanes.
    """

    axis: ClassVar[int] = 0
    per_lane: ClassVar[bool] = False
    every_row: ClassVar[bool] = True

    def row(self, row: Row) -> Any:
        """Count, pivot, sum and sum of squares about it, minimum, maximum; each [V]."""
        return tuple(jnp.stack(x) for x in zip(*(_sums(v, row) for v in row.outputs), strict=True))

    def finish(self, stored: Any) -> Any:
        """One part per device, on a new first axis."""
        return jax.tree.map(lambda x: x[None], stored)

    def join(self, parts: Sequence[Any]) -> Moments:
        """All parts as one sample."""
        if not jax.tree.leaves(parts[0]):
            none = np.zeros((0, 0))
            return Moments(none.astype(np.int64), none, none, none, none)
        each = (np.concatenate(x) for x in zip(*parts, strict=True))
        count, pivot, first, second, low, high = (np.asarray(x) for x in each)
        with np.errstate(invalid="ignore", divide="ignore"):
            n = count.astype(np.float64)
            share = first.astype(np.float64) / np.maximum(n, 1)
            own = pivot + share
            squares = np.maximum(second.astype(np.float64) - n * share**2, 0)
            total = n.sum(0)
            mean = (n * own).sum(0) / total
            squares = (squares + n * (own - mean) ** 2).sum(0)
            variance = np.where(total > 1, squares / (total - 1), np.nan)
        return Moments(count.sum(0, dtype=np.int64), mean, variance, low.min(0), high.max(0))


def _sums(value: jax.Array, row: Row) -> tuple[jax.Array, ...]:
    counts = row.exists & jnp.isfinite(value)
    some = jnp.where(jnp.isfinite(value[0]), value[0], 0.0)
    from_it = jnp.where(counts, value - some, 0.0)
    return (
        jnp.sum(counts, dtype=jnp.int32),
        some,
        jnp.sum(from_it),
        jnp.sum(from_it * from_it),
        jnp.min(jnp.where(counts, value, jnp.inf)),
        jnp.max(jnp.where(counts, value, -jnp.inf)),
    )
