"""The verb that searches: ``gsim run``; and what ``gsim calibrate`` shares with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from gsim_jax.cli.chat_options import (
    CHAT,
    CONNECTION,
    Who,
    chat_options,
    flag,
    make_proposer,
    on_command_line,
)
from gsim_jax.cli.isolation import require_isolation
from gsim_jax.cli.reply import Options, Reply, error_json, verb

if TYPE_CHECKING:
    from gsim_jax.cli.live import Watch
    from gsim_jax.propose import Proposer
    from gsim_jax.simulator.sandbox import Level

FOLDER = click.Path(path_type=Path)
RESUMED = (
    "task", "proposer", "seed", "out", "rounds", "proposals", "patience", "seconds", "calibrate",
    *CHAT,
)  # fmt: skip
"""What a resumed run takes from its record, never from the command line."""


@click.command()
@click.argument("task", type=FOLDER, required=False)
@click.option("--proposer", type=Who(), default="library", show_default=True,
              help="Who proposes structures: the mechanism library, a language model, or a "
              "recorded conversation.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(1), help="At most this many rounds.")
@click.option("--proposals", type=click.IntRange(1), help="Structures per round.")
@click.option("--patience", type=click.IntRange(1), help="Rounds without a gain before it stops.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True),
              help="Time budget; it makes the stop depend on the machine.")  # fmt: skip
@click.option("--calibrate", type=click.Choice(["es", "none"]), default="es", show_default=True,
              help="What fits the parameters; none keeps the guesses of the file.")  # fmt: skip
@click.option("--resume", type=FOLDER, metavar="RUN", help="Continue a run that was cut short.")
@chat_options
@require_isolation
@verb
def run(
    options: Options,
    task: Path | None,
    resume: Path | None,
    proposer: str,
    calibrate: str,
    chat: Mapping[str, Any],
    isolation: Level | None,
    **budget: float | None,
) -> Reply:
    """Find a simulator for TASK.

    --out is the run folder, by default the first free of runs/NAME, runs/NAME-2, …

    A language model needs --proposer chat, --model and either OPENAI_API_KEY or the --base-url of
    a server of your own. Its conversation is kept in RUN/chat; --proposer replay:RUN plays it back.
    """
    _only_one(task, resume)
    from gsim_jax import search  # after the arguments: a usage error answers at once

    with progress() as watch:
        if resume is not None:
            changed = {name: chat[name] for name in on_command_line(CONNECTION)}
            more: dict[str, Any] = {"connection": changed} if changed else {}
            result = search.resume(resume, listener=watch.listen, isolation=isolation, **more)
        else:
            assert task is not None
            who, limits = _who(proposer, chat, budget)
            calibrator = {"calibrator": _guess()} if calibrate == "none" else {}
            result = search.run(
                task,
                proposer=who,
                seed=options.seed,
                out=new_folder(options.out, task),
                listener=watch.listen,
                isolation=isolation,
                **calibrator,
                **limits,
            )
    return found(result, watch.failures)


def _who(
    proposer: str, chat: Mapping[str, Any], budget: Mapping[str, Any]
) -> tuple[Proposer, dict[str, Any]]:
    """The proposer, and the limits of the run; a recording is as long and wide as it is."""
    limits = {name: value for name, value in budget.items() if value is not None}
    if proposer == "library":
        if given := on_command_line((*CONNECTION, *CHAT)):
            shown = ", ".join(map(flag, given))
            raise click.UsageError(
                f"{shown}: only with --proposer chat", click.get_current_context()
            )
        return _proposer(proposer), limits
    made: Any = make_proposer(proposer, chat)
    if proposer != "chat":
        limits = {"rounds": made.rounds, "proposals": made.proposals, **limits}
    return made, limits


def _guess() -> Any:
    from gsim_jax.calibrate.guess import Guess

    return Guess()


def found(result: Any, failures: list[Mapping[str, Any]]) -> Reply:
    """Reply of a run: the winner, or why there is none."""
    from gsim_jax.cli.live import spent_words
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
        "spent": getattr(result, "spent", None),
        "record": result.record,
        "page": page,
    }

    def show(console: Console) -> None:
        show_record(console, record)
        if fields["spent"]:
            words = f"Conversation: {spent_words(fields['spent'])}; in {result.record / 'chat'}"
            console.print(words, style="dim", markup=False, highlight=False, soft_wrap=True)

    reply = Reply(fields, show)
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
    given = on_command_line(RESUMED)
    if given:
        shown = ", ".join("TASK" if name == "task" else flag(name) for name in given)
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
