"""Cells that are numbers, and wrong by what the schema says of them."""

from __future__ import annotations

import pytest

from tests.task.mistakes import Case, check
from tests.task.sound import TOML
from tests.task.variants import ALL, BEDS, CATEGORY, DERIVED, FLAG, LOS, ORDER, SUMS, TWO

MEANING = [
    Case(
        "flag",
        {"task.toml": FLAG},
        "flag-range",
        "expected 0 or 1 for a flag, got 2",
        row=3,
        column="I",
        count=4,
    ),
    Case(
        "category",
        {"task.toml": CATEGORY},
        "category-range",
        "expected a category code from 0 to 3, got 5",
        row=5,
        column="I",
        count=2,
    ),
    Case(
        "attribute varies",
        {"task.toml": BEDS, "train.csv": "trajectory,t,S,I,beds\na,0,9,1,4\na,1,8,2,5\n"},
        "varying-attribute",
        "got 5, and 4 in row 2",
        row=3,
        column="beds",
    ),
    Case(
        "attribute missing",
        {"task.toml": BEDS, "train.csv": "trajectory,t,S,I,beds\na,0,9,1,4\nb,0,8,2,\n"},
        "missing-attribute",
        "trajectory 'b' has no value",
        row=3,
        column="beds",
    ),
    Case(
        "attribute column",
        {"task.toml": BEDS},
        "missing-column",
        "the same value in all rows",
        column="beds",
    ),
    Case(
        "input column",
        {"task.toml": ORDER},
        "missing-column",
        "or a default in [input.order]",
        column="order",
    ),
    Case(
        "input cell",
        {"task.toml": ORDER, "train.csv": "trajectory,t,S,I,order\na,0,9,1,4\na,1,8,2,\n"},
        "missing-input",
        "the input has no value here",
        row=3,
        column="order",
    ),
    Case(
        "negative input",
        {"task.toml": ORDER, "train.csv": "trajectory,t,S,I,order\na,0,9,1,-4\n"},
        "below-min",
        "at least 0",
        row=2,
        column="order",
    ),
    Case(
        "derived disagrees",
        {"task.toml": DERIVED, "train.csv": "trajectory,t,S,I,total\na,0,9,1,10\na,1,8,2,11\n"},
        "conflict",
        "got 11, and S + I gives 10",
        row=3,
        column="total",
    ),
    Case(
        "early sum",
        {"task.toml": SUMS},
        "aggregate-start",
        "a sum over 3 steps at t = 0 reaches back",
        row=2,
        column="I",
        count=4,
    ),
    Case(
        "conflict",
        {"task.toml": TWO, "more.csv": "trajectory,t,I\na,1,2\na,0,7\n"},
        "conflict",
        "got 7 for trajectory 'a' at t = 0, where train.csv, row 2, has 1",
        file="more.csv",
        row=3,
        column="I",
    ),
    Case(
        "one array entry",
        {"task.toml": LOS, "train.csv": "trajectory,t,S,I,los[0]\na,0,9,1,2\n"},
        "missing-column",
        "add it",
        column="los[1]",
    ),
    Case(
        "array entry out of range",
        {"task.toml": LOS, "train.csv": "trajectory,t,S,I,los[0],los[1],los[2]\na,0,9,1,2,2,2\n"},
        "unknown-column",
        "did you mean",
        row=1,
        column="los[2]",
    ),
    Case(
        "split beyond the end",
        {"task.toml": ALL.replace("= 2", "= 9")},
        "empty-split",
        "no trajectory reaches t = 9; the longest ends at t = 2",
        file="task.toml",
    ),
    Case(
        "validation shows nothing",
        {"task.toml": TOML + 'validation = ["v.csv"]\n', "v.csv": "trajectory,t\na,0\n"},
        "missing-column",
        "no table of validation shows",
        file="v.csv",
    ),
]


@pytest.mark.parametrize("case", MEANING, ids=lambda case: case.name)
def test_a_mistake_in_meaning(case: Case, folder) -> None:
    check(case, folder(case.files), case.file)
