"""The verb that searches: ``gsim run``; and what ``gsim calibrate`` shares with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.console import Console

from gsim_jax.cli.isolation import require_isolation
from gsim_jax.cli.reply import Options, Reply, error_json, verb

if TYPE_CHECKING:
    from gsim_jax.cli.live import Watch
    from gsim_jax.propose import Proposer
    from gsim_jax.simulator.sandbox import Level

FOLDER = click.Path(path_type=Path)
RESUMED = ("task", "proposer", "seed", "out", "rounds", "proposals", "patience", "seconds")
"""What a resumed run takes from its record, never from the command line."""


@click.command()
@click.argument("task", type=FOLDER, required=False)
@click.option("--proposer", type=click.Choice(["library"]), default="library", show_default=True,
              help="Who proposes structures.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), help="At most this many rounds.")
@click.option("--proposals", type=click.IntRange(1), help="Structures per round.")
@click.option("--patience", type=click.IntRange(1), help="Rounds without a gain before it stops.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True),
              help="Time budget; it makes the stop depend on the machine.")  # fmt: skip
@click.option("--resume", type=FOLDER, metavar="RUN", help="Continue a run that was cut short.")
@require_isolation
@verb
def run(
    options: Options,
    task: Path | None,
    resume: Path | None,
    proposer: str,
    isolation: Level | None,
    **budget: float | None,
) -> Reply:
    """Find a simulator for TASK.

    --out is the run folder, by default the first free of runs/NAME, runs/NAME-2, …
    """
    _only_one(task, resume)
    from gsim_jax import search  # after the arguments: a usage error answers at once

    with progress() as watch:
        if resume is not None:
            result = search.resume(resume, listener=watch.listen, isolation=isolation)
        else:
            assert task is not None
            result = search.run(
                task,
                proposer=_proposer(proposer),
                seed=options.seed,
                out=new_folder(options.out, task),
                listener=watch.listen,
                isolation=isolation,
                **{name: value for name, value in budget.items() if value is not None},
            )
    return found(result, watch.failures)


def found(result: Any, failures: list[Mapping[str, Any]]) -> Reply:
    """Reply of a run: the winner, or why there is none."""
    from gsim_jax.report import read_run, show_record, write_report

    page = write_report(result.record)
    record = read_run(result.record)
    fields = {
        "split": record.split,
        "best": result.best,
        "rounds": result.rounds,
        "source": result.source,
        "unexplained": result.unexplained,
        "stopped": record.stopped,
        "record": result.record,
        "page": page,
    }
    reply = Reply(fields, lambda console: show_record(console, record))
    if result.best is not None:
        return reply
    reasons = [problem for event in failures for problem in event.get("problems", ())]
    errors = [
        problem if isinstance(problem, Mapping) else error_json("failed", str(problem))
        for problem in reasons
    ] or [error_json("no-candidate", f"no proposal became a candidate; see {result.record}")]
    return replace(reply, ok=False, errors=tuple(errors))


def _only_one(task: Path | None, resume: Path | None) -> None:
    """TASK starts a run, --resume continues one; whatever shapes a run is fixed at its start."""
    context = click.get_current_context()
    if resume is None:
        if task is None:
            raise click.UsageError("expected TASK, or --resume RUN", context)
        return
    given = [
        name
        for name in RESUMED
        if context.get_parameter_source(name) not in (None, ParameterSource.DEFAULT)
    ]
    if given:
        shown = ", ".join("TASK" if name == "task" else f"--{name}" for name in given)
        raise click.UsageError(
            f"--resume takes everything from the run's record; leave out {shown}", context
        )


def new_folder(out: Path | None, task: Path) -> Path:
    """A run folder that does not exist yet, or is empty.

    Args:
        out: What ``--out`` says.
        task: The task folder.

    Returns:
        ``out``, else the first free of ``runs/NAME``, ``runs/NAME-2``, …

    Raises:
        click.UsageError: ``out`` is there and holds something.
    """
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            hint = f"; to continue that run: gsim run --resume {out}" if out.is_dir() else ""
            raise click.BadParameter(
                f"expected a new or empty folder, {out} holds something{hint}",
                param_hint="--out",
            )
        return out
    name = task.resolve().name
    folder, number = Path("runs") / name, 1
    while folder.exists():
        number += 1
        folder = Path("runs") / f"{name}-{number}"
    return folder


def progress() -> Watch:
    """Progress for people, on stderr."""
    from gsim_jax.cli.live import Watch

    return Watch(Console(stderr=True))


def _proposer(name: str) -> Proposer:
    from gsim_jax.propose import LibraryProposer

    proposers = {"library": LibraryProposer}
    return proposers[name]()
