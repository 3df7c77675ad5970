"""Numbers as text, and a run's outcome in plain sentences."""

from __future__ import annotations

import math

from gsim_jax.report.record import Candidate, Cell, Run

IN_SAMPLE = (
    "Ranked on the training data (in-sample): the task has no validation table, so a structure "
    "that overfits is not caught."
)
TIES = (
    "Scores within two standard errors of the lowest are ties; among tied candidates that are "
    "adequate the simplest wins: no broken rule, then fewer parameters, then the cheaper program."
)
STOPS = {
    "adequate": "the best candidate is adequate",
    "patience": "the last rounds brought no significant gain",
    "rounds": "all rounds are done",
    "seconds": "the time budget is spent",
    "tokens": "the budget of tokens is spent",
    "money": "the budget of money is spent",
    "recording": "the recording has no more rounds",
}
"""Reasons to stop as the search records them, and in words; others are words already."""
HELD_OUT = "Ranked on the validation data, which calibration never saw."


def number(value: float | None, digits: int = 3) -> str:
    """A number for reading: ``digits`` significant ones, an em dash where there is none.

    Args:
        value: Any number; ``None`` and NaN mean "not there".
        digits: Significant digits.

    Returns:
        Plain notation from 0.0001 to 10 million, powers of ten beyond; a true minus sign.
    """
    if value is None or math.isnan(value):
        return "—"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    if magnitude >= 7 or magnitude < -4:
        return f"{value:.{digits - 1}e}".replace("-", "−")
    text = f"{value:,.{max(digits - 1 - magnitude, 0)}f}"
    return text.replace("-", "−")


def plus_minus(value: float | None, error: float | None) -> str:
    """``0.412 ± 0.008``: the value is written as finely as its error is known to two digits.

    Args:
        value: The estimate.
        error: Its standard error; without one the value stands alone.

    Returns:
        Text.
    """
    if value is None or error is None or not math.isfinite(error) or error <= 0:
        return number(value)
    if not math.isfinite(value):
        return number(value)
    places = 1 - math.floor(math.log10(error))
    if not -3 <= places <= 6:
        return f"{number(value)} ± {number(error, 2)}"
    places = max(places, 0)
    value = round(value, places) + 0.0  # no "−0.0"
    return f"{value:,.{places}f} ± {error:,.{places}f}".replace("-", "−")


def signed(text: str) -> str:
    """A leading plus for what is not negative, so that gaps line up."""
    return text if text.startswith(("−", "—")) else f"+{text}"


def gap_words(gap: float | None, se: float | None) -> str:
    """``+0.012 ± 0.006``."""
    return signed(plus_minus(gap, se)) if gap is not None else "—"


def p_words(p_value: float) -> str:
    """``p = 0.31``, ``p = 0.004``, ``p < 0.001``."""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def horizon_words(horizon: str) -> str:
    """``'1'`` as "1 step ahead", ``'free'`` as "free run"."""
    if horizon == "free":
        return "free run"
    return f"{horizon} step ahead" if horizon == "1" else f"{horizon} steps ahead"


def split_words(split: str) -> str:
    """Which rows the ranking used, and what that means."""
    return IN_SAMPLE if split == "train" else HELD_OUT


def misfits(candidate: Candidate) -> tuple[Cell, ...]:
    """Cells that chance does not explain, worst first."""
    found = [cell for cell in candidate.table if not cell.within_noise]
    return tuple(sorted(found, key=lambda cell: -abs(cell.z or 0.0)))


def verdict(candidate: Candidate) -> str:
    """Whether the data could have come from this simulator, in a sentence or two.

    Args:
        candidate: A diagnosed candidate.

    Returns:
        Words; names the worst misfit where there is one.
    """
    chance = candidate.p_value
    p_value = f" (bootstrap {p_words(chance)})" if chance is not None else ""
    if candidate.adequate:
        text = f"Adequate: data like these are what this simulator produces{p_value}."
    else:
        text = f"Not adequate: the data differ from what this simulator produces{p_value}."
    found = misfits(candidate)
    if found and not candidate.adequate:
        worst = found[0]
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        text += (
            f" Worst: {worst.variable}, {horizon_words(worst.horizon)}, gap "
            f"{gap_words(worst.gap, worst.se)}{more}."
        )
    broken = [rule.name for rule in candidate.rules if rule.violated]
    if broken:
        text += f" Broken rules: {'; '.join(broken)}."
    return text


def lowest_wins(record: Run) -> bool:
    """Whether the winner has the lowest score; where not, a tie was broken, and is explained."""
    winner = record.winner
    if winner is None or winner.score is None:
        return True
    return all(c.score is None or c.score >= winner.score for c in record.candidates)


def stop_words(reason: str | None) -> str:
    """Why a search stopped, in words."""
    return STOPS.get(reason or "", reason or "no reason recorded")


def ending(record: Run) -> str:
    """How far the run has come, in a sentence."""
    if record.finished:
        return f"The search ended: {stop_words(record.stopped)}."
    if record.stopped:
        return f"The search stopped: {stop_words(record.stopped)}."
    return f"The search has not ended; continue it with: gsim run --resume {record.directory}"
