"""A task folder without mistakes, as text."""

from __future__ import annotations

TOML = """
name = "sir"
horizon = 3
step = "day"
[state.S]
kind = "count"
[state.I]
kind = "count"
max = 50
[[rule]]
name = "the population is constant"
holds = "S + I == initial.S + initial.I"
[data]
train = ["train.csv"]
"""
TRAIN = "trajectory,t,S,I\na,0,9,1\na,1,8,2\na,2,7,3\nb,0,5,5\nb,1,4,6\n"
FILES: dict[str, str | bytes | None] = {
    "task.toml": TOML,
    "description.md": "An infection.\n",
    "train.csv": TRAIN,
}


def toml(old: str, new: str) -> str:
    """The sound task.toml with one passage replaced."""
    assert old in TOML
    return TOML.replace(old, new)


def train(old: str, new: str) -> str:
    """The sound train.csv with one passage replaced."""
    assert old in TRAIN
    return TRAIN.replace(old, new)
