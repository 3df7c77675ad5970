"""Where a what-if begins: at the first rows of the data, at their end, or in their midst."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from gsim_jax.simulator.contract import Simulator
from gsim_jax.simulator.panel import is_complete
from gsim_jax.task import InputError, Problem, Schema, Task, Trajectories
from gsim_jax.task.problems import near
from gsim_jax.whatif.filtering import particles

_TRAJECTORY = re.compile(r"trajectory:(?P<id>.+?)(@(?P<t>\d+))?")
#: Particles of a draw where something is hidden, before replicates are dealt out of them.
PARTICLES = 256
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, eq=False)
class Start:
    """States, inputs and attributes that lanes begin with.

    Several starting points are dealt to the lanes in turn: lane k (draw x replicates + replicate)
    has entry k mod n of every axis of n entries.

    Attributes:
        states: `{name: [a, b, *shape]}`: b points to deal (a = 1), or one for each draw and
            replicate.
        inputs: `{name: [n, steps + 1, *shape]}`, calendar included; what is left out has its
            default.
        attributes: `{name: [n]}`.
        t: int32[n], row of the data that row 0 is.
        words: where it begins, for people.
        whole: whether the states are full ones, with nothing left for `initial` to draw.
    """

    states: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray] = field(default_factory=dict)
    attributes: dict[str, np.ndarray] = field(default_factory=dict)
    t: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int32))
    words: str = "given"
    whole: bool = False

    @classmethod
    def of(cls, states: Any, inputs: Any = None, attributes: Any = None) -> Start:
        """One point for all lanes, values of their own shapes; inputs with their rows."""
        return cls(
            {name: np.asarray(value)[None, None] for name, value in states.items()},
            {name: np.asarray(value)[None] for name, value in (inputs or {}).items()},
            {name: np.asarray(value)[None] for name, value in (attributes or {}).items()},
        )


def start_from(
    words: str, task: Task, simulator: Simulator, params: Any, steps: int, *,
    split: str | None = None, replicates: int = 1, seed: int = 0,
) -> Start:  # fmt: skip
    """The start that words such as `last` ask for.

    Args:
        words: `"first"`, `"last"`, `"trajectory:ID"` or `"trajectory:ID@t"`. The first two deal
            all trajectories of the split to the lanes.
        task: the task, with its data.
        simulator: what runs.
        params: `{group: {name: [D, *shape]}}`, the draws that hidden states depend on.
        steps: steps T that will be simulated.
        split: `"train"`, `"validation"` or `"test"`; by default the training data, and where one
            table is divided by time, for `last`, its end.
        replicates: lanes per draw.
        seed: for the particles of hidden states.

    Raises:
        InputError: words that cannot be read, no such split, trajectory or row.
    """
    name = split or _split(task, words)
    if name not in task.splits:
        text = f"expected one of {', '.join(task.splits)}; got {name!r}"
        raise InputError(Problem("no-split", f"data: {text}"))
    data = task.splits[name]
    chosen, rows = _chosen(words, data)
    told = f"{words} ({name} data)"
    return _start(simulator, task.schema, data, chosen, rows, params, steps, replicates, seed, told)


def _split(task: Task, words: str) -> str:
    """The training data; the last split where one table is divided by time."""
    ids = [set(split.ids) for split in task.splits.values()]
    if words != "last" or len(ids) == 1:
        return "train"
    # Divided by time, splits hold the same trajectories, one after the other.
    lengths = {int(split.length.max()) for split in task.splits.values()}
    divided = all(i == ids[0] for i in ids) and len(lengths) > 1
    return list(task.splits)[-1] if divided else "train"


def _chosen(words: str, data: Trajectories) -> tuple[list[int], list[int]]:
    """Trajectories, and the row of each at which the what-if begins."""
    if words == "first":
        return list(range(len(data))), [0] * len(data)
    if words == "last":
        return list(range(len(data))), [int(n) - 1 for n in data.length]
    match = _TRAJECTORY.fullmatch(words)
    if match is None:
        text = f"expected first, last, trajectory:ID or trajectory:ID@t; got {words!r}"
        raise InputError(Problem("bad-start", f"from: {text}"))
    if match["id"] not in data.ids:
        text = f"no trajectory {match['id']!r}: {near(match['id'], data.ids)}"
        raise InputError(Problem("no-trajectory", f"from: {text}"))
    at = data.ids.index(match["id"])
    row, length = int(match["t"] or 0), int(data.length[at])
    if row >= length:
        text = f"expected a row from 0 to {length - 1} of trajectory {match['id']}; got {row}"
        raise InputError(Problem("no-row", f"from: {text}"))
    return [at], [row]


def _start(
    simulator: Simulator, schema: Schema, data: Trajectories, chosen: list[int], rows: list[int],
    params: Any, steps: int, replicates: int, seed: int, told: str,
) -> Start:  # fmt: skip
    data = data.take(chosen)
    n = len(data)
    whole = False
    if is_complete(data) and not simulator.latent and not simulator.observed:
        states = {k: v[np.arange(n), rows][None] for k, v in data.states.items()}
    elif max(rows) == 0 and all(seen[:, 0].all() for seen in data.seen.values()):
        # `initial` draws what is hidden in the first row, lane by lane.
        states = {k: v[np.arange(n), rows][None] for k, v in data.states.items()}
    else:
        whole = True
        each = max(PARTICLES, replicates)
        leaves = jax.tree.leaves(params)
        draw = np.arange(len(leaves[0]) if leaves else 1)[:, None]
        # Lane k continues trajectory k mod n: a draw needs as many of them as it has lanes.
        needed = min(n, replicates)
        picked = (draw * replicates + np.arange(needed)) % n
        found = particles(simulator, schema, data, rows, picked, params, each, seed)
        replicate = np.arange(replicates)[None]
        # Draws have the particles' words in common: were all to take the same few particles, what
        # is hidden would be the same luck everywhere. Multiples of the golden ratio spread evenly.
        turn = ((draw * replicates + replicate) * _GOLDEN % 1 * each).astype(int)
        states = {k: v[draw, replicate % needed, turn] for k, v in found.items()}
    inputs = {k: _ahead(schema, data, k, v, rows, steps) for k, v in data.inputs.items()}
    at = np.asarray(rows, np.int32)
    return Start(states, inputs, dict(data.attributes), at, told, whole)


def _ahead(
    schema: Schema, data: Trajectories, name: str, values: np.ndarray, rows: list[int], steps: int
) -> np.ndarray:
    """An input's rows from the start on, [n, steps + 1, *shape].

    Beyond the data an input has its default; without one it stays what it was; the calendar goes
    on.
    """
    found = []
    for i, row in enumerate(rows):
        length = int(data.length[i])
        known = values[i, row : min(length, row + steps + 1)]
        missing = steps + 1 - len(known)
        given = schema.inputs.get(name)
        if name in schema.calendar_inputs and data.dates is not None and missing:
            tail = _calendar(name, data.dates[i, :length], missing)
        elif given is not None and given.default is not None:
            tail = np.broadcast_to(np.asarray(given.default, known.dtype), given.shape)
            tail = np.broadcast_to(tail, (missing, *tail.shape))
        else:
            tail = np.broadcast_to(known[-1], (missing, *known.shape[1:]))
        found.append(np.concatenate([known, tail.astype(known.dtype)]))
    return np.stack(found)


def _calendar(name: str, dates: np.ndarray, count: int) -> np.ndarray:
    step = dates[-1] - dates[-2] if len(dates) > 1 else np.timedelta64(1, "D")
    days = (dates[-1] + step * np.arange(1, count + 1)).astype("datetime64[D]")
    if name == "weekday":  # 1970-01-01 was a Thursday
        return (days.astype(np.int64) + 3) % 7
    return (days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int64) + 1
