"""Rules on trajectories: traced, batched, three-valued; and the invariants they declare."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from gsim_jax.task import (
    Attribute,
    Constant,
    Derived,
    Input,
    Rule,
    Schema,
    Variable,
    check_rules,
    load_task,
    parse,
    rule_problems,
    rule_violations,
)
from tests.task.sound import train

RULES = {
    "constant": "S + I == initial.S + initial.I",
    "falls": "S <= previous.S",
    "filled": "los >= 0",
    "room": "busy <= beds",
    "open": "not (closed and I > previous.I)",
    "size": "S + I <= population",
    "weights": "sum(los * weight) < 10",
    "start": "t > 0 or busy == initial.busy",
}


def schema_with(rules: dict[str, str], derived: dict[str, str] | None = None) -> Schema:
    """Two counts, an exchangeable array, an input, an attribute, two constants."""
    base = {
        "name": "ward",
        "title": "Ward",
        "step": "day",
        "horizon": 9,
        "states": {
            "S": Variable("S", "count"),
            "I": Variable("I", "count"),
            "los": Variable("los", "count", (3,), exchangeable="slot"),
        },
        "inputs": {"closed": Input("closed", "flag", (), 0)},
        "constants": {
            "population": Constant("population", np.asarray(10, np.int32)),
            "weight": Constant("weight", np.asarray([1, 2, 3], np.float32)),
        },
        "attributes": {"beds": Attribute("beds", "count")},
    }
    shapes = dict(Schema(**base).shapes)
    made: dict[str, Derived] = {}
    for name, text in (derived or {"busy": "sum(los > 0)"}).items():
        made[name] = Derived(name, parse(text, shapes))
        shapes[name] = ()
    whole = Schema(**base, derived=made)
    read = tuple(Rule(name, parse(text, whole.rule_shapes)) for name, text in rules.items())
    return Schema(**base, derived=made, rules=read)


SCHEMA = schema_with(RULES)
STATES = {
    "S": np.asarray([8, 7, 9, 5], np.int32),
    "I": np.asarray([1, 2, 3, 4], np.int32),
    "los": np.asarray([[1, 0, 0], [1, 1, 1], [0, -1, 0], [1, 1, 3]], np.int32),
}
INPUTS = {"closed": np.asarray([0, 0, 1, 0], np.int32)}
ATTRIBUTES = {"beds": np.asarray(2, np.int32)}
EXPECTED = {
    "constant": [0, 0, 1, 0],
    "falls": [0, 0, 1, 0],
    "filled": [0, 0, 1, 0],
    "room": [0, 1, 0, 1],
    "open": [0, 0, 1, 0],
    "size": [0, 0, 1, 0],
    "weights": [0, 0, 0, 1],
    "start": [0, 0, 0, 0],
}


def test_violations_of_one_trajectory() -> None:
    violated = jax.jit(lambda *given: rule_violations(SCHEMA, *given))(STATES, INPUTS, ATTRIBUTES)
    assert violated.dtype == bool
    for k, rule in enumerate(SCHEMA.rules):
        np.testing.assert_array_equal(violated[k], EXPECTED[rule.name], rule.name)


def test_vmap_and_host_agree() -> None:
    rng = np.random.default_rng(3)
    states = {
        "S": rng.integers(0, 10, (20, 6)).astype(np.int32),
        "I": rng.integers(0, 4, (20, 6)).astype(np.int32),
        "los": rng.integers(-1, 4, (20, 6, 3)).astype(np.int32),
    }
    seen = {name: rng.random(value.shape) > 0.3 for name, value in states.items()}
    inputs = {"closed": rng.integers(0, 2, (20, 6)).astype(np.int32)}
    attributes = {"beds": rng.integers(1, 4, 20).astype(np.int32)}
    batched = jax.vmap(lambda x, u, a, m: rule_violations(SCHEMA, x, u, a, m))
    device = jax.jit(batched)(states, inputs, attributes, seen)
    host = check_rules(SCHEMA, states, seen, inputs, attributes)
    np.testing.assert_array_equal(np.swapaxes(device, 0, 1), host.violations)
    assert host.violated.min() > 0 or host.names[int(host.violated.argmin())] == "start"
    assert np.all(host.violated <= host.checked)


def test_what_is_unseen_violates_nothing_and_a_known_entry_is_enough() -> None:
    seen = {
        "S": np.asarray([False, True, True, True]),
        "I": np.ones(4, bool),
        "los": np.ones((4, 3), bool),
    }
    seen["los"][2, 0] = False
    violated = rule_violations(SCHEMA, STATES, INPUTS, ATTRIBUTES, seen)
    by_name = dict(zip(EXPECTED, np.asarray(violated).astype(int).tolist(), strict=True))
    assert by_name["constant"] == [0, 0, 0, 0]  # the initial S is not known
    assert by_name["falls"] == [0, 0, 1, 0]
    assert by_name["filled"] == [0, 0, 1, 0]  # the entry below 0 is seen, whatever the other is
    seen["los"][2] = [True, False, True]
    violated = rule_violations(SCHEMA, STATES, INPUTS, ATTRIBUTES, seen)
    assert not violated[list(EXPECTED).index("filled")].any()


def test_padding_is_not_checked_and_previous_starts_at_one() -> None:
    states = {name: np.stack([value, value]) for name, value in STATES.items()}
    inputs = {name: np.stack([value, value]) for name, value in INPUTS.items()}
    report = check_rules(
        SCHEMA, states, None, inputs, {"beds": np.asarray([2, 3])}, np.array([4, 2])
    )
    checked = dict(zip(report.names, report.checked.tolist(), strict=True))
    assert checked["constant"] == 6
    assert checked["falls"] == 4
    violated = dict(zip(report.names, report.violated.tolist(), strict=True))
    assert violated["room"] == 2
    line = report.lines(("ward a", "ward b"))[0]
    assert line == (
        "rule 'constant' does not hold in 1 of 6 rows checked, first in trajectory ward a at t = 2"
    )


def test_no_rules() -> None:
    assert rule_violations(schema_with({}), STATES, INPUTS, ATTRIBUTES).shape == (0, 4)


def test_data_that_violate_a_rule_still_load(folder) -> None:
    task = load_task(folder({"train.csv": train("7,3", "7,4")}))
    problems = rule_problems(task)
    assert [problem.code for problem in problems] == ["rule-violated"]
    assert "train: rule 'the population is constant' does not hold in 1 of 5" in str(problems[0])
    assert "first in trajectory a at t = 2" in str(problems[0])


def test_data_that_keep_the_rules_have_no_rule_problems(folder) -> None:
    assert rule_problems(load_task(folder())) == []


@pytest.mark.parametrize(
    ("rule", "form"),
    [
        ("S + I == initial.S + initial.I", {"S": 1, "I": 1}),
        ("2 * S - I == 4", {"S": 2, "I": -1}),
        ("S + I == population", {"S": 1, "I": 1}),
        ("S == beds - I", {"S": 1, "I": 1}),
        ("S + I == previous.S + previous.I", {"S": 1, "I": 1}),
        ("S + I == initial.S and I <= 3", {"S": 1, "I": 1}),
        ("total == population", {"S": 1, "I": 1}),
        ("total == initial.total", {"S": 1, "I": 1}),
        ("population == S + I == initial.S + initial.I", {"S": 1, "I": 1}),
        ("sum(los) + S == 9", {"S": 1, "los[0]": 1, "los[1]": 1, "los[2]": 1}),
        ("S + I == previous.S", None),
        ("S + I <= population", None),
        ("S * I == population", None),
        ("S + t == population", None),
        ("S + closed == population", None),
        ("S == 3 or I == 2", None),
        ("population == 10", None),
    ],
)
def test_invariants_that_rules_declare(rule: str, form: dict | None) -> None:
    schema = schema_with({"it": rule}, {"total": "S + I"})
    assert schema.invariants == (() if form is None else (form,))
