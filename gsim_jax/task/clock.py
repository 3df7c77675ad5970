"""Time of a table's rows: whole steps in a column ``t``, or dates that step evenly."""

from __future__ import annotations

import datetime
import re

import numpy as np
import pandas as pd

from gsim_jax.task.problems import Problem

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
_MONTHS = {"month": 1, "quarter": 3, "year": 12}
STEPS = (*_SECONDS, *_MONTHS)
MAX_T = 10_000_000
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.0+)?)?)?")
_WHOLE = re.compile(r"\d{1,12}(\.0*)?")


def read_t(cells: np.ndarray, file: str, lines: np.ndarray, problems: list[Problem]) -> np.ndarray:
    """The column ``t`` as int64; -1 where a cell was reported."""
    codes, texts = pd.factorize(cells)
    values = np.full(len(texts), -1, np.int64)
    for i, text in enumerate(texts):
        if _WHOLE.fullmatch(text) and not text.partition(".")[2].strip("0"):
            t = int(text.partition(".")[0])
            values[i] = t if t <= MAX_T else -1
    for row in np.flatnonzero(values[codes] < 0):
        words = f"expected a whole number of steps from 0 to {MAX_T}, got {cells[row]!r}"
        problems.append(Problem("bad-time", words, file, int(lines[row]), "t"))
    return values[codes]


def read_dates(
    cells: np.ndarray, file: str, lines: np.ndarray, problems: list[Problem]
) -> np.ndarray:
    """The column ``date`` as datetime64[s]; NaT where a cell was reported."""
    codes, texts = pd.factorize(cells)
    values = np.full(len(texts), np.datetime64("NaT"), "datetime64[s]")
    for i, text in enumerate(texts):
        if _ISO.fullmatch(text):
            try:
                values[i] = np.datetime64(datetime.datetime.fromisoformat(text), "s")
            except ValueError:  # 30 February
                continue
    for row in np.flatnonzero(np.isnat(values[codes])):
        words = f"expected a date such as 2024-03-31, got {cells[row]!r}"
        problems.append(Problem("bad-time", words, file, int(lines[row]), "date"))
    return values[codes]


def steps_between(start: np.ndarray, dates: np.ndarray, step: str) -> np.ndarray:
    """How many steps lie between dates.

    Args:
        start: datetime64[s], the date of row 0, broadcast against `dates`.
        dates: datetime64[s].
        step: one of `STEPS`.

    Returns:
        int64, -1 where a date is not a whole number of steps after its start. Months keep the day
        of the month, or its last day where they are too short for it; the last days of months
        follow one another too.
    """
    if step in _SECONDS:
        seconds = (dates - start).astype(np.int64)
        whole = seconds // _SECONDS[step]
        return np.where((seconds >= 0) & (whole * _SECONDS[step] == seconds), whole, -1)
    months = _month(dates) - _month(start)
    whole = months // _MONTHS[step]
    days, first = _day(dates), _day(start)
    in_time = (dates - dates.astype("datetime64[D]")) == (start - start.astype("datetime64[D]"))
    last, first_is_last = _days_in_month(dates), first == _days_in_month(start)
    same = (days == np.minimum(first, last)) | ((days == last) & first_is_last)
    even = (whole >= 0) & (whole * _MONTHS[step] == months) & in_time & same
    return np.where(even, whole, -1)


def calendar_values(dates: np.ndarray) -> dict[str, np.ndarray]:
    """``weekday`` (0 = Monday) and ``day_of_year`` (1..366) as int32; 0 where there is no date."""
    missing = np.isnat(dates)
    days = np.where(missing, np.datetime64(0, "s"), dates).astype("datetime64[D]")
    weekday = (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    day_of_year = (days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1
    return {
        "weekday": np.where(missing, 0, weekday).astype(np.int32),
        "day_of_year": np.where(missing, 0, day_of_year).astype(np.int32),
    }


def date_text(dates: np.ndarray) -> list[str]:
    """Dates as ISO text, without a time of day where none has one."""
    plain = bool(np.all(dates == dates.astype("datetime64[D]")))
    unit = "D" if plain else "s"
    return [str(text) for text in np.datetime_as_string(dates, unit=unit)]


def _month(dates: np.ndarray) -> np.ndarray:
    return dates.astype("datetime64[M]").astype(np.int64)


def _day(dates: np.ndarray) -> np.ndarray:
    """Day of the month, 1..31."""
    first = dates.astype("datetime64[M]").astype("datetime64[D]")
    return (dates.astype("datetime64[D]") - first).astype(np.int64) + 1


def _days_in_month(dates: np.ndarray) -> np.ndarray:
    month = dates.astype("datetime64[M]")
    length = (month + 1).astype("datetime64[D]") - month.astype("datetime64[D]")
    return length.astype(np.int64)
