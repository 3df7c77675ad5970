"""A task folder, read and checked as a whole."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from gsim_jax.task.cells import grouped
from gsim_jax.task.data_plan import DataPlan, read_plan
from gsim_jax.task.dense import Dense
from gsim_jax.task.problems import Problem, TaskError
from gsim_jax.task.raw_table import RawTable, read_raw
from gsim_jax.task.schema import Schema
from gsim_jax.task.section import Report, Section, key_lines
from gsim_jax.task.tables import dense_of
from gsim_jax.task.toml_schema import read_schema_section
from gsim_jax.task.trajectories import Task

TASK_FILE = "task.toml"
DESCRIPTION_FILE = "description.md"


def load_task(path: str | Path) -> Task:
    """Reads a task folder; writes nothing.

    Args:
        path: a folder with task.toml, description.md and the tables that task.toml names.

    Returns:
        The task. Where one table is divided by time, validation and test trajectories keep their
        names and begin at their first row, which becomes t = 0.

    Raises:
        TaskError: with every problem found in any file of the folder.
    """
    loader = _Loader(Path(path))
    task = loader.load()
    if task is None or loader.problems:
        raise TaskError(grouped(loader.problems))
    return task


def load_schema(path: str | Path) -> Schema:
    """Reads task.toml and description.md, and of the tables their headers only.

    Raises:
        TaskError: with every problem found in them.
    """
    loader = _Loader(Path(path))
    schema = loader.read_schema()
    if schema is None or loader.problems:
        raise TaskError(grouped(loader.problems))
    return schema


class _Loader:
    """One pass over a folder; everything that is wrong goes to `problems`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[Problem] = []
        self.plan = DataPlan()
        self.raws: dict[str, RawTable | None] = {}

    def load(self) -> Task | None:
        schema = self.read_schema()
        if schema is None or not schema.states:
            return None
        spans = self.plan.spans()
        parts: dict[str, Dense | None] = {}
        for split, files in self.plan.tables.items():
            tables = [raw for raw in (self.raws[file] for file in files) if raw is not None]
            whole = split == "all"
            parts[split] = dense_of(
                tables,
                schema,
                "train" if whole else split,
                spans if whole else {split: (0, None)},
                self.problems,
                len(files),
            )
        if "all" in parts:
            parts = self._divided(parts["all"], schema, spans)
        if self.problems or parts.get("train") is None:
            return None
        data = {s: part.trajectories(schema) for s, part in parts.items() if part is not None}
        return Task(self.folder, schema, data["train"], data.get("validation"), data.get("test"))

    def read_schema(self) -> Schema | None:
        """The schema; None where there is nothing to go on with."""
        text = self._text(TASK_FILE, f"no {TASK_FILE} here: 'gsim new DIR' writes one to fill in")
        description = self._text(
            DESCRIPTION_FILE, "missing: expected what an expert would tell about the system"
        )
        if description is not None and not description.strip():
            words = "empty: expected what an expert would tell about the system"
            self.problems.append(Problem("empty-file", words, DESCRIPTION_FILE))
        values = self._toml(text) if text is not None else None
        if values is None or text is None:
            return None
        report = Report(TASK_FILE, key_lines(text))
        top = Section(values, "", report)
        if not top.has("data"):
            top.wrong("data", "is missing: expected [data] with the tables", "missing-key")
        else:
            self.plan = read_plan(Section(top.raw("data"), "data", report))
        table_problems: list[Problem] = []
        for file in self.plan.files:
            self.raws[file] = read_raw(self.folder / file, file, table_problems)
        columns = [set(raw.columns) for raw in self.raws.values() if raw is not None]
        schema = read_schema_section(
            top,
            self.folder,
            self.plan.aggregates,
            calendar=any("date" in names and "t" not in names for names in columns),
            description=description or "",
        )
        top.close()
        self.problems += report.problems + table_problems
        known = {*schema.states, *schema.derived}
        sums = {name: n for name, n in schema.aggregates.items() if name in known}
        return replace(schema, aggregates=sums)

    def _divided(
        self, whole: Dense | None, schema: Schema, spans: dict[str, tuple[int, int | None]]
    ) -> dict[str, Dense | None]:
        """The splits of one table divided by time."""
        if whole is None:
            return {}
        parts = {name: whole.window(schema, start, stop) for name, (start, stop) in spans.items()}
        for name in (name for name, part in parts.items() if part is None):
            words = (
                f"data.split.{name}_from: no trajectory reaches t = {spans[name][0]}; the longest"
                f" ends at t = {int(whole.length.max()) - 1}"
            )
            self.problems.append(Problem("empty-split", words, TASK_FILE))
        return parts

    def _text(self, name: str, missing: str) -> str | None:
        path = self.folder / name
        if not self.folder.is_dir():
            if name == TASK_FILE:
                words = f"expected a task folder, got {str(self.folder)!r}, which is no folder"
                self.problems.append(Problem("missing-file", words))
            return None
        if not path.is_file():
            self.problems.append(Problem("missing-file", missing, name))
            return None
        data = path.read_bytes()
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            words = f"not UTF-8 (byte {data[error.start]:#04x}): save the file as UTF-8"
            self.problems.append(Problem("encoding", words, name, line=line))
            return None

    def _toml(self, text: str) -> dict[str, Any] | None:
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            match = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
            last = len(text.splitlines())
            line = int(match.group(1)) if match else last
            words = f"not TOML: {str(error).split(' (at ')[0]}"
            self.problems.append(Problem("toml-syntax", words, TASK_FILE, line=line))
            return None
