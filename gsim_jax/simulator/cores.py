"""Chunks of lanes on all cores of a CPU at once.

Left to itself, XLA's CPU backend cuts every loop of every step into a part per core. The parts meet
after each of them, and between two of them a core may fall asleep: two cores then simulate a
chain-binomial SIR 1.2 to 1.6 times as fast as one, and arrays of a few numbers per lane no faster
at all. Lanes never talk to each other, so here whole chunks run beside one another, each on one
core from its first step to its last.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

import jax

from gsim_jax.compilation import CPU_OPTIONS

try:
    from jaxlib.xla_client import execution_stream_id
except ImportError:  # of another jaxlib
    execution_stream_id = None

Item = TypeVar("Item")
Begun = TypeVar("Begun")
Result = TypeVar("Result")

#: Lanes times steps of a chunk at least: to begin one takes a tenth of a millisecond.
WORTH = 20_000
#: Lanes of a chunk at least: a step of fewer is mostly the way from one loop to the next.
FEWEST = 128
#: Bytes that a chunk works on at most, as `rollout` estimates them, which is generously: several
#: times a core's own cache. Larger chunks take up to 1.5 times as long per lane.
CACHED = 8 << 20
#: Compiler options without the pass that cuts loops into a part per core.
WHOLE_LOOPS = {**CPU_OPTIONS, "xla_disable_hlo_passes": "cpu-parallel-task-assigner"}


def cores() -> int:
    """Cores that this process may use for lanes: 1 unless it runs on CPUs, and alone."""
    if jax.default_backend() != "cpu" or jax.process_count() > 1:
        return 1
    if execution_stream_id is None or not jax.config.read("jax_cpu_enable_async_dispatch"):
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def most_at_once(working: int) -> int:
    """Lanes of a chunk from which on it becomes slower; `working` are the bytes that each takes."""
    return max(CACHED // max(working, 1), FEWEST)


def at_a_time(lanes: int, steps: int) -> int:
    """How many chunks are worth being simulated at a time."""
    available = cores()
    if available == 1:
        return 1
    return max(min(available, lanes * steps // WORTH, lanes // FEWEST), 1)


def side_by_side(
    begin: Callable[[Item], Begun],
    finish: Callable[[Item, Begun], Result],
    items: Iterable[Item],
    most: int,
) -> list[Result]:
    """Computations of JAX that run at the same time on the cores of a CPU.

    JAX runs what one thread hands over in that order, one after the other, unless it is said to
    belong to another *stream*. Its own threads do the work; this one only begins and ends it.

    Args:
        begin: item -> arrays that JAX still computes.
        finish: item, arrays -> a result; waits for them.
        items: what to do it with.
        most: how many are under way at a time; with 1, one after the other.

    Returns:
        The results, in the order of `items`.

    Raises:
        Whatever `begin` or `finish` raises for one of them; nothing is begun after it.
    """
    results: list[Result] = []
    under_way: deque[tuple[Item, Begun]] = deque()
    for i, item in enumerate(items):
        if len(under_way) == most:
            results.append(finish(*under_way.popleft()))
        if most == 1:
            under_way.append((item, begin(item)))
            continue
        with execution_stream_id(1 + i % most):  # type: ignore[misc]
            under_way.append((item, begin(item)))
    return results + [finish(*both) for both in under_way]
