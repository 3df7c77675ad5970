"""Call the command line in this process, and a search that replays a made-up run."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import gsim_jax
from gsim_jax.cli import main
from tests.report.synthetic import write_run


@dataclass
class Called:
    """What a command line gave back."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document; fails where stdout holds anything else."""
        return json.loads(self.out)


@pytest.fixture
def call(capfd, monkeypatch, tmp_path) -> Callable[..., Called]:
    """``call("run", "TASK", "--json")`` in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)

    def invoke(*words: str) -> Called:
        capfd.readouterr()
        status = main(words)
        return Called(status, *capfd.readouterr())

    return invoke


@dataclass
class Replay:
    """Stands where ``gsim_jax.search`` stands: writes a synthetic run and tells its events.

    The command line is what these tests look at; the search has tests of its own.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    finished: bool = True
    interrupted: bool = False

    def run(self, task: Path, *, out: Path, listener: Any, **arguments: Any) -> Any:
        self.arguments = {"task": task, "out": out, **arguments}
        write_run(out, finished=self.finished)
        for event in self.events(out):
            listener(event)
        if self.interrupted:
            raise KeyboardInterrupt
        return self.result(out)

    def resume(self, directory: Path, *, listener: Any, isolation: Any) -> Any:
        self.arguments = {"resumed": directory, "isolation": isolation}
        return self.result(directory)

    def events(self, out: Path) -> Iterator[dict[str, Any]]:
        for line in (out / "events.jsonl").read_text().splitlines():
            if line.endswith("}"):
                event = json.loads(line)
                if event["event"] == "candidate":
                    for stage in ("check", "calibrate", "diagnose"):
                        yield {
                            "event": "progress",
                            "stage": stage,
                            "fraction": 0.5,
                            **{key: event[key] for key in ("round", "slot", "title")},
                        }
                yield event

    def result(self, out: Path) -> Any:
        best = None
        if self.finished:
            best = json.loads((out / "candidates" / "003" / "diagnosis.json").read_text())
            keys = ("id", "parameters", "score", "floor", "gap", "adequate", "p_value")
            best = {key: best[key] for key in keys} | {"se": best["gap_se"]}
        return types.SimpleNamespace(
            best=best, rounds=[{"id": 3, "score": 0.4}], record=out, source="", unexplained=[]
        )


@pytest.fixture
def search(monkeypatch) -> Replay:
    """A replaying search, in place of the real one for this test."""
    replay = Replay()
    monkeypatch.setattr(gsim_jax, "search", replay, raising=False)
    return replay
