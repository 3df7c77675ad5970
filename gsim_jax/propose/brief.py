"""What a proposer is told and what it hands back: the contract of the family.

A proposer reads one :class:`Brief` (what is known so far) and returns :class:`Proposal` objects
(simulator files with a few words about them). It never calibrates, runs or scores anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from gsim_jax.task import Profile, Schema

Structure = dict[str, Any]
"""A structure as JSON-ready data: what a proposer wants to find again in its parents."""


@dataclass(frozen=True)
class Finding:
    """One thing the diagnosis says about a candidate.

    Attributes:
        variable: Label of the scored output, or ``group.name`` of a parameter (kind ``bound``),
            or the name of a rule (kind ``rule``).
        horizon: ``'1'``, ``'7'`` or ``'free'``; empty where none applies.
        kind: ``'bias'`` (data minus simulation, signed), ``'spread'`` (positive: the data scatter
            more than the simulation), ``'score'``, ``'rule'``, ``'bound'`` or ``'residual'``.
        amount: Size in the unit of the variable.
        z: Size in standard errors, signed as ``amount``.
        words: One sentence for people and language models.
        related: Variable, input or calendar name that the residual goes with.
    """

    variable: str
    horizon: str
    kind: str
    amount: float
    z: float
    words: str
    related: str | None = None


@dataclass(frozen=True)
class Parent:
    """A calibrated and diagnosed candidate that new structures may start from.

    Attributes:
        id: Number of the candidate in the run record.
        source: Its simulator file.
        structure: What its proposer stored in :attr:`Proposal.structure`.
        parameters: Calibrated values by ``group.name``.
        errors: Standard errors of those values.
        unit: The values on the unit cube, each in (0, 1); near 0 or 1 is "at a bound".
        score: Energy score (smaller is better).
        gap: Score minus the score's floor.
        gap_se: Standard error of the gap.
        adequate: Whether nothing remains beyond noise.
        findings: What the diagnosis says.
    """

    id: int
    source: str
    structure: Structure | None
    parameters: dict[str, float]
    errors: dict[str, float]
    unit: dict[str, float]
    score: float
    gap: float
    gap_se: float
    adequate: bool
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Brief:
    """Everything a proposer may look at.

    Attributes:
        schema: The task's variables, inputs, constants and rules.
        profile: What the training data show.
        round: 0 in the first round.
        seed: Seed of this run; equal briefs give equal proposals.
        parents: The archive's best distinct candidates, best first; empty in round 0.
        tried: Fingerprints of the structures proposed before in this run.
    """

    schema: Schema
    profile: Profile
    round: int
    seed: int
    parents: tuple[Parent, ...] = ()
    tried: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """One simulator file, and where it comes from.

    Attributes:
        source: Text of the simulator file, in the template.
        title: The structure in a few words.
        structure: JSON-ready form that the proposer can edit later; ``None`` for free text.
        fingerprint: Equal for structures that differ only in names or order.
        parent: :attr:`Parent.id` that it was made from, ``None`` in a first round.
        rationale: Why this one, in a sentence.
    """

    source: str
    title: str
    structure: Structure | None
    fingerprint: str
    parent: int | None
    rationale: str


@runtime_checkable
class Proposer(Protocol):
    """Turns a brief into simulator files. Deterministic in ``(brief, count)``."""

    name: str

    def propose(self, brief: Brief, count: int) -> list[Proposal]:
        """Propose up to ``count`` structures, most promising first.

        Args:
            brief: What is known so far.
            count: How many proposals are wanted; fewer come back when ideas run out.

        Returns:
            Distinct proposals, none with a fingerprint in ``brief.tried``.
        """
        ...
