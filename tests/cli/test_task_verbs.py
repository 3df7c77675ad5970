"""``gsim new``, ``gsim profile`` and ``gsim check``, with the real task room behind them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def task(call) -> str:
    assert call("new", "ward").status == 0
    return "ward"


def test_new_writes_a_task_that_profile_reads(call):
    made = call("new", "ward", "--json")
    assert made.status == 0
    assert made.document["directory"] == "ward"
    assert "ward/task.toml" in made.document["files"]
    assert all(Path(name).is_file() for name in made.document["files"])
    profiled = call("profile", "ward", "--json", "--out", "profile.json")
    assert profiled.status == 0
    found = profiled.document["profile"]
    assert found["rows"] > 0
    assert json.loads(Path("profile.json").read_text())["profile"] == found
    people = call("profile", "ward")
    assert people.status == 0
    for label in found["variables"]:
        assert label in people.out


def test_new_never_writes_over_a_folder(call, task):
    before = {path: path.read_bytes() for path in Path(task).iterdir()}
    called = call("new", task, "--json")
    assert called.status == 2
    assert called.document["errors"][0]["code"] == "folder-taken"
    assert {path: path.read_bytes() for path in Path(task).iterdir()} == before


def test_a_malformed_task_lists_every_problem_and_writes_nothing(call, task):
    toml = Path(task, "task.toml")
    toml.write_text(toml.read_text().replace('kind = "count"', 'kind = "cuont"'))
    files = sorted(Path().rglob("*"))
    called = call("profile", task, "--json", "--out", "profile.json")
    assert called.status == 2
    errors = called.document["errors"]
    assert len(errors) >= 2
    assert all(error["file"] == "task.toml" and error["line"] > 1 for error in errors)
    people = call("profile", task)
    assert f"{len(errors)} problems" in people.err
    assert "did you mean 'count'?" in people.err
    assert sorted(Path().rglob("*")) == files


def test_a_task_that_is_not_there_is_bad_input(call):
    assert call("profile", "nowhere").status == 2


def test_check_needs_a_file(call, task):
    called = call("check", "none.py", "--task", task, "--json")
    assert called.status == 2
    assert "does not exist" in called.document["errors"][0]["message"]


SIMULATOR = '''"""Nobody moves."""
PARAMS = {}
LATENT = {}

def initial(observed, seen, params, key):
    return observed

def still(state, inputs, params, key):
    return {"moved": MOVED}

def couple(state, inputs, outputs, params, key):
    return {name: state[name] for name in state}

SUBMODULES = (still,)
'''


def test_check_says_what_a_simulator_is_or_what_is_wrong_with_it(call):
    task = str(Path(__file__).parents[2] / "envs" / "boarding_school_flu")
    Path("still.py").write_text(SIMULATOR.replace("MOVED", "poisson(key, 0.0)"))
    good = call("check", "still.py", "--task", task, "--json")
    assert good.status == 0, good.err
    assert good.document["accepted"] is True
    assert good.document["submodules"] == ["still"]
    Path("still.py").write_text(SIMULATOR.replace("MOVED", '__import__("os")'))
    bad = call("check", "still.py", "--task", task)
    assert bad.status == 2
    assert bad.out == ""
    assert "still.py, line 9" in bad.err
