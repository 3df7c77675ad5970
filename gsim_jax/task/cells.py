"""Text of a table's cells to numbers, refusing whatever is not plainly one."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from gsim_jax.task.problems import Problem

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?")
_COMMA = re.compile(r"[+-]?\d+,\d+")
_MISSING = {"na", "n/a", "#n/a", "nan", "null", "none", "nil", "-", ".", "?", "missing"}
_INFINITE = {"inf", "+inf", "-inf", "infinity", "+infinity", "-infinity", "#div/0!", "-nan"}
_INT_MIN, _INT_MAX = -(2**31) + 1, 2**31 - 1  # -2**31 marks an invalid draw
_REAL_MAX = float(np.finfo(np.float32).max)
PER_GROUP = 20


def cell_error(
    text: str, kind: str, low: float | None, high: float | None
) -> tuple[str, str] | None:
    """What is wrong with a cell that is not empty.

    Args:
        text: the cell without surrounding blanks.
        kind: count, real, flag or category.
        low: smallest value allowed.
        high: largest value allowed.

    Returns:
        ``(code, message)``, or None where nothing is wrong.
    """
    if not _NUMBER.fullmatch(text):
        return _not_a_number(text)
    value = float(text)
    if kind == "flag" and value not in (0.0, 1.0):
        return "flag-range", f"expected 0 or 1 for a flag, got {text}"
    if kind != "real":
        if value != np.floor(value):
            return "not-whole", f"expected a whole number for a {kind}, got {text}"
        if not _INT_MIN <= value <= _INT_MAX:
            return "too-large", f"{text} does not fit in 32 bits"
    elif abs(value) > _REAL_MAX:
        return "too-large", f"{text} does not fit in a 32-bit real"
    below, above = low is not None and value < low, high is not None and value > high
    if kind == "category" and (below or above):
        bounds = f"from {low:.9g}" + (f" to {high:.9g}" if high is not None else "")
        return "category-range", f"expected a category code {bounds}, got {text}"
    if below:
        return "below-min", f"expected at least {low:.9g}, got {text}"
    if above:
        return "above-max", f"expected at most {high:.9g}, got {text}"
    return None


def cell_value(text: str) -> float:
    """The number in a cell that `cell_error` finds nothing wrong with."""
    return float(text)


def _not_a_number(text: str) -> tuple[str, str]:
    folded = text.casefold()
    if folded in _MISSING:
        return "not-finite", f"got {text!r}: leave the cell empty where nothing was observed"
    if folded in _INFINITE:
        return "not-finite", f"expected a finite number, got {text!r}"
    if _COMMA.fullmatch(text):
        return "text-in-number", f"got {text!r}: write a decimal point, not a comma"
    return "text-in-number", f"expected a number, got {text!r}"


def read_column(
    cells: np.ndarray,
    kind: str,
    low: float | None,
    high: float | None,
    *,
    file: str,
    column: str,
    lines: np.ndarray,
    problems: list[Problem],
) -> tuple[np.ndarray, np.ndarray]:
    """Reads one column of a table.

    Args:
        cells: text of the cells, without surrounding blanks; empty means not observed.
        kind: count, real, flag or category.
        low: smallest value allowed.
        high: largest value allowed.
        file: name of the file for messages.
        column: name of the column for messages.
        lines: 1-based line of each cell.
        problems: where problems go.

    Returns:
        float64 values (0 where not observed or wrong) and the mask of the observed ones.
    """
    # each distinct text is read once: tables repeat themselves
    codes, texts = pd.factorize(cells)
    values = np.zeros(len(texts))
    errors: dict[int, tuple[str, str]] = {}
    for i, text in enumerate(texts):
        error = cell_error(text, kind, low, high) if text else None
        if error is not None:
            errors[i] = error
        elif text:
            values[i] = cell_value(text)
    for row in np.flatnonzero(np.isin(codes, list(errors))) if errors else ():
        code, message = errors[codes[row]]
        problems.append(Problem(code, message, file, int(lines[row]), column))
    if kind == "real":  # rounded here, so that 0.1 from a CSV and from Parquet are one value
        values = values.astype(np.float32).astype(np.float64)
    given = np.asarray([bool(text) for text in texts], bool)
    return values[codes], given[codes] if len(texts) else np.zeros(len(cells), bool)


def grouped(problems: list[Problem]) -> list[Problem]:
    """Sums up long runs of one mistake: after some of a kind in a column, only their number."""
    counts: dict[tuple[str, str | None, str | None], int] = {}
    shown: list[Problem] = []
    last: dict[tuple[str, str | None, str | None], Problem] = {}
    for problem in problems:
        group = (problem.code, problem.file, problem.column)
        counts[group] = counts.get(group, 0) + 1
        if counts[group] <= PER_GROUP:
            shown.append(problem)
        last[group] = problem
    for group, count in counts.items():
        if count > PER_GROUP:
            words = f"and {count - PER_GROUP} more of these, down to row {last[group].row}"
            shown.append(Problem(group[0], words, group[1], None, group[2]))
    return shown
