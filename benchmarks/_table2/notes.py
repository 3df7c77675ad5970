"""What has to be said under the table, from the cells alone: differences to the paper, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks._table2 import paper

Entry = Mapping[str, Any]

#: Seeds whose W1 differ by more than this factor are not one result with noise.
UNSTEADY = 3.0

#: What the ablations leave out, and what they cannot leave out from outside of the package.
LEFT_OUT = (
    "*Half of the data hidden*: all three tasks show every state, so that no row carries "
    "particles. Here half of the entries of the training data after each first row are hidden at "
    "random, and *no particles* leaves out weighting and resampling: what is hidden is simulated.",
    "*No repair* is the conversation's own row where no program went back in it.",
    "*Gaps without their errors* changes what the proposer reads; ranking, ties and the stop by "
    "adequacy stay as they are: leaving those out needs an option of `search.Limits`.",
)
SETTINGS = (
    "With NPE: the search runs with its ordinary calibration; the winner's structure then gets its "
    "parameters as the posterior mean of a neural posterior, as in the paper. Its seconds are "
    "those of search and posterior together.",
    "Seconds are those of one core, and of a method on its own: compilation, most of a search, is "
    "counted in full, also where a program was read that another cell had compiled. Seconds of the "
    "cell are what the table took.",
    "P3 counts vectors with a negative value or one that breaks a rule of the task about "
    "the predicted variables.",
)


def notes(entries: Sequence[Entry], header: Mapping[str, Any]) -> list[str]:
    """Sentences in Markdown.

    Args:
        entries: what `summary.summarise` returns.
        header: of the call.
    """
    found = [*_missing(entries)]
    for task in dict.fromkeys(entry["task"] for entry in entries):
        own = {e["method"]: e for e in entries if e["task"] == task and e["status"] == "done"}
        found += [*_against_paper(task, own), *_own(task, own), *_below_last_value(task, own)]
    found += SETTINGS
    shown = {entry["group"] for entry in entries}
    return [*found, *(LEFT_OUT if "ablation" in shown else ())]


def _missing(entries: Sequence[Entry]) -> Iterator[str]:
    left: dict[str, list[str]] = {}
    for entry in entries:
        for cause in entry["causes"]:
            place = f"{entry['label']} on {entry['task']}"
            if entry["status"] == "done":
                place += f" ({entry['missing_seeds']} of its seeds)"
            left.setdefault(cause, []).append(place)
    for cause, places in left.items():
        yield f"Without a result ({cause}): {'; '.join(places)}."


def _w1(entry: Entry | None, horizon: str = "1") -> float:
    if entry is None or horizon not in entry["metrics"]:
        return math.nan
    value = entry["metrics"][horizon]["w1"]["mean"]
    return math.inf if value is None else value


def _against_paper(task: str, own: Mapping[str, Entry]) -> Iterator[str]:
    last, floor = _w1(own.get("last-value")), _w1(own.get("floor"))
    if math.isnan(floor):
        floor = next((e["metrics"]["1"]["floor"]["mean"] for e in own.values()), math.nan)
    for entry in own.values():
        theirs = entry["paper_w1"]
        if theirs is None:
            continue
        ours = _w1(entry)
        if task not in paper.SAME_VECTOR:
            yield (
                f"{task}, {entry['label']}: W1 {ours:.3g} on our five-dimensional vector; the "
                f"paper's {theirs[0]:g} is of a vector that is not published. By ratio to the "
                f"floor ours is {entry['metrics']['1']['ratio']['mean']:.3g}."
            )
            continue
        half = entry["metrics"]["1"]["w1"]["half"] or 0.0
        if abs(ours - theirs[0]) <= theirs[1] + half:
            continue
        yield f"{task}, {entry['label']}: {_difference(entry, ours, theirs[0], last, floor, own)}"


def _difference(
    entry: Entry, ours: float, theirs: float, last: float, floor: float, own: Mapping[str, Entry]
) -> str:
    """Why a row differs from the paper's, as far as the cells say."""
    words = f"W1 {ours:.3g} here, {theirs:g} in the paper."
    if theirs > 1.05 * last:
        words += (
            f" Repeating the last value costs {last:.3g} here: the paper's figure is "
            f"{theirs / last:.1f} times that; "
        )
        words += "the row here is below it." if ours < last else "the row here is above it too."
        words += _far(entry)
    elif theirs < floor:
        words += f" Nothing with clouds of this size falls below the floor of {floor:.3g}."
    elif entry["group"] == "baseline" and ours > theirs:
        words += f" Repeating the last value costs {last:.3g} here."
    noisy = own.get(f"{entry['method']}-noise")
    if entry["group"] == "baseline" and noisy is not None:
        words += (
            f" With its residual noise fitted it comes to {_w1(noisy):.3g}: "
            f"{_share(ours, _w1(noisy), floor)} of what it is above the floor is that a point "
            f"forecast has no spread."
        )
    if entry["group"] == "ours":
        words += _ours(entry, floor)
    return words


def _far(entry: Entry) -> str:
    """W1 of the row at longer horizons, which a figure of another kind of forecast may be near."""
    far = [
        f"{_number(metric['w1']['mean'])} at {h}"
        for h, metric in entry["metrics"].items()
        if h != "1"
    ]
    return f" Its W1 is {' and '.join(far)} steps." if far else ""


def _number(value: float | None) -> str:
    """Three digits; ∞ where a state had no draw."""
    return "∞" if value is None else f"{value:.3g}"


def _share(ours: float, noisy: float, floor: float) -> str:
    above = ours - floor
    if not math.isfinite(above) or above <= 0:
        return "none"
    return f"{100 * max(0.0, min(1.0, (ours - noisy) / above)):.0f} %"


def _ours(entry: Entry, floor: float) -> str:
    ratio = entry["metrics"]["1"]["ratio"]
    words = f" The floor is {floor:.3g}, the ratio {ratio['mean']:.3g}"
    if ratio["se"] is not None:
        words += f" ± {ratio['se']:.2g}"
    recovery = entry.get("recovery")
    if recovery:
        words += f"; {next(iter(recovery.values()))['shd']:.2g} edges of the graph are wrong"
    return words + "."


def _own(task: str, own: Mapping[str, Entry]) -> Iterator[str]:
    """What the cells say besides: failed draws, point forecasts, what stays out of reach."""
    mean, floor = _w1(own.get("truth-mean")), _w1(own.get("floor"))
    if math.isfinite(mean) and math.isfinite(floor):
        yield (
            f"{task}: the truth's own mean, without its spread, has W1 {mean:.3g} where the floor "
            f"is {floor:.3g}: no deterministic row can be much below that, however well it is "
            f"trained."
        )
    for entry in own.values():
        failed = entry["metrics"]["1"]["failed"] or 0.0
        far = max(metric["failed"] or 0.0 for metric in entry["metrics"].values())
        if far > 0:
            yield (
                f"{task}, {entry['label']}: {100 * failed:.1f} % of the draws one step ahead "
                f"failed or cut off at the range of the training data, at the worst horizon "
                f"{100 * far:.1f} %."
            )
    best, reached = _w1(own.get("truth-es")), own.get("library")
    if reached is not None and math.isfinite(best) and _w1(reached) > 1.5 * best:
        yield (
            f"{task}: the library reaches {_w1(reached):.3g} where the truth's structure reaches "
            f"{best:.3g}: its mechanisms do not contain that structure (best candidate: "
            f"{_brief(reached)})."
        )


def _below_last_value(task: str, own: Mapping[str, Entry]) -> Iterator[str]:
    """Rows that forecast worse than the last value repeated, and why."""
    last = own.get("last-value")
    for entry in own.values():
        if last is None or entry["method"].startswith("last-value"):
            continue
        worse = [h for h in entry["metrics"] if _w1(entry, h) > _w1(last, h)]
        if worse:
            figures = ", ".join(
                f"{_number(entry['metrics'][h]['w1']['mean'])} against {_w1(last, h):.3g} at {h}"
                for h in worse
            )
            yield (
                f"{task}, {entry['label']}: worse than repeating the last value ({figures}). "
                f"{_why_worse(entry, own, worse)}"
            )


def _why_worse(entry: Entry, own: Mapping[str, Entry], worse: Sequence[str]) -> str:
    each = [math.inf if x is None else x for x in entry["metrics"]["1"]["each"]]
    calibrated = own.get(f"{entry['method']}-optim")
    if calibrated is not None:
        return (
            f"Its parameters are guesses; calibrated, the same structure has "
            f"{_w1(calibrated):.3g} one step ahead."
        )
    if max(each) > UNSTEADY * min(each):
        return (
            f"Its seeds have {', '.join(f'{x:.3g}' for x in each)} one step ahead: with this "
            f"structure calibration does not always arrive."
        )
    if "1" not in worse:
        far, last = worse[-1], own["last-value"]
        grows, steady = (_w1(row, far) / _w1(row) for row in (entry, last))
        return (
            f"One step ahead it has {_w1(entry):.3g}, the last value {_w1(last):.3g}: it is fitted "
            f"to single steps. Fed its own forecasts it grows {grows:.0f} times worse over {far} "
            f"steps, the last value {steady:.0f} times."
        )
    words = []
    if entry["recovery"]:
        wrong = next(iter(entry["recovery"].values()))["shd"]
        words.append(f"{wrong:.2g} edges of its graph are wrong")
    best = _w1(own.get("truth-es"))
    if math.isfinite(best):
        words.append(f"the truth's structure, calibrated alike, has {best:.3g} one step ahead")
    found = "; ".join(words)
    return f"{found[:1].upper()}{found[1:]}." if found else "The cells do not say why."


def _brief(entry: Entry) -> str:
    title = entry["titles"][0] if entry["titles"] else "no title"
    return title if len(title) <= 90 else title[:90].rsplit(" ", 1)[0] + " …"
