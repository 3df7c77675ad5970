"""``gsim run`` and ``gsim calibrate``: what goes to the search, what comes back to people."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsim_jax.cli.verbs_calibrate import OneProgram, _one_program
from gsim_jax.propose import Brief, Proposal
from gsim_jax.task.problems import SimulatorError
from tests.report.synthetic import SOURCE, write_run


@pytest.fixture(autouse=True)
def library(monkeypatch):
    """A proposer that is only named here: the replayed search never asks it."""
    monkeypatch.setattr("gsim_jax.cli.verbs_search._proposer", lambda name: f"the {name}")


def test_run_hands_over_what_was_asked(call, search):
    called = call(
        *("run", "envs/flu", "--seed", "3", "--rounds", "2"),
        *("--proposals", "5", "--seconds", "9.5", "--json"),
    )
    assert called.status == 0
    assert search.arguments == {
        "task": Path("envs/flu"),
        "out": Path("runs/flu"),
        "proposer": "the library",
        "seed": 3,
        "rounds": 2,
        "proposals": 5,
        "seconds": 9.5,
        "isolation": None,
    }
    found = called.document
    assert found["best"]["id"] == 3
    assert found["best"]["parameters"] == {"leaving.rate": 0.412345, "ending.p": 0.2}
    assert found["best"]["se"] == 0.012
    assert found["record"] == "runs/flu"
    assert found["split"] == "train"
    assert found["stopped"] == "adequate"
    assert Path(found["page"]).is_file()
    assert "candidate 3: two stages, variant 3: score 0.4260" in called.err


def test_run_shows_rounds_winner_record_and_split(call, search):
    called = call("run", "envs/flu")
    assert called.status == 0
    for words in ("variant 0", "SUBMODULES = (leaving, ending)", "Run record: runs/flu",
                  "in-sample", "Nothing stays unexplained"):  # fmt: skip
        assert words in called.out
    assert "round 1  finished, best candidate 3" in called.err


def test_a_run_never_writes_over_another(call, search):
    assert call("run", "envs/flu", "--json").document["record"] == "runs/flu"
    assert call("run", "envs/flu/", "--json").document["record"] == "runs/flu-2"
    assert call("run", "envs/flu", "--json").document["record"] == "runs/flu-3"
    called = call("run", "envs/flu", "--out", "runs/flu-2")
    assert called.status == 2
    assert "gsim run --resume runs/flu-2" in called.err


def test_resume_takes_everything_from_the_record(call, search):
    write_run(Path("runs/flu"))
    level = ("--require-isolation", "namespaces")
    called = call("run", "--resume", "runs/flu", *level, "--json")
    assert called.status == 0
    assert search.arguments == {"resumed": Path("runs/flu"), "isolation": "namespaces"}
    assert called.document["best"]["id"] == 3


def test_a_run_without_a_candidate_failed(call, search):
    search.finished = False
    called = call("run", "envs/flu", "--json")
    assert called.status == 1
    found = called.document
    assert found["ok"] is False
    assert found["best"] is None
    assert found["errors"][0]["line"] == 12
    assert call("run", "envs/flu").status == 1


def test_an_interrupted_run_says_how_to_go_on(call, search):
    search.interrupted = True
    called = call("run", "envs/flu")
    assert called.status == 1
    assert "gsim run --resume" in called.err
    assert "Traceback" not in called.err


def test_calibrate_proposes_the_file_once(call, search):
    Path("sir.py").write_text(SOURCE)
    called = call("calibrate", "envs/flu", "--simulator", "sir.py", "--json")
    assert called.status == 0
    proposer = search.arguments["proposer"]
    assert isinstance(proposer, OneProgram)
    assert proposer.proposal.source == SOURCE
    assert (search.arguments["rounds"], search.arguments["proposals"]) == (1, 1)
    found = called.document
    assert found["parameters"] == {"leaving.rate": 0.412345, "ending.p": 0.2}
    assert found["error"] == {"leaving.rate": 0.0212, "ending.p": 0.011}
    assert found["times"].keys() == {"check", "compile", "run", "diagnose"}
    assert {"score", "floor", "gap", "se", "adequate", "p_value"} <= found.keys()
    people = call("calibrate", "envs/flu", "--simulator", "sir.py")
    assert "leaving.rate  0.412 ± 0.021  1/day" in people.out
    assert "in-sample" in people.out


def test_a_refused_simulator_is_bad_input(call, search):
    search.finished = False
    Path("sir.py").write_text(SOURCE)
    called = call("calibrate", "envs/flu", "--simulator", "sir.py", "--json")
    assert called.status == 2
    assert called.document["errors"][0]["code"] == "unknown-name"
    assert called.document["errors"][0]["file"] == "sir.py"


def test_a_simulator_that_is_not_there_is_bad_input(call, search):
    called = call("calibrate", "envs/flu", "--simulator", "none.py")
    assert called.status == 2
    assert "expected a simulator file" in called.err
    assert search.arguments == {}


def test_one_program_proposes_in_the_first_round_only(tmp_path):
    file = tmp_path / "sir.py"
    file.write_text(SOURCE)
    proposer = _one_program(file)
    schema = profile = None  # a proposer of one file looks at neither
    first = Brief(schema, profile, round=0, seed=0)  # type: ignore[arg-type]
    later = Brief(schema, profile, round=1, seed=0)  # type: ignore[arg-type]
    (proposal,) = proposer.propose(first, 4)
    assert isinstance(proposal, Proposal)
    assert proposal.title == "sir.py"
    assert proposer.propose(later, 4) == []
    assert proposer.propose(first, 0) == []
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SimulatorError, match=r"sir\.py"):
        _one_program(file)
