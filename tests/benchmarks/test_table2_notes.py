"""Sentences under the table: which rows are below the last value, and what the cells say of why."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks._table2.notes import notes


def entry(method: str, near: list[float | None], far: float, **more: Any) -> dict[str, Any]:
    """A row of a table with horizons 1 and 20."""

    def metric(each: list[float | None]) -> dict[str, Any]:
        known = [x for x in each if x is not None]
        mean = sum(known) / len(known) if len(known) == len(each) else None
        w1 = {"mean": mean, "half": None}
        ratio = {"mean": mean, "se": None}
        return {"w1": w1, "floor": w1, "ratio": ratio, "each": each, "failed": 0.0}

    return {
        "task": "town", "method": method, "label": method.replace("-", " "), "group": "baseline",
        "status": "done", "causes": [], "missing_seeds": 0, "paper_w1": None, "recovery": None,
        "titles": [], "metrics": {"1": metric(near), "20": metric([far])}, **more,
    }  # fmt: skip


LAST = entry("last-value", [2.0], 10.0)
GRAPH = {"derived": {"shd": 3.0}}


@pytest.mark.parametrize(
    ("rows", "part"),
    [
        ([entry("library-zeroshot", [9.0], 90.0), entry("library-zeroshot-optim", [0.5], 2.0)],
         "library zeroshot: worse than repeating the last value (9 against 2 at 1, 90 against 10 "
         "at 20). Its parameters are guesses; calibrated, the same structure has 0.5 one step"),
        ([entry("chat", [0.3, 8.0], 5.0)], "Its seeds have 0.3, 8 one step ahead"),
        ([entry("sindy", [1.0], 30.0)], "(30 against 10 at 20). One step ahead it has 1, the last "
         "value 2: it is fitted to single steps. Fed its own forecasts it grows 30 times worse "
         "over 20 steps, the last value 5 times."),
        ([entry("library", [3.0], 11.0, recovery=GRAPH), entry("truth-es", [0.25], 1.0)],
         "3 edges of its graph are wrong; the truth's structure, calibrated alike, has 0.25"),
        ([entry("sindy", [None], 1.0)], "(∞ against 2 at 1). The cells do not say why."),
    ],
)  # fmt: skip
def test_rows_below_the_last_value_are_explained(rows: list[dict[str, Any]], part: str) -> None:
    (text,) = [n for n in notes([LAST, *rows], {}) if "worse than repeating" in n]
    assert part in text


def test_rows_above_it_need_no_words() -> None:
    noisy = entry("last-value-noise", [5.0], 50.0)
    found = notes([LAST, noisy, entry("sindy", [1.9], 9.0)], {})
    assert not [n for n in found if "worse than repeating" in n]
