"""Constants of a task: numbers and arrays, inline or from a file."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from gsim_jax.task.cells import cell_error, cell_value
from gsim_jax.task.problems import Problem, near
from gsim_jax.task.schema import KINDS, Constant, dtype_of
from gsim_jax.task.section import Section, shown


def read_constant(name: str, section: Section, folder: Path) -> Constant | None:
    """Reads ``[constant.name]``: ``value`` or ``file``, ``shape``, ``kind``, ``doc``, ``unit``.

    Without a ``kind``, whole numbers become int32 and others float32.

    Returns:
        The constant, or None where its value cannot be used (the problems are reported).
    """
    shape = section.shape() if section.has("shape") else None
    kind = section.one_of("kind", KINDS, "real") if section.has("kind") else None
    doc, unit = section.text("doc"), section.text("unit")
    value = _value(section, folder, shape)
    section.close()
    if value is None:
        return None
    if shape is not None and value.shape != shape:
        got = list(value.shape)
        section.wrong("shape", f"expected an array of shape {list(shape)}, got {got}", "shape")
        return None
    value = _typed(value, kind, section)
    return None if value is None else Constant(name, value, doc, unit)


def _value(section: Section, folder: Path, shape: tuple[int, ...] | None) -> np.ndarray | None:
    inline, file = section.has("value"), section.has("file")
    if inline == file:
        section.report.add(
            "missing-key", section.path, "expected either a value or a file" + " (not both)" * file
        )
        return None
    if inline:
        return _inline(section)
    path = section.text("file", required=True)
    return _from_file(folder, path, section, shape) if path.strip() else None


def _inline(section: Section) -> np.ndarray | None:
    raw = section.raw("value")
    try:
        array = np.asarray(raw)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "if" or _holds_bool(raw):
        expected = "expected a number or a rectangular list of numbers"
        section.wrong("value", f"{expected}, got {shown(raw)}", "wrong-type")
        return None
    return array


def _holds_bool(value: Any) -> bool:
    return any(_holds_bool(v) for v in value) if isinstance(value, list) else value is True


def _from_file(
    folder: Path, file: str, section: Section, shape: tuple[int, ...] | None
) -> np.ndarray | None:
    path, problems = folder / file, section.report.problems
    if not path.is_file():
        others = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        section.wrong(
            "file", f"there is no file {file!r}: {near(path.name, others)}", "missing-file"
        )
        return None
    if path.suffix == ".npy":
        try:
            array = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            problems.append(Problem("unreadable", f"not a NumPy array: {error}", file))
            return None
        if array.dtype.kind not in "iuf":
            problems.append(Problem("wrong-type", f"expected numbers, got {array.dtype}", file))
            return None
    elif path.suffix == ".csv":
        array = _read_matrix(path, file, problems)
        if array is None:
            return None
    else:
        section.wrong("file", f"expected a .csv or .npy file, got {file!r}")
        return None
    if shape is not None and path.suffix == ".csv" and len(shape) == 1 and 1 in array.shape:
        return array.reshape(-1)  # a vector written as one row or one column
    return array


def _read_matrix(path: Path, file: str, problems: list[Problem]) -> np.ndarray | None:
    """A CSV of plain numbers without a header; None where something is wrong."""
    before = len(problems)
    rows: list[list[float]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for number, row in enumerate(csv.reader(stream), start=1):
                if row:
                    rows.append(_matrix_row(row, file, number, problems))
                if len(rows) > 1 and len(row) not in (0, len(rows[0])):
                    words = f"expected {len(rows[0])} numbers, got {len(row)}"
                    problems.append(Problem("ragged-row", words, file, number))
    except UnicodeDecodeError as error:
        problems.append(Problem("encoding", f"not UTF-8 at byte {error.start}", file))
    except csv.Error as error:
        problems.append(Problem("unreadable", f"not a CSV file: {error}", file))
    if not rows and len(problems) == before:
        problems.append(Problem("empty-file", "the file holds no numbers", file))
    if len(problems) > before:
        return None
    array = np.asarray(rows)
    return array.astype(np.int64) if np.all(array == np.floor(array)) else array


def _matrix_row(cells: list[str], file: str, row: int, problems: list[Problem]) -> list[float]:
    values = []
    for column, cell in enumerate(cells, start=1):
        error = cell_error(cell.strip(), "real", None, None)
        if error is not None:
            words = f"{error[1]} (the file of a constant has no header)"
            problems.append(Problem(error[0], words, file, row, str(column)))
        values.append(0.0 if error is not None else cell_value(cell))
    return values


def _typed(array: np.ndarray, kind: str | None, section: Section) -> np.ndarray | None:
    """int32 or float32, or None with a report where the numbers do not fit."""
    where = "file" if section.has("file") else "value"
    if not np.all(np.isfinite(array)):
        section.wrong(where, "expected finite numbers, got nan or inf", "not-finite")
        return None
    whole = array.dtype.kind in "iu" if kind is None else dtype_of(kind) == "int32"
    if whole and not np.all(array == np.floor(array)):
        section.wrong(where, f"expected whole numbers for kind {kind!r}", "not-whole")
        return None
    limit = np.iinfo(np.int32).max if whole else np.finfo(np.float32).max
    if array.size and np.abs(array.astype(np.float64)).max() > limit:
        section.wrong(where, "a number does not fit in 32 bits: write it as a real", "too-large")
        return None
    return array.astype(np.int32 if whole else np.float32)
