"""The table as Markdown: accuracy, properties, structure and cost, with the paper's figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks._table2 import paper
from benchmarks._table2.fitted import Effort
from benchmarks._table2.methods import GROUPS
from benchmarks._table2.notes import notes

Entry = Mapping[str, Any]
NOTHING = "–"


def document(entries: Sequence[Entry], header: Mapping[str, Any]) -> str:
    """The whole text.

    Args:
        entries: what `summary.summarise` returns.
        header: `seeds`, `states`, `draws`, `horizons`, `quick` of the call, in numbers.
    """
    parts = ["# Next states against the truth", *_introduction(header)]
    for task in dict.fromkeys(entry["task"] for entry in entries):
        own = [entry for entry in entries if entry["task"] == task]
        parts += [f"## {task}", accuracy(own), "### Properties", _change_words(own),
                  properties(own), "### Structure and cost", structure(own)]  # fmt: skip
    parts += ["## Notes", "\n".join(f"- {note}" for note in notes(entries, header))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _introduction(header: Mapping[str, Any]) -> list[str]:
    seeds = header["seeds"]
    over = f"means over {seeds} seeds" if seeds > 1 else "one seed"
    half = "Student's 95 % interval over seeds" if seeds > 1 else "1.96 standard errors over states"
    words = (
        f"From {header['states']} states of the test trajectories {header['draws']} next states "
        f"are drawn from the truth and from each row; W1 is the exact Wasserstein distance of the "
        f"two clouds, averaged over states; {over}. W1 ± {half}; ratio ± one standard error. "
        f"The floor is the truth against a second cloud of itself: a W1 without it means nothing."
    )
    full = Effort()
    budgets = (
        "**A quick run**: one seed, few states, small budgets. For orientation, not for quoting."
        if header["quick"]
        else f"Neural posteriors have {full.simulations:,} simulated data sets. Where states are "
        "arrays, candidates of the library, which take minutes each, are calibrated briefly."
    )
    return [words, f"Paper: {paper.SOURCE}.", budgets]


def number(value: float | None, digits: int = 3) -> str:
    """A number for people; – where there is none."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞"
    if value != 0 and not 1e-3 <= abs(value) < 1e4:
        return f"{value:.1e}"
    return f"{value:.{digits}g}" if abs(value) < 100 else f"{value:.0f}"


def plus_minus(mean: Mapping[str, Any], error: str) -> str:
    """``0.251 ± 0.004``, with the error under that name."""
    value, spread = mean["mean"], mean[error]
    if spread is None or value is None or not math.isfinite(value):
        return number(value)
    places = min(3, max(0, 2 - math.floor(math.log10(spread)))) if spread > 0 else 3
    places = min(places, 3 if abs(value) < 100 else 0)
    return f"{value:.{places}f} ± {spread:.{places}f}"


def _rows(
    entries: Sequence[Entry], heads: Sequence[str], cells: Callable[[Entry], list[str]]
) -> str:
    """A table with a line per group; rows without a result say why."""
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(heads)]
    for group, words in GROUPS.items():
        own = [entry for entry in entries if entry["group"] == group]
        if own:
            lines.append(f"| **{words}** |" + " |" * len(heads))
        for entry in own:
            if entry["status"] == "done":
                shown = cells(entry)
            else:
                shown = [_why(entry), *[""] * (len(heads) - 1)]
            lines.append("| " + " | ".join([entry["label"], *shown]) + " |")
    return "\n".join(lines)


def _why(entry: Entry) -> str:
    cause = entry["causes"][0] if entry["causes"] else entry["status"]
    return cause.replace("|", "\\|") if entry["status"] == "left out" else "failed (see notes)"


def accuracy(entries: Sequence[Entry]) -> str:
    """W1, floor, ratio at each horizon, and the paper's W1."""
    done = [entry for entry in entries if entry["status"] == "done"]
    horizons = list(done[0]["metrics"]) if done else ["1"]
    heads = ["W1", "floor", "ratio"]
    heads += [f"{what}, {h} steps" for h in horizons[1:] for what in ("W1", "ratio")]

    def cells(entry: Entry) -> list[str]:
        first, *later = (entry["metrics"][h] for h in horizons)
        shown = [plus_minus(first["w1"], "half"), number(first["floor"]["mean"])]
        shown.append(plus_minus(first["ratio"], "se"))
        for metric in later:
            shown += [number(metric["w1"]["mean"]), plus_minus(metric["ratio"], "se")]
        theirs = entry["paper_w1"]
        shown.append(f"{theirs[0]:g} ± {theirs[1]:g}" if theirs else "")
        return shown

    return _rows(entries, [*heads, "paper's W1"], cells)


def _change_words(entries: Sequence[Entry]) -> str:
    titles = [entry["change"]["title"] for entry in entries if entry.get("change")]
    if not titles:
        return ""
    return (
        f"The change of P0 and P1: {titles[0]}. P1 is the distance of the mean curves under it "
        f"from the truth's, in units of what the change does to the truth's: 0 is the truth's own "
        f"answer, 1 that of a perfect model of the unchanged world; in brackets the same distance "
        f"where nothing is changed."
    )


def properties(entries: Sequence[Entry]) -> str:
    """P0 to P3."""
    heads = [
        "P0: can be changed at", "P1: answer missed (unchanged world)", "P2: ratio",
        "P3: whole numbers", "P3: breaks a bound or rule",
    ]  # fmt: skip

    def cells(entry: Entry) -> list[str]:
        change, integers = entry["change"], entry["integers"]
        where, missed = NOTHING, NOTHING
        if change is not None:
            where = "; ".join(change["where"]).replace("|", "\\|")
            missed = number(change["missed"]["mean"], 2)
            missed += f" ({number(change['missed_unchanged']['mean'], 2)})"
        first = next(iter(entry["metrics"].values()))
        ratio = number(first["ratio"]["mean"])
        return [where, missed, ratio, _share(integers["whole"]), _share(integers["breaking"])]

    return _rows(entries, heads, cells)


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{100 * value:.0f} %" if value in (0, 1) else \
        f"{100 * value:.1f} %"  # fmt: skip


def structure(entries: Sequence[Entry]) -> str:
    """SHD and F1 of searches, and what each row costs."""
    heads = ["SHD", "F1", "numbers fitted", "seconds", "CPU seconds", "seconds of the cell",
             "points simulated", "tokens"]  # fmt: skip

    def cells(entry: Entry) -> list[str]:
        cost, graph = entry["cost"], entry["recovery"]
        shd, f1 = NOTHING, NOTHING
        if graph is not None:
            # Whole arrays where there are slots: derived values of slots tell programs apart less.
            kinds = list(graph.values())
            shd = " / ".join(number(kind["shd"], 2) for kind in kinds)
            f1 = " / ".join(f"{100 * kind['f1']:.0f} %" for kind in kinds)
        names = ("parameters", "seconds", "cpu_seconds", "cell_seconds", "points", "tokens")
        return [shd, f1, *(_count(cost[name]) for name in names)]

    return _rows(entries, heads, cells) + "\n\n" + _graph_words(entries)


def _count(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _graph_words(entries: Sequence[Entry]) -> str:
    theirs = paper.RECOVERY.get(entries[0]["task"])
    slots = any(len(entry.get("recovery") or ()) > 1 for entry in entries)
    both = " On derived values / on whole arrays of slots." if slots else ""
    known = f" Paper: SHD {theirs[0]:g}, F1 {theirs[1]:g} %." if theirs else ""
    return f"SHD: edges of the causal graph to add or remove, 0 is the truth's.{both}{known}"
