"""Rules on simulated trajectories, and the bands of the plots."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gsim_jax.diagnose import bands, check_rules_on_replicas
from gsim_jax.task import Rule, Schema, Variable, parse
from tests.simulator.worlds import data_of, schema_of

ROWS = 6


@pytest.fixture(scope="module")
def schema() -> Schema:
    states = {name: Variable(name, "count", min=0) for name in ("S", "R")}
    bare = schema_of(states=states)
    names = bare.rule_shapes
    rules = (
        Rule("whole", parse("S + R == initial.S + initial.R", names)),
        Rule("grows", parse("R >= previous.R", names)),
    )
    return schema_of(states=states, rules=rules)


def replicas(n: int = 2, count: int = 4) -> dict[str, np.ndarray]:
    """Sound free runs [B, n, rows]: one leaves S for R at every step."""
    r = np.broadcast_to(np.arange(ROWS), (count, n, ROWS)).copy()
    return {"S": 20 - r, "R": r}


class TestRules:
    def check(self, schema: Schema, runs: dict[str, np.ndarray], **options: object) -> dict:
        first = {name: run[0] for name, run in runs.items()}
        data = data_of(schema, first, **options)  # type: ignore[arg-type]
        found = check_rules_on_replicas(schema, runs, data)
        return {rule["name"]: (rule["violated"], rule["checked"]) for rule in found}

    def test_sound_runs(self, schema: Schema) -> None:
        assert self.check(schema, replicas()) == {"whole": (0, 48), "grows": (0, 48)}

    def test_rows_that_break_a_rule_are_counted(self, schema: Schema) -> None:
        runs = replicas()
        runs["R"][1, 0, 3] = 0  # neither whole nor growing in this row
        assert self.check(schema, runs) == {"whole": (1, 48), "grows": (1, 48)}

    def test_rows_behind_the_end_are_not(self, schema: Schema) -> None:
        runs = replicas()
        runs["R"][1, 0, 3] = 0
        length = np.array([3, 6])
        assert self.check(schema, runs, length=length) == {"whole": (0, 36), "grows": (0, 36)}

    def test_a_first_row_that_nobody_saw_decides_nothing(self, schema: Schema) -> None:
        runs = replicas()
        runs["S"][:, 0, 0] = runs["R"][:, 0, 0] = 0  # as replicas hold it: 0 where unseen
        seen = np.ones((2, ROWS), bool)
        seen[0, 0] = False
        assert self.check(schema, runs, seen={"S": seen, "R": seen})["whole"][0] == 0

    def test_no_rules(self) -> None:
        plain = schema_of("x")
        data = data_of(plain, {"x": np.zeros((1, 3))})
        assert check_rules_on_replicas(plain, {"x": np.zeros((2, 1, 3))}, data) == []


class TestBands:
    def test_quantiles_and_data(self, schema: Schema) -> None:
        generator = np.random.default_rng(1)
        outputs = generator.normal(size=(101, 2, ROWS, 2)).astype(np.float32)
        seen = np.ones((2, ROWS), bool)
        seen[0, 2] = False
        values = {"S": np.arange(12).reshape(2, ROWS), "R": np.arange(12).reshape(2, ROWS)}
        data = data_of(schema, values, {"S": seen}, length=np.array([5, 6]))
        got = bands(schema, outputs, data, most=1)
        (one,) = got["trajectories"]
        assert (got["horizon"], one["id"], one["t"]) == ("free", "site 0", [0, 1, 2, 3, 4])
        assert one["variables"]["S"]["data"] == [0.0, 1.0, None, 3.0, 4.0]
        for name, q in (("q05", 0.05), ("q50", 0.5), ("q95", 0.95)):
            expected = np.quantile(outputs[:, 0, :5, 0].astype(float), q, axis=0)
            np.testing.assert_allclose(one["variables"]["S"][name], expected, atol=1e-6)
        json.dumps(got, allow_nan=False)

    def test_what_is_undefined_is_not_drawn(self) -> None:
        """A sum before it is whole, a first row that nobody saw, a value no run defines."""
        schema = schema_of("weekly", "y", aggregates={"weekly": 3})
        outputs = np.ones((8, 1, ROWS, 2), np.float32)
        outputs[:, 0, 4, 1] = np.nan
        outputs[:4, 0, 5, 1] = np.nan  # half of the runs still define this one
        seen = np.ones((1, ROWS), bool)
        seen[0, 0] = False
        zeros = np.zeros((1, ROWS))
        data = data_of(schema, {"weekly": zeros, "y": zeros}, {"weekly": zeros > 0, "y": seen})
        variables = bands(schema, outputs, data)["trajectories"][0]["variables"]
        assert variables["weekly"]["q50"] == [None, None, 1.0, 1.0, 1.0, 1.0]
        assert variables["y"]["q50"] == [None, 1.0, 1.0, 1.0, None, 1.0]
