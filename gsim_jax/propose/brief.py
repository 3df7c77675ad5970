"""What a proposer is told and what it hands back: the contract of the family.

A proposer reads one :class:`Brief` (what is known so far) and returns :class:`Proposal` objects
(simulator files with a few words about them). It never calibrates, runs or scores anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from gsim_jax.task import Problem, Profile, Schema

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
class Cell:
    """How one scored variable fits at one horizon.

    Attributes:
        variable: Label of the scored output.
        horizon: ``'1'``, ``'7'`` or ``'free'``.
        score: Energy score in units of the run's scale (smaller is better).
        floor: What it would be were the data drawn from the candidate.
        gap: ``score - floor``.
        se: Standard error of the gap.
        within_noise: Whether chance alone gives such a gap.
    """

    variable: str
    horizon: str
    score: float
    floor: float
    gap: float
    se: float
    within_noise: bool


@dataclass(frozen=True)
class Attempt:
    """A proposal of an earlier round, whatever became of it.

    Attributes:
        id: Number in the run record.
        round: The round it was made in.
        title: The structure in a few words.
        parent: What it was made from, ``None`` for a first idea.
        behind: Score minus the best candidate's score, paired; ``None`` where it failed.
        behind_se: Standard error of that difference.
        gain: Score minus the parent's score, paired; ``None`` where there is no parent.
        gain_se: Standard error of that difference.
        problems: Why it failed; empty for a candidate.
    """

    id: int
    round: int
    title: str
    parent: int | None
    behind: float | None = None
    behind_se: float | None = None
    gain: float | None = None
    gain_se: float | None = None
    problems: tuple[str, ...] = ()


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
        title: The structure in a few words.
        round: The round it was proposed in.
        floor: What the score would be were the data drawn from the candidate itself.
        p_value: Bootstrap p-value of the largest misfit.
        behind: Score minus the best candidate's score, paired on the same rows and words.
        behind_se: Standard error of that difference; 0 for the best itself.
        cells: Fit per variable and horizon.
        broken: Rules of the task that free runs break, with the share of rows.
        warnings: What check and calibration found amiss.
        cost: Counted operations per lane and step.
        expensive: The operations that cost most, with their share of the cost.
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
    title: str = ""
    round: int = 0
    floor: float = 0.0
    p_value: float = 0.0
    behind: float = 0.0
    behind_se: float = 0.0
    cells: tuple[Cell, ...] = ()
    broken: tuple[tuple[str, float], ...] = ()
    warnings: tuple[str, ...] = ()
    cost: int = 0
    expensive: tuple[tuple[str, float], ...] = ()


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
        attempts: What became of every proposal before, in order.
        held_out: Whether candidates are ranked on validation data.
    """

    schema: Schema
    profile: Profile
    round: int
    seed: int
    parents: tuple[Parent, ...] = ()
    tried: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    held_out: bool = True


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
        attempt: How often it had been sent back before; 0 for a first answer.
        problems: Why there is no simulator file; what has problems is never run.
        returned: What was wrong with the attempts before this one.
    """

    source: str
    title: str
    structure: Structure | None
    fingerprint: str
    parent: int | None
    rationale: str
    attempt: int = 0
    problems: tuple[Problem, ...] = ()
    returned: tuple[tuple[Problem, ...], ...] = ()


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
