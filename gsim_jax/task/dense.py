"""What the tables say on a grid of trajectories and rows, and how it becomes `Trajectories`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gsim_jax.task.clock import calendar_values
from gsim_jax.task.outputs import observed_outputs
from gsim_jax.task.schema import Input, Schema, Variable, entries, label
from gsim_jax.task.trajectories import Trajectories

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class Dense:
    """Everything the tables of a split say.

    Attributes:
        ids: names of the trajectories.
        length: int64[n], rows per trajectory.
        columns: label -> (float64[n, rows], bool[n, rows] observed).
        attributes: name -> float64[n].
        dates: datetime64[s][n, rows] or None.
    """

    ids: tuple[str, ...]
    length: np.ndarray
    columns: dict[str, Pair]
    attributes: dict[str, np.ndarray]
    dates: np.ndarray | None

    @property
    def grid(self) -> tuple[int, int]:
        """Trajectories and rows."""
        return len(self.ids), int(self.length.max())

    @property
    def exists(self) -> np.ndarray:
        """bool[n, rows], False in padding."""
        return np.arange(self.grid[1])[None, :] < self.length[:, None]

    def window(self, schema: Schema, start: int, stop: int | None) -> Dense | None:
        """Rows ``start .. stop - 1`` as trajectories that begin at t = 0; None if there are none.

        A sum over several steps that reaches back before the new first row is left out: nothing
        that starts there can predict it.
        """
        end = self.length if stop is None else np.minimum(self.length, stop)
        kept = np.flatnonzero(end > start)
        if kept.size == 0:
            return None
        rows = slice(start, int(end[kept].max()))
        inside = np.arange(rows.start, rows.stop)[None, :] < end[kept][:, None]
        columns = {}
        for name, (values, mask) in self.columns.items():
            part = mask[kept, rows] & inside
            part[:, : schema.aggregates.get(name.partition("[")[0], 1) - 1] = False
            columns[name] = np.where(part, values[kept, rows], 0.0), part
        dates = None
        if self.dates is not None:
            dates = np.where(inside, self.dates[kept, rows], np.datetime64("NaT"))
        return Dense(
            tuple(self.ids[i] for i in kept),
            (end - start)[kept],
            columns,
            {name: value[kept] for name, value in self.attributes.items()},
            dates,
        )

    def trajectories(self, schema: Schema) -> Trajectories:
        """The typed arrays, with what is scored."""
        states, seen = {}, {}
        for name, state in schema.states.items():
            states[name], seen[name] = self._array(state, name in schema.aggregates)
        inputs = {name: self._input(given) for name, given in schema.inputs.items()}
        if self.dates is not None:
            inputs |= calendar_values(self.dates)
        attributes = {
            name: self.attributes[name].astype(attribute.dtype)
            for name, attribute in schema.attributes.items()
        }
        given = {
            name: self.columns[name]
            for name in (output.label for output in schema.outputs)
            if name in self.columns
        }
        outputs, outputs_seen = observed_outputs(schema, states, seen, inputs, attributes, given)
        exists = self.exists[:, :, None]
        return Trajectories(
            ids=self.ids,
            length=self.length.astype(np.int32),
            states=states,
            seen=seen,
            inputs=inputs,
            attributes=attributes,
            outputs=np.where(exists, outputs, np.float32(0)),
            outputs_seen=outputs_seen & exists,
            dates=self.dates,
        )

    def _array(self, state: Variable, hidden: bool) -> Pair:
        """A state and its mask; nothing is seen where the column holds sums over time."""
        values = np.zeros((*self.grid, *state.shape), state.dtype)
        mask = np.zeros(values.shape, bool)
        for index in entries(state.shape):
            name = label(state.name, index)
            if name in self.columns and not hidden:
                values[:, :, *index], mask[:, :, *index] = self.columns[name]
        return values, mask

    def _input(self, given: Input) -> np.ndarray:
        values = np.zeros((*self.grid, *given.shape), given.dtype)
        values[...] = 0 if given.default is None else np.asarray(given.default)
        for index in entries(given.shape):
            name = label(given.name, index)
            if name in self.columns:
                column, mask = self.columns[name]
                values[:, :, *index] = np.where(mask, column, values[:, :, *index])
        return values
