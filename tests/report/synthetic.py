"""A run folder made up from formulas, in the format of the run record: no search ran for it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

SOURCE = '''"""Synthetic: two stages in a row."""
PARAMS = {
    "leaving": {"rate": Uniform(0.0, 2.0, guess=0.4, unit="1/day", doc="how fast <one> empties")},
    "ending": {"p": Beta(2.0, 2.0, guess=0.2, doc="chance that a day is the last")},
}
LATENT = {}

def initial(observed, seen, params, key):
    return observed

def leaving(state, inputs, params, key):
    return {"left": binomial(key, state["A"], 1 - jnp.exp(-params["rate"]))}  # daily chance

def ending(state, inputs, params, key):
    return {"ended": binomial(key, state["B"], params["p"])}

def couple(state, inputs, outputs, params, key):
    a, b = outputs["left"], outputs["ended"]
    return {"A": state["A"] - a, "B": state["B"] + a - b}

SUBMODULES = (leaving, ending)
'''

CANDIDATE = (
    "id", "round", "slot", "title", "score", "floor", "gap", "gap_se", "adequate", "parameters",
)  # fmt: skip

PRIORS = {
    "leaving": {
        "rate": {
            "prior": "Uniform",
            "arguments": {"high": 2.0, "low": 0.0},
            "guess": 0.4,
            "shape": [],
            "unit": "1/day",
            "doc": "how fast <one> empties",
        }
    },
    "ending": {
        "p": {
            "prior": "Beta",
            "arguments": {"a": 2.0, "b": 2.0},
            "guess": 0.2,
            "shape": [],
            "unit": None,
            "doc": "chance that a day is the last",
        }
    },
}


def diagnosis(number: int, *, round: int, slot: int, gap: float, adequate: bool) -> dict:
    """One candidate whose numbers agree with each other."""
    floor = 0.41 + 0.003 * slot
    cells = []
    for place, (variable, horizon) in enumerate(
        (v, h) for v in ("A", "in <bed>") for h in ("1", "7", "free")
    ):
        z = (0.4 if adequate else 1.1) * (1 + place)
        cells.append(
            {
                "variable": variable,
                "horizon": horizon,
                "score": floor + gap + 0.01 * place,
                "floor": floor + 0.01 * place,
                "gap": gap,
                "se": abs(gap) / z if gap else 0.01,
                "z": z,
                "bias": -1.2 * place,
                "bias_se": 2.3,
                "within_noise": z < 3,
            }
        )
    return {
        "id": number,
        "round": round,
        "slot": slot,
        "parent": None if round == 0 else 0,
        "title": f"two stages, variant {number}",
        "rationale": "The first stage empties at a constant rate.",
        "split": "train",
        "parameters": {"leaving.rate": 0.412345, "ending.p": 0.2},
        "errors": {"leaving.rate": 0.0212, "ending.p": 0.011},
        "score": floor + gap,
        "score_se": 0.01,
        "floor": floor,
        "gap": gap,
        "gap_se": 0.012,
        "adequate": adequate,
        "p_value": 0.34 if adequate else 0.0004,
        "table": cells,
        "rules": [
            {"name": "nobody appears", "violated": 0, "checked": 1200},
            {"name": "A never grows", "violated": 0 if adequate else 7, "checked": 1200},
        ],
        "findings": [],
        "unexplained": [] if adequate else ["in <bed>: the peak comes two days early (z = 6.6)."],
        "cost": 84,
        "times": {"check": 0.3, "compile": 1.9, "run": 2.2, "diagnose": 0.8},
    }


def bands(trajectories: int, rows: int = 15) -> dict:
    """Bell-shaped bands with data scattered about them; one entry is missing."""
    random = np.random.default_rng(0)
    t = np.arange(rows)
    found = []
    for number in range(trajectories):
        variables = {}
        for label, height in (("A", 760.0), ("in <bed>", 300.0)):
            middle = height * np.exp(-0.5 * ((t - 6 - 0.3 * number) / (0.22 * rows)) ** 2)
            sd = 3 + 0.12 * middle
            data: list[float | None] = [
                round(float(v), 1) for v in middle + sd * random.normal(size=rows)
            ]
            data[3] = None
            lines = {
                name: (middle + z * sd).round(2).tolist()
                for name, z in zip(
                    ("q05", "q25", "q50", "q75", "q95"), (-1.64, -0.67, 0, 0.67, 1.64), strict=True
                )
            }
            variables[label] = {"data": data, **lines}
        found.append({"id": f"site {number}", "t": t.tolist(), "variables": variables})
    return {"horizon": "free", "trajectories": found}


def write_run(directory: Path, *, trajectories: int = 1, finished: bool = True) -> Path:
    """Write a run of two rounds, one failure in each; unfinished: killed while round 0 ran.

    Args:
        directory: The folder to make.
        trajectories: How many the bands have.
        finished: Whether rounds were completed.

    Returns:
        The folder.
    """
    directory.mkdir(parents=True)
    run = {
        "schema": 1,
        "task": {"name": "stages", "path": "envs/two stages", "title": "Stages <b>&</b> beds"},
        "seed": 3,
        "versions": {"gsim_jax": "0.1.0", "jax": "0.10.2"},
        "proposer": "library",
        "settings": {
            "limits": {"rounds": 4, "proposals": 6, "patience": 2, "seconds": None},
            "objective": {"members": 16},
        },
        "scales": [12.5, 31.0],
        "split": "train",
    }
    (directory / "run.json").write_text(json.dumps(run))
    gaps = [(0, 0, 0.31), (0, 1, 0.12), (0, 3, 0.09), (1, 0, 0.016), (1, 2, 0.05)]
    events: list[dict] = [{"event": "start"}]
    shown = gaps if finished else gaps[:2]
    for number, (round_, slot, gap) in enumerate(shown):
        if round_ == 1 and slot == 0:
            events.append({"event": "round", "round": 0, "best": 2})
        found = diagnosis(number, round=round_, slot=slot, gap=gap, adequate=gap < 0.02)
        folder = directory / "candidates" / f"{number:03d}"
        folder.mkdir(parents=True)
        (folder / "simulator.py").write_text(SOURCE)
        (folder / "program.json").write_text(json.dumps({"parameters": PRIORS}, sort_keys=True))
        (folder / "diagnosis.json").write_text(json.dumps(found))
        (folder / "bands.json").write_text(json.dumps(bands(trajectories)))
        events.append({"event": "candidate", **{key: found[key] for key in CANDIDATE}})
        if slot in (1, 0) and number in (1, 3):
            problem = {
                "code": "unknown-name",
                "file": "simulator.py",
                "row": None,
                "column": "8",
                "line": 12,
                "message": "expected a name of the template, got 'numpy'",
            }
            events.append(
                {"event": "failure", "round": round_, "slot": slot + 1, "title": "with numpy",
                 "problems": [problem]}
            )  # fmt: skip
    if finished:
        events += [
            {"event": "round", "round": 1, "best": 3},
            {"event": "stop", "reason": "adequate"},
            {"event": "end", "best": 3},
        ]
    lines = [json.dumps({"n": n, **event}) + "\n" for n, event in enumerate(events)]
    text = "".join(lines) if finished else "".join(lines) + '{"n": 9, "event": "cand'
    (directory / "events.jsonl").write_text(text)
    return directory
