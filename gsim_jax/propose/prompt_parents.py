"""Earlier programs in words: how well each fits, where not, what it costs, what was tried."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gsim_jax.propose.brief import Attempt, Brief, Cell, Finding, Parent

#: Differences below this many standard errors are noise.
NOISE = 2.0
#: A program that costs so many times the cheapest one shown has its operations named.
DEAR = 4.0
#: Cost per step from which operations are named whatever the others cost.
DEAR_ALONE = 5_000
#: Lines of each list.
MOST_CELLS, MOST_FINDINGS, MOST_PARAMETERS, MOST_ATTEMPTS = 24, 16, 30, 24

_ORDER = {"rule": 0, "failure": 0, "bias": 1, "spread": 2, "residual": 3, "bound": 4, "score": 5}


def parent_fields(parent: Parent, brief: Brief, sources: bool) -> dict[str, Any]:
    """What `refine.md.j2` shows of one earlier program.

    Args:
        parent: The program.
        brief: The brief that it is from.
        sources: Whether its file is shown.
    """
    return {
        "id": parent.id,
        "round": parent.round + 1,  # people and models count from 1
        "title": parent.title or "untitled",
        "verdict": verdict(parent, first=parent is brief.parents[0]),
        "parameters": _parameters(parent),
        "cells": cells(parent.cells),
        "findings": findings(parent),
        "cost": cost(parent, brief.parents),
        "source": parent.source.strip() if sources else "",
    }


def verdict(parent: Parent, first: bool) -> str:
    """Score, gap and place among the others, noise named as noise."""
    score, floor = _number(parent.score), _number(parent.floor)
    gap = f"Score {score}, floor {floor}, gap {_pm(parent.gap, parent.gap_se)}"
    adequate = (
        "adequate: nothing is left beyond noise"
        if parent.adequate
        else f"not adequate (p = {parent.p_value:.2g})"
    )
    place = (
        "the best so far"
        if first
        else f"compared with the best: {_behind(parent.behind, parent.behind_se)}"
    )
    return f"{gap}; {adequate}; {place}."


def _behind(difference: float, error: float) -> str:
    if abs(difference) <= NOISE * error:
        return f"{_pm(difference, error)}, within noise: neither is better"
    return f"{_pm(difference, error)}, {'worse' if difference > 0 else 'better'} beyond noise"


def _parameters(parent: Parent) -> list[str]:
    notes = {
        finding.variable: finding.words
        for finding in parent.findings
        if finding.kind in ("bound", "undetermined")
    }
    lines = []
    for name, value in list(parent.parameters.items())[:MOST_PARAMETERS]:
        error = parent.errors.get(name, 0.0)
        known = f"{_number(value)} ± {_number(error, 2)}" if error > 0 else _number(value)
        note = notes.get(name, "").removeprefix(name).strip()
        lines.append(f"{name} = {known}" + (f" ({note})" if note else ""))
    left = len(parent.parameters) - len(lines)
    return lines + ([f"… and {left} more"] if left > 0 else [])


def cells(table: tuple[Cell, ...]) -> list[str]:
    """One line per variable: its gap at each horizon, or that it is within noise."""
    by_variable: dict[str, list[Cell]] = {}
    for cell in table:
        by_variable.setdefault(cell.variable, []).append(cell)
    lines, quiet = [], []
    for variable, found in by_variable.items():
        if all(cell.within_noise for cell in found):
            quiet.append(variable)
            continue
        parts = [
            f"{_ahead(cell.horizon)} gap {_pm(cell.gap, cell.se)}"
            + (" (within noise)" if cell.within_noise else "")
            for cell in found
        ]
        worst = max(abs(cell.gap) / max(cell.se, 1e-12) for cell in found)
        lines.append((worst, f"{variable}: {'; '.join(parts)}"))
    shown = [words for _, words in sorted(lines, key=lambda line: -line[0])][:MOST_CELLS]
    if len(lines) > len(shown):
        shown.append(f"… and {len(lines) - len(shown)} more variables beyond noise")
    if quiet:
        shown.append(f"within noise at every horizon: {', '.join(quiet[:40])}")
    return shown


def findings(parent: Parent) -> list[str]:
    """Sentences, the most telling first; scores are in the table already."""

    def key(finding: Finding) -> tuple:
        return _ORDER.get(finding.kind, 6), -abs(finding.z)

    told = [f for f in parent.findings if f.kind not in ("score", "bound", "undetermined")]
    lines = [finding.words for finding in sorted(told, key=key)[:MOST_FINDINGS]]
    left = len(told) - len(lines)
    lines += [f"… and {left} more"] if left > 0 else []
    return lines + list(parent.warnings[:6])


def cost(parent: Parent, others: tuple[Parent, ...]) -> str:
    """Words about the cost where it is out of line, with the operations that make it; else ""."""
    known = [other.cost for other in others if other.cost > 0]
    if not parent.cost or not known:
        return ""
    ratio = parent.cost / min(known)
    if ratio < DEAR and parent.cost < DEAR_ALONE:
        return ""
    share = ", ".join(f"{part:.0%} {words}" for words, part in parent.expensive)
    compared = f", {ratio:.0f} times the cheapest program here" if ratio >= DEAR else ""
    named = f" Most of it: {share}." if share else ""
    return f"Cost: {parent.cost:,} operations per step{compared}.{named}"


def attempts(brief: Brief) -> list[str]:
    """One line per earlier proposal that is not shown in full, the latest last."""
    shown = {parent.id for parent in brief.parents}
    lines = [_attempt(attempt) for attempt in brief.attempts if attempt.id not in shown]
    left = len(lines) - MOST_ATTEMPTS
    return ([f"… {left} earlier ones"] if left > 0 else []) + lines[-MOST_ATTEMPTS:]


def _attempt(attempt: Attempt) -> str:
    start = f"candidate {attempt.id} (round {attempt.round + 1}): {attempt.title}"
    if attempt.problems:
        return f"{start}: refused: {_cut(attempt.problems[0], 240)}"
    words = []
    if attempt.parent is not None and attempt.gain is not None and attempt.gain_se is not None:
        if abs(attempt.gain) <= NOISE * attempt.gain_se:
            words.append(f"no gain over candidate {attempt.parent} beyond noise")
        else:
            side = "better" if attempt.gain < 0 else "worse"
            change = _pm(attempt.gain, attempt.gain_se)
            words.append(f"{side} than candidate {attempt.parent} ({change})")
    if attempt.behind is not None and attempt.behind_se is not None:
        words.append(f"to the best {_behind(attempt.behind, attempt.behind_se)}")
    return f"{start}: {'; '.join(words) or 'not scored'}"


def _ahead(horizon: str) -> str:
    if horizon == "free":
        return "free run"
    return f"{horizon} step{'s' * (horizon != '1')} ahead"


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}g}" if math.isfinite(value) else "not finite"


def _pm(value: float, error: float) -> str:
    return f"{value:+.2g} ± {error:.2g}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + " …"
