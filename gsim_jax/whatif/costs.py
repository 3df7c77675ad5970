"""What policies cost: an expression evaluated on every lane's path, lanes never stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.task.expr import Expression
from gsim_jax.whatif.collect import KeepOutputs
from gsim_jax.whatif.effects import change
from gsim_jax.whatif.engine import Job, Piece, pieces
from gsim_jax.whatif.plan import Plan, plan
from gsim_jax.whatif.scenario import Scenario


def lane_costs(
    job: Job, cost: Expression, scenarios: Sequence[Scenario], chosen: Sequence[Mapping[str, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """The cost of every lane.

    Args:
        job: what is simulated.
        cost: from `cost_of`.
        scenarios: S scenarios.
        chosen: the decisions behind each of them.

    Returns:
        float64[S, D, R], NaN where a lane failed, and failure codes int32[S, D, R].
    """
    plans = plan(job.simulator, job.schema, scenarios, job.steps)
    shape = (len(scenarios), job.lanes)
    costs, codes = np.empty(shape), np.empty(shape, np.int32)
    reader = _Reader(job, cost, plans, len(scenarios), chosen)
    for piece in pieces(job, plans, reader.keep):
        lanes = slice(piece.first, piece.first + piece.codes.shape[1])
        costs[piece.positions, lanes] = reader.costs(piece)
        codes[piece.positions, lanes] = piece.codes
    each = (-1, job.count, job.replicates)
    return costs.reshape(each), codes.reshape(each)


class _Reader:
    """The names of a cost expression, as arrays [scenarios, lanes, ...] of a piece."""

    def __init__(
        self, job: Job, cost: Expression, plans: Sequence[Plan], scenarios: int,
        chosen: Sequence[Mapping[str, float]],
    ) -> None:  # fmt: skip
        self._job, self._cost = job, cost
        schema, names = job.schema, cost.names
        labels = [output.label for output in schema.outputs]
        # Where each path that the cost reads stands among the outputs, by variable.
        self._places = {
            name: [i for i, output in enumerate(schema.outputs) if output.variable == name]
            for name in names
            if name in schema.states or name in schema.derived
        }
        wanted = sorted({place for places in self._places.values() for place in places})
        # Without any path the first output still tells which lanes failed.
        self._order = wanted or list(range(min(len(labels), 1)))
        self.keep = KeepOutputs(tuple(self._order))
        self._scalars = {
            name: np.asarray([given[name] for given in chosen])
            for name in names
            if chosen and name in chosen[0]
        }
        others = names - set(self._places) - set(self._scalars) - {"t"}
        self._given = {name: _given(job, plans, scenarios, name) for name in others}

    def costs(self, piece: Piece) -> np.ndarray:
        """float64[scenarios, lanes]."""
        job, schema = self._job, self._job.schema
        at = piece.positions
        paths = dict(zip(self._order, piece.kept, strict=True))
        env: dict[str, Any] = {"t": np.arange(job.steps + 1, dtype=np.int32)[None, None]}
        for name, places in self._places.items():
            shape = schema.states[name].shape if name in schema.states else ()
            values = np.stack([np.moveaxis(paths[place], 0, -1) for place in places], axis=-1)
            env[name] = values.reshape(*values.shape[:3], *shape)
        for name, values in self._scalars.items():
            env[name] = values[at][:, None]
        numbers = piece.first + np.arange(piece.codes.shape[1])
        for name, values in self._given.items():
            env[name] = values[at][:, numbers % values.shape[1]]
        value, known = self._cost.evaluate({k: env[k] for k in self._cost.names}, xp=np)
        found = np.where(known, np.asarray(value, np.float64), np.nan)
        failed = ~np.isfinite(piece.kept[0][-1]) if piece.kept else False
        return np.where(failed, np.nan, np.broadcast_to(found, piece.codes.shape))


def _given(job: Job, plans: Sequence[Plan], scenarios: int, name: str) -> np.ndarray:
    """An input, attribute or constant under every scenario, [S, n, (rows,) *shape]."""
    schema, rows = job.schema, job.steps + 1
    if name in schema.inputs:
        entry = schema.inputs[name]
        default = np.broadcast_to(np.asarray(entry.default or 0, entry.dtype), entry.shape)
        base = job.start.inputs.get(name, np.broadcast_to(default, (1, rows, *entry.shape)))
        kind, dtype = "input", entry.dtype
    elif name in schema.attributes:
        base = job.start.attributes[name][:, None]
        kind, dtype = "attribute", schema.attributes[name].dtype
    else:
        value = np.asarray(schema.constants[name].value)
        base, kind, dtype = value[None, None], "constant", str(value.dtype)
    found = np.broadcast_to(base.astype(dtype)[None], (scenarios, *base.shape)).copy()
    for each in plans:
        numbers = each.arrays.get(f"{kind}:{name}")
        if numbers is not None:
            own = numbers[:, : base.shape[1]]
            found[each.positions] = np.asarray(_changed(base.astype(dtype), own))
    # Attributes and constants have no rows: what they are in row 0 counts.
    return found if kind == "input" else found[:, :, 0]


@partial(jax.jit)
def _changed(base: jax.Array, numbers: jax.Array) -> jax.Array:
    """base [n, rows, *shape] under numbers [S, rows, 4, ...] -> [S, n, rows, *shape]."""
    per_row = jax.vmap(change)
    per_point = jax.vmap(per_row, in_axes=(0, None))
    return jax.vmap(per_point, in_axes=(None, 0))(jnp.asarray(base), jnp.asarray(numbers))
