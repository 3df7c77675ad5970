"""The search from end to end on a small task, cut short in every way and continued."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gsim_jax.propose import Brief, Proposal
from gsim_jax.search import RunResult, loop, resume, run
from gsim_jax.task import InputError
from tests.search.quick import contents, events, quick, same
from tests.search.town import FALL, FILES, LIMITS, RECOVER, SEED, Town, write_task
from tests.search.victim import INSTANTS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Small settings, and each program compiled once for all runs; the environment for others."""
    with quick(tmp_path_factory.getbasetemp() / "compiled") as environment:
        yield environment


@dataclass(frozen=True)
class Search:
    """A finished run."""

    task: Path
    result: RunResult
    told: list[dict[str, Any]]
    proposer: Town

    @property
    def folder(self) -> Path:
        return self.result.record

    def copy(self, to: Path) -> Path:
        """Its folder, to be damaged."""
        shutil.copytree(self.folder, to)
        return to


def search(task: Path, out: Path, **options: Any) -> Search:
    told: list[dict[str, Any]] = []
    proposer = Town()
    options = {"listener": told.append, "seed": SEED} | LIMITS | options
    return Search(task, run(task, proposer=proposer, out=out, **options), told, proposer)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Search:
    """The uninterrupted run."""
    folder = tmp_path_factory.mktemp("town")
    return search(write_task(folder / "task"), folder / "run")


class TestWhole:
    def test_the_right_structure_is_found(self, whole: Search) -> None:
        best = whole.result.best
        assert best is not None
        assert best["title"] == "both"
        assert best["adequate"]
        assert whole.result.source == FILES["both"]
        for label, truth in (("fall.p", FALL), ("recover.q", RECOVER)):
            assert abs(best["parameters"][label] - truth) < 4 * best["errors"][label]
        assert whole.result.unexplained == []

    def test_events_in_order(self, whole: Search) -> None:
        found = events(whole.folder)
        assert [e["n"] for e in found] == list(range(9))
        assert [(e["event"], e.get("id")) for e in found] == [
            ("start", None),
            ("candidate", 0),
            ("failure", 1),
            ("candidate", 2),
            ("round", None),
            ("candidate", 3),
            ("round", None),
            ("stop", None),
            ("end", None),
        ]
        assert found[7]["reason"] == "adequate"
        assert found[8]["best"] == 3
        (first, *_) = found[2]["problems"]
        assert "import" in first["message"]
        assert [e for e in whole.told if e["event"] != "progress"] == found

    def test_candidates_are_ranked_by_score(self, whole: Search) -> None:
        rows = {row["id"]: row for row in whole.result.rounds}
        assert list(rows) == [0, 2, 3]
        wrong = min(rows[0]["score"], rows[2]["score"])
        assert rows[3]["score"] < wrong
        assert not rows[0]["adequate"]
        assert not rows[2]["adequate"]
        assert rows[0]["gap"] > 10 * rows[0]["gap_se"]

    def test_progress_is_told_on_the_way(self, whole: Search) -> None:
        told = [e for e in whole.told if e["event"] == "progress" and e["id"] == 3]
        stages = list(dict.fromkeys(e["stage"] for e in told))
        assert stages == ["check", "calibrate", "diagnose"]
        shares = [e["fraction"] for e in told if e["stage"] == "calibrate"]
        assert shares == sorted(shares)

    def test_the_proposer_is_told_what_is_known(self, whole: Search) -> None:
        first, second = whole.proposer.briefs
        assert (first.round, first.parents, first.tried) == (0, (), ())
        assert (second.round, second.seed) == (1, SEED)
        assert second.tried == ("only falling ill", "refused", "only recovering")
        scores = [parent.score for parent in second.parents]
        assert scores == sorted(scores)
        assert len(scores) == 2
        kinds = {finding.kind for finding in second.parents[0].findings}
        assert "score" in kinds
        assert second.parents[0].structure is not None

    def test_the_record_says_how_it_was_made(self, whole: Search) -> None:
        configuration = json.loads((whole.folder / "run.json").read_text(encoding="utf-8"))
        assert configuration["schema"] == 1
        assert configuration["seed"] == SEED
        assert configuration["proposer"] == "town"
        assert configuration["split"] == "train"
        assert configuration["settings"]["limits"]["rounds"] == 4
        assert len(configuration["scales"]) == 2
        assert {"python", "jax", "numpy"} <= set(configuration["versions"])
        diagnosis = json.loads(
            (whole.folder / "candidates/003/diagnosis.json").read_text(encoding="utf-8")
        )
        assert diagnosis["parent"] == whole.proposer.briefs[1].parents[0].id
        assert diagnosis["rules"] == [{"name": "nobody leaves", "violated": 0, "checked": 6400}]
        assert {row["horizon"] for row in diagnosis["table"]} == {"1", "free"}
        assert set(diagnosis["times"]) == {"check", "compile", "run", "diagnose"}

    def test_the_same_seed_ends_the_same(self, whole: Search, tmp_path: Path) -> None:
        again = search(whole.task, tmp_path / "again")
        assert same(again.result, whole.result)
        assert contents(again.folder) == contents(whole.folder)


class TestResume:
    def test_a_finished_run_stays_as_it_is(self, whole: Search, tmp_path: Path) -> None:
        folder = whole.copy(tmp_path / "run")
        told: list[dict[str, Any]] = []
        result = resume(folder, proposer=Town(), listener=told.append)
        assert same(result, whole.result)
        assert contents(folder) == contents(whole.folder)
        assert [e["event"] for e in told] == [e["event"] for e in events(whole.folder)]

    @pytest.mark.parametrize(
        ("lost", "lines"), [([], 4.5), ([], 0), ([3], 9), ([3], 4.5), ([1, 3], 2.1)]
    )
    def test_what_is_lost_is_made_again(
        self, whole: Search, tmp_path: Path, lost: list[int], lines: float
    ) -> None:
        """Candidates deleted, events cut in the middle of a line: the same winner and numbers."""
        folder = whole.copy(tmp_path / "run")
        for number in lost:
            shutil.rmtree(folder / f"candidates/{number:03d}")
        path = folder / "events.jsonl"
        kept = path.read_bytes().splitlines(keepends=True)[: int(lines) + 1]
        if lines < 9:
            kept[-1] = kept[-1][: int(len(kept[-1]) * (lines % 1))]
        path.write_bytes(b"".join(kept))
        result = resume(folder, proposer=Town())
        assert same(result, whole.result)
        assert contents(folder) == contents(whole.folder)

    def test_a_run_inside_of_its_task(self, whole: Search, tmp_path: Path) -> None:
        """What runs write into the task's folder is no change of the task."""
        task = shutil.copytree(whole.task, tmp_path / "task")
        folder = whole.copy(task / "runs" / "one")
        self.move_task(folder, task)
        assert same(resume(folder, proposer=Town()), whole.result)

    def test_a_task_that_has_changed(self, whole: Search, tmp_path: Path) -> None:
        task = shutil.copytree(whole.task, tmp_path / "task")
        folder = whole.copy(tmp_path / "run")
        self.move_task(folder, task)
        table = task / "train.csv"
        table.write_text(table.read_text().replace("s0,3,", "s0,3,1"), encoding="utf-8")
        before = contents(folder)
        with pytest.raises(InputError, match="has changed since the run began: start a new run"):
            resume(folder, proposer=Town())
        assert contents(folder) == before

    def test_another_proposer_must_be_given(self, whole: Search) -> None:
        with pytest.raises(InputError, match="expected a run of the proposer 'library'"):
            resume(whole.folder)

    @staticmethod
    def move_task(folder: Path, task: Path) -> None:
        path = folder / "run.json"
        configuration = json.loads(path.read_text(encoding="utf-8"))
        configuration["task"]["path"] = str(task)
        path.write_text(json.dumps(configuration), encoding="utf-8")


class TestLimits:
    def test_seconds_stop_the_run_and_it_stays_stopped(
        self, whole: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
        monkeypatch.setattr(loop, "time", clock)

        def listener(event: dict[str, Any]) -> None:
            clock.now = 100.0 if event["event"] == "round" else clock.now

        stopped = search(whole.task, tmp_path / "run", seconds=60.0, listener=listener)
        found = events(stopped.folder)
        assert [e["event"] for e in found[-3:]] == ["round", "stop", "end"]
        assert found[-2]["reason"] == "seconds"
        assert [row["id"] for row in stopped.result.rounds] == [0, 2]
        assert stopped.result.best is not None
        assert stopped.result.best["id"] == found[-1]["best"] == found[4]["best"]
        before = contents(stopped.folder)
        clock.now = 0.0  # a resumed run has time again, and honours the stop all the same
        assert same(resume(stopped.folder, proposer=Town()), stopped.result)
        assert contents(stopped.folder) == before

    def test_patience(self, whole: Search, tmp_path: Path) -> None:
        class Stubborn(Town):
            def propose(self, brief: Brief, count: int) -> list[Proposal]:
                title = f"refused {brief.round}"
                return [Proposal(FILES["refused"], title, None, title, None, "")]

        result = run(whole.task, proposer=Stubborn(), out=tmp_path / "run", rounds=9, patience=2)
        kinds = [(e["event"], e.get("reason")) for e in events(result.record)]
        assert kinds[-2:] == [("stop", "patience"), ("end", None)]
        assert [k for k, _ in kinds].count("failure") == 2
        assert (result.best, result.rounds, result.source) == (None, [], "")

    def test_no_proposals(self, whole: Search, tmp_path: Path) -> None:
        class Silent(Town):
            def propose(self, brief: Brief, count: int) -> list[Proposal]:
                return []

        result = run(whole.task, proposer=Silent(), out=tmp_path / "run")
        assert events(result.record)[1]["reason"] == "no further proposals"
        assert result.best is None


class TestRefused:
    def test_a_malformed_task_writes_nothing(self, whole: Search, tmp_path: Path) -> None:
        task = shutil.copytree(whole.task, tmp_path / "task")
        (task / "train.csv").write_text("trajectory,t,well\ns0,0,many\n", encoding="utf-8")
        before = contents(task)
        with pytest.raises(InputError):
            run(task, proposer=Town(), out=tmp_path / "run")
        assert not (tmp_path / "run").exists()
        assert contents(task) == before

    def test_a_folder_that_holds_a_run(self, whole: Search) -> None:
        before = contents(whole.folder)
        with pytest.raises(InputError, match="expected a new or empty folder"):
            run(whole.task, proposer=Town(), out=whole.folder)
        assert contents(whole.folder) == before


@pytest.fixture
def kill(small: dict[str, str], whole: Search) -> Callable[[Path, str], None]:
    """Starts or continues a run in another process, which dies at an instant."""

    def until(folder: Path, instant: str) -> None:
        command = [sys.executable, "-m", "tests.search.victim", str(whole.task), str(folder)]
        done = subprocess.run(
            [*command, instant],
            cwd=ROOT,
            env={**os.environ, **small},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]

    return until


class TestKilled:
    def test_one_run_killed_three_times(
        self, whole: Search, kill: Callable[[Path, str], None], tmp_path: Path
    ) -> None:
        folder = tmp_path / "run"
        kill(folder, "writing the first")
        assert list((folder / "candidates").glob(".part-000"))
        kill(folder, "half of a round's event")
        assert not (folder / "events.jsonl").read_bytes().endswith(b"\n")
        kill(folder, "after the last appears")
        assert [e["event"] for e in events(folder)][-1] == "round"
        assert same(resume(folder, proposer=Town()), whole.result)
        assert contents(folder) == contents(whole.folder)

    @pytest.mark.slow
    @pytest.mark.parametrize("instant", INSTANTS)
    def test_killed_at(
        self, whole: Search, kill: Callable[[Path, str], None], tmp_path: Path, instant: str
    ) -> None:
        folder = tmp_path / "run"
        kill(folder, instant)
        if instant == "configuring":
            # Nothing was begun that could be continued: the folder takes a new run.
            assert same(search(whole.task, folder).result, whole.result)
        else:
            assert same(resume(folder, proposer=Town()), whole.result)
        assert contents(folder) == contents(whole.folder)
