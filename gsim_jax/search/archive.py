"""Which candidates are better, and which ones the proposer is shown.

Candidates are ranked by score, through paired differences on the same rows and words. What differs
from the best by less than two standard errors is a tie: fewer parameters win, then lower cost. So
noise is not read as progress. Simplicity is no excuse for a candidate that its own noise refutes:
where some of the tied are adequate, the simplest of those wins; where none is, the lowest score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gsim_jax.calibrate import standard_error
from gsim_jax.propose import Attempt, Cell, Finding, Parent
from gsim_jax.search.record import Failed, Stored
from gsim_jax.task import Problem

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


def parents(ranked: Sequence[Stored], trajectories: int = 0) -> tuple[Parent, ...]:
    """The best distinct structures, for a brief.

    Two candidates with the same causal graph and submodules are one structure; the better stays.

    Args:
        ranked: candidates, the best first.
        trajectories: number of trajectories behind the contributions; 0 leaves out how far each is
            behind the best.
    """
    seen: set[tuple] = set()
    chosen = []
    for candidate in ranked:
        edges = tuple(map(tuple, candidate.diagnosis["edges"]))
        groups = tuple(sorted({label.split(".")[0] for label in candidate.diagnosis["parameters"]}))
        if (edges, groups) in seen:
            continue
        seen.add((edges, groups))
        best = ranked[0]
        behind = difference(candidate, best, trajectories) if trajectories else (0.0, 0.0)
        chosen.append(as_parent(candidate, behind if candidate is not best else (0.0, 0.0)))
        if len(chosen) == SHOWN:
            break
    return tuple(chosen)


def as_parent(candidate: Stored, behind: tuple[float, float] = (0.0, 0.0)) -> Parent:
    """A stored candidate in the proposer's terms.

    Args:
        candidate: the candidate.
        behind: its score minus the best one's, and the standard error.
    """
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
        title=d.get("title", ""),
        round=d.get("round", 0),
        floor=d.get("floor", 0.0),
        p_value=d.get("p_value", 0.0),
        behind=behind[0],
        behind_se=behind[1],
        cells=tuple(_cell(row) for row in d.get("table", ())),
        broken=tuple(
            (rule["name"], rule["violated"] / max(rule["checked"], 1))
            for rule in d.get("rules", ())
            if rule["violated"]
        ),
        warnings=tuple(d.get("warnings", ())),
        cost=d.get("cost", 0),
        expensive=tuple((words, share) for words, share in d.get("expensive", ())),
    )


def _cell(row: dict) -> Cell:
    names = ("variable", "horizon", "score", "floor", "gap", "se", "within_noise")
    return Cell(**{name: row[name] for name in names})


def attempts(
    made: Sequence[Stored | Failed], ranked: Sequence[Stored], trajectories: int, per_round: int
) -> tuple[Attempt, ...]:
    """What became of every proposal so far, in order.

    Args:
        made: candidates and failures.
        ranked: the candidates, the best first.
        trajectories: number of trajectories behind the contributions.
        per_round: proposals of a round, by which they are numbered.
    """
    by_id = {candidate.id: candidate for candidate in ranked}
    best = ranked[0] if ranked else None
    found = []
    for item in made:
        parent = item.proposal["parent"]
        place = {"id": item.id, "round": item.id // per_round, "parent": parent}
        title = item.proposal["title"]
        if isinstance(item, Failed):
            problems = tuple(str(Problem(**problem)) for problem in item.problems)
            found.append(Attempt(**place, title=title, problems=problems))
            continue
        numbers: dict[str, Any] = {}
        if best is not None and item.id in by_id:
            numbers["behind"], numbers["behind_se"] = difference(item, best, trajectories)
        if parent in by_id and item.id in by_id:
            gain, error = difference(item, by_id[parent], trajectories)
            numbers |= {"gain": gain, "gain_se": error}
        found.append(Attempt(**place, title=title, **numbers))
    return tuple(found)
