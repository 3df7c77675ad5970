"""Worlds that the calibration benchmark makes itself: hidden SEIR, and many parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks import _worlds
from benchmarks._calibrate import World
from gsim_jax.calibrate.calibration import Calibration
from gsim_jax.simulator.check import load_program
from gsim_jax.simulator.program import Program
from gsim_jax.simulator.rollout import rollout
from gsim_jax.task import Schema, Task, Trajectories, Variable

SEIR = '''"""SEIR of which only infectious and removed people are seen."""
PARAMS = {
    "infection": {"beta": Uniform(0.0, 2.0, guess=0.4)},
    "incubation": {"sigma": Uniform(0.02, 1.0, guess=0.3)},
    "recovery": {"gamma": Uniform(0.02, 1.0, guess=0.2)},
}
LATENT = {"S": State("count", min=0), "E": State("count", min=0)}

def initial(observed, seen, params, key):
    return {"I": observed["I"], "R": observed["R"],
            "S": jnp.asarray(495, jnp.int32), "E": jnp.asarray(5, jnp.int32)}

def infection(state, inputs, params, key):
    p = 1 - jnp.exp(-params["beta"] * state["I"] / 505.0)
    return {"infected": binomial(key, state["S"], p)}

def incubation(state, inputs, params, key):
    return {"onset": binomial(key, state["E"], params["sigma"])}

def recovery(state, inputs, params, key):
    return {"removed": binomial(key, state["I"], params["gamma"])}

def couple(state, inputs, outputs, params, key):
    infected, onset, removed = outputs["infected"], outputs["onset"], outputs["removed"]
    return {"S": state["S"] - infected, "E": state["E"] + infected - onset,
            "I": state["I"] + onset - removed, "R": state["R"] + removed}

SUBMODULES = (infection, incubation, recovery)
'''
SIR = '''"""SIR of which only infectious and removed people are seen."""
PARAMS = {
    "infection": {"beta": Uniform(0.0, 2.0, guess=0.4)},
    "recovery": {"gamma": Uniform(0.02, 1.0, guess=0.2)},
}
LATENT = {"S": State("count", min=0)}

def initial(observed, seen, params, key):
    return {"I": observed["I"], "R": observed["R"], "S": jnp.asarray(500, jnp.int32)}

def infection(state, inputs, params, key):
    p = 1 - jnp.exp(-params["beta"] * state["I"] / 505.0)
    return {"infected": binomial(key, state["S"], p)}

def recovery(state, inputs, params, key):
    return {"removed": binomial(key, state["I"], params["gamma"])}

def couple(state, inputs, outputs, params, key):
    infected, removed = outputs["infected"], outputs["removed"]
    return {"S": state["S"] - infected, "I": state["I"] + infected - removed,
            "R": state["R"] + removed}

SUBMODULES = (infection, recovery)
'''
SEIR_TRUTH = {"infection.beta": 0.6, "incubation.sigma": 0.25, "recovery.gamma": 0.15}
QUEUES = '''"""A line of queues: arrivals join the first, what is served at one joins the next."""
PARAMS = {
    "arrivals": {"rate": Uniform(0.0, 20.0, guess=5.0, shape=(STATIONS,))},
    "service": {"share": Uniform(0.0, 1.0, guess=0.3, shape=(STATIONS,))},
}

def arrivals(state, inputs, params, key):
    return {"arrived": poisson(key, params["rate"])}

def service(state, inputs, params, key):
    return {"served": binomial(key, state["queue"], params["share"])}

def couple(state, inputs, outputs, params, key):
    served = outputs["served"]
    passed = jnp.concatenate([jnp.zeros(1, jnp.int32), served[:-1]])
    return {"queue": state["queue"] + outputs["arrived"] + passed - served}

SUBMODULES = (arrivals, service)
'''
AGES = '''"""Epidemic among GROUPS age groups, each with its own susceptibility and recovery."""
PARAMS = {
    "infection": {"beta": Uniform(0.0, 2.0, guess=0.4, shape=(GROUPS,))},
    "recovery": {"gamma": Uniform(0.0, 1.0, guess=0.2, shape=(GROUPS,))},
}

def infection(state, inputs, params, key):
    share = jnp.sum(state["I"]) / jnp.sum(state["S"] + state["I"] + state["R"])
    p = 1 - jnp.exp(-params["beta"] * share)
    return {"infected": binomial(key, state["S"], p)}

def recovery(state, inputs, params, key):
    return {"removed": binomial(key, state["I"], params["gamma"])}

def couple(state, inputs, outputs, params, key):
    infected, removed = outputs["infected"], outputs["removed"]
    return {"S": state["S"] - infected, "I": state["I"] + infected - removed,
            "R": state["R"] + removed}

SUBMODULES = (infection, recovery)
'''


def seir_worlds(sandbox: Any) -> tuple[World, _worlds.Simulator]:
    """The world of hidden SEIR, and SIR as a rival for its data."""
    schema = Schema("seir", "SEIR", "day", 60, {k: Variable(k, "count", ()) for k in ("I", "R")})
    truth = _simulator(SEIR, schema, SEIR_TRUTH, sandbox)
    rival = _simulator(SIR, schema, {}, sandbox)
    start = {name: np.full(40, 5 if name == "I" else 0) for name in ("I", "R")}
    return _world(schema, truth, start, 60), rival


def wide_worlds(sandbox: Any) -> dict[str, World]:
    """Worlds of 20, 50 and 100 parameters by name: queues in a line, and ages in an epidemic."""
    worlds = {}
    for count in (20, 50, 100):
        half = count // 2
        rng = np.random.default_rng(count)
        schema = Schema(
            "queues", "Queues", "day", 40, {"queue": Variable("queue", "count", (half,))}
        )
        truth = {f"arrivals.rate[{i}]": float(rng.uniform(2, 10)) for i in range(half)}
        truth |= {f"service.share[{i}]": float(rng.uniform(0.2, 0.8)) for i in range(half)}
        source = QUEUES.replace("STATIONS", str(half))
        start = {"queue": rng.poisson(20, (40, half))}
        made = _simulator(source, schema, truth, sandbox)
        worlds[f"queues, {count}"] = _world(schema, made, start, 40)
        states = {k: Variable(k, "count", (half,)) for k in ("S", "I", "R")}
        schema = Schema("ages", "Ages", "day", 40, states)
        truth = {f"infection.beta[{i}]": float(rng.uniform(0.3, 0.9)) for i in range(half)}
        truth |= {f"recovery.gamma[{i}]": float(rng.uniform(0.05, 0.3)) for i in range(half)}
        made = _simulator(AGES.replace("GROUPS", str(half)), schema, truth, sandbox)
        start = {
            "S": rng.integers(100, 200, (40, half)), "I": rng.integers(1, 6, (40, half)),
            "R": np.zeros((40, half), int),
        }  # fmt: skip
        worlds[f"ages, {count}"] = _world(schema, made, start, 40)
    return worlds


def _simulator(
    source: str, schema: Schema, truth: dict[str, float], sandbox: Any
) -> _worlds.Simulator:
    program: Program = load_program(source, schema, sandbox)
    return _worlds.Simulator(program, truth, "made")


def _world(
    schema: Schema, truth: _worlds.Simulator, start: dict[str, np.ndarray], steps: int
) -> World:
    """A world whose training data begin with `start`, arrays of trajectories."""
    count = len(next(iter(start.values())))
    run = rollout(truth.program, schema, truth.params, start, steps=steps, lanes=count, key=0)
    states = {k: np.asarray(run.kept.states[k]) for k in schema.states}
    outputs = np.asarray(run.kept.outputs, np.float32)
    data = Trajectories(
        ids=tuple(map(str, range(count))),
        length=np.full(count, steps + 1, np.int32),
        states=states,
        seen={k: np.ones(v.shape, bool) for k, v in states.items()},
        inputs={},
        attributes={},
        outputs=outputs,
        outputs_seen=np.ones(outputs.shape, bool),
    )
    return World(Task(None, schema, data, None, None), truth)  # type: ignore[arg-type]


def deaths_per_patient_day(world: World, found: Calibration | None) -> float:
    """Deaths over patient-days of the hospital in simulated trajectories, the truth's for None."""
    parameters = world.truth.parameters if found is None else found.parameters
    program = world.program
    made = replace(world, truth=_worlds.Simulator(program, dict(parameters), "calibrated"))
    drawn = made.draw(12345, 400)
    deaths = drawn.states["deaths"][:, 1:].sum()
    labels = [output.label for output in world.task.schema.outputs]
    patients = [labels.index(name) for name in ("icu", "standard")]
    return float(deaths / drawn.outputs[:, :-1, patients].sum())
