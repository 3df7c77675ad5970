"""A CSV or Parquet file as text cells with the line each came from; nothing is interpreted yet."""

from __future__ import annotations

import csv
import datetime
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from gsim_jax.task.problems import Problem, near


@dataclass(frozen=True, eq=False)
class RawTable:
    """A table of text.

    Attributes:
        file: the file's name in messages.
        cells: the columns; blanks around a cell are gone, an empty cell is "".
        lines: 1-based line of each row in the file (record number + 1 in Parquet).
    """

    file: str
    cells: pd.DataFrame
    lines: np.ndarray

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the file's order."""
        return [str(name) for name in self.cells.columns]

    def column(self, name: str) -> np.ndarray:
        """Text of one column's cells."""
        return self.cells[name].to_numpy(dtype=object)


def read_raw(path: Path, file: str, problems: list[Problem]) -> RawTable | None:
    """Reads a table as text.

    Args:
        path: a .csv or .parquet file.
        file: its name in messages.
        problems: where problems go.

    Returns:
        The table, or None where it cannot be read or its header cannot be trusted.
    """
    if not path.is_file():
        others = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        problems.append(Problem("missing-file", f"no such file: {near(path.name, others)}", file))
        return None
    if path.suffix.lower() == ".parquet":
        read = _read_parquet(path, file, problems)
    elif path.suffix.lower() == ".csv":
        read = _read_csv(path, file, problems)
    else:
        words = f"expected a .csv or .parquet file, got {path.suffix or 'no suffix'!r}"
        problems.append(Problem("unreadable", words, file))
        return None
    if read is None:
        return None
    header, rows, lines = read
    if not _header_is_sound(header, file, problems):
        return None
    if not rows:
        problems.append(Problem("header-only", "the table has a header and no rows", file, 1))
        return None
    cells = pd.DataFrame(rows, columns=pd.Index(header, dtype=object), dtype=object)
    return RawTable(file, cells, np.asarray(lines, np.int64))


def _header_is_sound(header: list[str], file: str, problems: list[Problem]) -> bool:
    before = len(problems)
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        mark = "semicolons" if ";" in header[0] else "tabs"
        words = f"the columns are separated by {mark}: save the table with commas"
        problems.append(Problem("unreadable", words, file, 1))
        return False
    for position, name in enumerate(header, start=1):
        if not name:
            words = f"column {position} has no name"
            problems.append(Problem("unnamed-column", words, file, 1, str(position)))
    for name in dict.fromkeys(n for n in header if n and header.count(n) > 1):
        places = [i for i, other in enumerate(header, start=1) if other == name]
        words = f"the column appears {len(places)} times, at positions {places}"
        problems.append(Problem("duplicate-column", words, file, 1, name))
    return len(problems) == before


def _read_csv(
    path: Path, file: str, problems: list[Problem]
) -> tuple[list[str], list[list[str]], list[int]] | None:
    # The csv module and not pandas.read_csv, which fills short rows silently and loses line numbers
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        words = f"not UTF-8 (byte {data[error.start]:#04x}): save the table as UTF-8"
        problems.append(Problem("encoding", words, file, line))
        return None
    if not text.strip():
        problems.append(Problem("empty-file", "the file is empty: expected a header", file))
        return None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    start = 1
    try:
        for fields in reader:
            line, start = start, reader.line_num + 1
            if not fields:
                continue
            stripped = [field.strip() for field in fields]
            if not header:
                header = stripped
            elif len(stripped) != len(header):
                words = f"expected {len(header)} cells, got {len(stripped)}"
                problems.append(Problem("ragged-row", words, file, line))
                # kept in some form, so that its absence is not reported as a gap
                stripped = (stripped + [""] * len(header))[: len(header)]
            if header is not stripped:
                rows.append(stripped)
                lines.append(line)
    except csv.Error as error:
        problems.append(Problem("unreadable", f"not a CSV table: {error}", file, start))
        return None
    return header, rows, lines


def _read_parquet(
    path: Path, file: str, problems: list[Problem]
) -> tuple[list[str], list[list[str]], list[int]] | None:
    if path.stat().st_size == 0:
        problems.append(Problem("empty-file", "the file is empty", file))
        return None
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        problems.append(Problem("unreadable", f"not a Parquet file: {error}", file))
        return None
    header = [str(name) for name in table.column_names]
    columns = [[_text(value) for value in column.to_pylist()] for column in table.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return header, rows, list(range(2, len(rows) + 2))


def _text(value: Any) -> str:
    """A Parquet cell as it would stand in a CSV file; null is an empty cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return str(value).strip()
