"""The lanes of a sweep: scenarios x (draws x replicates), piece by piece.

A lane is a draw of the parameters and a replicate; its number is draw x replicates + replicate in
every scenario, so that scenarios meet the same words (common random numbers) and their differences
are coupled. A piece holds some scenarios and some lanes as axes [scenarios, lanes]; words are made
once per lane for all scenarios of the piece.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from gsim_jax.compilation import lanes_jit
from gsim_jax.simulator.chunks import MOST, Chunk, Spread, plan_chunks
from gsim_jax.simulator.codes import INVALID, OUT_OF_RANGE
from gsim_jax.simulator.contract import Simulator
from gsim_jax.simulator.cores import PLAIN_LOOPS
from gsim_jax.simulator.keep import Keep
from gsim_jax.simulator.lane_values import Layout, PerLane, Values, gather
from gsim_jax.simulator.rollout import key_data
from gsim_jax.simulator.simulate import Static, simulate
from gsim_jax.simulator.streams import Stream
from gsim_jax.task import InputError, Problem, Schema
from gsim_jax.whatif.effects import REPLACED
from gsim_jax.whatif.plan import Plan
from gsim_jax.whatif.start import Start

#: Values from this on are no result; a broken rule is told, not hidden, since interventions may
#: well break what held in the data.
BLANK = INVALID | OUT_OF_RANGE


@dataclass(frozen=True, eq=False)
class Job:
    """What is simulated.

    Attributes:
        simulator: a program or native simulator.
        schema: the task's schema.
        draws: `{group: {name: [D, *shape]}}`.
        start: where lanes begin.
        replicates: lanes R per draw.
        steps: steps T.
        key: seed, JAX key or uint32[2].
        words: `"threefry"` or `"hash"`, see `Stream`.
        rules: whether the task's rules are checked, each told apart in the codes.
        memory: bytes that a piece may take, roughly.
        mesh: devices to spread lanes over.
    """

    simulator: Simulator
    schema: Schema
    draws: Mapping[str, Mapping[str, np.ndarray]]
    start: Start
    replicates: int
    steps: int
    key: Any = 0
    words: str = "threefry"
    rules: bool = True
    memory: int = 1 << 30
    mesh: Mesh | None = None

    @property
    def count(self) -> int:
        """Number of draws D; 1 for a simulator without parameters."""
        leaves = jax.tree.leaves(self.draws)
        return len(leaves[0]) if leaves else 1

    @property
    def lanes(self) -> int:
        """Lanes per scenario."""
        return self.count * self.replicates


@dataclass(frozen=True, eq=False)
class Piece:
    """Results of some scenarios on some lanes.

    Attributes:
        positions: int[s], the scenarios, as positions among all.
        first: number of the first lane.
        kept: what the `Keep` stored, an axis of scenarios behind its first one: paths are
            [rows, s, lanes].
        codes: int32[s, lanes].
    """

    positions: np.ndarray
    first: int
    kept: Any
    codes: np.ndarray


def pieces(job: Job, plans: Sequence[Plan], keep: Keep) -> Iterator[Piece]:
    """Simulates everything, lanes in the outer loop; the first scenario of all comes first.

    While a piece is looked at, the next one is being simulated.

    Raises:
        InputError: values missing, unknown or of wrong shapes.
    """
    if job.words not in ("threefry", "hash"):
        text = f"words: expected 'threefry' or 'hash'; got {job.words!r}"
        raise InputError(Problem("words", text))
    if job.steps < 1 or job.replicates < 1:
        text = f"expected at least 1 step and 1 replicate; got {job.steps} and {job.replicates}"
        raise InputError(Problem("steps", text))
    ready: tuple[Any, ...] | None = None
    for begun in _dispatch(job, plans, keep):
        if ready is not None:
            yield _fetch(job, keep, *ready)
        ready = begun
    if ready is not None:
        yield _fetch(job, keep, *ready)


def _dispatch(job: Job, plans: Sequence[Plan], keep: Keep) -> Iterator[tuple[Any, ...]]:
    spread, seed = Spread(job.mesh), key_data(job.key)
    most = max(len(plan.positions) for plan in plans)
    lane_bytes = _bytes_per_lane(job, keep)
    fit = max(job.memory // 2 // lane_bytes, 1)  # two pieces are alive at a time
    size = plan_chunks(job.lanes, 1, min(fit, MOST * spread.devices), spread.devices)
    block = int(np.clip(min(fit, MOST * spread.devices) // size, 1, most))
    block = -(-most // -(-most // block))
    for lanes in Chunk.all(job.lanes, size):
        numbers = np.arange(lanes.start, lanes.start + size).clip(max=lanes.stop - 1)
        number, exists = spread.put(numbers.astype(np.uint32)), spread.put(lanes.exists)
        for plan in plans:
            values = _values(job, plan, numbers)
            static = _static(job, plan, keep, values.layout)
            lane = {k: spread.put(v) for k, v in values.lane.items()}
            # Plans of different programs are compiled apart anyway: each has its own block.
            own = min(block, len(plan.positions))
            for part in Chunk.all(len(plan.positions), own):
                changes = {"changes/" + k: part.cut(v) for k, v in plan.arrays.items()}
                arguments = (seed, number, exists, values.shared, changes, lane)
                if job.mesh is None:
                    result = _alone(static, own, *arguments)
                else:
                    result = _sharded(static, own, job.mesh, *arguments)
                yield plan.positions[part.start : part.stop], lanes, part, result


def _fetch(
    job: Job, keep: Keep, positions: np.ndarray, lanes: Chunk, part: Chunk, result: Any
) -> Piece:
    spread = Spread(job.mesh)
    kept, codes = result
    scenarios = slice(0, part.stop - part.start)

    def cut(x: jax.Array) -> np.ndarray:
        host = spread.get(x)[:, scenarios]
        return lanes.trim(host, 2 if keep.per_lane else None)

    code = lanes.trim(spread.get(codes)[scenarios], 1)
    return Piece(positions, lanes.start, jax.tree.map(cut, kept), code)


def run_block(
    static: Static, count: int, seed: Any, number: Any, exists: Any, shared: Any, changes: Any,
    lane: Any,
) -> tuple[Any, jax.Array]:  # fmt: skip
    """A block of scenarios on a chunk of lanes: kept [., scenarios, ...], codes [scenarios, lanes].

    Args:
        static: what is compiled.
        count: scenarios in the block.
        seed: uint32[2].
        number: uint32[lanes].
        exists: bool[lanes].
        shared: values for all lanes.
        changes: `{"changes/KEY": [count, rows, 4, ...]}`.
        lane: values [lanes, ...].
    """

    def one(own: Any) -> tuple[Any, jax.Array]:
        return simulate(static, seed, ((), ()), {**shared, **own}, number, exists, lane)

    return jax.vmap(one, out_axes=(1, 0), axis_size=count)(changes)


@partial(lanes_jit, cpu_options=PLAIN_LOOPS, static_argnums=(0, 1))
def _alone(static: Static, count: int, *arguments: Any) -> tuple[Any, jax.Array]:
    return run_block(static, count, *arguments)


@partial(lanes_jit, static_argnums=(0, 1, 2))
def _sharded(static: Static, count: int, mesh: Mesh, *arguments: Any) -> tuple[Any, jax.Array]:
    every, cut = PartitionSpec(), PartitionSpec(mesh.axis_names)
    # Paths have their lanes on axis 1; the axis of scenarios goes in front of it.
    kept = (None, None) if static.keep.axis == 1 else ()
    run = jax.shard_map(
        partial(run_block, static, count), mesh=mesh, in_specs=(every, cut, cut, every, every, cut),
        out_specs=(PartitionSpec(*kept, mesh.axis_names), PartitionSpec(None, mesh.axis_names)),
        check_vma=False,
    )  # fmt: skip
    return run(*arguments)


def _static(job: Job, plan: Plan, keep: Keep, layout: Layout) -> Static:
    kinds, rowwise = list(layout.kinds), set(layout.rowwise)
    for key in plan.arrays:
        kinds.append((("changes", key), "shared"))
        rowwise.add(("changes", key))
    effects = plan.effects if plan.arrays else None
    return Static(
        job.simulator, job.schema, Layout(tuple(kinds), frozenset(rowwise)), job.steps,
        Stream(job.words), keep, job.rules, frozenset(job.start.states), job.start.whole, effects,
        BLANK, each_rule=True,
    )  # fmt: skip


def _values(job: Job, plan: Plan, numbers: np.ndarray) -> Values:
    """Values of a chunk of lanes, checked."""
    draw, replicate = numbers // job.replicates, numbers % job.replicates
    start = {k: _dealt(v, draw, replicate, numbers) for k, v in job.start.states.items()}
    params = {
        group: {name: _drawn(value, draw) for name, value in members.items()}
        for group, members in job.draws.items()
    }
    given = {**job.start.inputs, **job.start.attributes}
    inputs = {name: _turned(value, numbers) for name, value in given.items()}
    values = gather(job.simulator, job.schema, start, params, inputs, len(numbers), job.steps)
    kinds, rowwise = list(values.layout.kinds), set(values.layout.rowwise)

    def put(path: tuple[str, ...], value: Any, kind: str) -> None:
        home = values.lane if kind == "lane" else values.shared
        home["/".join(path)] = value
        kinds.append((path, kind))

    for replaced in plan.effects.replaced:
        own = _replacing(job, replaced.name, replaced.simulator, plan.parameters[replaced.name])
        for name, value in own.items():
            kind = "lane" if len(value) > 1 else "shared"
            put(("params", REPLACED + replaced.name, name), _drawn(value, draw), kind)
    # Row 0 is a later row of the data where the what-if begins in their midst.
    t = job.start.t[:, None] + np.arange(job.steps + 1, dtype=np.int32)
    if len(t) == 1 or (t == t[0]).all():
        put(("inputs", "t"), t[0], "shared")
    else:
        values.lane["index/t"] = (numbers % len(t)).astype(np.int32)
        put(("inputs", "t"), t, "index/t")
    rowwise.add(("inputs", "t"))
    return replace(values, layout=Layout(tuple(kinds), frozenset(rowwise)))


def _dealt(
    points: np.ndarray, draw: np.ndarray, replicate: np.ndarray, numbers: np.ndarray
) -> np.ndarray:
    """States [a, b, *shape] of these lanes; one for all where there is one."""
    a, b = points.shape[:2]
    if a == b == 1:
        return points[0, 0]
    return points[draw, replicate] if a > 1 else points[0, numbers % b]


def _drawn(value: np.ndarray, draw: np.ndarray) -> np.ndarray:
    return value[draw] if len(value) > 1 else value[0]


def _turned(value: np.ndarray, numbers: np.ndarray) -> Any:
    if len(value) == 1:
        return value[0]
    return PerLane(value, (numbers % len(value)).astype(np.int32))


def _replacing(
    job: Job, name: str, simulator: Simulator, given: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Parameters of a replacing submodule: as given, else those of its namesake, else guesses."""
    ours = job.draws.get(name, {})
    found = {}
    for entry in simulator.parameters.entries:
        if entry.group == name:
            value = np.broadcast_to(given.get(entry.name, entry.guess), entry.shape)[None]
            if entry.name not in given and np.shape(ours.get(entry.name, ()))[1:] == entry.shape:
                value = ours.get(entry.name, value)
            found[entry.name] = np.asarray(value, entry.dtype)
    return found


def _bytes_per_lane(job: Job, keep: Keep) -> int:
    """Roughly what a lane of one scenario takes: working copies, and twice what is kept."""
    specs = job.simulator.states.values()
    state = sum(4 * int(np.prod(spec.shape, dtype=int)) for spec in specs)
    outputs = 4 * len(job.schema.outputs)
    kept = getattr(keep, "width", len(job.schema.outputs)) * 4 * (job.steps + 1)
    return 6 * (state + outputs) + 64 + (2 * kept if keep.per_lane else 0)
