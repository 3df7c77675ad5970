"""Mistakes in the rows and columns of a table are reported with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsim_jax.task import TaskError, load_task
from tests.task.mistakes import Case, check
from tests.task.sound import TOML, TRAIN, toml, train

ROWS = [
    Case(
        "no trajectory",
        {"train.csv": train("trajectory,", "site,")},
        "missing-column",
        "the columns are site, t, S, I",
        row=1,
        column="trajectory",
        count=2,
    ),
    Case(
        "no time",
        {"train.csv": train(",t,", ",time,")},
        "missing-column",
        "whole steps from 0",
        row=1,
        column="t",
        count=2,
    ),
    Case(
        "no state column",
        {"train.csv": "trajectory,t,S\na,0,9\n"},
        "missing-column",
        "no table of train has this column: add it",
        column="I",
    ),
    Case(
        "unknown column",
        {"train.csv": train("S,I", "S,i")},
        "unknown-column",
        "did you mean 'I'?",
        row=1,
        column="i",
        count=2,
    ),
    Case(
        "unknown column lists",
        {"train.csv": TRAIN.replace("\n", ",1\n").replace("I,1", "I,xyz")},
        "unknown-column",
        "known: I, S, t, trajectory",
        row=1,
        column="xyz",
    ),
    Case(
        "text in a number",
        {"train.csv": train("8,2", "8,two")},
        "text-in-number",
        "expected a number, got 'two'",
        row=3,
        column="I",
    ),
    Case(
        "decimal comma",
        {"train.csv": train("a,1,8,2", 'a,1,"8,5",2')},
        "text-in-number",
        "write a decimal point",
        row=3,
        column="S",
    ),
    Case(
        "negative count",
        {"train.csv": train("7,3", "7,-3")},
        "below-min",
        "expected at least 0, got -3",
        row=4,
        column="I",
    ),
    Case(
        "above max",
        {"train.csv": train("7,3", "7,51")},
        "above-max",
        "expected at most 50, got 51",
        row=4,
        column="I",
    ),
    Case(
        "half a person",
        {"train.csv": train("7,3", "7,3.5")},
        "not-whole",
        "expected a whole number for a count, got 3.5",
        row=4,
        column="I",
    ),
    Case(
        "too large",
        {"train.csv": train("7,3", "3000000000,3")},
        "too-large",
        "does not fit in 32 bits",
        row=4,
        column="S",
    ),
    Case(
        "NaN text",
        {"train.csv": train("7,3", "7,NaN")},
        "not-finite",
        "leave the cell empty",
        row=4,
        column="I",
    ),
    Case(
        "NA text",
        {"train.csv": train("7,3", "7,NA")},
        "not-finite",
        "leave the cell empty",
        row=4,
        column="I",
    ),
    Case(
        "inf text",
        {"train.csv": train("7,3", "-inf,3")},
        "not-finite",
        "expected a finite number",
        row=4,
        column="S",
    ),
    Case(
        "duplicate row",
        {"train.csv": train("a,2,", "a,1,")},
        "duplicate-row",
        "trajectory 'a', t = 1 is in row 3 already",
        row=4,
    ),
    Case(
        "gap",
        {"train.csv": train("a,2,", "a,3,")},
        "gap",
        "trajectory 'a' goes from t = 1 to t = 3: add rows for t = 2,",
        row=4,
        column="t",
    ),
    Case(
        "late start",
        {"train.csv": train("b,0,5,5\nb,1,4,6\n", "b,2,5,5\n")},
        "gap",
        "trajectory 'b' starts at t = 2: add rows for t = 0..1",
        row=5,
        column="t",
    ),
    Case(
        "negative t",
        {"train.csv": train("a,0,", "a,-1,")},
        "bad-time",
        "expected a whole number of steps from 0",
        row=2,
        column="t",
        count=None,
    ),
    Case(
        "fractional t",
        {"train.csv": train("a,2,", "a,1.5,")},
        "bad-time",
        "got '1.5'",
        row=4,
        column="t",
    ),
    Case(
        "huge t",
        {"train.csv": train("a,2,", "a,99999999999,")},
        "bad-time",
        "from 0 to",
        row=4,
        column="t",
    ),
    Case(
        "no id",
        {"train.csv": train("a,2,", ",2,")},
        "missing-id",
        "name of the trajectory",
        row=4,
        column="trajectory",
    ),
    Case(
        "too long",
        {"task.toml": toml("horizon = 3", "horizon = 1")},
        "too-long",
        "trajectory 'a' has 3 rows, and horizon = 1 steps allow 2",
        row=4,
    ),
    Case(
        "short row",
        {"train.csv": train("7,3", "7")},
        "ragged-row",
        "expected 4 cells, got 3",
        row=4,
    ),
    Case(
        "long row",
        {"train.csv": train("7,3", "7,3,1")},
        "ragged-row",
        "expected 4 cells, got 5",
        row=4,
    ),
    Case(
        "blank lines are counted",
        {"train.csv": train("a,1,8,2", "\n\na,1,8,x")},
        "text-in-number",
        "got 'x'",
        row=5,
        column="I",
    ),
    Case(
        "duplicate column",
        {"train.csv": train("S,I", "S,S")},
        "duplicate-column",
        "appears 2 times, at positions [3, 4]",
        row=1,
        column="S",
    ),
    Case(
        "unnamed column",
        {"train.csv": train("S,I", "S,")},
        "unnamed-column",
        "column 4 has no name",
        row=1,
        column="4",
    ),
    Case("empty file", {"train.csv": ""}, "empty-file", "expected a header"),
    Case("header only", {"train.csv": "trajectory,t,S,I\n"}, "header-only", "no rows", row=1),
    Case(
        "semicolons",
        {"train.csv": TRAIN.replace(",", ";")},
        "unreadable",
        "separated by semicolons",
        row=1,
    ),
    Case("broken quotes", {"train.csv": train("7,3", '7,"3')}, "unreadable", "not a CSV", row=4),
    Case(
        "not UTF-8",
        {"train.csv": TRAIN.encode().replace(b"b,0", b"\xe4,0")},
        "encoding",
        "not UTF-8 (byte 0xe4)",
        row=5,
    ),
    Case(
        "missing file",
        {"train.csv": None, "trian.csv": TRAIN},
        "missing-file",
        "did you mean 'trian.csv'?",
    ),
    Case(
        "wrong suffix",
        {"task.toml": toml("train.csv", "task.toml")},
        "unreadable",
        "expected a .csv or .parquet file",
        file="task.toml",
    ),
    Case(
        "not Parquet",
        {"task.toml": toml("train.csv", "a.parquet"), "a.parquet": "PAR"},
        "unreadable",
        "not a Parquet file",
        file="a.parquet",
    ),
    Case(
        "two clocks",
        {"train.csv": "trajectory,t,date,S,I\na,0,2024-01-01,9,1\n"},
        "mixed-clock",
        "either t or date",
        row=1,
        column="date",
    ),
    Case(
        "uneven dates",
        {"train.csv": "trajectory,date,S,I\na,2024-01-01,9,1\na,2024-01-02T12:00,9,1\n"},
        "uneven-dates",
        "not a whole number of steps",
        row=3,
        column="date",
        count=1,
    ),
    Case(
        "date with a gap",
        {"train.csv": "trajectory,date,S,I\na,2024-01-01,9,1\na,2024-01-03,9,1\n"},
        "gap",
        "from t = 0 to t = 2",
        row=3,
        column="date",
    ),
    Case(
        "bad date",
        {"train.csv": "trajectory,date,S,I\na,2024-02-30,9,1\n"},
        "bad-time",
        "expected a date such as",
        row=2,
        column="date",
    ),
    Case(
        "date in words",
        {"train.csv": "trajectory,date,S,I\na,30/01/2024,9,1\n"},
        "bad-time",
        "got '30/01/2024'",
        row=2,
        column="date",
    ),
    Case(
        "dates with an unknown step",
        {
            "task.toml": toml('"day"', '"moon"'),
            "train.csv": "trajectory,date,S,I\na,2024-01-01,9,1\n",
        },
        "bad-step",
        "got 'moon'",
        row=1,
        column="date",
        count=None,
    ),
]


@pytest.mark.parametrize("case", ROWS, ids=lambda case: case.name)
def test_a_mistake_in_a_table(case: Case, folder) -> None:
    check(case, folder(case.files), case.file)


def test_the_sound_folder_loads(folder) -> None:
    assert load_task(folder()).train.ids == ("a", "b")


def test_all_problems_come_at_once(folder) -> None:
    files = {
        "task.toml": TOML.replace("max = 50", "maxx = 50").replace("S + I ==", "S + J =="),
        "train.csv": TRAIN.replace("8,2", "x,y").replace("b,1", "b,3"),
        "description.md": None,
    }
    with pytest.raises(TaskError) as caught:
        load_task(folder(files))
    codes = sorted(problem.code for problem in caught.value.problems)
    expected = ["expression", "gap", "missing-file", "text-in-number", "text-in-number"]
    assert codes == sorted([*expected, "unknown-key"])
    assert "train.csv, row 3, column S: expected a number, got 'x'" in str(caught.value)


def test_a_long_run_of_one_mistake_is_summed_up(folder) -> None:
    rows = "".join(f"x{i},0,-1,1\n" for i in range(500))
    with pytest.raises(TaskError) as caught:
        load_task(folder({"train.csv": "trajectory,t,S,I\n" + rows}))
    assert len(caught.value.problems) == 21
    last = caught.value.problems[-1]
    assert last.message == "and 480 more of these, down to row 501"
    assert (last.code, last.column) == ("below-min", "S")


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="expected a task folder"):
        load_task(tmp_path / "nowhere")
