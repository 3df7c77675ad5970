"""Trajectories as device arrays: one pytree that rollouts and forecasts read row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gsim_jax.task import Schema, Trajectories


@struct.dataclass
class Panel:
    """A padded set of trajectories on the device; every leaf but `constants` starts with axis n.

    Attributes:
        states: `{name: [n, rows, *shape]}`, int32 or float32, 0 where unseen.
        seen: `{name: bool[n, rows, *shape]}`.
        inputs: `{name: [n, rows, *shape]}`, inputs and calendar per row.
        attributes: `{name: [n]}`.
        constants: `{name: array}`, the task's constants.
        outputs: float32[n, rows, V], the scored variables in the order of `Schema.outputs`.
        outputs_seen: bool[n, rows, V].
        length: int32[n], rows that exist; 0 marks padding.
    """

    states: dict[str, jax.Array]
    seen: dict[str, jax.Array]
    inputs: dict[str, jax.Array]
    attributes: dict[str, jax.Array]
    constants: dict[str, jax.Array]
    outputs: jax.Array
    outputs_seen: jax.Array
    length: jax.Array


_AXES: dict[str, Any] = {
    **dict.fromkeys(("states", "seen", "inputs", "attributes"), 0),
    "constants": None,
    **dict.fromkeys(("outputs", "outputs_seen", "length"), 0),
}
#: `vmap` axes of a panel over its trajectories.
TRAJECTORIES = Panel(**_AXES)


def build_panel(
    schema: Schema, data: Trajectories, *, rows: int | None = None, multiple: int = 1
) -> Panel:
    """Puts trajectories on the device.

    Args:
        schema: the task's schema.
        data: n trajectories.
        rows: pad to this many rows (default: the longest trajectory).
        multiple: pad n up to a multiple of this with empty trajectories.

    Returns:
        The panel, unseen where padded.
    """
    n = len(data.ids)
    have = data.outputs.shape[1]
    rows = have if rows is None else rows
    extra_n, extra_rows = -n % multiple, rows - have

    def pad(x: np.ndarray, per_row: bool = True) -> jax.Array:
        width = [(0, extra_n)] + ([(0, extra_rows)] if per_row else [])
        width += [(0, 0)] * (np.ndim(x) - len(width))
        mode = "constant" if not per_row or x.dtype == bool else "edge"
        return jnp.asarray(np.pad(x, width, mode=mode) if extra_n or extra_rows else x)

    return Panel(
        states={k: pad(v) for k, v in data.states.items()},
        seen={k: pad(v) for k, v in data.seen.items()},
        inputs={k: pad(v) for k, v in data.inputs.items()},
        attributes={
            k: jnp.asarray(np.pad(v, (0, extra_n), mode="edge")) for k, v in data.attributes.items()
        },
        constants={k: jnp.asarray(c.value) for k, c in schema.constants.items()},
        outputs=pad(data.outputs),
        outputs_seen=pad(data.outputs_seen),
        length=pad(data.length, per_row=False),
    )


def is_complete(data: Trajectories) -> bool:
    """Whether every state is seen in every row, so that forecasts need no particles."""
    return all(bool(seen[data.exists].all()) for seen in data.seen.values())


def row_inputs(panel: Panel, t: jax.Array) -> dict[str, jax.Array]:
    """What a simulator finds in `inputs` at row t of ONE trajectory (panel without axis n)."""
    now = {k: v[t] for k, v in panel.inputs.items()}
    return {"t": jnp.asarray(t, jnp.int32), **now, **panel.attributes, **panel.constants}


def take(panel: Panel, start: int, count: int) -> Panel:
    """Trajectories start .. start + count - 1."""
    cut = {
        name: jax.tree.map(lambda x: x[start : start + count], getattr(panel, name))
        for name in ("states", "seen", "inputs", "attributes", "outputs", "outputs_seen", "length")
    }
    return panel.replace(**cut)  # type: ignore[attr-defined]


def repeat(panel: Panel, count: int) -> Panel:
    """The same panel under a new leading axis of length `count` (constants stay shared)."""

    def spread(tree: Mapping | jax.Array) -> dict | jax.Array:
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), tree)

    fields = ("states", "seen", "inputs", "attributes", "outputs", "outputs_seen", "length")
    return panel.replace(**{k: spread(getattr(panel, k)) for k in fields})  # type: ignore[attr-defined]
