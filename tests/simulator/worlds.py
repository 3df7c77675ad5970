"""Small worlds whose forecasts are known exactly: schemas, data and native simulators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax import sampling
from gsim_jax.simulator import priors
from gsim_jax.simulator.native import NativeSimulator, StateSpec, from_functions
from gsim_jax.task import Schema, Trajectories, Variable
from gsim_jax.task.outputs import observed_outputs

KEY = np.array([11, 22], np.uint32)


def schema_of(*reals: str, states: Mapping[str, Variable] | None = None, **options: Any) -> Schema:
    """A schema of real-valued scalar states, and others."""
    found = {name: Variable(name, "real") for name in reals} | dict(states or {})
    return Schema("world", "A small world", "day", 40, found, **options)


def data_of(
    schema: Schema,
    states: Mapping[str, np.ndarray],
    seen: Mapping[str, np.ndarray] | None = None,
    *,
    length: np.ndarray | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
    given: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
) -> Trajectories:
    """Trajectories from arrays [n, rows], 0 where unseen or behind the end."""
    n, rows = next(iter(states.values())).shape
    length = np.full(n, rows, np.int32) if length is None else np.asarray(length, np.int32)
    exists = np.arange(rows) < length[:, None]
    masks = {k: exists & (seen or {}).get(k, np.True_) for k in states}
    values = {k: np.where(masks[k], v, 0).astype(schema.states[k].dtype) for k, v in states.items()}
    inputs = dict(inputs or {})
    outputs, outputs_seen = observed_outputs(schema, values, masks, inputs, {}, dict(given or {}))
    outputs_seen = outputs_seen & exists[..., None]
    return Trajectories(
        ids=tuple(f"site {i}" for i in range(n)),
        length=length,
        states=values,
        seen=masks,
        inputs=inputs,
        attributes={},
        outputs=np.where(outputs_seen, outputs, 0).astype(np.float32),
        outputs_seen=outputs_seen,
    )


def ar1(schema: Schema, *, shock: Callable[..., jax.Array] = sampling.normal) -> NativeSimulator:
    """x' = a x + sd e with standard normal e."""

    def drift(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
        return {"moved": params["a"] * state["x"] + params["sd"] * shock(key)}

    def couple(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
        return {"x": outputs["moved"]}

    parameters = {
        "drift": {
            "a": priors.Uniform(0.0, 1.0, guess=0.5),
            "sd": priors.LogUniform(0.1, 10.0, guess=1.0),
        }
    }
    return from_functions(schema, parameters, [drift], couple)


def draw_ar1(a: float, sd: float, n: int, rows: int, seed: int, start: float = 0.0) -> np.ndarray:
    """Trajectories of the same world, made with NumPy, float64[n, rows]."""
    generator = np.random.default_rng(seed)
    x = np.full((n, rows), start)
    x[:, 0] += generator.normal(0, sd / np.sqrt(1 - a * a), n)
    for t in range(1, rows):
        x[:, t] = a * x[:, t - 1] + generator.normal(0, sd, n)
    return x


def hidden_level(schema: Schema) -> NativeSimulator:
    """x' = a x + l + s e and l' = phi l + q e', with l never seen: a linear Gaussian pair."""

    def move(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
        one, two = jax.random.split(key)
        return {
            "x": params["a"] * state["x"] + state["l"] + params["s"] * sampling.normal(one),
            "l": params["phi"] * state["l"] + params["q"] * sampling.normal(two),
        }

    def couple(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
        return outputs

    def initial(observed: Any, seen: Any, params: Any, key: jax.Array) -> Any:
        one, two = jax.random.split(key)
        somewhere = 2.0 * sampling.normal(one)
        return {
            "x": jnp.where(seen["x"], observed["x"], somewhere),
            "l": 1.0 + 0.5 * sampling.normal(two),
        }

    numbers = {"a": 0.6, "s": 0.5, "phi": 0.9, "q": 0.4}
    parameters = {"move": {k: priors.Uniform(0.0, 2.0, guess=v) for k, v in numbers.items()}}
    return from_functions(
        schema, parameters, [move], couple, latent={"l": StateSpec("real")}, initial=initial
    )


def at(simulator: NativeSimulator, **values: float) -> dict[str, dict[str, jax.Array]]:
    """Parameters by name, at their guess where not given."""
    return {
        entry.group: {
            e.name: jnp.float32(values.get(e.name, e.guess))  # type: ignore[arg-type]
            for e in simulator.parameters.entries
            if e.group == entry.group
        }
        for entry in simulator.parameters.entries
    }
