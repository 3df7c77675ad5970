"""Which candidates are better, and which ones the proposer is shown.

Candidates are ranked by score, through paired differences on the same rows and words. What differs
from the best by less than two standard errors is a tie: fewer parameters win, then lower cost. So
noise is not read as progress. Simplicity is no excuse for a candidate that its own noise refutes:
where some of the tied are adequate, the simplest of those wins; where none is, the lowest score.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gsim_jax.calibrate import standard_error
from gsim_jax.propose import Finding, Parent
from gsim_jax.search.record import Stored

#: Differences below this many standard errors are ties.
TIE = 2.0
#: Distinct structures that a brief shows.
SHOWN = 4


def difference(a: Stored, b: Stored, trajectories: int) -> tuple[float, float]:
    """Score of a minus score of b, paired, and its standard error."""
    units = a.contributions - b.contributions
    return float(units.mean()), standard_error(units, trajectories)


def rank(candidates: Sequence[Stored], trajectories: int) -> list[Stored]:
    """Candidates, the best first.

    Args:
        candidates: finished candidates of one run.
        trajectories: number of trajectories behind the contributions.

    Returns:
        The winner (see above), then the others by score.
    """
    sound = [c for c in candidates if np.isfinite(c.diagnosis["score"])]
    if not sound:
        return []
    by_score = sorted(sound, key=lambda c: (c.diagnosis["score"], c.id))
    lowest = by_score[0]
    tied = [lowest]
    for other in by_score[1:]:
        gap, error = difference(other, lowest, trajectories)
        if gap <= TIE * error:
            tied.append(other)
    adequate = [candidate for candidate in tied if candidate.diagnosis["adequate"]]
    winner = min(adequate, key=_complexity) if adequate else lowest
    return [winner, *(c for c in by_score if c is not winner)]


def _complexity(candidate: Stored) -> tuple:
    diagnosis = candidate.diagnosis
    broken = sum(rule["violated"] > 0 for rule in diagnosis["rules"])
    size = len(diagnosis["parameters"])
    return broken, size, diagnosis["cost"], diagnosis["score"], candidate.id


def improves(new: Stored, old: Stored, trajectories: int) -> bool:
    """Whether a new winner is better than the old one by more than noise."""
    gap, error = difference(new, old, trajectories)
    return gap < -TIE * error


def parents(ranked: Sequence[Stored]) -> tuple[Parent, ...]:
    """The best distinct structures, for a brief.

    Two candidates with the same causal graph and submodules are one structure; the better stays.
    """
    seen: set[tuple] = set()
    chosen = []
    for candidate in ranked:
        edges = tuple(map(tuple, candidate.diagnosis["edges"]))
        groups = tuple(sorted({label.split(".")[0] for label in candidate.diagnosis["parameters"]}))
        if (edges, groups) in seen:
            continue
        seen.add((edges, groups))
        chosen.append(as_parent(candidate))
        if len(chosen) == SHOWN:
            break
    return tuple(chosen)


def as_parent(candidate: Stored) -> Parent:
    """A stored candidate in the proposer's terms."""
    d = candidate.diagnosis
    return Parent(
        id=candidate.id,
        source=candidate.source,
        structure=candidate.proposal["structure"],
        parameters=d["parameters"],
        errors=d["errors"],
        unit=d["unit"],
        score=d["score"],
        gap=d["gap"],
        gap_se=d["gap_se"],
        adequate=d["adequate"],
        findings=tuple(Finding(**finding) for finding in d["findings"]),
    )
