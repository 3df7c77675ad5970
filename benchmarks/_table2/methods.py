"""The rows of the table: their names, their words, and what makes each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks._table2 import ablations, baselines, ours, point
from benchmarks._table2.context import Context
from benchmarks._table2.fitted import Fitted

GROUPS: Mapping[str, str] = {
    "bounds": "What can be reached",
    "ours": "gsim_jax",
    "baseline": "Baselines",
    "ablation": "Ablations",
}


@dataclass(frozen=True)
class Method:
    """A row.

    Attributes:
        name: what ``--methods`` calls it.
        group: one of `GROUPS`.
        label: its words in the table.
        fit: makes it.
        paper: the row of the paper's table that it stands beside, "" for none.
        after: method whose run it builds on, "" for none.
        conversation: whether it needs a recorded or live conversation.
        recovers: whether it looks for a structure at all, so that its graph is a finding.
        scalars: whether it is only tried where all states are scalars: searches of the library
            take minutes per candidate elsewhere.
        no_slots: whether it is not tried where states are entities in slots.
        takes_program: whether it starts from a conversation's first program where there is one.
    """

    name: str
    group: str
    label: str
    fit: Callable[[Context], Fitted]
    paper: str = ""
    after: str = ""
    conversation: bool = False
    recovers: bool = False
    takes_program: bool = False
    scalars: bool = False
    no_slots: bool = False


_OURS = (
    Method("floor", "bounds", "truth against truth", ours.floor),
    Method("truth-mean", "bounds", "truth's mean, without spread", point.truth_mean),
    Method("truth-es", "bounds", "truth's structure, calibrated", ours.truth_calibrated),
    Method("library", "ours", "library, ES", ours.library, recovers=True),
    Method("library-npe", "ours", "library, NPE", ours.library_neural, "", "library",
           recovers=True),
    Method("library-zeroshot", "ours", "library, one proposal, no calibration", ours.library_guess,
           recovers=True),
    Method("library-zeroshot-optim", "ours", "library, one proposal, calibrated",
           ours.library_single, "", "library", recovers=True),
    Method("chat", "ours", "language model, ES", ours.chat, "G-Sim-ES", conversation=True,
           recovers=True),
    Method("chat-npe", "ours", "language model, NPE", ours.chat_neural, "G-Sim-SBI", "chat",
           conversation=True, recovers=True),
    Method("zeroshot", "ours", "ZeroShot: one proposal, no calibration", ours.chat_guess,
           "G-Sim-ES ZeroShot", "chat", conversation=True, recovers=True),
    Method("zeroshot-optim", "ours", "ZeroShotOptim: one proposal, calibrated", ours.chat_single,
           "G-Sim-ES ZeroShotOptim", "chat", conversation=True, recovers=True),
)  # fmt: skip


def all_methods() -> dict[str, Method]:
    """Every row by name, in the order of the table."""
    found = list(_OURS)
    for name, label, fit, paper in baselines.rows():
        starts = name.startswith(("deterministic-code", "hybrid-twin"))
        after = "zeroshot" if starts else ""
        if name.endswith("-noise"):  # it has the network of the row without
            after = name.removesuffix("-noise")
        found.append(Method(name, "baseline", label, fit, paper, after, takes_program=starts))
    for row in ablations.ROWS:
        searches = row.recovers and not row.conversation
        found.append(
            Method(row.name, "ablation", row.label, row.fit, "",
                   "chat" if row.conversation else "", row.conversation, row.recovers,
                   scalars=searches, no_slots=row.no_slots)
        )  # fmt: skip
    return {method.name: method for method in found}
