"""What a test of a mistaken task folder says, and how it is checked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from gsim_jax.task import TaskError, load_task


@dataclass(frozen=True)
class Case:
    """Files that differ from the sound folder, and one problem that must be among those found."""

    name: str
    files: dict[str, str | bytes | None]
    code: str
    words: str
    file: str | None = "train.csv"
    row: int | None = None
    column: str | None = None
    line: int | None = None
    count: int | None = 1  # how many problems there are in all; None: other things follow from it


def check(case: Case, path: Path, file: str | None) -> None:
    """Loads, and expects the case's problem at its place; nothing may be written."""
    before = sorted((p, os.stat(p).st_mtime_ns) for p in path.rglob("*"))
    with pytest.raises(TaskError) as caught:
        load_task(path)
    problems = caught.value.problems
    found = [p for p in problems if p.code == case.code and case.words in p.message]
    assert found, f"expected {case.code}: {case.words}\ngot:\n{caught.value}"
    place = (found[0].file, found[0].row, found[0].column)
    assert place == (file, case.row, case.column), str(caught.value)
    if case.line is not None:
        assert found[0].line == case.line, str(caught.value)
    if case.count is not None:
        assert len(problems) == case.count, str(caught.value)
    assert sorted((p, os.stat(p).st_mtime_ns) for p in path.rglob("*")) == before
