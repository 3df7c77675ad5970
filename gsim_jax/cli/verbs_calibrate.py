"""The verb that fits one simulator file: ``gsim calibrate``."""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from gsim_jax.cli.isolation import require_isolation
from gsim_jax.cli.reply import BAD_INPUT, Options, Reply, verb
from gsim_jax.cli.verbs_search import FOLDER, found, new_folder, progress

if TYPE_CHECKING:
    from gsim_jax.calibrate import Calibrator
    from gsim_jax.propose import Brief, Proposal
    from gsim_jax.simulator.sandbox import Level

METHODS = {
    "es": ("gsim_jax.calibrate.evolution:Evolution", "evolution strategy on the energy score"),
    "exact": (
        "gsim_jax.calibrate.exact:Exact",
        "posterior from a likelihood in closed form, where two complete rows show every draw",
    ),
    "npe": ("gsim_jax.calibrate.npe:NeuralPosterior", "neural posterior, from simulations alone"),
}
"""Each method: where its calibrator is, and what it does."""
HELP = "; ".join(f"{name}: {words}" for name, (_, words) in METHODS.items()) + "."


@click.command()
@click.argument("task", type=FOLDER)
@click.option("--simulator", type=click.Path(path_type=Path), required=True, metavar="FILE",
              help="The simulator file.")  # fmt: skip
@click.option("--method", type=click.Choice(list(METHODS)), default="es",
              show_default=True, help=HELP)  # fmt: skip
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
    with progress() as watch:
        result = search.run(
            task,
            proposer=proposer,
            seed=options.seed,
            out=new_folder(options.out, task),
            rounds=1,
            proposals=1,
            listener=watch.listen,
            isolation=isolation,
            calibrator=_calibrator(method),
        )
    page = write_report(result.record)
    record = read_run(result.record)
    winner = record.winner
    if winner is None:  # the file itself was refused: bad input, under the name the user gave it
        reply = found(result, watch.failures)
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
        "warnings": winner.warnings,
        "times": winner.times,
        "record": record.directory,
        "page": page,
    }
    return Reply(fields, show)


def _calibrator(method: str) -> Calibrator:
    module, _, name = METHODS[method][0].partition(":")
    return getattr(importlib.import_module(module), name)()


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
