"""A small town: people fall ill and recover. Its task folder, its proposer and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gsim_jax.calibrate import Evolution, Settings
from gsim_jax.propose import Brief, Proposal
from gsim_jax.search import loop
from gsim_jax.simulator.predict import Plan
from gsim_jax.task import Task

FALL, RECOVER = 0.08, 0.25
TOML = """\
name = "town"
title = "People fall ill and recover"
step = "day"
horizon = 19

[state.well]
kind = "count"
min = 0

[state.ill]
kind = "count"
min = 0

[[rule]]
name = "nobody leaves"
holds = "well + ill == initial.well + initial.ill"

[data]
train = ["train.csv"]
"""

HEAD = '"""{title}."""\nPARAMS = {{{params}}}\n\n'
BECOME_ILL = """def fall(state, inputs, params, key):
    return {"fallen": binomial(key, state["well"], params["p"])}

"""
GET_WELL = """def recover(state, inputs, params, key):
    return {"recovered": binomial(key, state["ill"], params["q"])}

"""
COUPLE = """def couple(state, inputs, outputs, params, key):
    more = %s
    return {"well": state["well"] - more, "ill": state["ill"] + more}

SUBMODULES = (%s,)
"""


def simulator(title: str, fall: bool, recover: bool) -> str:
    """A simulator file with one or both of the flows."""
    params = ", ".join(
        ['"fall": {"p": Uniform(0.0, 1.0, guess=0.2)}'] * fall
        + ['"recover": {"q": Uniform(0.0, 1.0, guess=0.2)}'] * recover
    )
    more = " - ".join(['outputs["fallen"]' if fall else "0"] + ['outputs["recovered"]'] * recover)
    names = ", ".join(["fall"] * fall + ["recover"] * recover)
    functions = BECOME_ILL * fall + GET_WELL * recover
    return HEAD.format(title=title, params=params) + functions + COUPLE % (more, names)


FILES = {
    "only falling ill": simulator("People fall ill", True, False),
    "refused": "import os\n" + simulator("People fall ill", True, False),
    "only recovering": simulator("People recover", False, True),
    "both": simulator("People fall ill and recover", True, True),
}
SEED = 1
LIMITS: dict[str, Any] = {"rounds": 4, "proposals": 3}
ROUNDS = (("only falling ill", "refused", "only recovering"), ("both",))


class Town:
    """Proposes the wrong files first, one of which the guard refuses, then the right one."""

    name = "town"

    def __init__(self) -> None:
        self.briefs: list[Brief] = []

    def propose(self, brief: Brief, count: int) -> list[Proposal]:
        """The files of the brief's round."""
        self.briefs.append(brief)
        if brief.round >= len(ROUNDS):
            return []
        parent = brief.parents[0].id if brief.parents else None
        return [
            Proposal(FILES[title], title, {"title": title}, title, parent, f"it may be {title}")
            for title in ROUNDS[brief.round][:count]
        ]


def write_task(folder: Path) -> Path:
    """Writes the task: 10 trajectories of 20 rows."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(5)
    lines = ["trajectory,t,well,ill"]
    for i in range(10):
        well, ill = int(generator.integers(60, 100)), int(generator.integers(0, 40))
        for t in range(20):
            lines.append(f"s{i},{t},{well},{ill}")
            fallen, up = generator.binomial(well, FALL), generator.binomial(ill, RECOVER)
            well, ill = int(well - fallen + up), int(ill + fallen - up)
    (folder / "task.toml").write_text(TOML, encoding="utf-8")
    (folder / "description.md").write_text("People fall ill and recover.\n", encoding="utf-8")
    (folder / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def small_settings(task: Task) -> Settings:
    """Few lanes: enough to tell these structures apart."""
    return Settings(
        Plan((), True), replicates=16, particles=16, members=16, chunk=10, rows=task.train.rows
    )


def small_evolution() -> Evolution:
    """Few generations: these parameters are easy to find."""
    return Evolution(design=2, restarts=1, explore=3, steps=2, passes=2)


def make_small(patch: Any) -> None:
    """Puts the small settings in place; `patch` is `setattr` or that of a monkeypatch."""
    patch(loop, "settings_for", small_settings)
    patch(loop, "Evolution", small_evolution)
