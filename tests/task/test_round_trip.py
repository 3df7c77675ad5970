"""Tables written and read again are the same, in CSV and in Parquet."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsim_jax.task import (
    Attribute,
    Derived,
    Input,
    Schema,
    Trajectories,
    Variable,
    parse,
    read_tables,
    write_table,
)
from gsim_jax.task.dense import Dense
from gsim_jax.task.schema import entries, label

SHAPES = {"n": (), "x": (2,), "order": (), "beds": ()}
PLAIN = Schema(
    name="round",
    title="Round trip",
    step="day",
    horizon=50,
    states={
        "n": Variable("n", "count", min=0),
        "x": Variable("x", "real", (2,)),
        "code": Variable("code", "category", (2,), min=-1, exchangeable="slot"),
        "week": Variable("week", "count", min=0),
        "hidden": Variable("hidden", "real", observed=False),
    },
    derived={
        "load": Derived("load", parse("n / beds + sum(x)", SHAPES)),
        "far": Derived("far", parse("n + hidden", {"n": (), "hidden": ()})),
    },
    inputs={"order": Input("order", "count", default=0)},
    attributes={"beds": Attribute("beds", "real")},
    aggregates={"week": 3},
)
DATED = dataclasses.replace(PLAIN, calendar=True)
NAME = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1
)
REAL = st.floats(-(2.0**100), 2.0**100, width=32)


@st.composite
def trajectories(draw: st.DrawFn, schema: Schema) -> Trajectories:
    """Any content that tables can hold."""
    ids = draw(st.lists(NAME, min_size=1, max_size=3, unique=True))
    length = np.asarray(draw(st.lists(st.integers(1, 5), min_size=len(ids), max_size=len(ids))))
    grid = len(ids), int(length.max())
    exists = np.arange(grid[1]) < length[:, None]
    columns = {}

    def column(name: str, values: st.SearchStrategy, always: bool = False) -> None:
        cells = draw(hnp.arrays(np.float64, grid, elements=values))
        mask = exists if always else draw(hnp.arrays(bool, grid)) & exists
        columns[name] = np.where(mask, cells, 0.0), mask

    for index in entries((2,)):
        column(label("x", index), REAL)
        column(label("code", index), st.integers(-1, 9))
    column("n", st.integers(0, 2**31 - 1))
    column("week", st.integers(0, 2**24))
    columns["week"][1][:, :2] = False
    columns["week"][0][:, :2] = 0
    column("order", st.integers(0, 99), always=True)
    column("far", REAL)  # an observed derived value, and no state gives it
    beds = draw(hnp.arrays(np.float64, len(ids), elements=st.floats(0.5, 100, width=32)))
    dates = None
    if schema.calendar:
        start = np.datetime64("2020-02-27", "s") + draw(st.integers(0, 999)) * np.timedelta64(
            1, "D"
        )
        days = start + np.arange(grid[1]) * np.timedelta64(86400, "s")
        dates = np.where(exists, days, np.datetime64("NaT"))
    return Dense(tuple(ids), length, columns, {"beds": beds}, dates).trajectories(schema)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("schema", [PLAIN, DATED], ids=["t", "date"])
@settings(max_examples=40)
@given(data=st.data())
def test_write_and_read(tmp_path_factory, schema: Schema, suffix: str, data: st.DataObject) -> None:
    written = data.draw(trajectories(schema))
    path = tmp_path_factory.getbasetemp() / f"round.{suffix}"
    write_table(path, schema, written)
    read = read_tables([path], schema, "test")
    assert_same(read, written)
    write_table(path.with_name(f"again.{suffix}"), schema, read)
    if suffix == "csv":
        assert path.with_name("again.csv").read_bytes() == path.read_bytes()


def assert_same(a: Trajectories, b: Trajectories) -> None:
    """Everything is equal, to the last bit and in type."""
    assert a.ids == b.ids
    for field in dataclasses.fields(Trajectories):
        left, right = getattr(a, field.name), getattr(b, field.name)
        pairs = {"": (left, right)}
        if isinstance(left, dict):
            assert list(left) == list(right)
            pairs = {name: (left[name], right[name]) for name in left}
        for name, (x, y) in pairs.items():
            if isinstance(x, np.ndarray):
                assert x.dtype == y.dtype, (field.name, name)
                np.testing.assert_array_equal(x, y, f"{field.name} {name}")


def test_writing_replaces_whole_files_and_checks_first(tmp_path: Path, folder) -> None:
    data = Dense(("a",), np.asarray([1]), {}, {"beds": np.ones(1)}, None).trajectories(PLAIN)
    with pytest.raises(ValueError, match=r"expected a \.csv or \.parquet file, got 'x\.txt'"):
        write_table(tmp_path / "x.txt", PLAIN, data)
    with pytest.raises(ValueError, match="expected trajectories with dates"):
        write_table(tmp_path / "x.csv", DATED, data)
    assert list(tmp_path.iterdir()) == []
    write_table(tmp_path / "x.csv", PLAIN, data)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]
