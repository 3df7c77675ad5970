"""Verbs that search and calibrate: ``gsim run`` and ``gsim calibrate``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.console import Console

from gsim_jax.cli.isolation import require_isolation
from gsim_jax.cli.reply import BAD_INPUT, Options, Reply, error_json, verb

if TYPE_CHECKING:
    from gsim_jax.cli.live import Watch
    from gsim_jax.propose import Brief, Proposal, Proposer
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

    with _watch() as watch:
        if resume is not None:
            result = search.resume(resume, listener=watch.listen, isolation=isolation)
        else:
            assert task is not None
            result = search.run(
                task,
                proposer=_proposer(proposer),
                seed=options.seed,
                out=_new_folder(options.out, task),
                listener=watch.listen,
                isolation=isolation,
                **{name: value for name, value in budget.items() if value is not None},
            )
    return _found(result, watch.failures)


@click.command()
@click.argument("task", type=FOLDER)
@click.option("--simulator", type=click.Path(path_type=Path), required=True, metavar="FILE",
              help="The simulator file.")  # fmt: skip
@click.option("--method", type=click.Choice(["es"]), default="es", show_default=True,
              help="es: evolution strategy on the energy score.")  # fmt: skip
@require_isolation
@verb
def calibrate(
    options: Options, task: Path, simulator: Path, method: str, isolation: Level | None
) -> Reply:
    """Calibrate one simulator file on TASK.

    Prints parameters with errors and where the fit is not within noise. --out is the run folder.
    """
    from gsim_jax import search
    from gsim_jax.report import read_run, show_candidate, write_report
    from gsim_jax.report.words import split_words

    proposer = _one_program(simulator)
    with _watch() as watch:
        result = search.run(
            task,
            proposer=proposer,
            seed=options.seed,
            out=_new_folder(options.out, task),
            rounds=1,
            proposals=1,
            listener=watch.listen,
            isolation=isolation,
        )
    page = write_report(result.record)
    record = read_run(result.record)
    winner = record.winner
    if winner is None:  # the file itself was refused: bad input, under the name the user gave it
        reply = _found(result, watch.failures)
        errors = tuple({**error, "file": str(simulator)} for error in reply.errors)
        return replace(reply, errors=errors, status=BAD_INPUT)

    def show(console: Console) -> None:
        show_candidate(console, winner)
        console.print(f"\n{split_words(record.split)}\nRun record: {record.directory}",
                      style="dim", markup=False, highlight=False, soft_wrap=True)  # fmt: skip

    fields = {
        "method": method,
        "split": record.split,
        "parameters": winner.parameters,
        "error": winner.errors,
        "score": winner.score,
        "floor": winner.floor,
        "gap": winner.gap,
        "se": winner.gap_se,
        "adequate": winner.adequate,
        "p_value": winner.p_value,
        "unexplained": winner.unexplained,
        "times": winner.times,
        "record": record.directory,
        "page": page,
    }
    return Reply(fields, show)


def _found(result: Any, failures: list[Mapping[str, Any]]) -> Reply:
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


def _new_folder(out: Path | None, task: Path) -> Path:
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


def _watch() -> Watch:
    """Progress for people, on stderr."""
    from gsim_jax.cli.live import Watch

    return Watch(Console(stderr=True))


def _proposer(name: str) -> Proposer:
    from gsim_jax.propose import LibraryProposer

    proposers = {"library": LibraryProposer}
    return proposers[name]()


@dataclass
class OneProgram:
    """Proposes the file it was given, and nothing after it."""

    proposal: Proposal
    name: str = "file"

    def propose(self, brief: Brief, count: int) -> list[Proposal]:
        """The file in round 0, nothing later."""
        return [self.proposal] if brief.round == 0 and count > 0 else []


def _one_program(path: Path) -> OneProgram:
    """The user's file as a proposal.

    Raises:
        SimulatorError: There is no such file, or it is not UTF-8.
    """
    from gsim_jax.propose import Proposal
    from gsim_jax.task import Problem, SimulatorError

    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem("unreadable", f"expected a simulator file: {error}", file=str(path))
        raise SimulatorError([problem]) from error
    digest = hashlib.blake2b(source.encode(), digest_size=8).hexdigest()
    return OneProgram(Proposal(source, path.name, None, digest, None, "given as a file"))
