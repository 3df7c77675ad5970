"""What the profile says of each environment is true, and what is true and matters it says."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from gsim_jax.task import Profile, profile
from tests.envs.folders import WORLDS, task_of, truth_of


@cache
def found(name: str) -> Profile:
    """The profile of a folder."""
    return profile(task_of(name))


def forms(name: str) -> list[dict]:
    """Coefficients of the invariants that are stated."""
    return [dict(invariant.coefficients) for invariant in found(name).invariants]


COVID = tuple(name for name in WORLDS if name.startswith("covid"))


@pytest.mark.parametrize("name", COVID)
def test_epidemics(name: str) -> None:
    shown = found(name)
    assert forms(name) == [{"S": 1, "I": 1, "R": 1}]
    assert shown.invariants[0].constant_over == "trajectory"
    assert {link[:2] for link in shown.transfers} == {("S", "I"), ("I", "R")}
    courses = {label: v.monotone for label, v in shown.variables.items()}
    assert courses == {"S": "decreasing", "I": None, "R": "increasing"}
    assert shown.balances == ()
    assert shown.lags == ()
    gamma = truth_of(name)["recovery.gamma"]  # a binomial flow: variance / mean is 1 - gamma
    if name in ("covid19", "covid19_large"):
        assert shown.variables["R"].dispersion == pytest.approx(1 - gamma, abs=0.06)
    for label in ("S", "R"):
        assert 0.6 < (shown.variables[label].dispersion or np.inf) < 1


@pytest.mark.parametrize("name", ["supply_chain", "supply_chain_missing"])
def test_the_position_of_a_warehouse_changes_by_its_orders(name: str) -> None:
    shown = found(name)
    (balance,) = shown.balances
    # entries of the pipeline behind the lead time never move
    assert balance.coefficients == {
        "inventory": 1, "backlog": -1, "pipeline[0]": 1, "pipeline[1]": 1, "demanded": 1,
    }  # fmt: skip
    assert balance.inputs == {"order": 1}
    assert "demanded changes by order in every step" in shown.to_text()
    assert forms(name) == []
    assert shown.variables["demanded"].monotone == "increasing"
    assert shown.variables["demanded"].dispersion == pytest.approx(1, abs=0.1)
    rate = shown.variables["demanded"].increment_mean
    assert rate == pytest.approx(truth_of(name)["demand.rate"], abs=0.1)
    still = [label for label, v in shown.variables.items() if v.monotone == "constant"]
    assert still == [f"pipeline[{k}]" for k in range(2, 8)]
    # what is ordered stands in the pipeline in the next row, and goes on from there
    assert ("order", "pipeline[1]", 0) in {lag[:3] for lag in shown.lags}
    assert {lag[:3] for lag in shown.lags} <= {
        ("order", "pipeline[1]", 0),
        ("order", "pipeline[0]", 1),
        ("order", "inventory", 2),
        ("order", "backlog", 2),
    }
    allowed = {
        ("inventory", "demanded"),
        ("pipeline[1]", "pipeline[0]"),
        ("pipeline[0]", "inventory"),
    }
    assert {link[:2] for link in shown.transfers} <= allowed


def test_a_hidden_pipeline_shows_as_a_delay() -> None:
    shown = found("supply_chain_aggregates")
    lead = int(truth_of("supply_chain_aggregates")["supply.lead_time"])
    assert {lag[:3] for lag in shown.lags} == {
        ("order", "inventory", lead),
        ("order", "backlog", lead),
    }
    assert {lag[1]: lag[3] > 0 for lag in shown.lags} == {"inventory": True, "backlog": False}
    assert shown.invariants == ()
    assert shown.balances == ()
    assert shown.transfers == ()


def test_beds_and_patients() -> None:
    shown, truth = found("hospital_beds"), truth_of("hospital_beds")
    (same,) = forms("hospital_beds")
    assert same == {"icu": 1, "standard": 1, "patients_0": -1, "patients_1": -1, "patients_2": -1}
    assert shown.invariants[0].value == 0
    for label in ("icu", "standard"):
        assert (shown.variables[label].minimum, shown.variables[label].maximum) == (
            0,
            truth[f"admission.{label}"],
        )
    rising = [label for label, v in shown.variables.items() if v.monotone == "increasing"]
    assert rising == [f"{what}[{d}]" for what in ("deaths", "discharges") for d in range(3)]
    # patients of one disease leave as patients of that disease
    for source, target, _ in shown.transfers:
        assert target.startswith(("deaths[", "discharges["))
        assert source in (f"patients_{target[-2]}", "icu", "standard")
    ways = {link[:2] for link in shown.transfers}
    assert {(f"patients_{d}", f"discharges[{d}]") for d in range(3)} <= ways
    for d in range(3):  # rare events are Poisson, discharges come closer to a clock
        assert shown.variables[f"deaths[{d}]"].dispersion == pytest.approx(1, abs=0.06)
        assert (shown.variables[f"discharges[{d}]"].dispersion or np.inf) < 0.6
    assert shown.lags == ()


def test_occupancies_alone_show_their_capacity() -> None:
    shown, truth = found("hospital_beds_occupancy"), truth_of("hospital_beds_occupancy")
    maxima = {label: v.maximum for label, v in shown.variables.items()}
    assert maxima == {label: truth[f"admission.{label}"] for label in ("icu", "standard")}
    assert (shown.invariants, shown.balances, shown.transfers) == ((), (), ())


def test_a_surge() -> None:
    shown = found("hospital_surge")
    assert forms("hospital_surge") == [{"S": 1, "I": 1, "H": 1, "R": 1}]
    assert shown.invariants[0].value == 500_000
    acts = {lag[:3]: lag[3] > 0 for lag in shown.lags}
    assert acts == {("lockdown", "S", 0): True, ("lockdown", "I", 0): False}
    ways = {link[:2] for link in shown.transfers}
    assert ("S", "I") in ways
    assert ways <= {("S", "I"), ("I", "R"), ("I", "H"), ("H", "R")}
    # a fit that errs by a hundredth of fifty thousand infections a day is no over-dispersion
    assert 0.6 < (shown.variables["S"].dispersion or np.inf) < 1.2
    assert 0.6 < (shown.variables["R"].dispersion or np.inf) < 1


@pytest.mark.parametrize("name", WORLDS)
def test_nothing_is_weekly_and_everything_is_counted(name: str) -> None:
    shown = found(name)
    assert {v.period for v in shown.variables.values()} == {None}
    assert all(v.integer for v in shown.variables.values())
    data = task_of(name).train
    assert (shown.trajectories, shown.rows) == (len(data), int(data.length.sum()))
