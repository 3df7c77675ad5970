"""Sound task folders: what ends up where."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from gsim_jax.task import load_schema, load_task, read_tables
from tests.task.sound import TOML, TRAIN, toml, train
from tests.task.variants import LOS, ORDER


def test_a_plain_table(folder) -> None:
    task = load_task(folder())
    data = task.train
    assert task.validation is None
    assert task.schema.title == "sir"
    assert data.ids == ("a", "b")
    assert data.length.tolist() == [3, 2]
    assert data.length.dtype == np.int32
    assert data.states["S"].dtype == np.int32
    np.testing.assert_array_equal(data.states["S"], [[9, 8, 7], [5, 4, 0]])
    np.testing.assert_array_equal(data.seen["S"], [[True] * 3, [True, True, False]])
    assert data.outputs.dtype == np.float32
    np.testing.assert_array_equal(data.outputs[0, 1], [8, 2])
    np.testing.assert_array_equal(data.exists, data.outputs_seen[..., 0])
    assert not data.states["I"][1, 2]


def test_an_empty_cell_is_not_observed(folder) -> None:
    data = load_task(folder({"train.csv": train("a,1,8,2", "a,1,,2")})).train
    np.testing.assert_array_equal(data.seen["S"][0], [True, False, True])
    assert data.states["S"][0, 1] == 0
    np.testing.assert_array_equal(data.outputs_seen[0, 1], [False, True])


def test_the_order_of_rows_and_columns_does_not_matter(folder) -> None:
    shuffled = "I,t,S,trajectory\n2,1,8,a\n6,1,4,b\n3,2,7,a\n5,0,5,b\n1,0,9,a\n"
    data, plain = (load_task(folder({"train.csv": t})).train for t in (shuffled, TRAIN))
    assert data.ids == ("a", "b")
    np.testing.assert_array_equal(data.outputs, plain.outputs)


def test_blanks_a_byte_order_mark_and_whole_floats_are_read(folder) -> None:
    text = "\ufefftrajectory,t,S,I\r\na, 0 ,9.0,1e0\r\n\r\n"
    assert load_task(folder({"train.csv": text})).train.outputs.tolist() == [[[9, 1]]]


def test_partial_tables_are_put_together(folder) -> None:
    files = {
        "task.toml": toml('["train.csv"]', '["s.csv", "i.csv"]'),
        "s.csv": "trajectory,t,S\na,0,9\na,1,8\nb,0,5\n",
        "i.csv": "trajectory,t,I,S\na,1,2,8\na,2,3,\na,3,4,6\nc,0,1,\n",
    }
    data = load_task(folder(files)).train
    assert data.ids == ("a", "b", "c")
    assert data.length.tolist() == [4, 1, 1]
    np.testing.assert_array_equal(data.states["S"][0], [9, 8, 0, 6])
    np.testing.assert_array_equal(data.seen["S"][0], [True, True, False, True])
    np.testing.assert_array_equal(data.states["I"][0], [0, 2, 3, 4])
    np.testing.assert_array_equal(data.seen["I"][:, 0], [False, False, True])


def test_inputs_take_their_default_where_nothing_is_given(folder) -> None:
    settings = ORDER.replace('order]\nkind = "count"', 'order]\nkind = "count"\ndefault = 4')
    settings = settings.replace(
        "[[rule]]", '[input.route]\nkind = "real"\nshape = [2]\ndefault = [0.5, 1]\n[[rule]]'
    )
    table = "trajectory,t,S,I,order\na,0,9,1,2\na,1,8,2,\n"
    data = load_task(folder({"task.toml": settings, "train.csv": table})).train
    assert data.inputs["order"].dtype == np.int32
    np.testing.assert_array_equal(data.inputs["order"], [[2, 4]])
    np.testing.assert_array_equal(data.inputs["route"], [[[0.5, 1], [0.5, 1]]])


def test_attributes_belong_to_trajectories(folder) -> None:
    settings = toml("[[rule]]", '[attribute.beds]\nkind = "count"\n[[rule]]')
    table = "trajectory,t,S,I,beds\na,0,9,1,\na,1,8,2,12\nb,0,9,1,7\n"
    data = load_task(folder({"task.toml": settings, "train.csv": table})).train
    assert data.attributes["beds"].tolist() == [12, 7]
    assert data.attributes["beds"].dtype == np.int32


def test_arrays_and_constants(folder) -> None:
    extra = (
        '[constant.net]\nfile = "net.csv"\nshape = [2, 2]\n[constant.rate]\nvalue = 0.5\n'
        '[constant.v]\nfile = "v.npy"\n[constant.w]\nfile = "w.csv"\nshape = [3]\nkind = "real"\n'
        "[[rule]]"
    )
    stream = io.BytesIO()
    np.save(stream, np.asarray([1, 2], np.int64))
    files = {
        "task.toml": LOS.replace("[[rule]]", extra),
        "net.csv": "0,1\n1,0\n",
        "w.csv": "1\n2\n3\n",
        "v.npy": stream.getvalue(),
        "train.csv": "trajectory,t,S,I,los[0],los[1]\na,0,9,1,3,4\n",
    }
    task = load_task(folder(files))
    assert task.train.states["los"].tolist() == [[[3, 4]]]
    assert [output.label for output in task.schema.outputs] == ["S", "I", "los[0]", "los[1]"]
    values = {name: constant.value for name, constant in task.schema.constants.items()}
    assert values["net"].tolist() == [[0, 1], [1, 0]]
    assert {name: str(value.dtype) for name, value in values.items()} == {
        "net": "int32",
        "rate": "float32",
        "v": "int32",
        "w": "float32",
    }
    assert values["w"].shape == (3,)


def test_sums_over_several_steps(folder) -> None:
    settings = toml('["train.csv"]', '["train.csv"]\naggregate.I = "sum:2"')
    table = "trajectory,t,S,I\na,0,9,\na,1,8,70\na,2,7,\na,3,6,90\n"
    task = load_task(folder({"task.toml": settings, "train.csv": table}))
    assert [output.window for output in task.schema.outputs] == [1, 2]
    assert not task.train.seen["I"].any()  # a sum is no observation of the state in its row
    np.testing.assert_array_equal(task.train.outputs[0, :, 1], [0, 70, 0, 90])
    np.testing.assert_array_equal(task.train.outputs_seen[0, :, 1], [False, True, False, True])


@pytest.mark.parametrize(
    ("step", "dates", "t"),
    [
        ("day", ["2024-02-28", "2024-02-29", "2024-03-01"], [0, 1, 2]),
        ("week", ["2024-12-30", "2025-01-06"], [0, 1]),
        ("month", ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"], [0, 1, 2, 3]),
        ("month", ["2024-04-30", "2024-05-31", "2024-06-30"], [0, 1, 2]),
        ("month", ["2024-01-30", "2024-02-29", "2024-03-30"], [0, 1, 2]),
        ("quarter", ["2024-11-01", "2025-02-01"], [0, 1]),
        ("year", ["2023-01-01", "2024-01-01"], [0, 1]),
        ("hour", ["2024-01-01T23:00", "2024-01-02 00:00:00"], [0, 1]),
    ],
)
def test_dates_give_t_and_a_calendar(folder, step: str, dates: list[str], t: list[int]) -> None:
    rows = "".join(f"a,{date},{9 - i},{i}\n" for i, date in zip(t, dates, strict=True))
    files = {"task.toml": toml('"day"', f'"{step}"'), "train.csv": "trajectory,date,S,I\n" + rows}
    task = load_task(folder(files))
    assert task.schema.calendar
    assert task.train.states["I"][0].tolist() == t
    stamps = pd.to_datetime(pd.Series(dates), format="ISO8601")
    assert task.train.inputs["weekday"][0].tolist() == stamps.dt.day_of_week.tolist()
    assert task.train.inputs["day_of_year"][0].tolist() == stamps.dt.day_of_year.tolist()
    assert set(task.schema.signature()["inputs"]) == {"t", "weekday", "day_of_year"}


def test_rules_may_use_the_calendar(folder) -> None:
    rule = toml("S + I == initial.S + initial.I", "weekday < 5 or S == previous.S")
    table = "trajectory,date,S,I\na,2024-03-01,9,1\na,2024-03-02,8,2\n"
    assert load_task(folder({"task.toml": rule, "train.csv": table})).schema.rules
    with pytest.raises(Exception, match="unknown name 'weekday'"):
        load_task(folder({"task.toml": rule, "train.csv": TRAIN}))


WHOLE = toml(
    'train = ["train.csv"]',
    'table = "train.csv"\n[data.split]\nvalidation_from = 2\ntest_from = 3',
)


def test_one_table_divided_by_time(folder) -> None:
    table = "trajectory,t,S,I\n" + "".join(f"a,{t},{9 - t},{t}\n" for t in range(6))
    table += "b,0,1,1\nb,1,1,1\nb,2,0,2\n"
    task = load_task(folder({"task.toml": WHOLE, "train.csv": table}))
    assert task.validation is not None
    assert task.test is not None
    assert (task.train.ids, task.validation.ids, task.test.ids) == (("a", "b"), ("a", "b"), ("a",))
    assert task.train.length.tolist() == [2, 2]
    assert task.validation.length.tolist() == [1, 1]
    assert task.validation.states["I"][:, 0].tolist() == [2, 2]
    assert task.test.states["I"].tolist() == [[3, 4, 5]]
    assert list(task.splits) == ["train", "validation", "test"]


def test_dates_and_sums_in_a_table_divided_by_time(folder) -> None:
    dates = pd.date_range("2024-01-01", periods=5).strftime("%Y-%m-%d")
    table = "trajectory,date,S,I\n" + "".join(
        f"a,{d},9,{i if i else ''}\n" for i, d in enumerate(dates)
    )
    settings = WHOLE.replace("\n[data.split]", '\naggregate.I = "sum:2"\n[data.split]')
    task = load_task(folder({"task.toml": settings, "train.csv": table}))
    assert task.test is not None
    assert task.test.inputs["weekday"].tolist() == [[3, 4]]
    assert task.test.dates is not None
    assert str(task.test.dates[0, 0]) == "2024-01-04T00:00:00"
    # the sum at the first row of test reaches back into validation: it cannot be predicted
    assert task.test.outputs_seen[0, :, 1].tolist() == [False, True]
    assert task.test.outputs[0, :, 1].tolist() == [0, 4]


def test_validation_may_show_fewer_variables(folder) -> None:
    files = {"task.toml": TOML + 'validation = ["v.csv"]\n', "v.csv": "trajectory,t,I\nz,0,3\n"}
    validation = load_task(folder(files)).validation
    assert validation is not None
    assert validation.outputs_seen.tolist() == [[[False, True]]]


def test_parquet_with_native_types(folder) -> None:
    frame = pd.DataFrame(
        {
            "trajectory": ["a", "a", "b"],
            "date": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-03-03"]),
            "S": pd.array([9, None, 5], "Int64"),
            "I": [1.0, 2.0, 5.0],
        }
    )
    path = folder({"task.toml": toml("train.csv", "train.parquet"), "train.csv": None})
    frame.to_parquet(path / "train.parquet")
    data = load_task(path).train
    assert data.states["I"].tolist() == [[1, 2], [5, 0]]
    assert data.seen["S"].tolist() == [[True, False], [True, False]]
    frame.assign(I=[1.0, 2.5, np.inf]).to_parquet(path / "train.parquet")
    with pytest.raises(Exception, match=r"row 3, column I: expected a whole number.*got 2\.5"):
        load_task(path)


def test_take(folder) -> None:
    data = load_task(folder()).train.take([1, 1, 0])
    assert data.ids == ("b", "b", "a")
    assert data.length.tolist() == [2, 2, 3]
    assert data.outputs.shape == (3, 3, 2)
    with pytest.raises(IndexError):
        data.take([3])


def test_the_schema_alone(folder) -> None:
    schema = load_schema(folder())
    assert list(schema.states) == ["S", "I"]
    assert schema.invariants == ({"S": 1.0, "I": 1.0},)


def test_reading_tables_without_a_folder(folder) -> None:
    path = folder()
    schema = load_schema(path)
    data = read_tables([path / "train.csv"], schema)
    np.testing.assert_array_equal(data.outputs, load_task(path).train.outputs)
    with pytest.raises(Exception, match="no such file"):
        read_tables([path / "other.csv"], schema)


def test_importing_the_room_does_not_start_jax(folder) -> None:
    code = f"""
import sys
from gsim_jax.task import load_task, profile
profile(load_task({str(folder())!r}))
assert "jax" not in sys.modules
import jax._src.xla_bridge as bridge
import gsim_jax.task
assert not bridge._backends
"""
    subprocess.run([sys.executable, "-c", code], check=True)
