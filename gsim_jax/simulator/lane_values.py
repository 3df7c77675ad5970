"""Values that lanes start from and run under: one for all, one each, or rows of a shared table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.simulator.contract import Simulator
from gsim_jax.task import InputError, Problem, Schema


@dataclass(frozen=True, eq=False)
class PerLane:
    """Values of lanes that share the rows of a table: lane k has `table[index[k]]`.

    A sweep of scenarios over draws has few different inputs and many lanes; a table of the former
    takes no memory per lane.

    Attributes:
        table: [entries, *shape].
        index: int32[lanes].
    """

    table: Any
    index: Any


@dataclass(frozen=True)
class Layout:
    """Static part: how each value is read, by path such as `("inputs", "order")`.

    Attributes:
        kinds: path -> `"shared"`, `"lane"`, or, for rows of a table, the name of the index.
        rowwise: paths whose values have an axis of rows behind that of lanes.
    """

    kinds: tuple[tuple[tuple[str, ...], str], ...]
    rowwise: frozenset[tuple[str, ...]]


@dataclass
class Values:
    """The arrays of a rollout, flat, apart by how they are cut into chunks.

    Attributes:
        shared: `{path: array}`, one for all lanes, tables included.
        lane: `{path: [lanes, ...]}`, cut with the lanes; indices into tables included, one where
            tables were given the same.
        layout: how they are read.
    """

    shared: dict[str, Any] = field(default_factory=dict)
    lane: dict[str, Any] = field(default_factory=dict)
    layout: Layout = Layout((), frozenset())


class Reader:
    """Reads one lane's values, under `vmap` over `lane`."""

    def __init__(
        self, layout: Layout, shared: Mapping[str, jax.Array], lane: Mapping[str, jax.Array]
    ) -> None:
        """`shared` and `lane` as in `Values`, those of one lane."""
        self._layout, self._shared, self._lane = layout, shared, lane

    def group(self, root: str) -> dict[str, Any]:
        """All values below a root that do not change by row, nested."""
        found: dict[str, Any] = {}
        for path, kind in self._layout.kinds:
            if path[0] == root and path not in self._layout.rowwise:
                inner = found
                for part in path[1:-1]:
                    inner = inner.setdefault(part, {})
                inner[path[-1]] = self._read(path, kind, None)
        return found

    def at(self, t: jax.Array, root: str = "inputs") -> dict[str, jax.Array]:
        """The values below a root that change by row, those of row t."""
        return {
            path[-1]: self._read(path, kind, t)
            for path, kind in self._layout.kinds
            if path[0] == root and path in self._layout.rowwise
        }

    def _read(self, path: tuple[str, ...], kind: str, t: jax.Array | None) -> jax.Array:
        name = "/".join(path)
        if kind == "lane":
            return self._lane[name] if t is None else self._lane[name][t]
        if kind == "shared":
            return self._shared[name] if t is None else self._shared[name][t]
        index = self._lane[kind]
        return self._shared[name][index] if t is None else self._shared[name][index, t]


def gather(
    simulator: Simulator,
    schema: Schema,
    start: Mapping[str, Any],
    params: Mapping[str, Mapping[str, Any]],
    inputs: Mapping[str, Any],
    lanes: int,
    steps: int,
) -> Values:
    """Checks everything that a rollout is given, and sorts it by how it is read.

    Args:
        simulator: what will run.
        schema: the task's schema.
        start: states at row 0; every state of the schema, and latent ones (all or none).
        params: `{group: {name: value}}`.
        inputs: inputs and calendar with an axis of `steps + 1` rows, attributes without.
        lanes: number of lanes.
        steps: number of steps.

    Returns:
        Arrays and their layout; inputs that are not given have their defaults, constants are added.

    Raises:
        InputError: with everything that is missing, unknown or of a wrong shape.
    """
    found = _Gatherer(lanes, steps)
    required = list(schema.states)
    if set(start) & set(simulator.latent):
        required = list(simulator.states)
    found.names("start", start, required, list(simulator.states))
    for name, spec in simulator.states.items():
        if name in start:
            found.add(("start", name), start[name], tuple(spec.shape), spec.dtype)
    _parameters(found, simulator, params)
    _inputs(found, schema, inputs)
    if found.problems:
        raise InputError(tuple(found.problems))
    found.values.layout = Layout(tuple(found.kinds), frozenset(found.rowwise))
    return found.values


def _parameters(
    found: _Gatherer, simulator: Simulator, params: Mapping[str, Mapping[str, Any]]
) -> None:
    entries = simulator.parameters.entries
    given = {f"{g}.{n}": value for g, members in params.items() for n, value in members.items()}
    keys = [entry.key for entry in entries]
    found.names("params", given, keys, keys)
    for entry in entries:
        if entry.key in given:
            path = ("params", entry.group, entry.name)
            found.add(path, given[entry.key], tuple(entry.shape), entry.dtype)


def _inputs(found: _Gatherer, schema: Schema, inputs: Mapping[str, Any]) -> None:
    calendar = schema.calendar_inputs
    known = [*schema.inputs, *calendar, *schema.attributes]
    needed = [
        name for name in known if name not in schema.inputs or schema.inputs[name].default is None
    ]
    found.names("inputs", inputs, needed, known)
    for name, entry in schema.inputs.items():
        dtype = "float32" if entry.kind == "real" else "int32"
        if name in inputs:
            found.add(("inputs", name), inputs[name], tuple(entry.shape), dtype, rows=True)
        elif entry.default is not None:
            default = np.broadcast_to(entry.default, entry.shape)
            found.add(("inputs", name), default, tuple(entry.shape), dtype)
    for name in calendar:
        if name in inputs:
            found.add(("inputs", name), inputs[name], (), "int32", rows=True)
    for name, attribute in schema.attributes.items():
        if name in inputs:
            dtype = "float32" if attribute.kind == "real" else "int32"
            found.add(("inputs", name), inputs[name], (), dtype)
    for name, constant in schema.constants.items():
        value = np.asarray(constant.value)
        found.add(("inputs", name), value, value.shape, str(value.dtype))


class _Index(NamedTuple):
    given: Any
    name: str
    array: Any
    fits: bool
    lowest: int
    highest: int


class _Gatherer:
    def __init__(self, lanes: int, steps: int) -> None:
        self.lanes, self.steps = lanes, steps
        self.values = Values()
        self.kinds: list[tuple[tuple[str, ...], str]] = []
        self.rowwise: set[tuple[str, ...]] = set()
        self.indices: list[_Index] = []
        self.problems: list[Problem] = []

    def names(
        self, root: str, given: Mapping[str, Any], needed: list[str], known: list[str]
    ) -> None:
        missing = [name for name in needed if name not in given]
        unknown = sorted(set(given) - set(known))
        if missing or unknown:
            parts = [f"missing {', '.join(missing)}"] if missing else []
            parts += [f"unknown {', '.join(unknown)}"] if unknown else []
            expected = ", ".join(known) or "nothing"
            text = f"{root}: expected {expected}; {' and '.join(parts)}"
            self.problems.append(Problem("names", text))

    def add(
        self,
        path: tuple[str, ...],
        value: Any,
        shape: tuple[int, ...],
        dtype: str,
        *,
        rows: bool = False,
    ) -> None:
        own = (self.steps + 1, *shape) if rows else shape
        name = "/".join(path)
        if isinstance(value, PerLane):
            index = self._index(value.index)
            table, kind = _array(value.table, dtype), index.name
            fits = table.shape[1:] == own and index.fits and len(table)
        else:
            table = _array(value, dtype)
            kind = "shared" if table.shape == own else "lane"
            fits = table.shape in (own, (self.lanes, *own))
        if not fits:
            self._misfit(path, value, own, rows)
            return
        (self.values.lane if kind == "lane" else self.values.shared)[name] = table
        if isinstance(value, PerLane):
            if not 0 <= index.lowest <= index.highest < len(table):
                text = (
                    f"{'.'.join(path)}: expected indices from 0 to {len(table) - 1}; got "
                    f"{index.lowest} to {index.highest}"
                )
                self.problems.append(Problem("index", text))
            self.values.lane[kind] = index.array
        self.kinds.append((path, kind))
        if rows:
            self.rowwise.add(path)

    def _index(self, given: Any) -> _Index:
        """The index, one for all tables to which the same array was given."""
        for known in self.indices:
            if known.given is given:
                return known
        array = _array(given, "int32")
        fits = array.shape == (self.lanes,)
        lowest, highest = (int(array.min()), int(array.max())) if fits else (0, 0)
        found = _Index(given, f"index/{len(self.indices)}", array, fits, lowest, highest)
        self.indices.append(found)
        return found

    def _misfit(self, path: tuple[str, ...], value: Any, own: tuple[int, ...], rows: bool) -> None:
        if isinstance(value, PerLane):
            got = (
                f"a table {list(np.shape(value.table))} and an index {list(np.shape(value.index))}"
            )
        else:
            got = str(list(np.shape(value)))
        note = f" ({self.steps} steps have {self.steps + 1} rows)" if rows else ""
        text = (
            f"{'.'.join(path)}: expected shape {list(own)} for all lanes, {[self.lanes, *own]} for "
            f"each, or PerLane of a table {['entries', *own]}{note}; got {got}"
        )
        self.problems.append(Problem("shape", text))


def _array(value: Any, dtype: str) -> Any:
    """An array of a dtype, on the host or where it was."""
    if isinstance(value, jax.Array):
        return value if value.dtype == dtype else jnp.asarray(value).astype(dtype)
    return np.asarray(value).astype(dtype, copy=False)
