"""The folder that ``gsim new`` writes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from gsim_jax.task import load_task, new_task, profile, rule_problems


def test_it_loads_without_problems(tmp_path: Path) -> None:
    folder = new_task(tmp_path / "deep" / "ward")
    assert sorted(path.name for path in folder.iterdir()) == [
        "description.md",
        "task.toml",
        "train.csv",
    ]
    task = load_task(folder)
    assert rule_problems(task) == []
    assert [output.label for output in task.schema.outputs] == ["well", "ill", "share_ill"]
    assert task.train.length.tolist() == [task.schema.horizon + 1] * 2
    assert profile(task).invariants[0].value == 30


def test_what_it_offers_in_comments_is_accepted_too(tmp_path: Path) -> None:
    folder = new_task(tmp_path / "ward")
    text = (folder / "task.toml").read_text(encoding="utf-8")
    options = re.sub(r"(?m)^#(?=\S)", "", text)
    assert len(tomllib.loads(options)) > len(tomllib.loads(text))
    (folder / "task.toml").write_text(options, encoding="utf-8")
    (folder / "contacts.csv").write_text("1,0,0\n0,1,0\n0,0,1\n", encoding="utf-8")
    table = "trajectory,t,well,ill,lockdown,beds\nx,0,29,1,0,4\nx,1,28,2,,4\n"
    for name in ("train.csv", "validation.csv", "test.csv"):
        (folder / name).write_text(table, encoding="utf-8")
    task = load_task(folder)
    assert list(task.splits) == ["train", "validation", "test"]
    assert task.schema.states["bed"].exchangeable == "slot"
    assert task.train.inputs["lockdown"].tolist() == [[0, 0]]
    assert task.train.attributes["beds"].tolist() == [4]


def test_it_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "task.toml").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match=r"already has task\.toml: choose another folder"):
        new_task(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["task.toml"]
    with pytest.raises(NotADirectoryError, match="expected a folder, got the file"):
        new_task(tmp_path / "task.toml")
