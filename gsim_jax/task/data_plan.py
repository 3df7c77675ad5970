"""The ``[data]`` part of task.toml: which tables make up which split."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gsim_jax.task.section import Section, shown

SPLITS = ("train", "validation", "test")
_SUM = re.compile(r"sum:([1-9]\d{0,4})")


@dataclass(frozen=True)
class DataPlan:
    """Where the data are.

    Attributes:
        tables: split -> files relative to the task folder; ``{"all": files}`` where one table is
            divided by time.
        validation_from: t at which validation begins, where one table is divided by time.
        test_from: t at which test begins.
        aggregates: variable -> number of steps that its column sums over.
    """

    tables: dict[str, tuple[str, ...]] = field(default_factory=dict)
    validation_from: int | None = None
    test_from: int | None = None
    aggregates: dict[str, int] = field(default_factory=dict)

    @property
    def files(self) -> tuple[str, ...]:
        """Every table, once."""
        return tuple(dict.fromkeys(file for files in self.tables.values() for file in files))

    def spans(self) -> dict[str, tuple[int, int | None]]:
        """Split -> first row and the row after the last (None: to the end), for one table."""
        cuts = {"train": 0, "validation": self.validation_from, "test": self.test_from}
        starts = [(name, start) for name, start in cuts.items() if start is not None]
        ends = [start for _, start in starts[1:]] + [None]
        return {name: (start, end) for (name, start), end in zip(starts, ends, strict=True)}


def read_plan(section: Section) -> DataPlan:
    """Reads ``[data]``, ``[data.split]`` and ``aggregate.X = "sum:7"``.

    Either ``train`` (and ``validation``, ``test``) name tables, or ``table`` names one that
    ``[data.split]`` divides by time.
    """
    aggregates = _read_aggregates(section)
    tables = {name: _files(section, name) for name in SPLITS if section.has(name)}
    start: dict[str, int | None] = {"validation": None, "test": None}
    if section.has("table"):
        if tables:
            section.wrong("table", f"expected either table or {'/'.join(tables)}, got both")
        tables = {"all": _files(section, "table")}
        if section.has("split"):
            start = _read_split(section)
    else:
        if section.has("split"):
            section.wrong("split", "divides one table by time: name it with table = ...")
        if "train" not in tables:
            words = 'is missing: expected the tables to learn from, such as train = ["train.csv"]'
            section.wrong("train", words, "missing-key")
    section.close()
    return DataPlan(tables, start["validation"], start["test"], aggregates)


def _files(section: Section, name: str) -> tuple[str, ...]:
    value = section.raw(name)
    files = [value] if isinstance(value, str) else value
    if not isinstance(files, list) or not all(isinstance(f, str) and f for f in files) or not files:
        section.wrong(name, f'expected file names such as ["train.csv"], got {shown(value)}')
        return ()
    for file in {f for f in files if files.count(f) > 1}:
        section.wrong(name, f"{file!r} is listed twice")
    return tuple(dict.fromkeys(files))


def _read_split(section: Section) -> dict[str, int | None]:
    split = Section(section.raw("split"), section.key("split"), section.report)
    validation = split.integer("validation_from", 1)
    test = split.integer("test_from", 1)
    if not split.has("validation_from") and not split.has("test_from") and not split.values:
        words = "expected validation_from or test_from, the t at which they begin"
        section.wrong("split", words, "missing-key")
    if validation is not None and test is not None and test <= validation:
        split.wrong("test_from", f"expected a t after validation_from = {validation}, got {test}")
    split.close()
    return {"validation": validation, "test": test}


def _read_aggregates(section: Section) -> dict[str, int]:
    if not section.has("aggregate"):
        return {}
    inner = Section(section.raw("aggregate"), section.key("aggregate"), section.report)
    found = {}
    for name, value in inner.values.items():
        match = _SUM.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            inner.wrong(name, f'expected "sum:N" with N steps, such as "sum:7", got {shown(value)}')
        elif int(match.group(1)) > 1:
            found[name] = int(match.group(1))
    return found
