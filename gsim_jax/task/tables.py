"""Tidy tables, CSV and Parquet, in and out."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gsim_jax.task.cells import grouped
from gsim_jax.task.clock import STEPS, date_text
from gsim_jax.task.dense import Dense
from gsim_jax.task.dense_checks import check_dense
from gsim_jax.task.environment import with_derived
from gsim_jax.task.merge import Merger
from gsim_jax.task.parsed import check_columns, parse_table
from gsim_jax.task.problems import Problem, TaskError
from gsim_jax.task.raw_table import RawTable, read_raw
from gsim_jax.task.schema import Schema, entries, label
from gsim_jax.task.trajectories import Trajectories

_WHOLE: dict[str, tuple[int, int | None]] = {"all": (0, None)}


def read_tables(paths: Sequence[str | Path], schema: Schema, split: str = "train") -> Trajectories:
    """Reads tables that describe one set of trajectories.

    Args:
        paths: .csv or .parquet files; rows of the same (trajectory, t) are put together.
        schema: what the columns mean; with a calendar the tables have a column ``date``.
        split: ``train`` asks for a column of every state, other splits for at least one.

    Raises:
        TaskError: with everything that is wrong with the tables.
    """
    problems: list[Problem] = []
    raws = [read_raw(Path(path), str(path), problems) for path in paths]
    dense = dense_of([r for r in raws if r], schema, split, _WHOLE, problems, len(raws))
    if problems or dense is None:
        raise TaskError(grouped(problems))
    return dense.trajectories(schema)


def dense_of(
    raws: Sequence[RawTable],
    schema: Schema,
    split: str,
    spans: dict[str, tuple[int, int | None]],
    problems: list[Problem],
    expected: int,
) -> Dense | None:
    """Puts the tables of one split together.

    Args:
        raws: the tables that could be read.
        schema: what the columns mean.
        split: name of the split in messages.
        spans: split -> rows, where the tables will be divided by time.
        problems: where problems go.
        expected: number of tables that there should be; with fewer, columns are not missed.

    Returns:
        The rows, or None where there are none or a problem was found.
    """
    before = len(problems)
    parsed = [parse_table(raw, schema, problems) for raw in raws]
    tables = [table for table in parsed if table is not None]
    if not tables:
        return None
    if len(tables) == expected:
        check_columns(tables, schema, split, problems)
    if schema.calendar and schema.step not in STEPS:
        words = f"a column date needs step to be one of {', '.join(STEPS)}, got {schema.step!r}"
        problems.append(Problem("bad-step", words, tables[0].file, 1, "date"))
    merger = Merger(tables, schema, problems)
    dense = merger.merge()
    if dense is None:
        return None
    check_dense(dense, merger, spans)
    return None if len(problems) > before else dense


def write_table(path: str | Path, schema: Schema, trajectories: Trajectories) -> None:
    """Writes trajectories as one tidy table, which `read_tables` reads back unchanged.

    Unseen entries become empty cells. Derived values are written where the states do not give
    them. The file appears whole or not at all.

    Args:
        path: a .csv or .parquet file, replaced if it exists.
        schema: the trajectories' schema.
        trajectories: what to write.

    Raises:
        ValueError: neither suffix, or a calendar without dates.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".parquet"):
        raise ValueError(f"expected a .csv or .parquet file, got {path.name!r}")
    columns = _columns(schema, trajectories)
    partial = path.with_name(f".{path.name}.partial")
    if path.suffix == ".csv":
        with partial.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            cells = [_cells(values, mask) for values, mask in columns.values()]
            writer.writerows(zip(*cells, strict=True))
    else:
        frame = pd.DataFrame({name: _series(*pair) for name, pair in columns.items()})
        frame.to_parquet(partial, index=False)
    os.replace(partial, path)


def _columns(schema: Schema, data: Trajectories) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Column -> values and mask of the rows that exist, trajectory by trajectory."""
    exists = data.exists
    who, t = np.nonzero(exists)
    full = np.ones(len(who), bool)
    columns: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "trajectory": (np.asarray(data.ids, object)[who], full)
    }
    if not schema.calendar:
        columns["t"] = t.astype(np.int32), full
    elif data.dates is None:
        raise ValueError("expected trajectories with dates: the schema has a calendar")
    else:
        columns["date"] = np.asarray(date_text(data.dates[exists]), object), full
    place = {output.label: v for v, output in enumerate(schema.outputs)}
    for name, state in schema.states.items():
        for index in entries(state.shape):
            column = label(name, index)
            if name in schema.aggregates:
                v = place[column]
                pair = data.outputs[..., v].astype(state.dtype), data.outputs_seen[..., v]
            else:
                pair = data.states[name][:, :, *index], data.seen[name][:, :, *index]
            if state.observed or pair[1].any():
                columns[column] = pair[0][exists], pair[1][exists]
    for name in schema.derived:
        seen = data.outputs_seen[..., place[name]]
        if (seen & ~_computable(schema, data, name)).any():
            columns[name] = data.outputs[..., place[name]][exists], seen[exists]
    for name, given in schema.inputs.items():
        for index in entries(given.shape):
            columns[label(name, index)] = data.inputs[name][:, :, *index][exists], full
    for name in schema.attributes:
        columns[name] = data.attributes[name][who], full
    return columns


def _computable(schema: Schema, data: Trajectories, name: str) -> np.ndarray:
    """bool[n, rows]: where the states alone give a derived value of one step."""
    shape = data.outputs_seen.shape[:2]
    if name in schema.aggregates:
        return np.zeros(shape, bool)
    clock = {"t": np.arange(data.rows, dtype=np.int32)}
    attributes = {key: value[:, None] for key, value in data.attributes.items()}
    env: dict[str, Any] = {**data.states, **data.inputs, **attributes, **clock}
    _, known = with_derived(schema, env, data.seen, [name], np)
    return np.broadcast_to(known[name], shape)


def _cells(values: np.ndarray, mask: np.ndarray) -> list[str]:
    """Text that reads back as the same int32 or float32; empty where masked."""
    # str of a float32 is the shortest text that reads back as the same float32
    texts = values.astype(str).tolist()
    return [text if given else "" for text, given in zip(texts, mask.tolist(), strict=True)]


def _series(values: np.ndarray, mask: np.ndarray) -> pd.Series:
    if values.dtype == object:
        return pd.Series(values, dtype="string")
    kind = "Int32" if values.dtype.kind == "i" else "Float32"
    return pd.Series(values, dtype=kind).mask(~mask)
