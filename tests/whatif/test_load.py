"""Run records as models: what is read, what is not executed, what is said where things lack."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from gsim_jax.task import InputError
from gsim_jax.whatif import Scenario, replace
from gsim_jax.whatif.load import load_replacements, load_run
from tests.envs.folders import ENVS, task_of
from tests.whatif.records import U, covid_program, write_record


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_record(tmp_path_factory.mktemp("runs") / "run")


def said(*arguments: Any, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        load_run(*arguments, **options)
    return str(caught.value)


def test_draws_are_gaussian_in_x(run: Path) -> None:
    loaded = load_run(run, draws=4000, seed=3)
    beta = loaded.model.draws["infection"]["beta"]
    x = norm.ppf(beta / 2)
    assert x.mean() == pytest.approx(norm.ppf(U["infection.beta"]), abs=4 * 0.02 / 4000**0.5)
    assert x.std() == pytest.approx(0.02, rel=0.05)
    assert loaded.origin == "the calibrated point and its covariance"
    again = load_run(run, draws=4000, seed=3).model.draws["infection"]["beta"]
    np.testing.assert_array_equal(beta, again)


def test_one_draw_is_the_point(run: Path) -> None:
    draws = load_run(run, draws=1).model.draws
    assert draws["infection"]["beta"] == np.float32([0.5])


def test_a_posterior_is_drawn_from(tmp_path: Path) -> None:
    u = np.array([[0.2, 0.3], [0.4, 0.5], [0.6, 0.7]])
    found = load_run(write_record(tmp_path / "run", draws=u), draws=3, seed=1)
    assert sorted(found.model.draws["infection"]["beta"]) == pytest.approx([0.4, 0.8, 1.2])
    more = load_run(tmp_path / "run", draws=50, seed=1).model.draws["recovery"]["gamma"]
    assert set(np.round(more, 3)) == set(np.float32([0.3, 0.5, 0.7]))


def test_nothing_of_the_source_is_executed(run: Path, tmp_path: Path) -> None:
    """A record from elsewhere: its source would betray itself, its task is somewhere else."""
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    mark = tmp_path / "executed"
    (copy / "candidates/000/simulator.py").write_bytes(
        f"open({str(mark)!r}, 'w')\n".encode() + b"raise SystemExit(\xff)\n"
    )
    wrong = (copy / "run.json").read_text().replace(str(ENVS), "/nowhere")
    (copy / "run.json").write_text(wrong)
    assert "name the folder with --task DIR" in said(copy)
    found = load_run(copy, task=ENVS / "covid19")
    assert found.model.simulator == covid_program()
    assert not mark.exists()


def test_what_lacks_is_said(run: Path, tmp_path: Path) -> None:
    assert "expected a run folder with run.json" in said(tmp_path)
    assert "program of a finished candidate" in said(run, candidate=7)
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "events.jsonl").write_text('{"event": "start"}\n{"event": "ro')
    assert "no candidate has won a round yet" in said(copy)
    (copy / "events.jsonl").write_text("nonsense\n")
    assert "expected an event" in said(copy)
    document = copy / "candidates/000/program.json"
    document.write_bytes(document.read_bytes().replace(b'"binomial"', b'"system"'))
    assert said(copy, candidate=0)
    assert "task.toml" in said(run, task=tmp_path)


def test_replacements_go_through_the_sandbox(tmp_path: Path) -> None:
    task = task_of("covid19")
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text((ENVS / "covid19/truth.py").read_text())
    bad.write_text("import os\n" + good.read_text())
    scenarios = [
        Scenario("a", (replace("infection", good),)),
        Scenario("b", (replace("infection", good),)),
    ]
    first, second = load_replacements(scenarios, task)
    assert first.changes[0].value is second.changes[0].value
    assert first.changes[0].value.submodules == ("infection", "recovery")
    with pytest.raises(InputError) as caught:
        load_replacements(
            [Scenario("c", (replace("infection", bad), replace("recovery", tmp_path / "none.py")))],
            task,
        )
    assert "bad.py" in str(caught.value)
    assert "none.py" in str(caught.value)
