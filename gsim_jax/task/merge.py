"""Several partial tables put together on (trajectory, t)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gsim_jax.task.clock import STEPS, steps_between
from gsim_jax.task.dense import Dense, Pair
from gsim_jax.task.parsed import Table
from gsim_jax.task.problems import Problem
from gsim_jax.task.schema import Schema


class Merger:
    """Puts tables together; reports what does not fit.

    Args:
        tables: the tables of one split.
        schema: their meaning.
        problems: where problems go.
    """

    def __init__(self, tables: Sequence[Table], schema: Schema, problems: list[Problem]) -> None:
        self.tables, self.schema, self.problems = tables, schema, problems
        sizes = [len(table.lines) for table in tables]
        self.table = np.repeat(np.arange(len(tables)), sizes)
        self.line = np.concatenate([table.lines for table in tables])
        self.who, names = pd.factorize(np.concatenate([table.ids for table in tables]))
        self.ids = [str(name) for name in names]
        self.dates: np.ndarray | None = None
        self.t = self._times()
        self.valid = (self.t >= 0) & (np.concatenate([t.ids for t in tables]) != "")

    def merge(self) -> Dense | None:
        """Checks the rows against one another and lays them out; None where that is not possible.

        What a column says twice is checked even where rows are missing or repeated.
        """
        before = len(self.problems)
        sound = bool(self.valid.all())
        self._check_duplicates()
        self._check_gaps()
        labels = dict.fromkeys(name for table in self.tables for name in table.columns)
        joined = {name: self._column(name) for name in labels}
        for name, (values, mask) in joined.items():
            if name not in self.schema.attributes:
                self._check_conflicts(name, values, mask)
                self._check_aggregate(name, mask)
        attributes = {name: self._attribute(name, joined) for name in self.schema.attributes}
        if not sound or len(self.problems) > before:
            return None
        return self._dense(joined, attributes)

    def report(self, code: str, row: int, column: str | None, message: str) -> None:
        """Notes a problem at one of the joined rows."""
        file = self.tables[int(self.table[row])].file
        self.problems.append(Problem(code, message, file, int(self.line[row]), column))

    def rows_at(self, who: np.ndarray, t: np.ndarray) -> np.ndarray:
        """The first joined row of each (trajectory, t)."""
        key = self.who * (int(self.t.max()) + 1) + self.t
        order = np.argsort(key, kind="stable")
        wanted = who * (int(self.t.max()) + 1) + t
        return order[np.searchsorted(key[order], wanted)]

    def _times(self) -> np.ndarray:
        if not self.schema.calendar:
            return np.concatenate([table.t for table in self.tables if table.t is not None])
        dates = np.concatenate([table.dates for table in self.tables if table.dates is not None])
        self.dates = dates
        if self.schema.step not in STEPS:
            return np.full(len(dates), -1)  # reported by the loader, once
        start = np.full(len(self.ids), np.datetime64("9999-01-01", "s"))
        known = ~np.isnat(dates)
        np.minimum.at(start, self.who[known], dates[known])
        first = start[self.who]
        t = np.full(len(dates), -1, np.int64)
        t[known] = steps_between(first[known], dates[known], self.schema.step)
        for row in np.flatnonzero(known & (t < 0)).tolist():
            words = (
                f"{dates[row]} is not a whole number of steps (step = {self.schema.step!r}) after"
                f" {first[row]}, where trajectory {self.ids[self.who[row]]!r} starts"
            )
            self.report("uneven-dates", row, "date", words)
        return t

    def _order(self, *keys: np.ndarray) -> np.ndarray:
        """Valid rows sorted by the keys, the first key counting most."""
        rows = np.flatnonzero(self.valid)
        return rows[np.lexsort([key[rows] for key in reversed(keys)])]

    def _check_duplicates(self) -> None:
        rows = self._order(self.table, self.who, self.t, self.line)
        first, second = rows[:-1], rows[1:]
        same = (self.table[first] == self.table[second]) & (self.who[first] == self.who[second])
        same &= self.t[first] == self.t[second]
        for a, b in zip(first[same], second[same], strict=True):
            where = f"trajectory {self.ids[self.who[b]]!r}, t = {self.t[b]}"
            words = f"{where} is in row {self.line[a]} already: expected one row for each t"
            self.report("duplicate-row", b, None, words)

    def _check_gaps(self) -> None:
        rows = self._order(self.who, self.t)
        if rows.size == 0:
            return
        start = np.r_[True, self.who[rows[1:]] != self.who[rows[:-1]]]
        before = np.where(start, -1, np.r_[-1, self.t[rows[:-1]]])
        jumps = self.t[rows] > before + 1
        for row, previous in zip(rows[jumps].tolist(), before[jumps].tolist(), strict=True):
            t, name = int(self.t[row]), self.ids[self.who[row]]
            course = f"goes from t = {previous} to" if previous >= 0 else "starts at"
            missing = f"t = {previous + 1}" + (f"..{t - 1}" if t > previous + 2 else "")
            words = (
                f"trajectory {name!r} {course} t = {t}: add rows for {missing}, with empty cells"
                " where nothing was observed"
            )
            self.report("gap", row, "date" if self.schema.calendar else "t", words)

    def _column(self, name: str) -> Pair:
        """A column over all joined rows; unobserved in tables that lack it."""
        parts = []
        for table in self.tables:
            nothing = np.zeros(len(table.lines)), np.zeros(len(table.lines), bool)
            parts.append(table.columns.get(name, nothing))
        return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])

    def _check_conflicts(self, name: str, values: np.ndarray, mask: np.ndarray) -> None:
        if len(self.tables) == 1:
            return
        rows = self._order(self.who, self.t, self.table)
        rows = rows[mask[rows]]
        a, b = rows[:-1], rows[1:]
        same = (self.who[a] == self.who[b]) & (self.t[a] == self.t[b])
        differ = same & (values[a] != values[b]) & (self.table[a] != self.table[b])
        for first, second in zip(a[differ].tolist(), b[differ].tolist(), strict=True):
            other = self.tables[int(self.table[first])].file
            words = (
                f"got {values[second]:.9g} for trajectory {self.ids[self.who[second]]!r} at"
                f" t = {self.t[second]}, where {other}, row {self.line[first]}, has"
                f" {values[first]:.9g}"
            )
            self.report("conflict", second, name, words)

    def _check_aggregate(self, name: str, mask: np.ndarray) -> None:
        window = self.schema.aggregates.get(name.partition("[")[0], 1)
        for row in np.flatnonzero(mask & self.valid & (self.t < window - 1)).tolist():
            words = (
                f"a sum over {window} steps at t = {self.t[row]} reaches back before the first"
                f" row: leave the cell empty up to t = {window - 2}"
            )
            self.report("aggregate-start", row, name, words)

    def _attribute(self, name: str, joined: dict[str, Pair]) -> np.ndarray:
        result = np.zeros(len(self.ids))
        if name not in joined:
            return result  # reported by check_columns
        values, mask = joined[name]
        rows = np.flatnonzero(mask & self.valid)
        found, first = np.unique(self.who[rows], return_index=True)
        result[found] = values[rows[first]]
        first_row = np.full(len(self.ids), -1)
        first_row[found] = rows[first]
        for row in rows[values[rows] != result[self.who[rows]]].tolist():
            other = int(first_row[self.who[row]])
            words = (
                f"got {values[row]:.9g}, and {result[self.who[row]]:.9g} in row {self.line[other]}"
                f" of the same trajectory {self.ids[self.who[row]]!r}: an attribute does not vary"
            )
            self.report("varying-attribute", row, name, words)
        valid_rows = np.flatnonzero(self.valid)
        for who in np.setdiff1d(self.who[valid_rows], found).tolist():
            row = int(valid_rows[self.who[valid_rows] == who][0])
            words = f"trajectory {self.ids[who]!r} has no value in any row"
            self.report("missing-attribute", row, name, words)
        return result

    def _dense(self, joined: dict[str, Pair], attributes: dict[str, np.ndarray]) -> Dense:
        length = np.zeros(len(self.ids), np.int64)
        np.maximum.at(length, self.who, self.t + 1)
        grid = (len(self.ids), int(length.max()))
        columns = {}
        for name, (values, mask) in joined.items():
            if name in self.schema.attributes:
                continue
            dense = np.zeros(grid), np.zeros(grid, bool)
            where = self.who[mask], self.t[mask]
            dense[0][where], dense[1][where] = values[mask], True
            columns[name] = dense
        dates = None
        if self.dates is not None:
            dates = np.full(grid, np.datetime64("NaT"), "datetime64[s]")
            dates[self.who, self.t] = self.dates
        return Dense(tuple(self.ids), length, columns, attributes, dates)
