"""A task and its program for rollouts: an epidemic with an input, an attribute, rules, a report."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from gsim_jax.simulator._trace import trace_source
from gsim_jax.simulator.program import Program
from gsim_jax.task import Schema, load_schema

TOML = """
name = "town"
title = "An epidemic in a town"
step = "day"
horizon = 20
[state.S]
kind = "count"
min = 0
[state.I]
kind = "count"
min = 0
[state.R]
kind = "count"
[derived.ill]
value = "I / (S + I + R)"
[input.lockdown]
kind = "real"
default = 0.0
[constant.most]
value = 1000000
[attribute.doctors]
kind = "count"
[[rule]]
name = "the population is constant"
holds = "S + I + R == initial.S + initial.I + initial.R"
[[rule]]
name = "nobody is susceptible again"
holds = "S <= previous.S"
[data]
train = ["train.csv"]
"""

SOURCE = '''"""Chain-binomial SIR; doctors shorten the illness, a lockdown saves contacts."""
PARAMS = {
    "infection": {"beta": Uniform(0.0, 2.0, guess=0.4)},
    "recovery": {"gamma": Uniform(0.0, 2.0, guess=0.2)},
    "couple": {"leak": Uniform(-70.0, 70.0, guess=0.0)},
}

def infection(state, inputs, params, key):
    n = state["S"] + state["I"] + state["R"]
    force = params["beta"] * (1 - inputs["lockdown"]) * state["I"] / n
    return {"new_infections": binomial(key, state["S"], 1 - jnp.exp(-force))}

def recovery(state, inputs, params, key):
    p = params["gamma"] * (1 + 0.1 * inputs["doctors"])
    return {"new_recoveries": binomial(key, state["I"], p)}

def couple(state, inputs, outputs, params, key):
    i, r = outputs["new_infections"], outputs["new_recoveries"]
    leak = jnp.where(inputs["t"] == 3, params["leak"], 0.0).astype(jnp.int32)
    return {"S": state["S"] - i - leak, "I": state["I"] + i - r, "R": state["R"] + r}

SUBMODULES = (infection, recovery)
'''
START = {"S": np.int32(70), "I": np.int32(5), "R": np.int32(0)}
PARAMS = {
    "infection": {"beta": np.float32(0.5)},
    "recovery": {"gamma": np.float32(0.1)},
    "couple": {"leak": np.float32(0.0)},
}
INPUTS = {"doctors": np.int32(1)}


def schema_from(text: str) -> Schema:
    """A schema from the text of a task.toml."""
    with TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "task.toml").write_text(text)
        (path / "train.csv").write_text("trajectory,t,S,I,R,doctors\n0,0,70,5,0,1\n")
        (path / "description.md").write_text("A town.\n")
        return load_schema(path)


@cache
def town() -> tuple[Schema, Program]:
    """The schema and the program."""
    schema = schema_from(TOML)
    return schema, program_of(SOURCE, schema)


def program_of(source: str, schema: Schema) -> Program:
    """The program of a source, traced in this process."""
    return Program.from_document(trace_source(source, schema.signature()), schema.signature())


def with_params(**values: Any) -> dict[str, dict[str, Any]]:
    """The parameters with other values of beta, gamma or leak."""
    groups = {"beta": "infection", "gamma": "recovery", "leak": "couple"}
    found = {group: dict(members) for group, members in PARAMS.items()}
    for name, value in values.items():
        found[groups[name]][name] = value
    return found
