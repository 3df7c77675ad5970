"""Rules checked on simulated trajectories, and the bands that free runs span."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.task import Schema, Trajectories, rule_violations

_QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}


def check_rules_on_replicas(
    schema: Schema, states: dict[str, np.ndarray], data: Trajectories, most: int = 32
) -> list[dict[str, Any]]:
    """How often each rule is broken by free runs.

    Args:
        schema: the task's schema.
        states: `{name: [B, n, rows, *shape]}`, simulated; the first row is the data's.
        data: the trajectories whose inputs and attributes the runs had.
        most: replicas that are looked at.

    Returns:
        Per rule `{"name", "violated", "checked"}`, rows counted.
    """
    if not schema.rules:
        return []
    inputs = {k: jnp.asarray(v) for k, v in data.inputs.items()}
    attributes = {k: jnp.asarray(v) for k, v in data.attributes.items()}

    # The first row is the data's: where it is not observed, nothing can be said about it.
    seen = {k: v.copy() for k, v in data.seen.items()}
    for mask in seen.values():
        mask[:, 1:] = True

    def one(states: Any, inputs: Any, attributes: Any, seen: Any) -> jax.Array:
        return rule_violations(schema, states, inputs, attributes, seen)

    by_trajectory = jax.vmap(one)
    every = jax.jit(jax.vmap(by_trajectory, in_axes=(0, None, None, None)))
    part = {k: jnp.asarray(v[:most]) for k, v in states.items()}
    broken = np.asarray(every(part, inputs, attributes, seen)) & data.exists[None, :, None, :]
    checked = len(broken) * int(data.exists.sum())
    return [
        {"name": rule.name, "violated": int(broken[:, :, i].sum()), "checked": checked}
        for i, rule in enumerate(schema.rules)
    ]


def bands(schema: Schema, outputs: np.ndarray, data: Trajectories, most: int = 3) -> dict[str, Any]:
    """Data against quantiles of free runs, for plots.

    Args:
        schema: the task's schema.
        outputs: float32[B, n, rows, V] of free runs, NaN where undefined.
        data: the trajectories.
        most: trajectories kept.

    Returns:
        The content of `bands.json`.
    """
    trajectories = []
    for i in range(min(most, len(data))):
        length = int(data.length[i])
        variables = {}
        for v, output in enumerate(schema.outputs):
            runs = outputs[:, i, :length, v].astype(float)
            seen = data.outputs_seen[i, :length, v]
            observed = [
                float(x) if s else None
                for x, s in zip(data.outputs[i, :length, v], seen, strict=True)
            ]
            # Nothing is drawn before a sum is whole, or in a first row that nobody saw.
            runs[:, : output.window - 1] = np.nan
            runs[:, 0] = np.where(seen[0], runs[:, 0], np.nan)
            variables[output.label] = {"data": observed, **_quantiles(runs)}
        trajectories.append({"id": data.ids[i], "t": list(range(length)), "variables": variables})
    return {"horizon": "free", "trajectories": trajectories}


def _quantiles(runs: np.ndarray) -> dict[str, list[float | None]]:
    """Quantiles over the first axis of [B, rows], None where no run is defined."""
    defined = np.isfinite(runs).any(axis=0)
    found = {}
    for name, q in _QUANTILES.items():
        values = np.nanquantile(runs[:, defined], q, axis=0).round(6)
        line: list[float | None] = [None] * runs.shape[1]
        for row, value in zip(np.flatnonzero(defined), values.tolist(), strict=True):
            line[row] = value
        found[name] = line
    return found
