"""Programs traced in this process, from sources that the tests write themselves."""

from __future__ import annotations

import numpy as np

from gsim_jax.simulator._trace import trace_source
from gsim_jax.simulator.program import Program
from gsim_jax.task import Schema, Trajectories, Variable
from gsim_jax.task.outputs import observed_outputs


def schema_of(**kinds: str | tuple[str, tuple[int, ...]]) -> Schema:
    """A schema by kind, or by kind and shape, of its states."""
    states = {}
    for name, entry in kinds.items():
        kind, shape = entry if isinstance(entry, tuple) else (entry, ())
        states[name] = Variable(name, kind, shape)
    return Schema("world", "A small world", "day", 40, states)


def program_of(source: str, schema: Schema) -> Program:
    """The program of a simulator file."""
    signature = schema.signature()
    return Program.from_document(trace_source(source, signature), signature)


def data_of(schema: Schema, length: np.ndarray | None = None, **states: np.ndarray) -> Trajectories:
    """Complete trajectories from arrays [n, rows, ...]; rows from `length` on do not exist."""
    n, rows = next(iter(states.values())).shape[:2]
    length = np.full(n, rows, np.int32) if length is None else np.asarray(length, np.int32)
    exists = np.arange(rows) < length[:, None]
    seen, values = {}, {}
    for name, array in states.items():
        mask = exists.reshape(exists.shape + (1,) * (array.ndim - 2))
        seen[name] = np.broadcast_to(mask, array.shape)
        values[name] = np.where(mask, array, 0).astype(schema.states[name].dtype)
    outputs, shown = observed_outputs(schema, values, seen, {}, {}, {})
    shown = shown & exists[..., None]
    return Trajectories(
        ids=tuple(f"site {i}" for i in range(n)),
        length=length,
        states=values,
        seen=seen,
        inputs={},
        attributes={},
        outputs=np.where(shown, outputs, 0).astype(np.float32),
        outputs_seen=shown,
    )


SIR = '''"""Chain-binomial SIR."""
PARAMS = {
    "infection": {"beta": Uniform(0.0, 2.0, guess=0.4)},
    "recovery": {"gamma": Uniform(0.0, 1.0, guess=0.2)},
}

def infection(state, inputs, params, key):
    n = state["S"] + state["I"] + state["R"]
    p = 1 - jnp.exp(-params["beta"] * state["I"] / n)
    return {"new_infections": binomial(key, state["S"], p)}

def recovery(state, inputs, params, key):
    return {"new_recoveries": binomial(key, state["I"], params["gamma"])}

def couple(state, inputs, outputs, params, key):
    i, r = outputs["new_infections"], outputs["new_recoveries"]
    return {"S": state["S"] - i, "I": state["I"] + i - r, "R": state["R"] + r}

SUBMODULES = (infection, recovery)
'''


def simulate_sir(
    beta: float, gamma: float, n: int, rows: int, seed: int, start: tuple[int, int] = (95, 5)
) -> dict[str, np.ndarray]:
    """Trajectories of the chain-binomial SIR, made with NumPy."""
    generator = np.random.default_rng(seed)
    s, i = (np.full(n, value) for value in start)
    r = np.zeros(n, int)
    total = s + i
    path = [(s, i, r)]
    for _ in range(rows - 1):
        new = generator.binomial(s, 1 - np.exp(-beta * i / total))
        gone = generator.binomial(i, gamma)
        s, i, r = s - new, i + new - gone, r + gone
        path.append((s, i, r))
    return {name: np.stack([row[k] for row in path], axis=1) for k, name in enumerate("SIR")}
