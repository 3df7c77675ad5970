"""Rollouts: many lanes of a simulator at once, in pieces that fit into memory, over any devices.

A lane is one simulated trajectory. Lanes are numbered, and a lane's random words follow from its
number alone: give the lanes of two scenarios the same numbers and they meet the same luck (common
random numbers), cut them into chunks or spread them over devices and they stay bitwise the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from gsim_jax.compilation import lanes_jit
from gsim_jax.simulator.chunks import Chunk, Spread, plan_chunks
from gsim_jax.simulator.codes import OK, in_words
from gsim_jax.simulator.contract import Simulator
from gsim_jax.simulator.cores import CACHED, PLAIN_LOOPS, WHOLE_LOOPS, at_a_time, side_by_side
from gsim_jax.simulator.keep import Keep, KeepLast, KeepMoments, KeepPaths
from gsim_jax.simulator.lane_values import gather
from gsim_jax.simulator.simulate import Static, draw_sites, simulate
from gsim_jax.simulator.streams import Stream
from gsim_jax.task import InputError, Problem, Schema

_KEEPS = {"paths": KeepPaths(), "last": KeepLast(), "moments": KeepMoments()}


@dataclass(frozen=True, eq=False)
class Rollout:
    """What a rollout left.

    Attributes:
        kept: what `keep` stored: `Paths`, `Last`, `Moments`, or what a `Keep` of your own joins.
        codes: int32[lanes], failure codes, 0 where a lane is fine; see `failures`.
        numbers: uint32[lanes], the lanes' numbers.
        chunks: in how many pieces it ran.
    """

    kept: Any
    codes: np.ndarray
    numbers: np.ndarray
    chunks: int

    @property
    def failed(self) -> float:
        """Share of the lanes that failed."""
        return float(np.mean(self.codes != OK)) if len(self.codes) else 0.0

    def failures(self) -> dict[str, int]:
        """How many lanes failed, by what happened."""
        codes, counts = np.unique(self.codes[self.codes != OK], return_counts=True)
        return {in_words(int(c)): int(n) for c, n in zip(codes, counts, strict=True)}


def rollout(
    simulator: Simulator,
    schema: Schema,
    params: Mapping[str, Mapping[str, Any]],
    start: Mapping[str, Any],
    *,
    steps: int,
    lanes: int | Iterable[int],
    key: Any = 0,
    inputs: Mapping[str, Any] | None = None,
    words: str = "threefry",
    antithetic: bool = False,
    keep: str | Keep = "paths",
    rules: bool = True,
    memory: int = 1 << 30,
    mesh: Mesh | None = None,
) -> Rollout:
    """Simulates many lanes.

    Every value in `params`, `start` and `inputs` is given for all lanes (its own shape), for each
    (a leading axis of lanes), or as `PerLane(table, index)`. Calls that differ in numbers only, and
    not in shapes or options, are compiled once.

    Args:
        simulator: a program or a native simulator.
        schema: the task's schema.
        params: `{group: {name: value}}`; `simulator.parameters.values({...})` makes them by label.
        start: states at row 0. Where the simulator has latent states and they are not given, its
            `initial` draws them per lane.
        steps: number of steps T; rows 0 .. T.
        lanes: how many (numbered from 0), or their numbers below 2^32, uint32[lanes].
        key: a seed, a JAX key, or uint32[2].
        inputs: inputs and calendar with an axis of T + 1 rows (in front of their own shape),
            attributes without. Inputs not given have their defaults.
        words: `"threefry"`, `"hash"` or `"sobol"`, see `Stream`.
        antithetic: lanes 2k and 2k + 1 are mirror images.
        keep: `"paths"`, `"last"`, `"moments"`, or a `Keep`.
        rules: whether the task's rules are checked in every row.
        memory: bytes that the chunks of lanes under way may take, roughly.
        mesh: devices to spread the lanes over (all its axes); without one, where JAX puts them, on
            a CPU of several cores a chunk to each. In a program of several processes every one
            makes the same call and gets the whole result.

    Returns:
        What was kept, and one failure code per lane.

    Raises:
        InputError: values missing, unknown or of wrong shapes; options that do not go together.
    """
    keeper = _keeper(keep)
    numbers = _numbers(lanes)
    stream = _stream(simulator, words, antithetic)
    if steps < 0:
        raise InputError((Problem("steps", f"steps: expected 0 or more; got {steps}"),))
    values = gather(simulator, schema, start, params, inputs or {}, len(numbers), steps)
    given = frozenset(start)
    static = Static(simulator, schema, values.layout, steps, stream, keeper, rules, given)
    shared, seed = values.shared, key_data(key)
    rows = _stream_rows(static, shared, values.lane, seed, numbers)
    call = _Call(static, Spread(mesh), seed, rows, shared, values.lane, numbers)
    size, under_way = call.plan(memory)
    compiled = _sharded if mesh is not None else _whole_loops if under_way > 1 else _alone
    chunks = list(Chunk.all(len(numbers), size))
    done = side_by_side(partial(call.simulated, compiled), call.on_host, chunks, under_way)
    parts, codes = zip(*done, strict=True)
    return Rollout(keeper.join(parts), np.concatenate(codes), numbers, len(chunks))


@dataclass(frozen=True, eq=False)
class _Call:
    """A rollout's lanes, and how pieces of them are simulated."""

    static: Static
    spread: Spread
    seed: np.ndarray
    rows: Any
    shared: Mapping[str, Any]
    lane: Mapping[str, Any]
    numbers: np.ndarray

    def plan(self, memory: int) -> tuple[int, int]:
        """Lanes per chunk, and how many chunks are under way at a time."""
        count, (working, stored) = len(self.numbers), _bytes_per_lane(self.static, self.lane)
        each = working + stored
        if self.spread.mesh is not None or jax.default_backend() != "cpu":
            return plan_chunks(count, each, memory, self.spread.devices), 1
        cores = at_a_time(count, self.static.steps, working)
        # As many again wait, so that no core does.
        under_way = 2 * cores if cores > 1 else 1
        memory = min(memory * cores // under_way, cores * max(CACHED // working, 1) * each)
        return plan_chunks(count, each, memory, cores) // cores, under_way

    def simulated(self, compiled: Any, chunk: Chunk) -> tuple[Any, jax.Array]:
        """What is kept of a chunk, and its codes, on the devices."""
        put = self.spread.put
        lane = {name: put(chunk.cut(values)) for name, values in self.lane.items()}
        number, exists = put(chunk.cut(self.numbers)), put(chunk.exists)
        mesh = self.spread.mesh
        return compiled(self.static, mesh, self.seed, self.rows, self.shared, number, exists, lane)

    def on_host(self, chunk: Chunk, simulated: tuple[Any, jax.Array]) -> tuple[Any, np.ndarray]:
        """The same, of the lanes that were asked for."""
        keep, get = self.static.keep, self.spread.get
        kept, code = simulated
        axis = keep.axis if keep.per_lane else None
        kept = jax.tree.map(lambda x: chunk.trim(get(x), axis), kept)
        return kept, chunk.trim(get(code), 0)


def _on_one_device(static: Static, mesh: None, *arguments: Any) -> tuple[Any, jax.Array]:
    return simulate(static, *arguments)


_alone = lanes_jit(_on_one_device, PLAIN_LOOPS, static_argnums=(0, 1))
_whole_loops = lanes_jit(_on_one_device, WHOLE_LOOPS, static_argnums=(0, 1))


@partial(lanes_jit, static_argnums=(0, 1))
def _sharded(
    static: Static,
    mesh: Mesh,
    seed: Any,
    rows: Any,
    shared: Any,
    number: Any,
    exists: Any,
    lane: Any,
) -> tuple[Any, jax.Array]:
    # Lanes never talk to each other: each device runs its own, without a single collective.
    every = PartitionSpec()
    cut = PartitionSpec(mesh.axis_names)
    kept = PartitionSpec(*(None,) * static.keep.axis, mesh.axis_names)
    run = jax.shard_map(
        partial(simulate, static), mesh=mesh, in_specs=(every, every, every, cut, cut, cut),
        out_specs=(kept, cut), check_vma=False,
    )  # fmt: skip
    return run(seed, rows, shared, number, exists, lane)


def _stream_rows(
    static: Static, shared: Any, lane: Any, seed: np.ndarray, numbers: np.ndarray
) -> Any:
    if static.stream.kind != "sobol":
        return static.stream.rows(seed, (), (), static.steps, 1)
    before, sites = draw_sites(static, jax.tree.map(jnp.asarray, shared), lane)
    points = int(numbers.max()) + 1
    return static.stream.rows(jnp.asarray(seed), before, sites, static.steps, points)


def _bytes_per_lane(static: Static, lane: Mapping[str, Any]) -> tuple[int, int]:
    """Roughly what one lane takes on the device: to work on, and to store."""
    given = sum(v.nbytes // max(len(v), 1) for v in lane.values())
    specs = static.simulator.states.values()
    state = sum(4 * math.prod(spec.shape) for spec in specs)
    outputs = 4 * len(static.schema.outputs)
    # Current and next state, outputs, words and the largest intermediate values.
    working = given + 6 * (state + outputs) + 64
    stored = 0
    if static.keep.per_lane:
        stored = (state + outputs) * (static.steps + 1 if static.keep.every_row else 1)
    return working, 2 * stored  # what is stored exists twice while it is copied to the host


def _stream(simulator: Simulator, words: str, antithetic: bool) -> Stream:
    stream = Stream(words, antithetic)
    if getattr(simulator, "keyed", False) and (antithetic or words == "sobol"):
        text = (
            f"words: expected 'threefry' or 'hash' without antithetic lanes; got "
            f"{'antithetic lanes' if antithetic else repr(words)} for a simulator of functions "
            "that draw from JAX keys: a key hides the words from its draws. Write it as a "
            "simulator file, whose draws take their words directly"
        )
        raise InputError((Problem("words", text),))
    return stream


def _keeper(keep: str | Keep) -> Keep:
    if not isinstance(keep, str):
        return keep
    if keep not in _KEEPS:
        text = f"keep: expected {', '.join(map(repr, _KEEPS))} or a Keep; got {keep!r}"
        raise InputError((Problem("keep", text),))
    return _KEEPS[keep]


def _numbers(lanes: int | Iterable[int]) -> np.ndarray:
    if isinstance(lanes, (int, np.integer)) and 0 < lanes <= 2**32:
        return np.arange(lanes, dtype=np.uint32)
    numbers = np.asarray(lanes)
    whole = np.issubdtype(numbers.dtype, np.integer) and numbers.ndim == 1 and len(numbers)
    if not whole or numbers.min() < 0 or numbers.max() >= 2**32:
        text = (
            f"lanes: expected a count from 1 on, or whole numbers from 0 to 2^32 - 1; got {lanes}"
        )
        raise InputError((Problem("lanes", text),))
    return numbers.astype(np.uint32)


def key_data(key: Any) -> np.ndarray:
    """The words uint32[2] of a seed, a JAX key or uint32[2]."""
    if isinstance(key, (int, np.integer)):
        return _of_seed(int(key))
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    data = np.asarray(key)
    if data.shape != (2,) or data.dtype != np.uint32:
        text = (
            f"key: expected a seed, a threefry key or uint32[2]; got {data.dtype}{list(data.shape)}"
        )
        raise InputError((Problem("key", text),))
    return data


def _of_seed(seed: int) -> np.ndarray:
    """What `jax.random.key` makes of a seed, without a trip to the device."""
    whole = int(np.int64(seed)) & (2**64 - 1)  # raises what JAX raises for seeds that are too large
    high = whole >> 32 if jax.config.jax_enable_x64 else 0
    return np.array([high, whole & (2**32 - 1)], np.uint32)
