"""``gsim bench metric``: the paper's test metric, with its floor, for any simulator.

From states of the test trajectories, clouds of next states of a candidate and of the truth, exact
W1 between them, averaged over states; the truth against itself is the floor. See
:mod:`gsim_jax.diagnose.next_state` for what is computed and how its errors are.

    gsim bench metric                                        floors of all tasks with a truth
    gsim bench metric envs/covid19 --simulator FILE          a simulator file at its guesses
    gsim bench metric --run RUN                              the best candidate of a run
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import _worlds
from benchmarks._arguments import Numbers
from gsim_jax.cli.reply import dumps, plain
from gsim_jax.diagnose import next_state
from gsim_jax.report import read_run
from gsim_jax.report.tables import table
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import InputError, Problem, Task, load_task

PATH = click.Path(path_type=Path)
HORIZONS = Numbers("positive whole numbers such as 1,7,20", lambda found: min(found) >= 1)


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    folders: tuple[Path, ...]
    simulator: Path | None
    run: Path | None
    candidate: int | None
    parameters: Mapping[str, float]
    values: tuple[str, ...] | None
    settings: Mapping[str, Any]


@click.command(name="gsim bench metric", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folders", nargs=-1, type=PATH, metavar="[TASK]...")
@click.option("--simulator", type=PATH, metavar="FILE", help="A simulator file to measure.")
@click.option("--run", type=PATH, metavar="RUN", help="Measure the best candidate of a run.")
@click.option("--candidate", type=click.IntRange(0), help="Another candidate of the run.")
@click.option("--parameter", multiple=True, metavar="GROUP.NAME=VALUE",
              help="A parameter of --simulator; else its TRUTH or guess.")  # fmt: skip
@click.option("--parameters", type=PATH, metavar="FILE", help="The same as a JSON object.")
@click.option("--values", help="Variables of the clouds, with commas between.")
@click.option("--horizons", type=HORIZONS, default="1,7,20", show_default=True)
@click.option("--states", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--draws", type=click.IntRange(2), default=200, show_default=True,
              help="N, draws in a cloud (the paper's code has 200, its text 1,000).")  # fmt: skip
@click.option("--sigma", type=click.FloatRange(0, min_open=True), default=0.2, show_default=True,
              help="Bandwidth of the MMD.")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True,
              help="Threads that simulate and solve.")  # fmt: skip
def options(
    folders: tuple[Path, ...],
    simulator: Path | None,
    run: Path | None,
    candidate: int | None,
    parameter: tuple[str, ...],
    parameters: Path | None,
    values: str | None,
    **settings: Any,
) -> Asked:
    """W1 to the truth, floor, ratio and excess at several horizons.

    Without --simulator and --run the truth is measured against itself.
    """
    if simulator is not None and run is not None:
        raise click.UsageError("expected --simulator or --run, got both")
    if candidate is not None and run is None:
        raise click.UsageError("--candidate needs --run")
    if simulator is None and (parameter or parameters):
        raise click.UsageError("--parameter and --parameters need --simulator")
    if (simulator is not None and len(folders) != 1) or (run is not None and len(folders) > 1):
        raise click.UsageError("expected one TASK for one simulator")
    given = {**_from_file(parameters), **_from_words(parameter)}
    labels = None if values is None else tuple(part.strip() for part in values.split(","))
    return Asked(folders, simulator, run, candidate, given, labels, settings)


def _from_words(pairs: Sequence[str]) -> dict[str, float]:
    found = {}
    for pair in pairs:
        label, _, value = pair.partition("=")
        try:
            found[label.strip()] = float(value)
        except ValueError:
            text = f"expected GROUP.NAME=VALUE with a number; got {pair!r}"
            raise click.BadParameter(text, param_hint="--parameter") from None
    return found


def _from_file(path: Path | None) -> dict[str, float]:
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(label): float(value) for label, value in found.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        text = f"expected a JSON object of numbers by GROUP.NAME; {error}"
        raise InputError(Problem("unreadable", text, file=str(path))) from error


def bench(*, seed: int, out: Path | None, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Measures what the arguments ask for, and prints a table.

    Args:
        seed: all draws follow from it.
        out: where the results go as JSON.
        arguments: the words after ``gsim bench metric``.

    Returns:
        ``{"results": [...]}``, one entry per task.

    Raises:
        InputError: a file or folder is not what it should be.
    """
    asked = options.main(args=list(arguments), prog_name="gsim bench metric", standalone_mode=False)
    if not isinstance(asked, Asked):  # --help has been printed
        return {}
    folders = list(asked.folders) or _worlds.tasks()
    if asked.run is not None and not asked.folders:
        folders = [_folder_of(asked.run)]
    results = []
    with Sandbox() as sandbox:
        for folder in folders:
            result = _one(load_task(folder), asked, seed, sandbox)
            _show(result)
            results.append(result)
    fields = {"results": results}
    if out is not None:
        out.write_text(dumps(plain(fields)) + "\n", encoding="utf-8")
    return fields


def _folder_of(run: Path) -> Path:
    return Path(str(read_run(run).configuration["task"]["path"]))


def _one(task: Task, asked: Asked, seed: int, sandbox: Sandbox) -> dict[str, Any]:
    """Fields of one task."""
    began = time.perf_counter()
    truth = _worlds.load_truth(task, sandbox)
    name, candidate = _candidate(task, asked, truth, sandbox)
    loaded = time.perf_counter()
    labels = _worlds.values_for(task, asked.values)
    data = _worlds.held_out(task)
    try:
        against = next_state.yardstick(
            truth.program, truth.params, task.schema, data, values=labels, seed=seed,
            **asked.settings,
        )  # fmt: skip
    except ValueError as error:
        raise InputError(Problem("bad-request", str(error), file=str(task.path))) from error
    drawn = time.perf_counter()
    metrics = against.measure(candidate.program, candidate.params)
    done = time.perf_counter()
    return {
        "task": task.schema.name,
        "simulator": name,
        "parameters": candidate.parameters,
        "parameters_from": candidate.origin,
        "values": list(against.labels),
        "draws": asked.settings["draws"],
        "metrics": [metric.to_json() for metric in metrics],
        "times": {"load": loaded - began, "truth": drawn - loaded, "candidate": done - drawn},
    }


def _candidate(
    task: Task, asked: Asked, truth: _worlds.Simulator, sandbox: Sandbox
) -> tuple[str, _worlds.Simulator]:
    """What is measured, and what it is called."""
    if asked.simulator is not None:
        path = asked.simulator
        return str(path), _worlds.load_simulator(path, task, sandbox, asked.parameters)
    if asked.run is None:
        return "truth", truth
    record = read_run(asked.run)
    chosen = record.winner
    if asked.candidate is not None:
        chosen = next((c for c in record.candidates if c.id == asked.candidate), None)
    if chosen is None:
        known = ", ".join(str(c.id) for c in record.candidates) or "none yet"
        text = f"expected a finished candidate, one of: {known}"
        raise InputError(Problem("no-candidate", text, file=str(asked.run)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "simulator.py"
        path.write_text(chosen.source, encoding="utf-8")
        found = _worlds.load_simulator(path, task, sandbox, chosen.parameters)
    return f"{asked.run}, candidate {chosen.id} ({chosen.title})", found


HEADINGS = ("horizon", "W1", "floor", "ratio", "excess", "MMD", "its floor", "MSE", "of truth")


def _show(result: Mapping[str, Any]) -> None:
    """The table of one task."""
    first = result["metrics"][0]
    title = f"{result['task']}: {result['simulator']}, {result['parameters_from']}"
    shown = table(*HEADINGS, title=title, numeric=HEADINGS)
    for m in result["metrics"]:
        shown.add_row(
            str(m["horizon"]),
            _pm(m["w1"], m["w1_se"]),
            _pm(m["floor"], m["floor_se"]),
            _pm(m["ratio"], m["ratio_se"]),
            _pm(m["excess"], m["excess_se"], "+"),
            f"{m['mmd']:.4f}",
            f"{m['mmd_floor']:.4f}",
            f"{m['mse']:.4g}",
            f"{m['mse_floor']:.4g}",
        )
    wide = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    console = Console(width=120 if wide else None)
    console.print(shown)
    took = result["times"]["truth"] + result["times"]["candidate"]
    words = f"{', '.join(result['values'])}; {result['draws']} draws from each of "
    words += f"{first['states']} states of {first['trajectories']} trajectories, {took:.0f} s"
    failed = max(m["failed"] for m in result["metrics"])
    words += f"; {failed:.1%} of the draws failed" if failed else ""
    console.print(f"{words}\n", style="dim", markup=False, highlight=False, soft_wrap=True)


def _pm(value: float, error: float, sign: str = "") -> str:
    return f"{value:{sign}.3f} ± {error:.3f}"
