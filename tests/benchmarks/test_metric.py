"""`gsim bench metric`: floors of the paper's tasks, files, runs, and requests that are no good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import _worlds
from gsim_jax.cli import main
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import SimulatorError, load_task

ENVS = _worlds.ENVS
COVID = ENVS / "covid19"
#: Floors at N = 200, one step, measured independently: task, variables, lowest, highest.
FLOORS = [
    ("covid19", "S,I,R", 0.25, 0.28),
    ("supply_chain", "inventory,backlog", 0.27, 0.27),
    pytest.param("hospital_beds", "icu,standard", 0.23, 0.23, marks=pytest.mark.slow),
    pytest.param(
        "hospital_beds",
        "icu,standard,patients_0,patients_1,patients_2",
        0.66,
        0.66,
        marks=pytest.mark.slow,
    ),
]


@pytest.fixture
def metric(capsys: pytest.CaptureFixture[str]) -> Any:
    """Calls `gsim bench metric ... --json`: exit status and document."""

    def call(*words: str) -> tuple[int, dict[str, Any]]:
        status = main(["bench", "metric", *words, "--json"])
        return status, json.loads(capsys.readouterr().out)

    return call


@pytest.mark.parametrize(("task", "values", "low", "high"), FLOORS)
def test_floors_of_the_papers_tasks(
    metric: Any, task: str, values: str, low: float, high: float
) -> None:
    status, document = metric(str(ENVS / task), "--horizons", "1", "--values", values)
    assert status == 0
    (result,) = document["results"]
    (found,) = result["metrics"]
    assert result["simulator"] == "truth"
    assert (found["states"], result["draws"]) == (1000, 200)
    assert 0.9 * low <= found["floor"] <= 1.1 * high
    assert abs(found["ratio"] - 1) < 4 * found["ratio_se"] < 0.1
    assert abs(found["excess"]) < 4 * found["excess_se"]


def test_the_default_vectors_are_variables_of_the_tasks() -> None:
    for folder in _worlds.tasks():
        task = load_task(folder)
        labels = {output.label for output in task.schema.outputs}
        assert set(_worlds.values_for(task)) <= labels
        assert _worlds.values_for(task, ("a", "b")) == ("a", "b")
    assert {path.name for path in _worlds.tasks()} >= set(_worlds.VALUES)


def test_a_file_with_given_parameters(metric: Any, tmp_path: Path) -> None:
    given = tmp_path / "values.json"
    given.write_text('{"infection.beta": 0.3}', encoding="utf-8")
    out = tmp_path / "metric.json"
    status, document = metric(
        str(COVID), "--simulator", str(COVID / "truth.py"), "--parameters", str(given),
        "--horizons", "1,7", "--states", "200", "--draws", "100", "--out", str(out),
    )  # fmt: skip
    assert status == 0
    (result,) = document["results"]
    assert result["parameters"] == {"infection.beta": 0.3, "recovery.gamma": 0.1}
    assert result["parameters_from"] == "given, TRUTH of the file"
    assert result["values"] == ["S", "I", "R"]
    near, far = result["metrics"]
    assert (near["horizon"], far["horizon"]) == (1, 7)
    # β = 0.3 for 0.5: seen in one step, and plain in seven.
    assert near["ratio"] > 1 + 5 * near["ratio_se"]
    assert far["ratio"] > near["ratio"]
    assert set(far["variables"]) == {"S", "I", "R"}
    assert json.loads(out.read_text(encoding="utf-8")) == {"results": document["results"]}


RUN = {
    "run.json": {"schema": 1, "task": {"name": "covid19", "path": str(COVID)}, "split": "train"},
    "diagnosis": {
        "id": 0, "round": 0, "slot": 0, "parent": None, "title": "an SIR", "rationale": "",
        "split": "train", "score": 1.0, "floor": 1.0, "gap": 0.0, "gap_se": 0.1, "adequate": True,
        "parameters": {"infection.beta": 0.5, "recovery.gamma": 0.2},
    },
}  # fmt: skip


def test_the_best_candidate_of_a_run(metric: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "candidates" / "000"
    folder.mkdir(parents=True)
    run = folder.parents[1]
    (run / "run.json").write_text(json.dumps(RUN["run.json"]), encoding="utf-8")
    events = [{"event": "candidate", "id": 0}, {"event": "end", "best": 0}]
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (run / "events.jsonl").write_text(lines, encoding="utf-8")
    (folder / "diagnosis.json").write_text(json.dumps(RUN["diagnosis"]), encoding="utf-8")
    # A run's file knows nothing of the truth: its parameters are those that were calibrated.
    source = (COVID / "truth.py").read_text(encoding="utf-8")
    (folder / "simulator.py").write_text(
        "\n".join(line for line in source.splitlines() if not line.startswith("TRUTH")),
        encoding="utf-8",
    )
    small = ("--horizons", "1", "--states", "100", "--draws", "100")
    status, document = metric("--run", str(run), *small)
    assert status == 0
    (result,) = document["results"]
    assert result["task"] == "covid19"
    assert result["parameters"] == RUN["diagnosis"]["parameters"]
    assert result["parameters_from"] == "given"
    assert "candidate 0 (an SIR)" in result["simulator"]
    assert result["metrics"][0]["ratio"] > 1 + 3 * result["metrics"][0]["ratio_se"]
    status, document = metric("--run", str(run), "--candidate", "7", *small)
    assert status == 2
    assert "expected a finished candidate, one of: 0" in document["errors"][0]["message"]


TRUTH = str(COVID / "truth.py")
BAD = [
    ((str(COVID), "--horizons", "1,x"), "expected positive whole numbers such as 1,7,20"),
    ((str(COVID), "--horizons", "100"), "expected horizons of 1 to 60 steps; got [100]"),
    ((str(COVID), "--values", "S,Q"), "expected values out of S, I, R; got Q"),
    (("--simulator", TRUTH), "expected one TASK for one simulator"),
    ((str(COVID), "--simulator", TRUTH, "--run", "x"), "--simulator or --run, got both"),
    ((str(COVID), "--candidate", "1"), "--candidate needs --run"),
    ((str(COVID), "--parameter", "a.b=1"), "--parameter and --parameters need --simulator"),
    ((str(COVID), "--simulator", TRUTH, "--parameter", "a.b"), "GROUP.NAME=VALUE with a number"),
    (
        (str(COVID), "--simulator", TRUTH, "--parameter", "a.b=1"),
        "expected parameters out of infection.beta, recovery.gamma; got a.b",
    ),
    ((str(ENVS / "boarding_school_flu"),), "expected a truth.py: this metric needs"),
    ((str(COVID), "--nonsense"), "--nonsense"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_bad_requests_are_answered_in_words(
    metric: Any, words: tuple[str, ...], message: str
) -> None:
    status, document = metric(*words)
    assert status == 2
    assert message in " ".join(error["message"] for error in document["errors"])


def test_a_refused_file_is_named(metric: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("import os\n", encoding="utf-8")
    status, document = metric(str(COVID), "--simulator", str(path))
    assert status == 2
    assert document["errors"][0]["file"] == str(path)


def test_truth_is_read_without_running_the_file() -> None:
    assert _worlds.declared_truth('TRUTH = {"a.b": 1, "c.d[0]": 0.5}\nx = 1 / 0', "f.py") == {
        "a.b": 1, "c.d[0]": 0.5,
    }  # fmt: skip
    assert _worlds.declared_truth("x, y = 1, 2", "f.py") is None
    for source in ("TRUTH = {'a': f(1)}", "TRUTH = [1]", "TRUTH = {'a': 'b'}"):
        with pytest.raises(SimulatorError, match=r"f\.py, line 1: expected TRUTH = "):
            _worlds.declared_truth(source, "f.py")
    with pytest.raises(SimulatorError, match=r"f\.py, line 2"):
        _worlds.declared_truth("\ndef", "f.py")


def test_a_truth_without_its_values_is_refused(tmp_path: Path) -> None:
    task = load_task(COVID)
    source = (COVID / "truth.py").read_text(encoding="utf-8")
    (tmp_path / "truth.py").write_text(source.replace("TRUTH =", "OTHER ="), encoding="utf-8")
    for name in ("task.toml", "train.csv", "validation.csv", "test.csv", "description.md"):
        (tmp_path / name).write_bytes((COVID / name).read_bytes())
    moved = load_task(tmp_path)
    with Sandbox() as sandbox:
        assert _worlds.load_truth(task, sandbox).parameters["infection.beta"] == 0.5
        with pytest.raises(SimulatorError, match="with the values that made the data"):
            _worlds.load_truth(moved, sandbox)


def test_arguments_reach_only_benchmarks_that_take_them(
    metric: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "metric", "--", "--help"]) == 0
    assert "--simulator FILE" in capsys.readouterr().out
    assert main(["bench", "--names"]) == 0
    names = capsys.readouterr().out.split()
    assert "metric" in names
    assert not [name for name in names if name.startswith("_")]
