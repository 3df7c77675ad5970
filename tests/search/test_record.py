"""The run record: whole or not at all, whatever interrupts it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gsim_jax.search import RunRecord
from gsim_jax.search.record import Failed, Stored, write_json
from gsim_jax.task import InputError
from tests.search.stored import store


@pytest.fixture
def record(tmp_path: Path) -> RunRecord:
    return RunRecord.create(tmp_path / "run", {"seed": 3})


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


class TestFolder:
    def test_a_new_run(self, record: RunRecord) -> None:
        assert record.configuration == {"schema": 1, "seed": 3}
        assert record.events() == []
        assert RunRecord.open(record.directory).configuration == record.configuration

    def test_a_folder_that_holds_something(self, record: RunRecord) -> None:
        with pytest.raises(InputError, match="expected a new or empty folder"):
            RunRecord.create(record.directory, {"seed": 4})
        assert record.configuration["seed"] == 3

    def test_an_empty_folder_will_do(self, tmp_path: Path) -> None:
        assert RunRecord.create(tmp_path, {}).configuration == {"schema": 1}

    def test_a_start_that_was_cut_short_can_be_made_again(self, tmp_path: Path) -> None:
        (tmp_path / "run.json.tmp").write_text('{"schema": 1, "se', encoding="utf-8")
        assert RunRecord.create(tmp_path, {"seed": 1}).configuration["seed"] == 1
        assert "run.json.tmp" not in files(tmp_path)

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "run").write_text("a letter", encoding="utf-8")
        with pytest.raises(InputError, match="expected a folder that can be made"):
            RunRecord.create(tmp_path / "run", {})

    def test_no_run_there(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"expected a run folder with a run\.json"):
            RunRecord.open(tmp_path)


class TestCandidates:
    def test_what_is_stored_comes_back_bit_for_bit(self, record: RunRecord) -> None:
        store(record, 7, **{"flow.a": 0.1 + 0.2, "flow.b": 1e-300})
        got = record.load(7)
        assert isinstance(got, Stored)
        assert got.id == 7
        assert got.source == "PARAMS = {}\n"
        assert got.diagnosis == {"id": 7, "score": 0.1 + 0.2, "counts": [0, 1, 2]}
        assert got.proposal == {"title": "one", "structure": None}
        np.testing.assert_array_equal(got.u, np.linspace(0.2, 0.7, 2))
        np.testing.assert_array_equal(got.contributions, np.array([0.1, 0.2, 0.3]) / 3)

    def test_its_folder(self, record: RunRecord) -> None:
        store(record, 7, **{"flow.a": 0.5})
        names = "simulator.py program.json proposal.json diagnosis.json bands.json calibration.nc"
        assert files(record.directory / "candidates") == {f"007/{n}" for n in names.split()}
        with xr.open_dataset(record.directory / "candidates/007/calibration.nc") as data:
            assert data["parameter"].values.tolist() == ["flow.a"]
            assert data["value"].values.tolist() == [0.5]
            assert data["covariance"].shape == (1, 1)
            assert data["history"].values.tolist() == [2.0, 1.75, 1.5]
            assert data.attrs["evaluations"] == 320

    def test_a_simulator_without_parameters(self, record: RunRecord) -> None:
        store(record, 0)
        got = record.load(0)
        assert isinstance(got, Stored)
        assert got.u.shape == (0,)

    def test_failures_are_kept(self, record: RunRecord) -> None:
        problems = [{"code": "import", "message": "remove it"}]
        record.store_failure(2, {"title": "two"}, "import os\n", problems)
        assert record.load(2) == Failed(2, {"title": "two"}, problems)
        source = (record.directory / "candidates/002/simulator.py").read_text(encoding="utf-8")
        assert source == "import os\n"

    def test_what_is_not_there(self, record: RunRecord) -> None:
        assert record.load(0) is None

    @pytest.mark.parametrize("calls", range(4))
    def test_an_interrupted_store_leaves_nothing(
        self, record: RunRecord, monkeypatch: pytest.MonkeyPatch, calls: int
    ) -> None:
        """Cut short at each rename, the last of which makes the candidate appear."""
        real, left = os.replace, [calls]

        def replace(*arguments: Any) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            real(*arguments)

        monkeypatch.setattr(os, "replace", replace)
        with pytest.raises(KeyboardInterrupt):
            store(record, 1, **{"flow.a": 0.5})
        monkeypatch.undo()
        assert record.load(1) is None
        again = RunRecord.open(record.directory)
        assert not list((record.directory / "candidates").iterdir())
        store(again, 1, **{"flow.a": 0.5})
        assert isinstance(again.load(1), Stored)

    def test_leftovers_do_not_mix_with_what_is_stored_again(self, record: RunRecord) -> None:
        part = record.directory / "candidates" / ".part-001"
        part.mkdir(parents=True)
        (part / "failure.json").write_text("{}", encoding="utf-8")
        store(record, 1, **{"flow.a": 0.5})
        assert isinstance(record.load(1), Stored)
        assert "001/failure.json" not in files(record.directory / "candidates")


class TestEvents:
    def test_they_are_numbered_and_kept(self, record: RunRecord) -> None:
        assert record.append({"event": "start", "name": "Größe"}) == {
            "n": 0,
            "event": "start",
            "name": "Größe",
        }
        record.append({"event": "end", "best": np.int64(3)})
        events = RunRecord.open(record.directory).events()
        assert [event["n"] for event in events] == [0, 1]
        assert events[1]["best"] == 3
        raw = (record.directory / "events.jsonl").read_text(encoding="utf-8")
        assert raw.count("\n") == 2
        assert "Größe" in raw

    @pytest.mark.parametrize("kept", range(1, 40, 6))
    def test_a_torn_last_line_is_trimmed(self, record: RunRecord, kept: int) -> None:
        first = record.append({"event": "start"})
        record.append({"event": "round", "title": "ä" * 20})
        path = record.directory / "events.jsonl"
        whole = path.read_bytes()
        torn = whole[: whole.index(b"\n") + 1 + kept]
        path.write_bytes(torn)  # may end inside of a letter
        again = RunRecord.open(record.directory)
        assert again.events() == [first]
        assert again.append({"event": "end"})["n"] == 1
        assert [event["event"] for event in again.events()] == ["start", "end"]

    def test_nothing_but_a_torn_line(self, record: RunRecord) -> None:
        (record.directory / "events.jsonl").write_bytes(b'{"n": 0, "ev')
        assert RunRecord.open(record.directory).events() == []

    def test_whole_lines_stay_as_they_are(self, record: RunRecord) -> None:
        record.append({"event": "start"})
        path = record.directory / "events.jsonl"
        before = path.read_bytes()
        RunRecord.open(record.directory)
        assert path.read_bytes() == before


def test_json_of_unknown_things_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot write set as JSON"):
        write_json(tmp_path / "x.json", {"a": {1, 2}})
    assert not files(tmp_path)
    write_json(tmp_path / "x.json", {"a": np.float32(0.5), "b": np.array([[1, 2]])})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 0.5, "b": [[1, 2]]}
