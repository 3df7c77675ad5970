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
        states: `{name: [B, n, rows, *shape]}`, simulated.
        data: the trajectories whose inputs and attributes the runs had.
        most: replicas that are looked at.

    Returns:
        Per rule `{"name", "violated", "checked"}`, rows counted.
    """
    if not schema.rules:
        return []
    inputs = {k: jnp.asarray(v) for k, v in data.inputs.items()}
    attributes = {k: jnp.asarray(v) for k, v in data.attributes.items()}

    def one(states: Any, inputs: Any, attributes: Any) -> jax.Array:
        return rule_violations(schema, states, inputs, attributes)

    by_trajectory = jax.vmap(one)
    every = jax.jit(jax.vmap(by_trajectory, in_axes=(0, None, None)))
    part = {k: jnp.asarray(v[:most]) for k, v in states.items()}
    broken = np.asarray(every(part, inputs, attributes)) & data.exists[None, :, None, :]
    checked = len(broken) * int(data.exists.sum())
    return [
        {"name": rule.name, "violated": int(broken[:, :, i].sum()), "checked": checked}
        for i, rule in enumerate(schema.rules)
    ]


def bands(schema: Schema, outputs: np.ndarray, data: Trajectories, most: int = 3) -> dict[str, Any]:
    """Data against quantiles of free runs, for plots.

    Args:
        schema: the task's schema.
        outputs: float32[B, n, rows, V] of free runs.
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
            quantiles = {
                name: np.quantile(runs, q, axis=0).round(6).tolist()
                for name, q in _QUANTILES.items()
            }
            variables[output.label] = {"data": observed, **quantiles}
        trajectories.append({"id": data.ids[i], "t": list(range(length)), "variables": variables})
    return {"horizon": "free", "trajectories": trajectories}
