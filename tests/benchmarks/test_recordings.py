"""Recorded conversations: what a language model wrote passes the contract, and plays back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gsim_jax.calibrate.guess import Guess
from gsim_jax.propose import ReplayProposer
from gsim_jax.propose.chat_record import Reply
from gsim_jax.propose.parse import Answer, read_answer
from gsim_jax.search import run
from gsim_jax.simulator.check import check_source
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import load_task

ROOT = Path(__file__).parents[2]
RECORDINGS = sorted((ROOT / "benchmarks" / "recordings").glob("*/seed-*"))
TASKS = ("covid19", "hospital_beds", "supply_chain")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as opened:
        yield opened


def test_there_are_five_of_each() -> None:
    assert [(path.parent.name, path.name) for path in RECORDINGS] == [
        (task, f"seed-{k}") for task in TASKS for k in range(5)
    ]


def _each(path: Path) -> Any:
    """One of each task by default, the others where there is time."""
    marks = () if path.name == "seed-0" else pytest.mark.slow
    return pytest.param(path, marks=marks, id=f"{path.parent.name}-{path.name}")


@pytest.mark.parametrize("folder", [_each(path) for path in RECORDINGS])
def test_first_programs_pass_the_contract(folder: Path, sandbox: Sandbox) -> None:
    """The first reply of a conversation is a program that traces and runs on the task's data."""
    told = json.loads((folder / "chat" / "r000-s00-a0.reply.json").read_text(encoding="utf-8"))
    answer = read_answer(Reply(**told["reply"]))
    assert isinstance(answer, Answer)
    assert answer.reflection
    report = check_source(answer.source, load_task(ROOT / "envs" / folder.parent.name), sandbox)
    assert not report.problems
    assert report.program is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_they_play_back(name: str, tmp_path: Path) -> None:
    """Without a server, and to the structures that were recorded; nothing is calibrated here."""
    folder = ROOT / "benchmarks" / "recordings" / name / "seed-0"
    result = run(
        ROOT / "envs" / name, proposer=ReplayProposer(folder), out=tmp_path / "run", seed=0,
        rounds=1, proposals=2, calibrator=Guess(),
    )  # fmt: skip
    assert result.best is not None
    kept = sorted((tmp_path / "run" / "candidates").iterdir())
    for number, path in enumerate(kept):
        told = json.loads((folder / f"chat/r000-s0{number}-a0.reply.json").read_text())
        answer = read_answer(Reply(**told["reply"]))
        assert isinstance(answer, Answer)
        assert (path / "simulator.py").read_text(encoding="utf-8") == answer.source
