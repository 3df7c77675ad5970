"""Every environment is a sound task folder, reproduced by its script, that keeps its answer."""

from __future__ import annotations

import filecmp
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gsim_jax.simulator.check import check_source
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import rule_problems
from tests.envs.folders import ENVS, WORLDS, program_of, script_of, source_of, task_of, truth_of


@pytest.fixture(scope="module")
def sandbox():
    """One warm sandbox for all files."""
    with Sandbox() as running:
        yield running


def test_the_environments_that_there_are() -> None:
    assert set(WORLDS) == {
        "covid19",
        "covid19_large",
        "covid19_missing",
        "covid19_partial",
        "hospital_beds",
        "hospital_beds_occupancy",
        "hospital_surge",
        "supply_chain",
        "supply_chain_aggregates",
        "supply_chain_missing",
    }


@pytest.mark.parametrize("name", WORLDS)
def test_a_folder_loads_and_keeps_its_own_rules(name: str) -> None:
    task = task_of(name)
    assert list(task.splits) == ["train", "validation", "test"]
    assert task.schema.name == name
    assert rule_problems(task) == []
    named = [*task.schema.states.values(), *task.schema.derived.values()]
    assert [variable.name for variable in named if not variable.doc] == []
    without = [variable.name for variable in named if not variable.unit]
    assert [n for n in without if n not in ("bed", "disease")] == []  # codes have no unit


@pytest.mark.parametrize("name", WORLDS)
def test_the_truth_is_accepted(name: str, sandbox: Sandbox) -> None:
    report = check_source(source_of(name), task_of(name), sandbox)
    assert report.problems == ()
    assert report.warnings == ()
    assert report.program is not None
    space = report.program.parameters
    assert set(truth_of(name)) == set(space.labels)
    # within the priors: the way to the unit cube and back leaves the values as they are
    there = space.from_unit(np.float32(space.to_unit(truth_of(name))))
    for entry in space.entries:
        exact = space.values(truth_of(name))[entry.group][entry.name]
        np.testing.assert_allclose(there[entry.group][entry.name], exact, rtol=1e-4)
        assert not np.allclose(entry.guess, exact), f"{entry.key} is guessed right"
        assert entry.unit
        assert entry.doc


@pytest.mark.parametrize("name", WORLDS)
def test_the_tables_are_what_the_script_writes(name: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(ENVS / name / "generate.py"), str(tmp_path)], check=True)
    tables = sorted(path.name for path in (ENVS / name).glob("*.csv"))
    assert sorted(path.name for path in tmp_path.iterdir()) == tables
    same, *_ = filecmp.cmpfiles(ENVS / name, tmp_path, tables, shallow=False)
    assert sorted(same) == tables


@pytest.mark.parametrize("name", [name for name in WORLDS if name != "hospital_surge"])
def test_three_splits_of_a_hundred_that_differ(name: str) -> None:
    splits = task_of(name).splits
    for data in splits.values():
        assert (len(data), data.rows) == (100, 61)
        assert (data.length == 61).all()
    train, validation, test = (data.outputs for data in splits.values())
    assert not np.array_equal(train, validation)
    assert not np.array_equal(validation, test)
    assert not np.array_equal(test, train)


def test_the_repository_stays_small() -> None:
    assert sum(path.stat().st_size for path in ENVS.glob("*/*.csv")) < 10_000_000


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("covid19_large", "covid19"),
        ("covid19_missing", "covid19"),
        ("supply_chain_missing", "supply_chain"),
    ],
)
def test_variants_that_differ_in_their_data_only(name: str, same: str) -> None:
    assert source_of(name) == source_of(same)


@pytest.mark.parametrize("name", [n for n in WORLDS if n.startswith(("supply", "hospital_beds"))])
def test_variants_share_the_parameters_of_their_world(name: str) -> None:
    whole = "supply_chain" if name.startswith("supply") else "hospital_beds"
    assert truth_of(name) == truth_of(whole)
    assert program_of(name).parameters == program_of(whole).parameters


@pytest.mark.parametrize("name", WORLDS)
def test_descriptions_keep_the_answer_to_themselves(name: str) -> None:
    """Neither the names of laws and parameters nor a true value stands in what an expert tells."""
    text = task_of(name).schema.description
    words = set(re.findall(r"[a-z]+", text.lower()))
    told = {"binomial", "poisson", "normal", "exp", "beta", "gamma", "sir", "rate", "probability"}
    assert not words & told
    numbers = {float(n.replace(",", "")) for n in re.findall(r"\d[\d,]*\.?\d*", text)}
    # small whole numbers name diseases, prices, days and the longest delivery
    assert not {v for v in numbers if v != round(v)}
    allowed = {"supply": {1.0, 2.0, 60.0}, "hospital_beds": {0.0, 1.0, 2.0, 60.0}}
    for prefix, values in allowed.items():
        if name.startswith(prefix):
            assert numbers <= values


def test_a_larger_population() -> None:
    for data in task_of("covid19_large").splits.values():
        s, i, r = (data.states[name][:, 0] for name in "SIR")
        assert (s.min(), s.max()) >= (900, 990)
        assert s.max() <= 1000
        assert (i.min(), i.max()) >= (1, 19)
        assert i.max() <= 20
        assert not r.any()


@pytest.mark.parametrize("name", ["covid19_missing", "supply_chain_missing"])
def test_a_fifth_is_missing_and_the_rest_is_as_it_was(name: str) -> None:
    whole = task_of(name.removesuffix("_missing"))
    for split, data in task_of(name).splits.items():
        for state, seen in data.seen.items():
            assert seen[:, 0].all()
            later = seen[:, 1:]
            error = np.sqrt(0.2 * 0.8 / later.size)
            assert abs(1 - later.mean() - 0.2) < 4 * error
            complete = whole.splits[split].states[state]
            assert np.array_equal(data.states[state], np.where(seen, complete, 0))


def test_two_offices_see_different_spans() -> None:
    for split, data in task_of("covid19_partial").splits.items():
        days = np.arange(61)
        for state, inside in (("S", days <= 40), ("I", days <= 40), ("R", days >= 20)):
            assert np.array_equal(data.seen[state], np.tile(inside, (100, 1)))
            complete = task_of("covid19").splits[split].states[state]
            assert np.array_equal(data.states[state], np.where(inside, complete, 0))


def test_aggregates_are_those_of_the_whole_tables() -> None:
    for split, data in task_of("supply_chain_aggregates").splits.items():
        whole = task_of("supply_chain").splits[split]
        assert set(data.states) == {"inventory", "backlog"}
        for state, values in data.states.items():
            assert np.array_equal(values, whole.states[state])
        assert np.array_equal(data.inputs["order"], whole.inputs["order"])
    for split, data in task_of("hospital_beds_occupancy").splits.items():
        beds = task_of("hospital_beds").splits[split].states["bed"]
        assert np.array_equal(data.states["icu"], (beds == 0).sum(-1))
        assert np.array_equal(data.states["standard"], (beds == 1).sum(-1))


def test_orders_are_random_and_warehouses_begin_alike() -> None:
    for data in task_of("supply_chain").splits.values():
        orders, first = data.inputs["order"], data.states["inventory"][:, 0]
        counts = np.bincount(orders.ravel(), minlength=11)
        expected = orders.size / 11
        assert len(counts) == 11
        assert np.sum((counts - expected) ** 2 / expected) < 29.6  # chi-square, 10 df, 0.1 %
        assert set(first.tolist()) == set(range(15, 26))
        assert not data.states["pipeline"][:, 0].any()
        assert not data.states["backlog"][:, 0].any()


def test_hospitals_open_empty_and_fill_up() -> None:
    script = script_of("hospital_beds")
    for data in task_of("hospital_beds").splits.values():
        bed = data.states["bed"]
        assert (bed[:, 0] == 2).all()
        occupied = [(bed == kind).sum(-1) for kind in (0, 1)]
        capacity = script.Parameters().icu, script.Parameters().standard
        assert tuple(count.max() for count in occupied) == capacity
