"""``--require-isolation`` and what ``gsim doctor`` says about the sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from gsim_jax.cli import isolation, main
from gsim_jax.simulator import sandbox as sandboxes
from gsim_jax.simulator.sandbox import LEVELS, Layer, Level

TASK = Path(__file__).parents[2] / "envs" / "covid19"
FILE = TASK / "truth.py"


def weak(found, threads):
    """The layers of a machine that offers none."""
    return [Layer("seccomp", False, "the kernel has no filters")]


def test_levels_are_those_of_the_sandbox() -> None:
    assert get_args(Level) == LEVELS == isolation.LEVELS


def test_doctor_names_the_level_and_what_is_missing(capsys) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["isolation"] in LEVELS
    layers = {layer["name"]: layer for layer in found["sandbox"]}
    assert {"seccomp", "landlock", "limits", "cleanup", "network"} <= set(layers)
    assert all(layer["detail"] for layer in layers.values())
    assert main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert f"Isolation: {found['isolation']}" in text
    for name, layer in layers.items():
        if not layer["active"]:
            assert name in text.partition("missing: ")[2]


@pytest.mark.parametrize(
    "verb",
    [
        ["check", str(FILE), "--task", str(TASK)],
        ["calibrate", str(TASK), "--simulator", str(FILE)],
        ["run", str(TASK), "--rounds", "1"],
    ],
    ids=lambda words: words[0],
)
def test_nothing_runs_below_the_level(monkeypatch, tmp_path, capsys, verb) -> None:
    monkeypatch.setattr(sandboxes, "_layers", weak)
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "record"
    words = [*verb, "--require-isolation", "seccomp", "--json", "--out", str(out)]
    assert main(words) == 2
    found = json.loads(capsys.readouterr().out)
    (error,) = found["errors"]
    assert error["code"] == "isolation"
    assert error["message"] == (
        "isolation 'seccomp' is required, 'walk' holds here (seccomp: the kernel has no filters)"
    )
    assert verb[0] == "check" or not out.exists()


def test_a_level_that_is_none(capsys) -> None:
    words = ["check", str(FILE), "--task", str(TASK), "--require-isolation", "total"]
    assert main(words) == 2
    assert "'namespaces', 'seccomp', 'walk'" in capsys.readouterr().err
