"""Every mistake in a task folder is reported with its place and with words that help."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from gsim_jax.task import TaskError, load_task
from tests.task.sound import TOML, TRAIN, toml, train


def npy(array: np.ndarray) -> bytes:
    """The bytes of a .npy file."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@dataclass(frozen=True)
class Case:
    """Files that differ from the sound folder, and one problem that must be among those found."""

    name: str
    files: dict[str, str | bytes | None]
    code: str
    words: str
    file: str | None = "train.csv"
    row: int | None = None
    column: str | None = None
    line: int | None = None
    count: int | None = 1  # how many problems there are in all; None: other things follow from it


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

FLAG = toml('[state.I]\nkind = "count"\nmax = 50', '[state.I]\nkind = "flag"')
CATEGORY = toml("max = 50", "max = 3").replace('I]\nkind = "count"', 'I]\nkind = "category"')
BEDS = toml("[[rule]]", '[attribute.beds]\nkind = "count"\n[[rule]]')
ORDER = toml("[[rule]]", '[input.order]\nkind = "count"\n[[rule]]')
DERIVED = toml("[[rule]]", '[derived.total]\nvalue = "S + I"\n[[rule]]')
SUMS = toml('["train.csv"]', '["train.csv"]\naggregate.I = "sum:3"')
TWO = toml('["train.csv"]', '["train.csv", "more.csv"]')
LOS = toml("[[rule]]", '[state.los]\nkind = "count"\nshape = [2]\n[[rule]]')
ALL = toml('train = ["train.csv"]', 'table = "train.csv"\n[data.split]\nvalidation_from = 2')

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


def constant(text: str) -> str:
    """The sound task.toml with a constant."""
    return toml("[[rule]]", f"[constant.net]\n{text}\n[[rule]]")


FILE_2 = 'file = "net.csv"\nshape = [2, 2]'
SETTINGS = [
    Case(
        "no description",
        {"description.md": None},
        "missing-file",
        "what an expert would tell",
        file="description.md",
    ),
    Case(
        "empty description",
        {"description.md": " \n"},
        "empty-file",
        "what an expert would tell",
        file="description.md",
    ),
    Case("no task.toml", {"task.toml": None}, "missing-file", "gsim new DIR"),
    Case(
        "TOML syntax",
        {"task.toml": toml("horizon = 3", "horizon = = 3")},
        "toml-syntax",
        "not TOML: Invalid value",
        line=3,
    ),
    Case("TOML cut short", {"task.toml": TOML + "x = ["}, "toml-syntax", "not TOML", line=15),
    Case("TOML not UTF-8", {"task.toml": TOML.encode() + b"# \xff"}, "encoding", "UTF-8", line=15),
    Case(
        "unknown key",
        {"task.toml": toml("horizon", "horizont")},
        "unknown-key",
        "horizont: unknown key: did you mean 'horizon'?",
        line=3,
        count=2,
    ),
    Case(
        "unknown key in a table",
        {"task.toml": toml("max", "maximum")},
        "unknown-key",
        "state.I.maximum: unknown key: did you mean 'max'?",
        line=9,
    ),
    Case(
        "no horizon", {"task.toml": toml("horizon = 3", "")}, "missing-key", "horizon: is missing"
    ),
    Case(
        "wrong horizon",
        {"task.toml": toml("horizon = 3", 'horizon = "3"')},
        "wrong-value",
        "horizon: expected a whole number from 1, got '3'",
        line=3,
    ),
    Case(
        "unknown kind",
        {"task.toml": toml('I]\nkind = "count"', 'I]\nkind = "cuont"')},
        "unknown-kind",
        "did you mean 'count'?",
        line=8,
    ),
    Case(
        "no kind",
        {"task.toml": toml('I]\nkind = "count"', "I]")},
        "missing-key",
        "state.I.kind: is missing: expected one of count, real, flag, category",
        line=7,
    ),
    Case(
        "bounds crossed",
        {"task.toml": toml("max = 50", "max = -1")},
        "wrong-value",
        "state.I.max: expected at least min = 0, got -1",
        line=9,
        count=None,
    ),
    Case(
        "bounds of a flag",
        {"task.toml": FLAG.replace('"flag"', '"flag"\nmax = 2')},
        "wrong-value",
        "a flag is 0 or 1 and takes no bounds",
        line=9,
        count=None,
    ),
    Case(
        "shape",
        {"task.toml": LOS.replace("[2]", "[0]")},
        "wrong-value",
        "state.los.shape: expected a list of sizes",
        line=12,
        count=None,
    ),
    Case(
        "exchangeable form",
        {"task.toml": LOS.replace("[2]", "[2]\nexchangeable = true")},
        "exchangeable",
        'expected the name of a group of arrays, such as "slot", got true',
        line=13,
        count=None,
    ),
    Case(
        "exchangeable scalar",
        {"task.toml": toml("max = 50", 'max = 50\nexchangeable = "slot"')},
        "exchangeable",
        "is for arrays",
        line=10,
    ),
    Case(
        "name taken",
        {"task.toml": toml("[[rule]]", "[constant.S]\nvalue = 1\n[[rule]]")},
        "bad-name",
        "constant.S: the name is taken by [state.S]",
        line=10,
    ),
    Case(
        "name reserved",
        {"task.toml": toml("[[rule]]", "[constant.t]\nvalue = 1\n[[rule]]")},
        "bad-name",
        "has a meaning of its own",
        line=10,
    ),
    Case(
        "name odd",
        {"task.toml": toml("[[rule]]", '[constant."a-b"]\nvalue = 1\n[[rule]]')},
        "bad-name",
        "letters, digits and _",
        line=10,
    ),
    Case(
        "rule with unknown name",
        {"task.toml": toml("== initial.S", "== inital.S")},
        "expression",
        "unknown name 'inital.S': did you mean 'initial.S'?",
        line=12,
    ),
    Case(
        "rule with near name",
        {"task.toml": toml("S + I ==", "S + i ==")},
        "expression",
        "unknown name 'i': did you mean 'I'?",
        line=12,
    ),
    Case(
        "rule syntax",
        {"task.toml": toml("S + I ==", "S + ==")},
        "expression",
        "rule[0].holds: in 'S + == initial.S + initial.I': not an expression at character 5",
        line=12,
    ),
    Case(
        "rule as a table",
        {"task.toml": toml("[[rule]]", "[rule]")},
        "wrong-type",
        "expected [[rule]] with two brackets",
        line=10,
    ),
    Case(
        "derived looks back",
        {"task.toml": DERIVED.replace('"S + I"', '"S - previous.S"')},
        "expression",
        "which rules can do and derived values cannot",
        line=11,
    ),
    Case(
        "derived of itself",
        {"task.toml": DERIVED.replace('"S + I"', '"total + 1"')},
        "cycle",
        "'total' is computed from itself",
        line=11,
    ),
    Case(
        "derived array",
        {
            "task.toml": toml(
                "[[rule]]", '[constant.v]\nvalue = [1, 2]\n[derived.d]\nvalue = "v * S"\n[[rule]]'
            )
        },
        "shape",
        "expected a single number, got an array of shape [2]: use sum",
        line=13,
    ),
    Case(
        "nothing scored",
        {
            "task.toml": TOML.replace(
                'kind = "count"', 'kind = "count"\nshape = [1]\nexchangeable = "slot"'
            ).replace("S + I == initial.S + initial.I", "sum(S) >= 0"),
            "train.csv": "trajectory,t,S[0],I[0]\na,0,1,1\n",
        },
        "missing-key",
        "nothing is scored",
        count=1,
    ),
    Case(
        "constant shape",
        {"task.toml": constant(FILE_2), "net.csv": "1,2,3\n4,5,6\n"},
        "shape",
        "expected an array of shape [2, 2], got [2, 3]",
        line=12,
    ),
    Case(
        "constant npy shape",
        {"task.toml": constant(FILE_2.replace("csv", "npy")), "net.npy": npy(np.zeros(4))},
        "shape",
        "got [4]",
        line=12,
    ),
    Case(
        "constant npy objects",
        {
            "task.toml": constant(FILE_2.replace("csv", "npy")),
            "net.npy": npy(np.array([{}], dtype=object)),
        },
        "unreadable",
        "not a NumPy array",
        file="net.npy",
    ),
    Case(
        "constant inline shape",
        {"task.toml": constant("value = [1, 2]\nshape = [3]")},
        "shape",
        "expected an array of shape [3], got [2]",
        line=12,
    ),
    Case(
        "constant file missing",
        {"task.toml": constant(FILE_2), "nets.csv": "1"},
        "missing-file",
        "did you mean 'nets.csv'?",
        line=11,
    ),
    Case(
        "constant cell",
        {"task.toml": constant(FILE_2), "net.csv": "a,b\n1,2\n"},
        "text-in-number",
        "has no header",
        file="net.csv",
        row=1,
        column="1",
        count=2,
    ),
    Case(
        "constant ragged",
        {"task.toml": constant(FILE_2), "net.csv": "1,2\n1\n"},
        "ragged-row",
        "expected 2 numbers, got 1",
        file="net.csv",
        row=2,
    ),
    Case(
        "constant of text",
        {"task.toml": constant('value = "many"')},
        "wrong-type",
        "expected a number or a rectangular list",
        line=11,
    ),
    Case("constant NaN", {"task.toml": constant("value = nan")}, "not-finite", "finite", line=11),
    Case(
        "constant twice",
        {"task.toml": constant('value = 1\nfile = "x.csv"')},
        "missing-key",
        "not both",
        line=10,
    ),
    Case(
        "aggregate form",
        {"task.toml": SUMS.replace("sum:3", "mean:3")},
        "wrong-value",
        'data.aggregate.I: expected "sum:N"',
        line=15,
    ),
    Case(
        "aggregate name",
        {"task.toml": SUMS.replace("aggregate.I", "aggregate.i")},
        "unknown-name",
        "did you mean 'I'?",
        line=15,
    ),
    Case(
        "no data",
        {"task.toml": toml('[data]\ntrain = ["train.csv"]', "")},
        "missing-key",
        "expected [data] with the tables",
    ),
    Case(
        "no train",
        {"task.toml": toml("train = ", "test = ")},
        "missing-key",
        "data.train: is missing",
        line=13,
    ),
    Case(
        "split without table",
        {"task.toml": TOML + "split = { test_from = 3 }\n"},
        "wrong-value",
        "divides one table by time",
        line=15,
    ),
    Case(
        "split crossed",
        {"task.toml": ALL + "test_from = 1\n"},
        "wrong-value",
        "expected a t after validation_from = 2, got 1",
        count=None,
    ),
    Case(
        "input default",
        {
            "task.toml": ORDER.replace(
                'order]\nkind = "count"', 'order]\nkind = "count"\ndefault = 0.5'
            )
        },
        "wrong-value",
        "input.order.default: expected a whole number, got 0.5",
        line=12,
    ),
]


@pytest.mark.parametrize("case", ROWS + MEANING, ids=lambda case: case.name)
def test_a_mistake_in_a_table(case: Case, folder) -> None:
    check(case, folder(case.files), case.file)


@pytest.mark.parametrize("case", SETTINGS, ids=lambda case: case.name)
def test_a_mistake_in_the_settings(case: Case, folder) -> None:
    check(case, folder(case.files), "task.toml" if case.file == "train.csv" else case.file)


def check(case: Case, path: Path, file: str | None) -> None:
    """Loads, and expects the case's problem at its place; nothing may be written."""
    before = sorted((p, os.stat(p).st_mtime_ns) for p in path.rglob("*"))
    with pytest.raises(TaskError) as caught:
        load_task(path)
    problems = caught.value.problems
    found = [p for p in problems if p.code == case.code and case.words in p.message]
    assert found, f"expected {case.code}: {case.words}\ngot:\n{caught.value}"
    place = (found[0].file, found[0].row, found[0].column)
    assert place == (file, case.row, case.column), str(caught.value)
    if case.line is not None:
        assert found[0].line == case.line, str(caught.value)
    if case.count is not None:
        assert len(problems) == case.count, str(caught.value)
    assert sorted((p, os.stat(p).st_mtime_ns) for p in path.rglob("*")) == before


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
