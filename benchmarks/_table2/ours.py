"""Rows of this package: searches by the library or a language model, and the truth's structure."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

from benchmarks._table2.context import (
    RECORDINGS,
    Clock,
    Context,
    alone,
    calibrated,
    has_arrays,
)
from benchmarks._table2.fitted import Cost, Fitted
from benchmarks._table2.single import first_idea, first_reply
from gsim_jax.calibrate import Calibrator, Evolution
from gsim_jax.propose import (
    ChatOptions,
    ChatProposer,
    LibraryProposer,
    Proposer,
    ReplayProposer,
)
from gsim_jax.search import RunResult, resume, run
from gsim_jax.search.record import write_json
from gsim_jax.simulator.program import Program
from gsim_jax.task import InputError, Problem, Task

NO_RECORDING = "no recording"


def floor(context: Context) -> Fitted:
    """The truth itself."""
    truth = context.truth
    title = "the simulator that made the data"
    return Fitted(truth.program, truth.parameters, title=title, source=truth_source(context.task))


def truth_source(task: Task) -> str:
    """The simulator file of a task's truth."""
    return (task.path / "truth.py").read_text(encoding="utf-8")


def truth_calibrated(
    context: Context, calibrator: Calibrator | None = None, filtered: bool = True
) -> Fitted:
    """The truth's structure with parameters from the data: the best that a search can reach."""
    program = context.truth.program
    calibrator = calibrator or context.effort.evolution()
    found = calibrated(context, program, calibrator, filtered)
    return replace(found, title=f"the truth's structure, parameters by {calibrator.name}")


def searched(
    context: Context,
    name: str,
    proposer: Proposer,
    wide: Width,
    calibrator: Calibrator | None = None,
) -> Fitted:
    """The winner of a search; a search that is there already is read, or goes on.

    Args:
        context: task, seed and effort.
        name: of the run's folder.
        proposer: who proposes.
        wide: rounds, and proposals per round.
        calibrator: the effort's evolution strategy by default.

    Raises:
        InputError: no proposal became a candidate.
    """
    folder = context.folder / name
    calibrator = calibrator or context.effort.evolution()
    with alone(folder):
        clock = Clock()
        if (folder / "run.json").is_file():
            found = resume(folder, proposer=proposer, calibrator=calibrator)
        else:
            found = run(
                context.task.path, proposer=proposer, seed=context.seed, out=folder,
                calibrator=calibrator, rounds=wide.rounds, proposals=wide.proposals,
            )  # fmt: skip
        seconds = _seconds(folder, clock)
    if found.best is None:
        text = "expected a candidate; every proposal was refused"
        raise InputError(Problem("no-candidate", text, file=str(folder)))
    return _winner(context.task, folder, found, seconds)


def _seconds(folder: Path, clock: Clock) -> tuple[float, float]:
    """Wall and processor seconds of a run that has ended, written down the first time."""
    path = folder / "seconds.json"
    if not path.is_file():
        wall, cpu = clock.read()
        write_json(path, {"seconds": wall, "cpu_seconds": cpu})
    kept = json.loads(path.read_text(encoding="utf-8"))
    return kept["seconds"], kept["cpu_seconds"]


def _winner(task: Task, folder: Path, found: RunResult, seconds: tuple[float, float]) -> Fitted:
    best = found.best or {}
    raw = (folder / "candidates" / f"{best['id']:03d}" / "program.json").read_bytes()
    program = Program.from_document(raw, task.schema.signature())
    made = sorted(folder.glob("candidates/*/diagnosis.json"))
    diagnoses = [json.loads(path.read_text(encoding="utf-8")) for path in made]
    failures = len(list(folder.glob("candidates/*/failure.json")))
    stops = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    tokens = None if found.spent is None else int(found.spent["tokens"])
    points = sum(diagnosis["evaluations"] for diagnosis in diagnoses)
    return Fitted(
        program,
        best["parameters"],
        cost=Cost(*seconds, points, tokens, len(best["parameters"])),
        title=best["title"],
        source=found.source,
        details={
            "adequate": best["adequate"],
            "candidates": len(diagnoses),
            "refused": failures,
            "rounds": 1 + max((diagnosis["round"] for diagnosis in diagnoses), default=0),
            "stopped": [e["reason"] for e in stops if e["event"] == "stop"][-1:],
        },
    )


def then_neural(context: Context, found: Fitted) -> Fitted:
    """The structure of a search under the posterior mean of a neural posterior."""
    assert isinstance(found.simulator, Program)
    again = calibrated(context, found.simulator, context.effort.neural())
    cost, own = found.cost, again.cost
    spent = Cost(
        cost.seconds + own.seconds, cost.cpu_seconds + own.cpu_seconds, cost.points + own.points,
        cost.tokens, own.parameters,
    )  # fmt: skip
    details = {**found.details, **again.details, "neural": asdict(own), "search": asdict(cost)}
    return replace(again, cost=spent, title=found.title, source=found.source, details=details)


class Width(NamedTuple):
    """How long a search is, and how many structures a round has."""

    rounds: int
    proposals: int


ONE = Width(1, 1)


def width(context: Context, replay: ReplayProposer | None = None) -> Width:
    """Rounds and proposals per round of a search.

    A recording is played as it was held, or its beginning. Where states are arrays a candidate of
    the library takes minutes, and of entities in slots it has no mechanism: what it can say of such
    tasks it says at once.
    """
    effort = context.effort
    if replay is not None:
        if not effort.quick:
            return Width(replay.rounds, replay.proposals)
        return Width(min(replay.rounds, effort.rounds), min(replay.proposals, effort.proposals))
    if not has_arrays(context.task):
        return Width(effort.rounds, effort.proposals)
    if effort.quick:
        return ONE
    states = context.task.schema.states.values()
    return Width(1, 2) if any(state.exchangeable for state in states) else Width(1, 3)


def library(context: Context) -> Fitted:
    """Library proposer, parameters by the evolution strategy."""
    wide = width(context)
    if wide == ONE:  # nothing is to be chosen, so that nothing has to be diagnosed
        return library_single(context)
    return searched(context, "library", LibraryProposer(), wide, _for_library(context))


def _for_library(context: Context) -> Evolution:
    return context.effort.evolution(dear=has_arrays(context.task))


def library_neural(context: Context) -> Fitted:
    """The same search; the winner's parameters are the mean of a neural posterior."""
    return then_neural(context, library(context))


def library_guess(context: Context) -> Fitted:
    """The library's first idea at its guessed values."""
    return first_idea(context, None)


def library_single(context: Context) -> Fitted:
    """The library's first idea, calibrated."""
    return first_idea(context, _for_library(context))


def recording(context: Context) -> Path | None:
    """The recorded conversation of a task and seed, None where there is none."""
    folder = context.recordings / context.task.path.name / f"seed-{context.seed}"
    return folder if any((folder / "chat").glob("r*.reply.json")) else None


def live_model() -> str:
    """The language model that the environment names, "" where none can be reached."""
    reachable = os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL")
    return os.environ.get("OPENAI_MODEL", "") if reachable else ""


def chat(context: Context) -> Fitted:
    """A language model's structures: a recorded conversation, else a live one."""
    kept = recording(context)
    if kept is not None:
        replay = ReplayProposer(kept)
        if width(context, replay) == ONE:
            return chat_single(context)
        return searched(context, "chat", replay, width(context, replay))
    effort = context.effort
    return searched(context, "chat", _live(), Width(effort.rounds, effort.proposals))


def _live() -> ChatProposer:
    model = live_model()
    if not model:
        text = "expected a recording, or OPENAI_MODEL with OPENAI_API_KEY or OPENAI_BASE_URL"
        raise InputError(Problem("no-recording", text, file=str(RECORDINGS)))
    base_url = os.environ.get("OPENAI_BASE_URL", "")
    return ChatProposer(ChatOptions(model=model, base_url=base_url))


def chat_neural(context: Context) -> Fitted:
    """The same conversation; the winner's parameters are the mean of a neural posterior."""
    return then_neural(context, chat(context))


def chat_guess(context: Context) -> Fitted:
    """ZeroShot: the first program of the conversation at its guessed values."""
    return first_reply(context, replayed(context), None)


def chat_single(context: Context) -> Fitted:
    """ZeroShotOptim: the first program of the conversation, calibrated."""
    return first_reply(context, replayed(context), context.effort.evolution())


def replayed(context: Context) -> ReplayProposer:
    """The conversation of `chat`, once it has been held."""
    kept = recording(context)
    if kept is None and not (context.folder / "chat" / "chat").is_dir():
        chat(context)
    return ReplayProposer(kept or context.folder / "chat")


def repaired(context: Context) -> bool:
    """Whether any program or answer of the conversation of `chat` went back to the model."""
    folder = recording(context) or context.folder / "chat"
    return any((folder / "chat").glob("r*-a[1-9]*.request.json"))


def first_program(context: Context) -> tuple[Program, Mapping[str, float], str]:
    """What hybrids start from: the first program of a language model, else of the library.

    Returns:
        The program, its guesses, and whose it is.
    """
    if recording(context) is not None or (context.folder / "chat" / "chat").is_dir():
        found, whose = chat_guess(context), "a language model's first program"
    else:
        found, whose = library_guess(context), "the library's first program"
    assert isinstance(found.simulator, Program)
    return found.simulator, found.values, whose
