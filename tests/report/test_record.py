"""Reading a run folder: whole, cut short, damaged."""

from __future__ import annotations

import json

import pytest

from gsim_jax.report import read_run
from gsim_jax.task.problems import InputError
from tests.report.synthetic import SOURCE, write_run


def test_a_finished_run_reads_back_as_written(tmp_path):
    record = read_run(write_run(tmp_path / "run", trajectories=2))
    assert [c.id for c in record.candidates] == [0, 1, 2, 3, 4]
    assert record.best == 3
    assert record.winner is not None
    assert record.winner.id == 3
    assert record.winner.parameters == {"leaving.rate": 0.412345, "ending.p": 0.2}
    assert record.winner.source == SOURCE
    assert record.winner.priors["leaving.rate"]["unit"] == "1/day"
    assert [cell.horizon for cell in record.winner.table[:3]] == ["1", "7", "free"]
    assert set(record.winner.bands) == {"A", "in <bed>"}
    assert [band.trajectory for band in record.winner.bands["A"]] == ["site 0", "site 1"]
    assert record.winner.bands["A"][0].data[3] is None
    assert [(f.round, f.slot) for f in record.failures] == [(0, 2), (1, 1)]
    assert record.failures[0].problems[0].startswith("simulator.py, line 12, column 8: expected")
    assert record.stopped == "adequate"
    assert record.finished
    assert record.split == "train"


def test_a_run_killed_in_the_middle_of_a_line_reads_up_to_there(tmp_path):
    record = read_run(write_run(tmp_path / "run", finished=False))
    assert [c.id for c in record.candidates] == [0, 1]
    assert record.best is None
    assert record.winner is None
    assert not record.finished


def test_a_candidate_without_its_event_is_left_out(tmp_path):
    run = write_run(tmp_path / "run")
    events = (run / "events.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in events if json.loads(line).get("id") != 4]
    (run / "events.jsonl").write_text("".join(kept))
    assert [c.id for c in read_run(run).candidates] == [0, 1, 2, 3]


def test_a_folder_that_is_no_run_says_so(tmp_path):
    with pytest.raises(InputError, match=r"expected a run folder with run\.json") as caught:
        read_run(tmp_path)
    assert caught.value.problems[0].code == "not-a-run"


def drop_score(run):
    path = run / "candidates" / "001" / "diagnosis.json"
    found = json.loads(path.read_text())
    del found["score"]
    path.write_text(json.dumps(found))


DAMAGE = [
    (lambda run: (run / "run.json").write_text("{"), r"run\.json: expected JSON"),
    (lambda run: (run / "run.json").write_text("[]"), r"expected an object with a 'task'"),
    (lambda run: (run / "events.jsonl").write_text("{}\n"), r"line 1: expected an object with an"),
    (
        lambda run: (run / "events.jsonl").write_text("no\n"),
        r"jsonl, line 1: expected JSON",
    ),
    (drop_score, r"001/diagnosis\.json: expected the key 'score'"),
    (lambda run: (run / "candidates/002/simulator.py").unlink(), r"002/diagnosis\.json: cannot be"),
    (lambda run: (run / "candidates/000/diagnosis.json").write_bytes(b"\xff"), "JSON in UTF-8"),
]


@pytest.mark.parametrize(("damage", "words"), DAMAGE)
def test_damage_is_named_with_its_file(tmp_path, damage, words):
    run = write_run(tmp_path / "run")
    damage(run)
    with pytest.raises(InputError, match=words):
        read_run(run)
