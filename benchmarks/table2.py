"""``gsim bench table2``: the main table of the G-Sim paper, all rows, each with its floor.

Floors, searches with a library and with recorded conversations, ZeroShot, baselines with and
without noise, ablations; accuracy at several horizons, properties P0 to P3, structure recovery and
cost. Every finished cell (method, task, seed) is a file: a second call does what is missing.

    gsim bench table2 -- --quick                                all rows, one seed, small budgets
    gsim bench table2 -- --methods floor,library --tasks covid19
    gsim bench table2                                           all rows, five seeds
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import _worlds
from benchmarks._arguments import Numbers
from benchmarks._table2 import cells, markdown, paper, perform
from benchmarks._table2.context import RECORDINGS
from benchmarks._table2.fitted import QUICK, Effort
from benchmarks._table2.methods import Method, all_methods
from benchmarks._table2.summary import summarise
from gsim_jax.cli.reply import dumps, plain
from gsim_jax.report.tables import table
from gsim_jax.task import InputError, Problem

PATH = click.Path(path_type=Path)
RESULTS = Path(__file__).with_name("results")
#: One step is what the paper measures.
HORIZONS = Numbers("whole numbers that begin with 1", lambda found: min(found) == 1)


class Names(click.ParamType):
    """Names with commas between."""

    name = "names"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """``a,b`` as a tuple."""
        del param, ctx
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in str(value).split(",") if part.strip())


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: int | None
    quick: bool
    states: int | None
    horizons: tuple[int, ...]
    workers: int
    folder: Path
    recordings: Path
    repeat: bool


@click.command(name="gsim bench table2", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--methods",
    type=Names(),
    default=(),
    help="Rows, with commas between; all "
    "of them by default. A group (bounds, ours, baseline, ablation) is all of its rows.",
)
@click.option(
    "--tasks",
    type=Names(),
    default=",".join(paper.TASKS),
    show_default=True,
    help="Task folders, or names of envs/.",
)
@click.option("--seeds", type=click.IntRange(1), help="Seeds 0, 1, ...: five, or one with --quick.")
@click.option("--quick", is_flag=True, help="One seed, few states, small budgets, all rows.")
@click.option(
    "--states",
    type=click.IntRange(2),
    help=f"States per horizon: {Effort().states}, or {QUICK.states} with --quick.",
)
@click.option("--horizons", type=HORIZONS, default="1,7,20", show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=min(2, len(os.sched_getaffinity(0))),
    show_default=True,
    help="Processes, each on its own core; 1 is this one.",
)
@click.option("--folder", type=PATH, default=Path("runs/table2"), show_default=True,
              help="Where cells and runs are kept.")  # fmt: skip
@click.option("--recordings", type=PATH, default=RECORDINGS, help="Recorded conversations, "
              "TASK/seed-K/chat/; benchmarks/recordings by default.")  # fmt: skip
@click.option("--repeat", is_flag=True, help="Compute cells that are there anew.")  # fmt: skip
def options(**asked: Any) -> Asked:
    """All rows of the paper's main table.

    Conversations are replayed from recordings; where there are none, from the server that
    OPENAI_MODEL, OPENAI_BASE_URL and OPENAI_API_KEY name, else these rows are left out.
    """
    return Asked(**asked)


def bench(*, seed: int, out: Path | None, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Computes what is missing of the table, writes it and prints it.

    Args:
        seed: not used: the table's seeds are 0, 1, ...
        out: where the results go as JSON, and beside it as Markdown; benchmarks/results/table2
            by default.
        arguments: the words after ``gsim bench table2``.

    Returns:
        ``rows`` (means over seeds), ``cells`` (each method, task and seed), ``header``, ``files``.

    Raises:
        InputError: no such method or task.
    """
    del seed
    asked = options.main(args=list(arguments), prog_name="gsim bench table2", standalone_mode=False)
    if not isinstance(asked, Asked):  # --help has been printed
        return {}
    methods, tasks = _methods(asked.methods), [_task(name) for name in asked.tasks]
    effort = QUICK if asked.quick else Effort()
    states = asked.states or effort.states
    effort = replace(effort, states=states, horizons=tuple(sorted(set(asked.horizons))))
    seeds = asked.seeds or (1 if asked.quick else 5)
    folder = asked.folder.resolve()
    found = _compute(asked, methods, tasks, seeds, effort, folder)
    header = {
        "seeds": seeds, "states": effort.states, "draws": effort.draws,
        "horizons": list(effort.horizons), "quick": effort.quick,
    }  # fmt: skip
    rows = plain(summarise(found, methods, [task.name for task in tasks]))
    target = out or RESULTS / "table2.json"
    fields = {"header": header, "rows": rows, "cells": [_short(cell) for cell in found]}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(dumps(plain(fields)) + "\n", encoding="utf-8")
    page = target.with_suffix(".md")
    page.write_text(markdown.document(rows, header), encoding="utf-8")
    _show(rows)
    Console(stderr=True).print(f"{target}\n{page}", style="dim", highlight=False)
    return {**plain(fields), "files": [str(target), str(page)]}


def _compute(
    asked: Asked, methods: Mapping[str, Method], tasks: list[Path], seeds: int, effort: Effort,
    folder: Path,
) -> list[dict[str, Any]]:  # fmt: skip
    recordings = asked.recordings.resolve()
    wanted, left_out = perform.specs(methods, tasks, seeds, effort, folder, recordings)
    console, begin = Console(stderr=True), time.monotonic()

    def told(spec: cells.Spec, cell: Mapping[str, Any], done: int, total: int) -> None:
        if cell["status"] == cells.DONE:
            first = cell["metrics"][0]
            took = cell["seconds"]
            words = f"W1 {_plain(first['w1'])}, ratio {_plain(first['ratio'])}"
            words += f" ({took['all']:.0f} s, {took['cpu']:.0f} s CPU)"
        else:
            words = cell["cause"]
        since = time.monotonic() - begin
        line = f"{since / 60:5.1f} min  {done}/{total}  {spec.task.name}, seed {spec.seed}, "
        console.print(f"{line}{spec.method}: {words}", markup=False, highlight=False,
                      soft_wrap=True)  # fmt: skip

    store = cells.Store(folder / "cells")
    found = cells.run(
        wanted, perform.perform, store, workers=asked.workers, told=told, repeat=asked.repeat
    )
    return [*found, *left_out]


def _plain(value: float | None) -> str:
    return "∞" if value is None else f"{value:.3g}"


def _methods(names: Sequence[str]) -> dict[str, Method]:
    known = all_methods()
    wanted = set(names)
    groups = {method.group for method in known.values()}
    unknown = sorted(wanted - set(known) - groups)
    if unknown:
        text = f"expected methods out of {', '.join(known)}, or groups ({', '.join(groups)})"
        raise InputError(Problem("unknown-method", f"{text}; got {', '.join(unknown)}"))
    return {
        name: method
        for name, method in known.items()
        if not wanted or name in wanted or method.group in wanted
    }


def _task(name: str) -> Path:
    given = Path(name)
    folder = given if (given / "task.toml").is_file() else _worlds.ENVS / name
    if not (folder / "truth.py").is_file():
        known = ", ".join(path.name for path in _worlds.tasks())
        text = f"expected a task folder with a truth.py, such as {known}; got {name}"
        raise InputError(Problem("unknown-task", text))
    return folder.resolve()


def _short(cell: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of a cell; everything else stays in its file."""
    found = {name: cell[name] for name in ("method", "task", "seed", "status")}
    if cell["status"] != cells.DONE:
        return {**found, "cause": cell["cause"]}
    names = ("horizon", "w1", "w1_se", "floor", "ratio", "ratio_se", "failed")
    metrics = [{name: metric[name] for name in names} for metric in cell["metrics"]]
    return {**found, "metrics": metrics, "seconds": cell["seconds"], "title": cell["title"]}


HEADINGS = ("W1", "floor", "ratio", "P1", "whole", "seconds")


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    """A short table per task; the whole one is the Markdown."""
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = Console(width=120 if wide else None)
    for task in dict.fromkeys(row["task"] for row in rows):
        shown = table("method", *HEADINGS, title=task, numeric=HEADINGS)
        for row in rows:
            if row["task"] != task:
                continue
            if row["status"] != "done":
                shown.add_row(row["label"], row["causes"][0] if row["causes"] else row["status"])
                continue
            first = next(iter(row["metrics"].values()))
            missed = row["change"]["missed"]["mean"] if row["change"] else None
            shown.add_row(
                row["label"],
                markdown.plus_minus(first["w1"], "half"),
                markdown.number(first["floor"]["mean"]),
                markdown.plus_minus(first["ratio"], "se"),
                markdown.number(missed, 2),
                markdown.number(row["integers"]["whole"], 2),
                markdown.number(row["cost"]["seconds"]),
            )
        console.print(shown)
