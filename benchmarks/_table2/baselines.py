"""Rows of other methods: each as it is usually evaluated, and with its residual noise fitted."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks._table2.context import Clock, Context
from benchmarks._table2.fitted import Cost, Fitted
from benchmarks._table2.ours import first_program

#: The paper's name of a method, by ours.
PAPER: Mapping[str, str] = {
    "dynode": "DyNODE",
    "rnn": "RNN",
    "transformer": "Transformer",
    "sindy": "SINDy",
    "genetic program": "Genetic program",
}
LABELS: Mapping[str, str] = {
    "last value": "last value",
    "dynode": "DyNODE",
    "rnn": "RNN (2-layer GRU, 250)",
    "transformer": "Transformer (1 block, 10 heads, 250)",
    "sindy": "SINDy",
    "genetic program": "Genetic program",
    "deterministic code": "deterministic code (a program's means)",
    "hybrid twin": "hybrid twin (a program's means and a network)",
}


def rows() -> Iterator[tuple[str, str, Callable[[Context], Fitted], str]]:
    """Name, label, what makes it, and the paper's name, of every row."""
    for name, label in LABELS.items():
        short = name.replace(" ", "-")
        yield short, label, functools.partial(_fit, name, noise=False), PAPER.get(name, "")
        yield (
            f"{short}-noise", f"{label}, with noise", functools.partial(_fit, name, noise=True), ""
        )  # fmt: skip


def _fit(name: str, context: Context, *, noise: bool) -> Fitted:
    from benchmarks._table2.forecaster import BASELINES  # networks are not needed to list rows

    fit = BASELINES[name]
    given: dict[str, Any] = {}
    title = ""
    if "program" in inspect.signature(fit).parameters:
        given["program"], _, title = first_program(context)
    clock = Clock()
    found = fit(context.task, seed=context.seed, quick=context.effort.quick, noise=noise, **given)
    wall, cpu = clock.read()
    cost = Cost(wall, cpu, 0, None, int(found.numbers))
    return Fitted(forecaster=found, cost=cost, title=title)
