"""What a sweep keeps: whole paths, quantiles and moments, or moments alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from gsim_jax.simulator.codes import INVALID, OUT_OF_RANGE
from gsim_jax.simulator.keep import Keep, KeepMoments, Row
from gsim_jax.simulator.simulate import RULES_FROM
from gsim_jax.task import InputError, Problem, Schema
from gsim_jax.whatif.engine import Job, Piece
from gsim_jax.whatif.quantiles import Sketch

#: Units (draws, or batches of replicates where there is one draw) that errors are taken over.
UNITS = 1000
#: What is told of a path besides its rows: its last value and its largest.
ENDS = ("final", "peak")


@dataclass(frozen=True)
class KeepOutputs:
    """Keeps the paths of some scored values, float32[rows, lanes] each.

    Attributes:
        places: positions among `Schema.outputs`.
    """

    places: tuple[int, ...]
    axis: ClassVar[int] = 1
    per_lane: ClassVar[bool] = True
    every_row: ClassVar[bool] = True

    @property
    def width(self) -> int:
        """Numbers per lane and row."""
        return len(self.places)

    def row(self, row: Row) -> Any:
        """The values asked for."""
        return tuple(row.outputs[place] for place in self.places)

    def finish(self, stored: Any) -> Any:
        """Unchanged."""
        return stored

    def join(self, parts: Sequence[Any]) -> Any:
        """Not needed: pieces are collected one by one."""
        return parts


class Failures:
    """Counts of lanes by what happened to them, rules told apart, int64[S, kinds]."""

    def __init__(self, schema: Schema, scenarios: int) -> None:
        rules = [rule.name for rule in schema.rules][: 31 - RULES_FROM]
        self.names = ["any", "invalid", "out of range", *(f"rule: {name}" for name in rules)]
        self._bits = [-1, INVALID, OUT_OF_RANGE, *(1 << RULES_FROM + k for k in range(len(rules)))]
        self.counts = np.zeros((scenarios, len(self.names)), np.int64)

    def add(self, piece: Piece) -> None:
        """Counts a piece."""
        if piece.codes.any():
            for i, bit in enumerate(self._bits):
                self.counts[piece.positions, i] += ((piece.codes & bit) != 0).sum(axis=1)


class Paths:
    """All paths, each lane for itself."""

    def __init__(self, job: Job, scenarios: int) -> None:
        self.job, labels = job, [output.label for output in job.schema.outputs]
        self.keep: Keep = KeepOutputs(tuple(range(len(labels))))
        shape = (scenarios, job.lanes, job.steps + 1)
        size = 4 * len(labels) * int(np.prod(shape, dtype=float))
        if size > job.memory:
            text = (
                f"keep: paths would take {size / 2**30:.1f} GiB where memory allows "
                f"{job.memory / 2**30:.1f}; keep 'quantiles' or 'moments'"
            )
            raise InputError(Problem("too-large", text))
        self.values = {label: np.empty(shape, np.float32) for label in labels}
        self.codes = np.zeros(shape[:2], np.int32)

    def add(self, piece: Piece) -> None:
        """Puts a piece in its place."""
        lanes = slice(piece.first, piece.first + piece.codes.shape[1])
        self.codes[piece.positions, lanes] = piece.codes
        for values, kept in zip(self.values.values(), piece.kept, strict=True):
            values[piece.positions, lanes] = np.moveaxis(kept, 0, -1)

    def dataset(self) -> dict[str, Any]:
        """Variables by name, (scenario, draw, replicate, t)."""
        each = (-1, self.job.count, self.job.replicates)
        dims = ("scenario", "draw", "replicate")
        units = _units(self.job.schema)
        found: dict[str, Any] = {
            label: ((*dims, "t"), values.reshape(*each, self.job.steps + 1), units[label])
            for label, values in self.values.items()
        }
        return found | {"code": (dims, self.codes.reshape(each))}


class Quantiles:
    """Quantiles and moments of every row; final and largest values with paired errors."""

    def __init__(self, job: Job, scenarios: int, levels: Sequence[float]) -> None:
        self.job, self.levels = job, tuple(levels)
        self.labels = [output.label for output in job.schema.outputs]
        self.keep: Keep = KeepOutputs(tuple(range(len(self.labels))))
        shape = (len(self.labels), scenarios, job.steps + 1)
        self._count, self._mean = np.zeros(shape, np.int64), np.zeros(shape)
        self._square = np.zeros(shape)
        self._sketches: dict[tuple[int, bytes], Sketch] = {}
        self._positions: dict[bytes, np.ndarray] = {}
        self._ends = Ends(job, len(self.labels), scenarios)

    def add(self, piece: Piece) -> None:
        """Sums and sorts a piece."""
        where = piece.positions.tobytes()
        self._positions[where] = piece.positions
        for v, values in enumerate(piece.kept):
            self._ends.add(v, piece, values)
            ordered = np.sort(values, axis=-1)
            counts = np.full(ordered.shape[:2], ordered.shape[2])
            failed = bool(np.isnan(ordered[..., -1]).any())
            if failed:
                counts = np.isfinite(ordered).sum(-1)
            self._moments(v, piece.positions, ordered, counts, failed)
            self._sketches.setdefault((v, where), Sketch()).add(ordered, counts)

    def _moments(
        self, v: int, at: np.ndarray, ordered: np.ndarray, counts: np.ndarray, failed: bool
    ) -> None:
        # About the median, so that float32 loses nothing; joined as in `KeepMoments`.
        middle = np.take_along_axis(ordered, np.maximum(counts - 1, 0)[..., None] // 2, -1)
        middle = np.where(counts[..., None] > 0, middle, 0)
        from_it = ordered - middle
        if failed:
            from_it = np.nan_to_num(from_it, nan=0.0)
        n = np.maximum(counts, 1)
        share = from_it.sum(-1, dtype=np.float64) / n
        square = np.einsum("tsl,tsl->ts", from_it, from_it, dtype=np.float64) - n * share**2
        mean, n_now = (middle[..., 0] + share).T, counts.T
        n_old, old = self._count[v, at], self._mean[v, at]
        total = np.maximum(n_old + n_now, 1)
        self._square[v, at] += np.maximum(square.T, 0) + (mean - old) ** 2 * n_old * n_now / total
        self._mean[v, at] = old + (mean - old) * n_now / total
        self._count[v, at] += n_now

    def dataset(self) -> dict[str, Any]:
        """`mean`, `sd`, `count`, `quantiles` and the ends, by variable and scenario."""
        count = self._count
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(count > 0, self._mean, np.nan)
            sd = np.where(count > 1, np.sqrt(self._square / (count - 1)), np.nan)
        found = np.empty((*count.shape, len(self.levels)), np.float32)
        for (v, where), sketch in self._sketches.items():
            found[v, self._positions[where]] = sketch.quantiles(self.levels).swapaxes(0, 1)
        dims = ("variable", "scenario", "t")
        return {
            "mean": (dims, mean),
            "sd": (dims, sd),
            "count": (dims, count),
            "quantiles": ((*dims, "quantile"), found),
            **self._ends.dataset(),
        }


class Ends:
    """Final and largest values: means, differences to the first scenario, and their errors.

    Lanes of one draw share its parameters: draws are the units of the errors, not lanes; where
    there is one draw, batches of replicates are.
    """

    def __init__(self, job: Job, variables: int, scenarios: int) -> None:
        self._job = job
        each = 1 if job.count > 1 else -(-job.replicates // UNITS)
        self._per_unit = job.replicates if job.count > 1 else each
        units = job.count if job.count > 1 else -(-job.replicates // each)
        shape = (len(ENDS), variables, scenarios, units)
        self._sum, self._count = np.zeros(shape), np.zeros(shape, np.int64)
        self._lead, self._pairs = np.zeros(shape), np.zeros(shape, np.int64)
        self._first: dict[tuple[int, int], np.ndarray] = {}

    def add(self, v: int, piece: Piece, values: np.ndarray) -> None:
        """Takes paths [rows, scenarios, lanes] of variable v."""
        ends = np.stack([values[-1], values.max(axis=0)])
        if piece.positions[0] == 0:  # comes before all others of these lanes
            self._first[v, piece.first] = ends[:, :1]
        unit = (piece.first + np.arange(ends.shape[-1])) // self._per_unit
        starts = np.flatnonzero(np.diff(unit, prepend=-1))
        lead = ends - self._first[v, piece.first]
        for told, total, number in (
            (ends, self._sum, self._count),
            (lead, self._lead, self._pairs),
        ):
            fine = np.isfinite(told)
            sums = np.add.reduceat(np.where(fine, told, 0).astype(np.float64), starts, axis=-1)
            rows, columns = piece.positions[:, None], unit[starts]
            total[:, v, rows, columns] += sums
            number[:, v, rows, columns] += np.add.reduceat(fine.astype(int), starts, axis=-1)

    def dataset(self) -> dict[str, Any]:
        """`final`, `peak`, what they are more than in the first scenario, and the errors."""
        found: dict[str, Any] = {}
        dims = ("variable", "scenario")
        for total, number, what in (
            (self._sum, self._count, ""),
            (self._lead, self._pairs, "_difference"),
        ):
            mean, error = mean_and_error(total, number)
            for i, name in enumerate(ENDS):
                found[name + what] = (dims, mean[i])
                found[name + what + "_error"] = (dims, error[i])
        return found


def mean_and_error(total: np.ndarray, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over units, and its standard error; units without numbers are left out.

    Args:
        total: float64[..., units], sums.
        number: int64[..., units], of how many numbers.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        each = np.where(number > 0, total / np.maximum(number, 1), np.nan)
        units = (number > 0).sum(-1)
        mean = np.where(units > 0, np.nansum(each, -1) / np.maximum(units, 1), np.nan)
        square = np.nansum((each - mean[..., None]) ** 2, -1)
        error = np.sqrt(square / np.maximum(units - 1, 1) / np.maximum(units, 1))
        error = np.where(error < 1e-12 * np.abs(mean), 0.0, error)  # rounding is no scatter
    return mean, np.where(units > 1, error, np.nan)


class DeviceMoments:
    """Moments alone, summed on the device: the fastest, whatever the number of lanes."""

    keep: Keep = KeepMoments()

    def __init__(self, job: Job, scenarios: int) -> None:
        self._parts: dict[bytes, list[Any]] = {}
        self._shape = (scenarios, job.steps + 1, len(job.schema.outputs))

    def add(self, piece: Piece) -> None:
        """Notes the sums of a piece."""
        self._parts.setdefault(piece.positions.tobytes(), []).append(piece.kept)

    def dataset(self) -> dict[str, Any]:
        """`mean`, `sd` and `count` by variable and scenario."""
        mean, sd = np.empty(self._shape), np.empty(self._shape)
        count = np.empty(self._shape, np.int64)
        for where, parts in self._parts.items():
            at = np.frombuffer(where, np.int64)
            moments = KeepMoments().join(parts)
            mean[at], sd[at] = moments.mean, np.sqrt(moments.variance)
            count[at] = moments.count
        dims = ("variable", "scenario", "t")
        values = {"mean": mean, "sd": sd, "count": count}
        return {name: (dims, np.moveaxis(value, -1, 0)) for name, value in values.items()}


def _units(schema: Schema) -> dict[str, dict[str, str]]:
    """Unit and words of every output."""
    found = {}
    for output in schema.outputs:
        home = schema.states.get(output.variable) or schema.derived[output.variable]
        found[output.label] = {"units": home.unit, "long_name": home.doc or output.label}
    return found


def labelled(job: Job, variables: dict[str, Any], names: Sequence[str]) -> xr.Dataset:
    """The dataset with its coordinates."""
    dims = {dim for entry in variables.values() for dim in entry[0]}
    coordinates: dict[str, Any] = {"scenario": list(names), "t": np.arange(job.steps + 1)}
    if "variable" in dims:
        coordinates["variable"] = [output.label for output in job.schema.outputs]
    return xr.Dataset(variables, coords=coordinates)
