"""A recorded conversation played back: the same run without a server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gsim_jax.calibrate.guess import WARNING, Guess
from gsim_jax.propose import ReplayProposer
from gsim_jax.propose.replay import find_conversation
from gsim_jax.search import RunResult, resume, run
from gsim_jax.task import InputError
from tests.helpers.answers import town
from tests.helpers.fault_server import FaultServer
from tests.search.chatting import Talk, candidates, conversation, stopped, talk
from tests.search.quick import events, quick, same
from tests.search.town import FALL, RECOVER, SEED, write_task

ROOT = Path(__file__).parents[2]
LIMITS = {"rounds": 2, "proposals": 2, "patience": 9}


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with quick(tmp_path_factory.getbasetemp() / "compiled") as environment:
        yield environment


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Talk]:
    """A task, and a run of it with a conversation; nothing is calibrated, which takes time."""
    folder = tmp_path_factory.mktemp("recorded")
    task = write_task(folder / "task")
    return task, talk(task, folder / "run", FaultServer(town), temperature=(0.2, 1.0))


def replay(task: Path, source: Path, out: Path, **options: Any) -> tuple[RunResult, list[str]]:
    told: list[dict[str, Any]] = []
    proposer = ReplayProposer(source, strict=options.pop("strict", False))
    result = run(task, proposer=proposer, out=out, seed=SEED, listener=told.append,
                 calibrator=Guess(), **{**LIMITS, **options})  # fmt: skip
    return result, [event["message"] for event in told if event["event"] == "warning"]


def test_nothing_is_calibrated(recorded: tuple[Path, Talk]) -> None:
    """Zero shot: the guesses of the file, and words that say so."""
    _, talked = recorded
    best = talked.result.best
    assert best is not None
    assert best["parameters"] == pytest.approx({"fall.p": FALL, "recover.q": RECOVER})
    assert set(best["errors"].values()) == {0.0}
    folder = talked.folder / f"candidates/{best['id']:03d}"
    assert WARNING in json.loads((folder / "diagnosis.json").read_text())["warnings"]


class TestReplay:
    def test_it_ends_the_same(self, recorded: tuple[Path, Talk], tmp_path: Path) -> None:
        task, talked = recorded
        result, warnings = replay(task, talked.folder, tmp_path / "run", strict=True)
        assert warnings == []
        assert same(result, talked.result)
        assert candidates(tmp_path / "run") == candidates(talked.folder)
        assert conversation(tmp_path / "run") == conversation(talked.folder)

    def test_a_copied_folder_is_enough(self, recorded: tuple[Path, Talk], tmp_path: Path) -> None:
        task, talked = recorded
        shutil.copytree(talked.folder / "chat", tmp_path / "copy" / "chat")
        for source in (tmp_path / "copy", tmp_path / "copy" / "chat"):
            proposer = ReplayProposer(source)
            assert (proposer.rounds, proposer.proposals) == (2, 2)
            assert proposer.options.temperature == (0.2, 1.0)
        result, warnings = replay(task, tmp_path / "copy", tmp_path / "run")
        assert warnings == []
        assert same(result, talked.result)

    def test_a_replay_is_resumed(self, recorded: tuple[Path, Talk], tmp_path: Path) -> None:
        task, talked = recorded
        replay(task, talked.folder, tmp_path / "run", rounds=2)
        for path in (tmp_path / "run/candidates").glob("00[23]"):
            shutil.rmtree(path)
        assert same(resume(tmp_path / "run"), talked.result)

    def test_another_request_is_a_warning(
        self, recorded: tuple[Path, Talk], tmp_path: Path
    ) -> None:
        task, talked = recorded
        changed = shutil.copytree(task, tmp_path / "task")
        (changed / "description.md").write_text("People fall ill, and get well again.\n")
        result, warnings = replay(changed, talked.folder, tmp_path / "run")
        assert warnings[0].startswith("the request of round 0, slot 0, attempt 0 differs from the")
        assert len(warnings) == len(conversation(talked.folder))
        assert result.best == talked.result.best
        with pytest.raises(InputError, match=r"differs from the recorded one \(--strict\)"):
            replay(changed, talked.folder, tmp_path / "strict", strict=True)

    def test_the_recording_ends(self, recorded: tuple[Path, Talk], tmp_path: Path) -> None:
        task, talked = recorded
        copy = shutil.copytree(talked.folder / "chat", tmp_path / "chat")
        for path in copy.glob("r001-*"):
            path.unlink()
        result, _ = replay(task, tmp_path, tmp_path / "run")
        assert stopped(tmp_path / "run") == "the recording ends here"
        assert len(result.rounds) == 2
        # A slot that was never recorded fails by name, the others go on.
        result, _ = replay(task, tmp_path, tmp_path / "wide", proposals=3, rounds=1)
        failures = events(tmp_path / "wide")
        (failure,) = [event for event in failures if event["event"] == "failure"]
        assert failure["slot"] == 2
        assert failure["problems"][0]["code"] == "recording"
        with pytest.raises(InputError, match="no reply to the request of round 1, slot 0"):
            replay(task, tmp_path, tmp_path / "strict", strict=True)

    def test_there_must_be_a_recording(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"chat/r\*\.reply\.json"):
            find_conversation(tmp_path)


class TestKeepRecording:
    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "tools/keep_recording.py"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    def test_it_copies_and_says_what_it_is(
        self, recorded: tuple[Path, Talk], tmp_path: Path
    ) -> None:
        task, talked = recorded
        to = tmp_path / "recordings" / "town"
        done = self.call(str(talked.folder), str(to), "--by", "fixtures of a test, no model")
        assert done.returncode == 0, done.stderr
        words = (to / "README.md").read_text()
        for part in ("fixtures of a test, no model", "--proposer replay:", "fixture", "2 rounds"):
            assert part in words
        result, warnings = replay(task, to, tmp_path / "run", strict=True)
        assert warnings == []
        assert same(result, talked.result)

    def test_it_never_writes_over_another(
        self, recorded: tuple[Path, Talk], tmp_path: Path
    ) -> None:
        _, talked = recorded
        (tmp_path / "there").mkdir()
        (tmp_path / "there/file").write_text("x")
        done = self.call(str(talked.folder), str(tmp_path / "there"), "--by", "nobody")
        assert done.returncode == 2
        assert "expected a new or empty folder" in done.stderr
