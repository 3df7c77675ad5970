"""One proposal, with its parameters: nothing is to be ranked, so that nothing is diagnosed.

What was found is kept: rows that build on it read what the first of them has made.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks._table2.context import Context, alone, calibrated
from benchmarks._table2.fitted import Cost, Fitted
from gsim_jax.calibrate import Calibrator
from gsim_jax.cli.reply import plain
from gsim_jax.propose import Brief, LibraryProposer, Proposal, ReplayProposer
from gsim_jax.search.record import write_json
from gsim_jax.simulator.check import load_program
from gsim_jax.simulator.program import Program
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import InputError, Problem, SimulatorError, profile

#: A proposal, its program, and the tokens that it took.
Accepted = tuple[Proposal, Program, int | None]


def first_idea(context: Context, calibrator: Calibrator | None) -> Fitted:
    """The library's first proposal.

    Args:
        context: task, seed and effort.
        calibrator: finds the parameters; None stays with the guesses.
    """

    def propose(brief: Brief, sandbox: Sandbox, folder: Path) -> Accepted:
        del folder
        (proposal,) = LibraryProposer().propose(brief, 1)
        return proposal, load_program(proposal.source, brief.schema, sandbox), None

    return _kept(context, "first-idea", propose, calibrator)


def first_reply(context: Context, replay: ReplayProposer, calibrator: Calibrator | None) -> Fitted:
    """A language model's first program; what is refused goes back as in a search.

    Args:
        context: task, seed and effort.
        replay: the conversation.
        calibrator: finds the parameters; None stays with the guesses.

    Raises:
        InputError: it was refused as often as the conversation repairs.
    """

    def propose(brief: Brief, sandbox: Sandbox, folder: Path) -> Accepted:
        with closing(replay):
            replay.attach(folder)
            (proposal,) = replay.propose(brief, 1)
            while True:
                problems = proposal.problems
                try:
                    if not problems:
                        program = load_program(proposal.source, brief.schema, sandbox)
                        return proposal, program, int(replay.spent()["tokens"])
                except SimulatorError as error:
                    problems = error.problems
                again = replay.repair(brief, 0, proposal, problems)
                if again is None:
                    text = "expected a program; every attempt of the first proposal was refused"
                    raise InputError(Problem("no-candidate", text, file=str(replay.source)))
                proposal = again

    return _kept(context, "first-reply", propose, calibrator)


def _kept(
    context: Context,
    name: str,
    propose: Callable[[Brief, Sandbox, Path], Accepted],
    calibrator: Calibrator | None,
) -> Fitted:
    schema = context.task.schema
    name = f"{name}-{calibrator.name if calibrator else 'guess'}"
    path, document = context.folder / f"{name}.json", context.folder / f"{name}.program.json"
    with alone(path):
        if not path.is_file():
            held_out = context.task.validation is not None
            brief = Brief(schema, profile(context.task), 0, context.seed, held_out=held_out)
            with Sandbox() as sandbox:
                proposal, program, tokens = propose(brief, sandbox, context.folder / name / "chat")
            if calibrator is None:
                space = program.parameters
                found = Fitted(
                    program, space.flat(space.guess()), cost=Cost(parameters=space.dimension)
                )
            else:
                found = calibrated(context, program, calibrator)
            document.write_bytes(program.to_bytes())
            kept = {
                "title": proposal.title,
                "source": proposal.source,
                "values": found.values,
                "cost": asdict(replace(found.cost, tokens=tokens)),
                "details": found.details,
            }
            write_json(path, plain(kept))
        kept = json.loads(path.read_text(encoding="utf-8"))
    kept["cost"] = Cost(**kept["cost"])
    return Fitted(Program.from_document(document.read_bytes(), schema.signature()), **kept)
