"""Means over seeds, with intervals: from cells to what the tables show."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student

from benchmarks._table2 import paper
from benchmarks._table2.methods import Method

Cell = Mapping[str, Any]


class Mean(NamedTuple):
    """A mean over seeds.

    Attributes:
        mean: inf where a seed's value is.
        se: standard error: over seeds, with one seed over its trajectories; None where unknown.
        half: half-width of the 95 % interval (Student's over seeds, normal with one seed).
        seeds: how many.
    """

    mean: float
    se: float | None
    half: float | None
    seeds: int


def mean_of(values: Sequence[float | None], errors: Sequence[float | None] = ()) -> Mean:
    """The mean of a number over seeds.

    Args:
        values: one per seed; None is infinite.
        errors: their standard errors, which count where there is one seed.
    """
    if not values:
        return Mean(math.nan, None, None, 0)
    numbers = np.array([math.inf if value is None else value for value in values], float)
    count = len(numbers)
    if not np.isfinite(numbers).all():
        return Mean(math.inf, None, None, count)
    mean = float(numbers.mean())
    if count == 1:
        se = errors[0] if errors else None
        return Mean(mean, se, None if se is None else 1.96 * se, 1)
    se = float(numbers.std(ddof=1) / math.sqrt(count))
    return Mean(mean, se, float(student.ppf(0.975, count - 1)) * se, count)


def summarise(
    cells: Sequence[Cell], methods: Mapping[str, Method], tasks: Sequence[str]
) -> list[dict[str, Any]]:
    """One entry per task and method, in the order of the table.

    Args:
        cells: finished, failed and left-out ones.
        methods: the rows.
        tasks: names of the tasks.

    Returns:
        Plain data; `status` is that of the row: done, where any seed is, else failed or left out.
    """
    found = []
    for task in tasks:
        for method in methods.values():
            own = [c for c in cells if (c["task"], c["method"]) == (task, method.name)]
            if own:
                found.append(_entry(task, method, own))
    return found


def _entry(task: str, method: Method, own: Sequence[Cell]) -> dict[str, Any]:
    done = [cell for cell in own if cell["status"] == "done"]
    causes = sorted({str(cell["cause"]) for cell in own if cell["status"] != "done"})
    base = {
        "task": task,
        "method": method.name,
        "label": method.label,
        "group": method.group,
        "status": "done" if done else own[0]["status"],
        "causes": causes,
        "seeds": len(done),
        "missing_seeds": len(own) - len(done),
        "paper": method.paper,
        "paper_w1": paper.figure(method.paper, task),
    }
    if not done:
        return base
    horizons = [metric["horizon"] for metric in done[0]["metrics"]]
    metrics = {str(h): _metric(done, i) for i, h in enumerate(horizons)}
    return {**base, "metrics": metrics, **_properties(done), **_cost(done), **_recovery(done)}


def _over(cells: Sequence[Cell], read: Callable[[Cell], float | None]) -> float | None:
    """The mean of what is known."""
    known = [value for cell in cells if (value := read(cell)) is not None]
    return float(np.mean(known)) if known else None


def _metric(done: Sequence[Cell], i: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("w1", "floor", "ratio", "mmd"):
        values = [cell["metrics"][i][name] for cell in done]
        errors = [cell["metrics"][i].get(f"{name}_se") for cell in done]
        found[name] = mean_of(values, errors)._asdict()
    found["each"] = [cell["metrics"][i]["w1"] for cell in done]  # None is infinite
    found["failed"] = _over(done, lambda cell: cell["metrics"][i]["failed"])
    return found


def _properties(done: Sequence[Cell]) -> dict[str, Any]:
    asked = [cell for cell in done if cell["change"] is not None]
    whole = {
        name: _over(done, lambda cell, name=name: cell["integers"][name])
        for name in ("whole", "breaking", "failed")
    }
    if not asked:
        return {"integers": whole, "change": None}
    change = {
        "title": asked[0]["change"]["change"],
        "possible": sum(bool(cell["change"]["possible"]) for cell in asked),
        "where": sorted({cell["change"]["where"] for cell in asked}),
        "missed": mean_of([cell["change"]["missed"] for cell in asked])._asdict(),
        "missed_unchanged": mean_of(
            [cell["change"]["missed_unchanged"] for cell in asked]
        )._asdict(),
    }
    return {"integers": whole, "change": change}


def _cost(done: Sequence[Cell]) -> dict[str, Any]:
    names = ("seconds", "cpu_seconds", "points", "tokens", "parameters")
    cost = {name: _over(done, lambda cell, name=name: cell["cost"][name]) for name in names}
    cost["cell_seconds"] = _over(done, lambda cell: cell["seconds"]["all"])
    return {"cost": cost, "titles": sorted({cell["title"] for cell in done if cell["title"]})}


def _recovery(done: Sequence[Cell]) -> dict[str, Any]:
    scored = [cell["recovery"] for cell in done if cell["recovery"] and cell["recovers"]]
    if not scored:
        return {"recovery": None}
    found = {
        kind: {
            "shd": float(np.mean([r[kind]["shd"] for r in scored])),
            "f1": float(np.mean([r[kind]["f1"] for r in scored])),
        }
        for kind in scored[0]
    }
    return {"recovery": found}
