"""Columns of a table given their meaning by the schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gsim_jax.task.cells import read_column
from gsim_jax.task.clock import read_dates, read_t
from gsim_jax.task.problems import Problem, near
from gsim_jax.task.raw_table import RawTable
from gsim_jax.task.schema import Schema, entries, label


class Spec(NamedTuple):
    """What the cells of a column may hold."""

    kind: str
    low: float | None
    high: float | None
    role: str


@dataclass(frozen=True, eq=False)
class Table:
    """A table with its columns read.

    Attributes:
        file: name in messages.
        lines: int64[rows], 1-based line of each row.
        ids: object[rows], the trajectories; "" where it was reported as missing.
        t: int64[rows], -1 where it was reported; None where the table has dates.
        dates: datetime64[s][rows], NaT where it was reported; None where the table has t.
        columns: label -> (float64[rows], bool[rows] observed).
    """

    file: str
    lines: np.ndarray
    ids: np.ndarray
    t: np.ndarray | None
    dates: np.ndarray | None
    columns: dict[str, tuple[np.ndarray, np.ndarray]]


def column_specs(schema: Schema) -> dict[str, Spec]:
    """Every column that a table may have beside ``trajectory`` and ``t`` or ``date``."""
    found: dict[str, Spec] = {}
    for name, state in schema.states.items():
        steps = schema.aggregates.get(name, 1)  # a sum over steps has bounds as many times as wide
        low = None if state.min is None else steps * state.min
        high = None if state.max is None else steps * state.max
        for index in entries(state.shape):
            found[label(name, index)] = Spec(state.kind, low, high, "state")
    for name, given in schema.inputs.items():
        low = None if given.kind == "real" else 0
        for index in entries(given.shape):
            found[label(name, index)] = Spec(given.kind, low, None, "input")
    for name, attribute in schema.attributes.items():
        low = None if attribute.kind == "real" else 0
        found[name] = Spec(attribute.kind, low, None, "attribute")
    found |= dict.fromkeys(schema.derived, Spec("real", None, None, "derived"))
    return found


def parse_table(raw: RawTable, schema: Schema, problems: list[Problem]) -> Table | None:
    """Reads the cells of a table.

    Returns:
        The table; None where it lacks the columns that say what a row is.
    """
    specs = column_specs(schema)
    clock = "date" if schema.calendar else "t"
    keys = ("trajectory", clock)
    missing = [key for key in keys if key not in raw.columns]
    for name in raw.columns:
        if name in ("t", "date") and name != clock:
            words = "every table has to tell time in the same way: give either t or date"
            problems.append(Problem("mixed-clock", words, raw.file, 1, name))
        elif name not in specs and name not in keys:
            words = f"unknown column: {near(name, [*specs, *keys])}"
            problems.append(Problem("unknown-column", words, raw.file, 1, name))
    for key in missing:
        what = {
            "trajectory": "the name of the trajectory, the same in all its rows",
            "t": "whole steps from 0 (or a column date)",
            "date": "dates such as 2024-03-31",
        }[key]
        exist = f"the columns are {', '.join(raw.columns)}"
        words = f"the column is missing: expected {what}; {exist}"
        problems.append(Problem("missing-column", words, raw.file, 1, key))
    columns = {
        name: read_column(
            raw.column(name),
            *specs[name][:3],
            file=raw.file,
            column=name,
            lines=raw.lines,
            problems=problems,
        )
        for name in raw.columns
        if name in specs
    }
    if missing:
        return None
    ids = raw.column("trajectory")
    for row in np.flatnonzero(ids == ""):
        words = "expected the name of the trajectory, got an empty cell"
        problems.append(Problem("missing-id", words, raw.file, int(raw.lines[row]), "trajectory"))
    cells = raw.column(clock)
    t = None if schema.calendar else read_t(cells, raw.file, raw.lines, problems)
    dates = read_dates(cells, raw.file, raw.lines, problems) if schema.calendar else None
    return Table(raw.file, raw.lines, ids, t, dates, columns)


def check_columns(
    tables: Sequence[Table], schema: Schema, split: str, problems: list[Problem]
) -> None:
    """Reports columns that no table of a split has.

    Training data have to show every state that is not ``observed = false``; other splits may show
    fewer variables, but not half an array, and at least one.
    """
    present = {name for table in tables for name in table.columns}
    specs = column_specs(schema)
    files = ", ".join(table.file for table in tables)
    exist = f"the columns are {', '.join(sorted(present)) or 'none'}"
    for name, spec in specs.items():
        base = name.partition("[")[0]
        if name in present or spec.role == "derived":
            continue
        if spec.role == "state":
            half = any(other.partition("[")[0] == base for other in present)
            wanted = (split == "train" and schema.states[base].observed) or half
            remedy = "add it, with empty cells where it was not observed"
            if split == "train" and not half:
                remedy += f", or say observed = false in [state.{base}]"
        elif spec.role == "input":
            half = any(other.partition("[")[0] == base for other in present)
            wanted = schema.inputs[base].default is None or half
            remedy = f"add it, or a default in [input.{base}]"
        else:
            wanted, remedy = True, "add it, with the same value in all rows of a trajectory"
        if wanted:
            words = f"no table of {split} has this column: {remedy}; {exist}"
            problems.append(Problem("missing-column", words, files, None, name))
    shown = [n for n in present if specs[n].role in ("state", "derived")]
    if split != "train" and not shown:
        words = f"no table of {split} shows any state or derived value; {exist}"
        problems.append(Problem("missing-column", words, files))
