"""P3: whether predictions keep what kind of thing each variable is, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gsim_jax.diagnose.next_state import Request
from gsim_jax.task import Schema

#: Whole numbers are float32 here; nobody means 3.00001.
_CLOSE = 1e-4


def modality(drawn: Mapping[int, np.ndarray], request: Request) -> dict[str, Any]:
    """Shares of predictions one step ahead that are whole numbers, inside bounds, within rules.

    A variable is whole where all its test data are, and bounded by 0 where none of them is
    negative. Of the task's rules those count that speak of the predicted variables alone, and of
    their values at the beginning.

    Args:
        drawn: by horizon float32[S, N, d].
        request: what the draws are of.

    Returns:
        `whole`: share of values of whole variables that are whole; None without such variables.
        `outside`: share of vectors with a negative value. `broken`: share of vectors that break a
        rule; None where no rule applies. `breaking`: share of vectors that do either. `failed`:
        share of vectors with a value that is no number; it counts in none of the others.
    """
    horizon = min(drawn)
    cloud, cells = drawn[horizon], request.cells[horizon]
    data = request.data.outputs[..., list(request.keep)]
    seen = request.data.outputs_seen[..., list(request.keep)]
    sound = np.asarray(np.isfinite(cloud).all(axis=2))
    values = cloud[sound]
    failed = float(1 - sound.mean())
    if not len(values):
        nothing = dict.fromkeys(("whole", "outside", "broken", "breaking"))
        return {**nothing, "failed": failed, "rules": []}
    counted = [bool((data[..., v][seen[..., v]] % 1 == 0).all()) for v in range(data.shape[-1])]
    bounded = [bool((data[..., v][seen[..., v]] >= 0).all()) for v in range(data.shape[-1])]
    whole = np.abs(values - np.round(values)) < _CLOSE
    outside = (values[:, bounded] < -_CLOSE).any(axis=1)
    first = data[cells.trajectory, 0]
    names, broken = _broken(request.schema, request.keep, cloud, first)
    rules = broken[sound] if names else np.zeros(len(values), bool)
    return {
        "whole": float(whole[:, counted].mean()) if any(counted) else None,
        "outside": float(outside.mean()),
        "broken": float(rules.mean()) if names else None,
        "breaking": float((outside | rules).mean()),
        "failed": failed,
        "rules": names,
    }


def _broken(
    schema: Schema, keep: tuple[int, ...], cloud: np.ndarray, first: np.ndarray
) -> tuple[list[str], np.ndarray]:
    """Names of the rules that apply, and whether a draw breaks one of them, bool[S, N]."""
    labels = [schema.outputs[v].label for v in keep]
    known = {label: cloud[:, :, i] for i, label in enumerate(labels)}
    known |= {f"initial.{label}": first[:, None, i] for i, label in enumerate(labels)}
    known |= {name: constant.value for name, constant in schema.constants.items()}
    names, broken = [], np.zeros(cloud.shape[:2], bool)
    for rule in schema.rules:
        if rule.holds.names <= set(known):
            given = {name: known[name] for name in rule.holds.names}
            value, sure = rule.holds.evaluate(given, xp=np)
            names.append(rule.name)
            broken |= np.asarray(~value & sure, bool)
    return names, broken
