"""Mistakes in task.toml, the description and the files of constants."""

from __future__ import annotations

import io

import numpy as np
import pytest

from tests.task.mistakes import Case, check
from tests.task.sound import TOML, toml
from tests.task.variants import ALL, DERIVED, FLAG, LOS, ORDER, SUMS


def npy(array: np.ndarray) -> bytes:
    """The bytes of a .npy file."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


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


@pytest.mark.parametrize("case", SETTINGS, ids=lambda case: case.name)
def test_a_mistake_in_the_settings(case: Case, folder) -> None:
    check(case, folder(case.files), "task.toml" if case.file == "train.csv" else case.file)
