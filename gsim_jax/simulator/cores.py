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
from contextlib import nullcontext
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

#: Bytes that a chunk works on at least, over all of its steps, and in one step, where a rollout is
#: cut for the sake of cores alone: to begin one takes a tenth of a millisecond, and a step of less
#: is mostly the way from one loop to the next.
WORTH, FEWEST = 4 << 20, 32 << 10
#: Bytes that a chunk works on at most: several times a core's own cache, since they are counted
#: generously. Larger chunks take up to 1.5 times as long per lane.
CACHED = 8 << 20
#: No extra options, not even the process's own: loops with several results, which the command line
#: asks for since they spare a search a sixth of its time, cost a rollout an eighth of its speed and
#: 1.4 times the compilation. (To leave out the pass that makes them wins back half of that.)
PLAIN_LOOPS = {**CPU_OPTIONS, "xla_backend_extra_options": ""}
#: The same without the pass that cuts loops into a part per core.
WHOLE_LOOPS = {**PLAIN_LOOPS, "xla_disable_hlo_passes": "cpu-parallel-task-assigner"}


def cores() -> int:
    """Cores that this process may use for lanes: 1 unless it runs on CPUs, and alone."""
    if jax.default_backend() != "cpu" or jax.process_count() > 1:
        return 1
    if execution_stream_id is None or not _asynchronous():
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _asynchronous() -> bool:
    """Whether JAX computes in threads of its own."""
    try:
        return bool(jax.config.read("jax_cpu_enable_async_dispatch"))
    except AttributeError:  # another JAX, which has no such option
        return True


def at_a_time(lanes: int, steps: int, working: int) -> int:
    """How many chunks are worth being simulated at a time.

    Args:
        lanes: how many there are.
        steps: of a trajectory.
        working: bytes that a step of a lane works on.
    """
    available = cores()
    if available == 1:
        return 1
    step = lanes * working
    return max(min(available, step * steps // WORTH, step // FEWEST, lanes), 1)


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
        with execution_stream_id(1 + i % most) if most > 1 else nullcontext():  # type: ignore[misc]
            under_way.append((item, begin(item)))
    return results + [finish(*both) for both in under_way]
