"""What the data show, on synthetic data whose facts are known, and on noise that shows nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gsim_jax.task import Derived, Input, Schema, Task, Variable, parse, profile
from gsim_jax.task.dense import Dense
from gsim_jax.task.profile_invariants import find_invariants
from gsim_jax.task.profile_series import monotone, period


def task_of(
    states: dict[str, np.ndarray],
    inputs: dict[str, np.ndarray] | None = None,
    *,
    kind: str = "count",
    seen: np.ndarray | None = None,
    derived: dict[str, str] | None = None,
) -> Task:
    """A task whose training data are these arrays [n, rows]."""
    inputs = inputs or {}
    n, rows = next(iter(states.values())).shape
    shapes = dict.fromkeys(states, ())
    schema = Schema(
        name="made",
        title="Made",
        step="day",
        horizon=rows - 1,
        states={name: Variable(name, kind) for name in states},  # type: ignore[arg-type]
        inputs={name: Input(name, "real", default=0) for name in inputs},
        derived={name: Derived(name, parse(t, shapes)) for name, t in (derived or {}).items()},
    )
    mask = np.ones((n, rows), bool) if seen is None else seen
    columns = {name: (np.where(mask, x, 0).astype(float), mask) for name, x in states.items()}
    columns |= {name: (u.astype(float), np.ones((n, rows), bool)) for name, u in inputs.items()}
    dense = Dense(tuple(f"{i}" for i in range(n)), np.full(n, rows), columns, {}, None)
    return Task(Path("."), schema, dense.trajectories(schema))


def sir(rng: np.random.Generator, n: int, rows: int, scatter: float | None = None) -> dict:
    """Chain-binomial SIR; with `scatter` infections are negative binomial of that dispersion."""
    s = rng.integers(4000, 6000, n) if scatter else rng.integers(50, 101, n)
    i, r = rng.integers(20, 40, n) if scatter else rng.integers(1, 6, n), np.zeros(n, int)
    kept = [(s, i, r)]
    for _ in range(rows - 1):
        s, i, r = kept[-1]
        p = 1 - np.exp(-0.5 * i / (s + i + r))
        if scatter is None:
            new = rng.binomial(s, p)
        else:
            mean = np.maximum(s * p, 1e-9)
            new = np.minimum(rng.poisson(rng.gamma(scatter, mean / scatter)), s)
        out = rng.binomial(i, 0.1)
        kept.append((s - new, i + new - out, r + out))
    counts = np.asarray(kept)  # [rows, 3, n]
    return {name: counts[:, k].T for k, name in enumerate("SIR")}


def stock(rng: np.random.Generator, n: int, rows: int, lead: int) -> tuple[dict, dict]:
    """A stock that Poisson demand draws down and orders fill `lead` steps after they are placed."""
    order = rng.integers(0, 11, (n, rows))
    demand = rng.poisson(5, (n, rows))
    level = np.zeros((n, rows), int)
    level[:, 0] = 500
    for t in range(rows - 1):
        arrived = order[:, t - lead] if t >= lead else 0
        level[:, t + 1] = level[:, t] - demand[:, t] + arrived
    return {"level": level}, {"order": order}


@pytest.fixture(scope="module")
def epidemic():
    """Profile of 40 small epidemics."""
    return profile(task_of(sir(np.random.default_rng(1), 40, 61)))


def test_the_facts_of_an_epidemic(epidemic) -> None:
    assert (epidemic.trajectories, epidemic.rows) == (40, 40 * 61)
    shown = {name: (v.monotone, v.integer, v.period) for name, v in epidemic.variables.items()}
    assert shown == {
        "S": ("decreasing", True, None),
        "I": (None, True, None),
        "R": ("increasing", True, None),
    }
    (invariant,) = epidemic.invariants
    assert invariant.coefficients == {"S": 1, "I": 1, "R": 1}
    assert (invariant.constant_over, invariant.value) == ("trajectory", None)
    assert invariant.words == "S + I + R is constant along each trajectory"
    # in both halves of the step what leaves S enters I, what leaves I enters R; nobody skips I
    assert {link[:2] for link in epidemic.transfers} == {("S", "I"), ("I", "R")}
    assert epidemic.lags == ()


def test_dispersion_of_a_binomial_flow(epidemic) -> None:
    recoveries = epidemic.variables["R"].dispersion  # Binomial(I, 0.1): 0.9
    assert recoveries == pytest.approx(0.9, abs=0.06)
    assert epidemic.variables["S"].dispersion < 1.0
    assert epidemic.variables["I"].dispersion is None


def test_dispersion_of_a_poisson_flow_and_of_an_overdispersed_one() -> None:
    rng = np.random.default_rng(2)
    rate = 20 + 10 * np.sin(np.linspace(0, 3, 80))
    for _ in range(3):
        plain = np.cumsum(rng.poisson(rate, (10, 80)), axis=1)
        assert profile(task_of({"C": plain})).variables["C"].dispersion == pytest.approx(
            1, abs=0.15
        )
        mixed = rng.poisson(rng.gamma(4.0, rate / 4.0, (10, 80)))  # variance m + m^2 / 4
        expected = 1 + (rate**2).mean() / rate.mean() / 4
        found = profile(task_of({"C": np.cumsum(mixed, axis=1)})).variables["C"].dispersion
        assert found == pytest.approx(expected, rel=0.2)
    assert profile(task_of(sir(rng, 30, 61, scatter=5.0))).variables["S"].dispersion > 3


def test_a_single_value_everywhere_and_weighted_forms() -> None:
    rng = np.random.default_rng(3)
    a = rng.integers(0, 40, (5, 20))
    b = rng.integers(0, 10, (5, 20))
    found = profile(task_of({"a": a, "b": b, "c": 200 - 2 * a - 3 * b})).invariants
    assert [(i.coefficients, i.constant_over, i.value) for i in found] == [
        ({"a": 2, "b": 3, "c": 1}, "all", 200.0)
    ]
    assert found[0].words == "2 a + 3 b + c is 200 in every row"


def test_two_invariants_at_once() -> None:
    rng = np.random.default_rng(4)
    data = sir(rng, 20, 40)
    data["C"] = data["S"][:, :1] - data["S"]  # cumulative infections
    found = profile(task_of(data)).invariants
    forms = np.asarray([[i.coefficients.get(k, 0) for k in "SIRC"] for i in found])
    assert np.linalg.matrix_rank(forms) == 2
    truth = np.asarray([[1, 1, 1, 0], [1, 0, 0, 1]])
    assert np.linalg.matrix_rank(np.concatenate([forms, truth])) == 2


def test_an_invariant_of_reals_and_one_that_only_nearly_holds() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(50, 3, (2, 8, 30)).astype(np.float32)
    z = (100 - 0.25 * x - y).astype(np.float32)
    (found,) = profile(task_of({"x": x, "y": y, "z": z}, kind="real")).invariants
    assert found.coefficients == {"x": 1, "y": 4, "z": 4}
    assert found.value == pytest.approx(400, rel=1e-6)
    noisy = z + rng.normal(0, 0.01, z.shape)
    assert profile(task_of({"x": x, "y": y, "z": noisy}, kind="real")).invariants == ()
    # levels of a million that move by hundredths: rounding would hide any change
    slow = {"x": 1e6 + 0.01 * x, "y": 1e6 + 0.01 * y}
    assert profile(task_of(slow, kind="real")).invariants == ()


def test_a_balance_with_an_input() -> None:
    rng = np.random.default_rng(16)
    states, inputs = stock(rng, 6, 40, lead=1)
    order, level = inputs["order"], states["level"]
    sold = level[:, :1] + np.cumsum(order, axis=1) - order - level  # less what is on its way
    sold[:, 1:] -= order[:, :-1]
    underway = np.concatenate([np.zeros((6, 1), int), order[:, :-1]], axis=1)
    counts = {"level": level, "underway": underway, "sold": sold}
    found = profile(task_of(counts, inputs))
    assert found.invariants == ()
    (balance,) = found.balances
    assert balance.coefficients == {"level": 1, "underway": 1, "sold": 1}
    assert balance.inputs == {"order": 1}
    assert balance.words == "level + underway + sold changes by order in every step"
    assert f"Balance: {balance.words}." in found.to_text()
    document = json.loads(json.dumps(found.to_json()))
    assert document["balances"][0]["inputs"] == {"order": 1}
    counts["sold"] = sold.copy()
    counts["sold"][2, 9] += 1
    assert profile(task_of(counts, inputs)).balances == ()


def test_a_balance_keeps_its_size_and_sign() -> None:
    rng = np.random.default_rng(17)
    drawn, spare = rng.integers(0, 5, (2, 4, 30))
    tank = 900 - 3 * (np.cumsum(drawn, axis=1) - drawn)
    (balance,) = profile(task_of({"tank": tank}, {"drawn": drawn, "spare": spare})).balances
    assert (balance.coefficients, balance.inputs) == ({"tank": -1}, {"drawn": 3})
    assert balance.words == "-tank changes by 3 drawn in every step"
    constant = {"drawn": np.ones((4, 30)), "spare": spare}
    steady = 900 - np.tile(np.arange(30), (4, 1))
    assert profile(task_of({"tank": steady}, constant)).balances == ()  # nothing to tell it by


def test_one_wrong_cell_ends_an_invariant() -> None:
    data = sir(np.random.default_rng(6), 10, 30)
    data["I"][3, 7] += 1
    assert profile(task_of(data)).invariants == ()


def test_derived_values_that_restate_states_are_no_news() -> None:
    data = sir(np.random.default_rng(7), 20, 40)
    found = profile(task_of(data, derived={"N": "S + I + R", "many": "I > 3"}))
    assert [i.coefficients for i in found.invariants] == [{"S": 1, "I": 1, "R": 1}]
    assert found.variables["N"].monotone == "constant"
    assert "N" not in {name for link in found.transfers for name in link[:2]}


def test_missing_entries_are_counted_and_stepped_over() -> None:
    rng = np.random.default_rng(8)
    data, seen = sir(rng, 20, 61), rng.random((20, 61)) > 0.25
    found = profile(task_of(data, seen=seen))
    assert found.variables["S"].missing_fraction == pytest.approx(1 - seen.mean())
    assert found.variables["S"].monotone == "decreasing"
    assert [i.coefficients for i in found.invariants] == [{"S": 1, "I": 1, "R": 1}]


@pytest.mark.parametrize("lead", [0, 2, 5])
def test_the_lag_of_an_input(lead: int) -> None:
    found = profile(task_of(*stock(np.random.default_rng(9), 10, 60, lead)))
    ((name, label, lag, correlation),) = found.lags
    assert (name, label, lag) == ("order", "level", lead)
    assert correlation > 0.6
    assert f"order acts on level {f'{lead} steps later' if lead else 'at once'}" in found.to_text()


def test_an_input_that_answers_the_state_is_not_mistaken_for_its_cause() -> None:
    rng = np.random.default_rng(10)
    level = rng.normal(0, 1, (10, 80))
    for t in range(1, 80):
        level[:, t] = 0.8 * level[:, t - 1] + rng.normal(0, 1, 10)
    answer = level + rng.normal(0, 0.5, level.shape)
    assert profile(task_of({"level": level}, {"answer": answer}, kind="real")).lags == ()


def test_a_weekly_rhythm_in_counts_and_in_their_sums() -> None:
    rng = np.random.default_rng(11)
    week = np.asarray([1.3, 1.2, 1.1, 1.0, 1.0, 0.8, 0.6])[np.arange(98) % 7]
    course = 40 + 30 * np.sin(np.linspace(0, np.pi, 98))
    cases = rng.poisson(course * week, (3, 98))
    found = profile(task_of({"cases": cases, "total": np.cumsum(cases, axis=1)})).variables
    assert found["cases"].period == 7
    assert found["total"].period == 7


@pytest.mark.parametrize("seed", range(10))
def test_noise_shows_nothing(seed: int) -> None:
    """The negative control: independent walks and noise, with an input that acts on nothing."""
    rng = np.random.default_rng(100 + seed)
    states = {
        "a": 1000 + np.cumsum(rng.poisson(3, (6, 50)) - rng.poisson(3, (6, 50)), axis=1),
        "b": rng.poisson(30, (6, 50)),
        "c": 500 + np.cumsum(rng.integers(-2, 3, (6, 50)), axis=1),
    }
    inputs = {"u": rng.normal(0, 1, (6, 50)), "v": np.cumsum(rng.normal(0, 1, (6, 50)), axis=1)}
    found = profile(task_of(states, inputs))
    assert found.invariants == ()
    assert found.transfers == ()
    assert found.lags == ()
    assert [v.period for v in found.variables.values()] == [None] * 3
    assert [v.monotone for v in found.variables.values()] == [None] * 3


def test_few_rows_state_no_invariant() -> None:
    rng = np.random.default_rng(12)
    labels = tuple("abcde")
    values = rng.integers(0, 9, (1, 5, 5)).astype(float)  # 4 increments of 5 variables
    assert find_invariants(labels, values, np.ones(values.shape, bool)) == ()


def test_never_observed_and_json() -> None:
    data = sir(np.random.default_rng(13), 5, 12)
    found = profile(task_of(data, seen=np.zeros((5, 12), bool)))
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["variables"]["S"]["minimum"] is None
    assert document["variables"]["S"]["missing_fraction"] == 1
    assert "S: never observed." in found.to_text()


def test_text_and_json_of_an_epidemic(epidemic) -> None:
    text = epidemic.to_text()
    assert "S: whole numbers 0 to" in text
    assert "never rises" in text
    assert "Invariant: S + I + R is constant along each trajectory." in text
    document = json.loads(json.dumps(epidemic.to_json(), allow_nan=False))
    assert document["invariants"][0]["coefficients"] == {"S": 1, "I": 1, "R": 1}
    assert document["transfers"][0][2] > 0.15


@pytest.mark.parametrize(
    ("series", "course"),
    [
        ([[1, 2, 2]], "increasing"),
        ([[3, 2, 2]], "decreasing"),
        ([[2, 2, 2], [5, 5, 5]], "constant"),
        ([[1, 2, 3], [3, 2, 1]], None),
        ([[1]], None),
    ],
)
def test_monotone(series: list, course: str | None) -> None:
    values = np.asarray(series, float)
    assert monotone(values, np.ones(values.shape, bool)) == course


def test_no_period_in_a_smooth_course() -> None:
    t = np.linspace(-3, 3, 90)
    hump = np.round(1000 * np.exp(-(t**2)))[None]
    assert period(hump, np.ones(hump.shape, bool)) is None
    line = np.arange(60.0)[None]
    assert period(line, np.ones(line.shape, bool)) is None


@pytest.mark.parametrize("seed", range(5))
def test_no_period_in_a_smooth_course_with_noise(seed: int) -> None:
    """Curvature is alike in neighbouring rows, noise of a stock opposed: together no rhythm."""
    rng = np.random.default_rng(200 + seed)
    for scale in (0.3, 1.0, 3.0, 10.0):
        inflow = (
            scale
            * 1000
            * np.exp(-((np.linspace(-3, 3, 121)[None] - rng.normal(0, 1, (30, 1))) ** 2))
        )
        beds = np.zeros((30, 121), int)
        for t in range(120):
            left = rng.binomial(beds[:, t], 0.1)
            beds[:, t + 1] = beds[:, t] - left + rng.poisson(inflow[:, t])
        assert period(beds.astype(float), np.ones(beds.shape, bool)) is None


def test_dispersion_of_a_large_epidemic_is_not_the_error_of_its_fit() -> None:
    rng = np.random.default_rng(18)
    s, i = np.full(40, 500_000), rng.integers(1000, 5000, 40)
    kept = [(s, i)]
    for _ in range(80):
        new = rng.binomial(s, 1 - np.exp(-0.5 * i / 500_000))
        s, i = s - new, i + new - rng.binomial(i, 0.1)
        kept.append((s, i))
    counts = np.asarray(kept)
    found = profile(task_of({"S": counts[:, 0].T, "I": counts[:, 1].T})).variables["S"].dispersion
    assert found is not None
    assert 0.6 < found < 1.3  # Binomial(S, p) has between 0.6 and 1; its fit errs by hundreds


@pytest.mark.parametrize("length", [2, 5, 12])
def test_any_period_is_found(length: int) -> None:
    rng = np.random.default_rng(14)
    wave = rng.normal(0, 5, length)[np.arange(100) % length] + np.arange(100) * 0.3
    values = wave + rng.normal(0, 1, (2, 100))
    assert period(values, np.ones(values.shape, bool)) == length


def test_a_large_table_is_sampled_for_fits_and_read_whole_for_facts() -> None:
    data = sir(np.random.default_rng(15), 400, 61)
    found = profile(task_of(data))
    assert (found.trajectories, found.rows) == (400, 400 * 61)
    assert found.variables["S"].maximum == data["S"].max()
    assert {link[:2] for link in found.transfers} == {("S", "I"), ("I", "R")}
    assert len(found.invariants) == 1
    data["R"][201, 60] += 1  # in a trajectory that the fits leave out
    assert profile(task_of(data)).invariants == ()
