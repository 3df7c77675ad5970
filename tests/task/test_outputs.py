"""What is scored, of one traced row and of data."""

from __future__ import annotations

import json

import jax
import numpy as np

from gsim_jax.task import derived_values, load_task, output_vector
from gsim_jax.task.clock import calendar_values
from tests.task.test_rules import SCHEMA, STATES, schema_with

FREE = schema_with(
    {}, {"busy": "sum(los > 0)", "load": "busy / beds", "late": "t * closed + population"}
)


def test_the_order_of_the_outputs() -> None:
    assert [output.label for output in FREE.outputs] == ["S", "I", "busy", "load", "late"]
    assert [output.kind for output in FREE.outputs] == ["count", "count", "real", "real", "real"]


def test_output_vector_under_jit_and_vmap() -> None:
    inputs = {
        "closed": np.asarray([0, 1, 1, 0], np.int32),
        "beds": np.full(4, 2, np.int32),
        "t": np.arange(4, dtype=np.int32),
    }
    vectors = jax.jit(jax.vmap(lambda x, u: output_vector(FREE, x, u)))(STATES, inputs)
    expected = [[8, 1, 1, 0.5, 10], [7, 2, 3, 1.5, 11], [9, 3, 0, 0, 12], [5, 4, 3, 1.5, 10]]
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected)


def test_an_undefined_ratio_is_nan_and_unknown() -> None:
    row = {name: value[0] for name, value in STATES.items()}
    inputs = {"closed": 0, "beds": 0, "t": 0}
    assert np.isnan(output_vector(FREE, row, inputs)[3])
    values, known = derived_values(FREE, row, inputs, xp=np)
    assert np.isnan(values["load"])
    assert not known["load"]
    assert known["busy"]


def test_the_signature_is_json_and_names_everything_a_simulator_sees() -> None:
    signature = SCHEMA.signature()
    assert json.loads(json.dumps(signature)) == signature
    assert signature["states"]["los"] == {
        "kind": "count",
        "dtype": "int32",
        "shape": [3],
        "min": None,
        "max": None,
    }
    assert signature["inputs"] == {
        "t": {"dtype": "int32", "shape": []},
        "closed": {"dtype": "int32", "shape": []},
        "beds": {"dtype": "int32", "shape": []},
        "population": {"dtype": "int32", "shape": []},
        "weight": {"dtype": "float32", "shape": [3]},
    }


DERIVED = """
name = "d"
horizon = 9
[state.I]
kind = "count"
[state.H]
kind = "count"
observed = false
[derived.ill]
value = "I > 3 or H > 3"
[derived.all]
value = "I + H"
[data]
train = ["train.csv"]
"""


def test_derived_values_of_data_are_three_valued(folder) -> None:
    table = "trajectory,t,I,all\na,0,5,\na,1,1,9\na,2,,7\na,3,5,6\n"
    data = load_task(folder({"task.toml": DERIVED, "train.csv": table})).train
    assert not data.seen["H"].any()
    ill, total = (data.outputs[0, :, v].tolist() for v in (2, 3))
    seen_ill, seen_total = (data.outputs_seen[0, :, v].tolist() for v in (2, 3))
    assert seen_ill == [True, False, False, True]  # I > 3 decides, whatever H is
    assert ill == [1, 0, 0, 1]
    assert seen_total == [False, True, True, True]
    assert total == [0, 9, 7, 6]


def test_calendar_values() -> None:
    dates = np.asarray(["2024-02-29", "2023-12-31", "1970-01-01", "NaT"], "datetime64[s]")
    found = calendar_values(dates)
    assert found["weekday"].tolist() == [3, 6, 3, 0]
    assert found["day_of_year"].tolist() == [60, 365, 1, 0]
    assert found["weekday"].dtype == np.int32
