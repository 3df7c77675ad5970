"""Briefs with made-up parents, for what is said about them."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

from gsim_jax.propose import Attempt, Brief, Cell, Finding, Parent
from gsim_jax.task import load_task, profile

ENVS = Path(__file__).parents[2] / "envs"

SOURCE = '''"""A flow of constant chance."""
PARAMS = {"leaving": {"chance": Uniform(0.0, 1.0, guess=0.2), "rest": Uniform(0.0, 1.0, guess=0.5)}}

def leaving(state, inputs, params, key):
    return {"left": binomial(key, state["S"], params["chance"] * params["rest"])}

def couple(state, inputs, outputs, params, key):
    return {**state, "S": state["S"] - outputs["left"]}

SUBMODULES = (leaving,)
'''

BEST = Parent(
    id=5,
    source=SOURCE,
    structure=None,
    parameters={"leaving.chance": 0.9991, "leaving.rest": 0.41},
    errors={"leaving.chance": 0.02, "leaving.rest": 0.003},
    unit={"leaving.chance": 0.9991, "leaving.rest": 0.41},
    score=0.812,
    gap=0.31,
    gap_se=0.02,
    adequate=False,
    findings=(
        Finding("S", "1", "score", 0.3, 15.0, "S one step ahead scores worse than its own noise"),
        Finding("S", "7", "bias", -2.1, -5.2, "S is over-estimated 7 steps ahead by 2.1 ± 0.4"),
        Finding("total", "free", "rule", 0.1, 1e6, "the rule 'total' is broken in 10.0% of rows"),
        Finding("leaving.chance", "", "bound", 0.9991, 0.0,
                "leaving.chance lies at the upper end of its prior"),
    ),
    title="A flow of constant chance",
    round=1,
    floor=0.5,
    p_value=0.008,
    cells=(
        Cell("S", "1", 0.8, 0.5, 0.3, 0.02, False),
        Cell("S", "free", 0.5, 0.49, 0.01, 0.02, True),
        Cell("I", "1", 0.5, 0.5, 0.0, 0.02, True),
        Cell("I", "free", 0.5, 0.5, 0.01, 0.02, True),
    ),
    broken=(("total", 0.1),),
    warnings=("parameter leaving.rest is declared and never read: use it or leave it out",),
    cost=90,
)  # fmt: skip
TIED = replace(BEST, id=3, title="Another flow", behind=0.01, behind_se=0.02, findings=())
WORSE = replace(
    BEST,
    id=1,
    title="A dear one",
    behind=0.2,
    behind_se=0.02,
    cost=9_000,
    expensive=(
        ("sort of int32[36] in racks", 0.61),
        ("draw from normal of float32[36] in racks", 0.2),
    ),
)
ATTEMPTS = (
    Attempt(0, 0, "A first idea", None, behind=0.4, behind_se=0.02),
    Attempt(2, 0, "no program", None, problems=("expected one code block, got prose",)),
    Attempt(4, 1, "A small change", 3, behind=0.02, behind_se=0.02, gain=0.0, gain_se=0.01),
    Attempt(6, 1, "A bad change", 3, behind=0.5, behind_se=0.02, gain=0.49, gain_se=0.01),
)


@functools.cache
def first_brief(name: str = "covid19") -> Brief:
    """The brief of a first round of one of the environments."""
    task = load_task(ENVS / name)
    return Brief(task.schema, profile(task), round=0, seed=0)


def later_brief(name: str = "covid19") -> Brief:
    """The brief of a third round."""
    return replace(
        first_brief(name), round=2, parents=(BEST, TIED, WORSE), attempts=ATTEMPTS, tried=("a",)
    )
