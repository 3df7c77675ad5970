"""Predictive draws of many parameter points on one data set: what evolution is fed with.

A candidate costs one compilation here, and it is a small one: the compiled function simulates and
hands out the draws themselves. Whatever is made of draws, scores or moments, is compiled once per
shape and serves all candidates.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from gsim_jax.calibrate.score import energy_score
from gsim_jax.compilation import lanes_jit
from gsim_jax.simulator.panel import Panel, build_panel, take
from gsim_jax.simulator.predict import Forecast, Plan, predict
from gsim_jax.task import Schema, Trajectories

#: Lanes of a call: members x trajectories x replicates x tracks. Enough for the vector units.
LANES = 6_400
#: Counted operations of a call: expensive programs get fewer trajectories per call.
OPERATIONS = 4e8
#: Replicates of a complete data set per call; more where trajectories are few. Below 16 of them
#: vector units are not full, except in programs of arrays, which are the expensive ones.
FEWEST, MOST = 16, 64
#: Counted operations per lane and step from which on a program is called expensive.
EXPENSIVE = 2_000


@dataclass(frozen=True)
class Shape:
    """Shapes of one compiled function.

    Attributes:
        plan: horizons.
        members: points per call, P.
        replicates: draws per forecast, R.
        chunk: trajectories per call, n.
    """

    plan: Plan
    members: int
    replicates: int
    chunk: int


def shape_for(
    plan: Plan, count: int, rows: int, cost: int, members: int, particles: int | None
) -> Shape:
    """Shapes from the size of the data and the counted cost of the program.

    Args:
        plan: horizons.
        count: trajectories in the data.
        rows: rows of the longest.
        cost: counted operations per lane and step.
        members: points per call.
        particles: replicates where something is latent or missing, None where nothing is.
    """
    replicates = particles or int(np.clip(2 ** round(np.log2(800 / max(count, 1))), FEWEST, MOST))
    if particles is None and cost > EXPENSIVE and replicates == FEWEST:
        replicates = FEWEST // 2
    each = members * replicates * len(plan.tracks[0])
    fit = min(LANES // each, OPERATIONS / (each * max(cost, 1) * max(rows - 1, 1)))
    chunk = int(np.clip(fit, 1, max(count, 1)))
    pieces = -(-count // chunk)
    return Shape(plan, members, replicates, -(-count // pieces))


class Forecasts:
    """Draws of one simulator on one data set; compiles once, on first use.

    Attributes:
        shape: of a call.
        data: the data.
        panels: the data in pieces of `shape.chunk` trajectories, the last one padded.
        count: trajectories that exist.
        calls: how often the compiled function has run.
        compile_seconds: time spent compiling.
    """

    def __init__(
        self,
        simulator: Any,
        schema: Schema,
        data: Trajectories,
        shape: Shape,
        *,
        weighted: bool,
        mesh: Mesh | None = None,
    ) -> None:
        """Args as for `predict`; the members are spread over the devices of `mesh`."""
        self.simulator, self.schema, self.shape = simulator, schema, shape
        self.weighted, self.mesh = weighted, mesh
        self.data, self.count = data, len(data)
        panel = build_panel(schema, data, multiple=shape.chunk)
        starts = range(0, int(panel.length.shape[0]), shape.chunk)
        self.panels = [take(panel, start, shape.chunk) for start in starts]
        self._seen: dict[int, tuple[jax.Array, jax.Array]] = {}
        self.calls = 0
        self.compile_seconds = 0.0

    @property
    def rows(self) -> int:
        """Rows of the longest trajectory."""
        return int(self.panels[0].outputs.shape[1])

    @property
    def operations(self) -> float:
        """Counted operations of a call."""
        shape = self.shape
        lanes = shape.members * shape.chunk * shape.replicates * len(shape.plan.tracks[0])
        return float(lanes) * (self.rows - 1) * self.simulator.cost

    def draws(self, u: np.ndarray, piece: int, keys: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Forecasts of one piece of the data.

        Args:
            u: float64[P, d] on the unit cube.
            piece: number of the piece.
            keys: uint32[2] for all members (common random numbers) or uint32[P, 2], one each.

        Returns:
            Draws float32[P, n, T, V, H, R], NaN where a lane failed; failure codes int32[P].
        """
        keys = np.broadcast_to(np.asarray(keys, np.uint32), (self.shape.members, 2))
        points = np.asarray(u, np.float32)
        if self.mesh is not None:
            cut = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))
            points, keys = (jax.device_put(x, cut) for x in (points, keys))
        first = np.uint32(piece * self.shape.chunk)
        arguments = (points, self.panels[piece], keys, first)
        if self._executable is None:
            begin = time.perf_counter()
            static = _Static(self.simulator, self.schema, self.shape, self.weighted)
            self._executable = _executable(static, arguments)
            self.compile_seconds += time.perf_counter() - begin
        self.calls += 1
        return self._executable(*arguments)

    _executable: Any = None

    def seen(self, piece: int) -> tuple[jax.Array, jax.Array]:
        """What the draws of a piece are compared with.

        Returns:
            Observed values float32[n, T, V] and where they count, bool[n, T, V, H].
        """
        if piece not in self._seen:
            self._seen[piece] = self._targets(self.panels[piece])
        return self._seen[piece]

    def _targets(self, panel: Panel) -> tuple[jax.Array, jax.Array]:
        targets = jnp.arange(1, self.rows)
        valid = jax.vmap(lambda t: self.shape.plan.look_up(t)[1])(targets)
        return panel.outputs[:, 1:], panel.outputs_seen[:, 1:, :, None] & valid[None, :, None, :]


@dataclass(frozen=True)
class _Static:
    """What the compiled function depends on besides shapes."""

    simulator: Any
    schema: Schema
    shape: Shape
    weighted: bool

    def one(self, u: jax.Array, panel: Panel, key: jax.Array, first: jax.Array) -> Any:
        """The draws at one point."""
        params = self.simulator.parameters.from_unit(u)
        return predict(
            self.simulator, self.schema, params, panel, self.shape.plan, key, first=first,
            replicates=self.shape.replicates, weighted=self.weighted, reduce=_draws,
        )  # fmt: skip


#: The last executables: the same simulator on other data of the same shapes compiles no more.
_compiled: OrderedDict[Any, Any] = OrderedDict()
_KEPT = 16


def _executable(static: _Static, arguments: tuple[Any, ...]) -> Any:
    leaves, tree = jax.tree.flatten(arguments)
    where = tuple(
        getattr(x, "sharding", None) if isinstance(x, jax.Array) else None for x in leaves
    )
    key = (static, tree, tuple((np.shape(x), str(x.dtype)) for x in leaves), where)
    if key not in _compiled:
        run = lanes_jit(jax.vmap(static.one, in_axes=(0, None, 0, None)))
        _compiled[key] = run.lower(*arguments).compile(compiler_options=_options(static.simulator))
        while len(_compiled) > _KEPT:
            _compiled.popitem(last=False)
    return _compiled[key]


def _options(simulator: Any) -> dict[str, Any] | None:
    """Compiler options on top of those of `lanes_jit`.

    Fusing several results into one loop, which the command line asks XLA for, makes forecasts of
    programs of arrays up to twice as fast, but those of scalars take up to twice as long.
    """
    arrays = any(state.shape for state in simulator.states.values())
    if arrays or jax.default_backend() != "cpu":
        return None
    return {"xla_backend_extra_options": ""}


def _draws(forecast: Forecast) -> tuple[jax.Array, jax.Array]:
    code = jax.lax.reduce(forecast.code, np.int32(0), jax.lax.bitwise_or, (0,))
    return forecast.draws, code


@jax.jit
def energies(
    draws: jax.Array, target: jax.Array, seen: jax.Array, scale: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Energy scores of the draws of a piece, summed over rows.

    Args:
        draws: float32[P, n, T, V, H, R].
        target: float32[n, T, V].
        seen: bool[n, T, V, H].
        scale: float32[H, V].

    Returns:
        Sums float32[P, n, H], in units of the scale, and numbers of forecasts float32[n, H].
    """

    def row(draws: jax.Array, target: jax.Array, seen: jax.Array) -> jax.Array:
        def horizon(x: jax.Array, seen: jax.Array, scale: jax.Array) -> jax.Array:
            return energy_score(x.T, target, seen, scale)

        return jax.vmap(horizon, in_axes=(1, 1, 0))(draws, seen, scale)

    member = jax.vmap(jax.vmap(row))
    scores = jax.vmap(member, in_axes=(0, None, None))(draws, target, seen)
    counted = jnp.any(seen, axis=2)
    return jnp.sum(jnp.where(counted, scores, 0.0), axis=2), jnp.sum(counted, axis=1, dtype=float)
