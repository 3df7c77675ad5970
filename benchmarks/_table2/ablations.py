"""Rows with one thing left out, so that what it is good for can be read off.

What a calibrator minimises and how draws are made is told on the truth's structure, where nothing
else differs. What a proposer reads is left out of the library's brief: its replies cost nothing, so
that the comparison can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from benchmarks._table2 import ours, rejection
from benchmarks._table2.context import Context
from benchmarks._table2.fitted import Fitted
from benchmarks._table2.squared_error import SquaredError
from gsim_jax.propose import Brief, Finding, LibraryProposer, Proposal
from gsim_jax.task.outputs import observed_outputs

#: Standard errors of something that is beyond doubt.
_CERTAIN = 8.0


@dataclass(frozen=True)
class Row:
    """An ablation; see `methods.Method`."""

    name: str
    label: str
    fit: Callable[[Context], Fitted]
    conversation: bool = False
    recovers: bool = False
    no_slots: bool = False


@dataclass
class Edited:
    """The library, which reads an edited brief.

    Attributes:
        name: for the run record.
        edit: what is done to each brief.
    """

    name: str
    edit: Callable[[Brief], Brief]

    def propose(self, brief: Brief, count: int) -> list[Proposal]:
        """As the library proposes."""
        return LibraryProposer().propose(self.edit(brief), count)


def without_feedback(brief: Brief) -> Brief:
    """Nothing of what became of earlier proposals; that they were made is known."""
    return replace(brief, parents=(), attempts=())


def without_noise(brief: Brief) -> Brief:
    """Every difference counts as real: findings without errors, and one for every gap."""

    def certain(finding: Finding) -> Finding:
        return replace(finding, z=float(np.copysign(_CERTAIN, finding.z)))

    parents = []
    for parent in brief.parents:
        gaps = [
            Finding(cell.variable, cell.horizon, "score", cell.gap, _CERTAIN, "a gap")
            for cell in parent.cells
            if cell.gap > 0
        ]
        found = (*map(certain, parent.findings), *gaps)
        parents.append(replace(parent, findings=found, gap_se=0.0, behind_se=0.0, adequate=False))
    return replace(brief, parents=tuple(parents))


def without_profile(brief: Brief) -> Brief:
    """Nothing of what the data show of relations; ranges stay, for priors are made of them."""
    bare = replace(brief.profile, invariants=(), transfers=(), lags=(), balances=())
    return replace(brief, profile=bare)


def _library(name: str, edit: Callable[[Brief], Brief]) -> Callable[[Context], Fitted]:
    return lambda context: ours.searched(
        context, f"library-{name}", Edited(f"library, {name}", edit), ours.width(context)
    )


def energy(context: Context) -> Fitted:
    """The reference of the next two: energy scores, also where a likelihood exists."""
    return ours.truth_calibrated(context, context.effort.evolution("energy"))


def squared_error(context: Context) -> Fitted:
    """The squared error of simulated trajectories in the place of the energy score."""
    return ours.truth_calibrated(context, SquaredError())


def rejection_sampling(context: Context) -> Fitted:
    """Counts drawn by rejection, as `jax.random` does, in the place of inverse CDFs."""
    other = replace(context.truth, program=rejection.marked(context.truth.program, context.task))
    with rejection.by_rejection():
        found = ours.truth_calibrated(
            replace(context, truth=other), context.effort.evolution("energy")
        )  # fmt: skip
    # Judged by the draws that all rows are judged by: what differs is what was found.
    return replace(found, simulator=context.truth.program)


def half_hidden(context: Context) -> Context:
    """The same with half of the training data's entries hidden, all but those of first rows.

    Not for entities in slots: what is left of them would be nobody's.
    """
    task = context.task
    data, generator = task.train, np.random.default_rng([context.seed, 2])
    seen, values = {}, {}
    for name, mask in data.seen.items():
        shown = generator.uniform(size=mask.shape) < 0.5
        shown[:, 0] = True
        seen[name] = mask & shown
        values[name] = np.where(seen[name], data.states[name], 0).astype(data.states[name].dtype)
    given = {**data.inputs, **data.attributes}
    outputs, known = observed_outputs(task.schema, values, seen, given, {}, {})
    known = known & data.exists[..., None]
    train = replace(
        data, states=values, seen=seen, outputs_seen=known,
        outputs=np.where(known, outputs, 0).astype(np.float32),
    )  # fmt: skip
    return replace(context, task=replace(task, train=train))


def particles(context: Context) -> Fitted:
    """The reference of the next one: half of the entries hidden."""
    return ours.truth_calibrated(half_hidden(context), context.effort.evolution("energy"))


def without_particles(context: Context) -> Fitted:
    """What is hidden is simulated on, whatever the data say since."""
    return ours.truth_calibrated(
        half_hidden(context), context.effort.evolution("energy"), filtered=False
    )


def without_repair(context: Context) -> Fitted:
    """A program that is refused is lost.

    Where nothing went back in the conversation this is the same search, and is not repeated.
    """
    proposer = ours.replayed(context)
    if not ours.repaired(context):
        found = ours.chat(context)
        return replace(found, details={**found.details, "repairs": 0})
    proposer.options = replace(proposer.options, repairs=0)
    return ours.searched(
        context, "chat-no-repair", proposer, ours.width(context, proposer)
    )  # fmt: skip


ROWS = (
    Row("energy", "truth's structure, energy score (reference)", energy),
    Row("squared-error", "truth's structure, squared error", squared_error),
    Row("rejection", "truth's structure, rejection sampling", rejection_sampling),
    Row("hidden", "truth's structure, half of the data hidden (reference)", particles,
        no_slots=True),
    Row("no-particles", "truth's structure, half hidden, no particles", without_particles,
        no_slots=True),
    Row("no-feedback", "library, no feedback", _library("no-feedback", without_feedback),
        recovers=True),
    Row("no-noise", "library, gaps without their errors", _library("no-noise", without_noise),
        recovers=True),
    Row("no-profile", "library, no profile", _library("no-profile", without_profile),
        recovers=True),
    Row("no-repair", "language model, no repair", without_repair, True, True),
)  # fmt: skip
