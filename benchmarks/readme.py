"""``gsim bench readme``: tables of README.md, from the JSON of the other benchmarks.

Nothing is measured. Each line is made of what `gsim bench calibrate`, `gsim bench npe`,
`gsim bench posterior` and `gsim bench table2` have left in benchmarks/results, so that README says
what was measured last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).with_name("results")
README = RESULTS.parents[1] / "README.md"
MARKS = ("<!-- figures: begin -->", "<!-- figures: end -->")

PAPER_MARKS = ("<!-- table2: begin -->", "<!-- table2: end -->")
#: Rows of the paper's table that README shows; the others are in benchmarks/results/table2.md.
SHOWN = (
    "chat", "chat-npe", "zeroshot", "library", "last-value", "dynode", "dynode-noise", "rnn-noise",
    "transformer-noise", "sindy-noise", "genetic-program-noise",
)  # fmt: skip

Rows = list[tuple[str, str]]


def bench(*, seed: int, out: Path | None, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Writes the tables into README.md.

    Args:
        seed: not used.
        out: another file to write them into, between the same marks.
        arguments: none are known.

    Returns:
        ``file`` and ``rows``.
    """
    del seed, arguments
    path = out or README
    text = path.read_text(encoding="utf-8")
    path.write_text(written(text), encoding="utf-8")
    return {"file": str(path), "rows": rows(RESULTS)}


def written(text: str, results: Path = RESULTS) -> str:
    """A text with the tables between their marks made anew."""
    lines = ["| what | measured |", "|---|---|"]
    lines += [f"| {what} | {measured} |" for what, measured in rows(results)]
    text = between(text, MARKS, "\n".join(lines) + "\n")
    return between(text, PAPER_MARKS, "\n".join(paper(results)) + "\n")


def paper(results: Path) -> list[str]:
    """Lines of a table of ratios of W1 to its floor, one step ahead.

    Args:
        results: a folder with table2.json.
    """
    found = json.loads((results / "table2.json").read_text(encoding="utf-8"))["rows"]
    tasks = list(dict.fromkeys(row["task"] for row in found))
    by_name = {(row["method"], row["task"]): row for row in found}
    lines = [f"| | {' | '.join(tasks)} |", f"|---|{'---:|' * len(tasks)}"]
    for method in SHOWN:
        own = [by_name[method, task] for task in tasks]
        ratios = [row["metrics"]["1"]["ratio"] for row in own]
        cells = [f"{ratio['mean']:.3g} ± {ratio['se']:.2g}" for ratio in ratios]
        lines.append(f"| {own[0]['label']} | {' | '.join(cells)} |")
    return lines


def between(text: str, marks: tuple[str, str], body: str) -> str:
    """A text with something else between two marks.

    Raises:
        ValueError: a mark is missing.
    """
    begin, end = (text.index(mark) for mark in marks)
    return text[: begin + len(marks[0])] + "\n" + body + text[end:]


def rows(results: Path) -> Rows:
    """What was measured, and how it came out, in words.

    Args:
        results: a folder with calibrate.json, npe.json and posterior.json.
    """
    found = {
        name: json.loads((results / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("calibrate", "npe", "posterior")
    }
    calibrated = _calibrated(found["calibrate"]) + _large(found["calibrate"])
    return calibrated + _posteriors(found["posterior"]["results"]) + _neural(found["npe"])


def _calibrated(found: Mapping[str, Any]) -> Rows:
    covid, single, supply = found["covid"], found["single"], found["supply"]
    coverage = found["coverage"]["recovery"].values()
    inside = _and([str(each["inside_90"]) for each in coverage])
    lead = supply["recovery"]["supply.lead_time"]
    return [
        (
            "COVID, 100 trajectories, simulated forecasts alone: distance to the exact posterior "
            "mean",
            f"{_distances(covid['simulated'])} posterior sd (root mean square, 20 data sets)",
        ),
        ("the same with the exact likelihood", f"{_distances(covid['exact'])} sd"),
        ("one trajectory", f"{_distances(single)} sd"),
        (
            "stated 90 % intervals, ten trajectories",
            f"hold the truth in {inside} of {next(iter(coverage))['of']}",
        ),
        (
            "supply chain",
            f"lead time right in {lead['right']} of {lead['of']}, demand {_distances(supply)} sd",
        ),
    ]


def _large(found: Mapping[str, Any]) -> Rows:
    hospital, occupancy, sizes = found["hospital"], found["occupancy"], found["sizes"]
    deaths, rival = hospital["deaths_per_patient_day_ratio"], found["rival"]
    seen = [_plain(occupancy["ratio_to_floor"][h]["mean"], 2) for h in ("1", "7")]
    queues, ages = (100 * sizes[f"{k}, 50"]["error_in_prior_ranges"]["rms"] for k in _MADE)
    seconds = rival["seconds"]
    return [
        (
            "hospital, 14 parameters",
            f"{_beds(hospital)}, stays within "
            f"{_plain(max(hospital['largest_error_of_stays']), 2)} days, deaths per patient-day "
            f"{_plain(min(deaths), 2)} to {_plain(max(deaths), 2)} of the truth's",
        ),
        (
            "the same hospital, only the two occupancies seen",
            f"{_beds(occupancy)}; W1 of the occupancies to the truth's over its floor {seen[0]} a "
            f"day ahead, {seen[1]} a week ahead",
        ),
        (
            "50 parameters",
            f"root mean square error {_plain(queues, 1)} % of the prior's range (queues), "
            f"{_plain(ages, 1)} % (ages)",
        ),
        (
            "warm COVID, against EvoTorch's genetic algorithm with a vectorised fitness",
            f"{_plain(seconds['default'], 2)} s (exact likelihood, the default where there is one) "
            f"and {_plain(seconds['simulated'], 2)} s (simulated forecasts) against "
            f"{_plain(seconds['evotorch'], 1)} s; errors {_plain(100 * _share(rival), 0)} % of its",
        ),
    ]


_MADE = ("queues", "ages")


def _share(rival: Mapping[str, Any]) -> float:
    """The larger of the simulated errors, as a share of EvoTorch's."""
    ours, theirs = rival["rmse"]["simulated"], rival["rmse"]["evotorch"]
    return max(ours[label] / theirs[label] for label in ours)


def _posteriors(results: Sequence[Mapping[str, Any]]) -> Rows:
    def c2st(task: str, online: bool) -> str:
        mine = [
            r["c2st"]
            for r in results
            if r["task"] == task
            and r["method"] == "gsim_jax"
            and (r["simulations"] > _BUDGET) == online
        ]
        return f"{task.replace('_', ' ')} {_plain(float(np.mean(mine)), 3)}"

    tasks = ("two_moons", "slcp", "gaussian_mixture")
    shares = [
        ours["train_s"] / theirs["train_s"]
        for theirs in results
        if theirs["method"] != "gsim_jax"
        for ours in results
        if ours["method"] == "gsim_jax"
        and (ours["task"], ours["seed"], ours["simulations"])
        == (theirs["task"], theirs["seed"], theirs["simulations"])
    ]
    low, high = (round(100 * share) for share in (min(shares), max(shares)))
    return [
        (
            f"neural posterior, {_BUDGET:,} simulations, C2ST",
            f"{', '.join(c2st(task, False) for task in tasks)}, in {low} to {high} % of sbi's time",
        ),
        ("five minutes online", ", ".join(c2st(task, True) for task in tasks)),
    ]


_BUDGET = 10_000


def _neural(found: Mapping[str, Any]) -> Rows:
    hospital = found["hospital"]
    inside = [round(100 * share) for share in hospital["inside_90"].values()]
    ranks = "no parameter's ranks rejected" if hospital["report"]["passed"] else "ranks rejected"
    return [
        (
            f"hospital, 14 parameters, simulation-based calibration over {hospital['data_sets']} "
            "data sets",
            f"{ranks}; {min(inside)} to {max(inside)} % of 90 % intervals hold the truth",
        )
    ]


def _distances(found: Mapping[str, Any]) -> str:
    sizes = [each["rms_sd"] for each in found["distance"].values()]
    return _and([_plain(size, 2 if size >= 0.1 else 3) for size in sizes])


def _beds(found: Mapping[str, Any]) -> str:
    wards = [found["recovery"][f"admission.{ward}"] for ward in ("icu", "standard")]
    return f"beds right in {min(ward['right'] for ward in wards)} of {wards[0]['of']}"


def _and(words: Sequence[str]) -> str:
    return " and ".join(words)


def _plain(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text[1:] if text.startswith("0.") else text
