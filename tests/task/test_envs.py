"""The environments that come with the package, as task folders."""

from __future__ import annotations

import ast
import filecmp
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gsim_jax.task import load_task, profile, rule_problems

ENVS = Path(__file__).parents[2] / "envs"


def test_the_flu_as_published() -> None:
    task = load_task(ENVS / "boarding_school_flu")
    data = task.train
    assert data.ids == ("school",)
    assert data.length.tolist() == [14]
    assert data.states["in_bed"].sum() == 1559  # bed-days of the 512 published cases
    assert data.states["in_bed"].max() == 298
    assert data.states["convalescent"][0, -1] == 20
    assert data.inputs["day_of_year"][0].tolist() == list(range(22, 36))
    assert data.inputs["weekday"][0, 0] == 6  # 22 January 1978 was a Sunday
    assert task.schema.constants["population"].value == 763
    assert task.schema.horizon == 13
    assert rule_problems(task) == []
    assert "British Medical Journal" in task.schema.description


def test_covid_is_a_small_population_in_three_splits() -> None:
    start = time.perf_counter()
    task = load_task(ENVS / "covid19")
    assert time.perf_counter() - start < 2.0  # 0.06 s on an idle core
    assert list(task.splits) == ["train", "validation", "test"]
    for data in task.splits.values():
        assert data.outputs.shape == (100, 61, 3)
        assert data.outputs_seen.all()
        first = {name: values[:, 0] for name, values in data.states.items()}
        assert (first["S"].min(), first["S"].max()) >= (50, 95)
        assert first["S"].max() <= 100
        assert set(first["I"].tolist()) == {1, 2, 3, 4, 5}
        assert not first["R"].any()
    assert rule_problems(task) == []
    assert task.schema.invariants == ({"S": 1.0, "I": 1.0, "R": 1.0},)
    different = [data.outputs for data in task.splits.values()]
    assert not np.array_equal(different[0], different[1])
    assert not np.array_equal(different[1], different[2])


def test_covid_follows_its_own_law() -> None:
    """Infections and recoveries have the mean and the variance of their binomials."""
    beta, gamma = truth()["infection.beta"], truth()["recovery.gamma"]
    for data in load_task(ENVS / "covid19").splits.values():
        s, i, r = (data.states[name].astype(float) for name in "SIR")
        risk = 1 - np.exp(-beta * i / (s + i + r))
        pairs = [(s, risk, -np.diff(s)), (i, np.full(i.shape, gamma), np.diff(r))]
        for size, p, drawn in pairs:
            mean, variance = (size * p)[:, :-1], (size * p * (1 - p))[:, :-1]
            active = variance > 0
            z = (drawn - mean)[active] / np.sqrt(variance[active])
            assert abs(z.mean()) < 4 / np.sqrt(z.size)
            assert z.var() == pytest.approx(1, abs=0.12)


def truth() -> dict[str, float]:
    """TRUTH of covid19, read without running the file."""
    tree = ast.parse((ENVS / "covid19" / "truth.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TRUTH":
            return ast.literal_eval(node.value)
    raise AssertionError("truth.py has no TRUTH")


def test_covid_is_generated_by_its_script(tmp_path: Path) -> None:
    script = ENVS / "covid19" / "generate.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True)
    names = ["train.csv", "validation.csv", "test.csv"]
    same, *_ = filecmp.cmpfiles(ENVS / "covid19", tmp_path, names, shallow=False)
    assert sorted(same) == sorted(names)


def test_the_descriptions_keep_the_answer_to_themselves() -> None:
    covid = load_task(ENVS / "covid19").schema.description
    assert "0.5" not in covid
    assert "0.1" not in covid
    for word in ("binomial", "exp", "beta", "gamma", "SIR", "rate"):
        assert word not in covid.split(), word


def test_what_the_covid_data_show() -> None:
    found = profile(load_task(ENVS / "covid19"))
    assert [invariant.coefficients for invariant in found.invariants] == [{"S": 1, "I": 1, "R": 1}]
    assert {link[:2] for link in found.transfers} == {("S", "I"), ("I", "R")}
    assert found.variables["R"].dispersion == pytest.approx(0.9, abs=0.06)
