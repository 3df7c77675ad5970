"""Chunks of lanes on all cores of a CPU at once: a thread, and a kernel without threads, for each.

Left to itself, XLA's CPU backend cuts every loop of every step into a part per core. The parts meet
after each of them, and between two of them a core may fall asleep: two cores then simulate a
chain-binomial SIR 1.2 to 1.6 times as fast as one. Lanes never talk to each other, so here whole
chunks run beside one another and meet once, at their end.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata

from gsim_jax.compilation import CPU_OPTIONS, lanes_jit

#: Lanes times steps from which on the hand-over to a thread, a tenth of a millisecond, is little.
WORTH = 20_000
#: Lanes of a chunk at most: what they work on then stays in a core's own cache.
LANES = 1 << 13
#: How XLA's CPU backend knows a call that it compiles to one function, which runs in its caller's
#: thread, and how its inliner is kept from it.
_KERNEL = {"xla_cpu_small_call": "true", "inlineable": "false"}
#: Long sums are handed to a library otherwise, which a kernel cannot call.
KERNEL_OPTIONS = {**CPU_OPTIONS, "xla_cpu_experimental_ynn_fusion_type": ""}
#: Primitives that become plain loops. Others, such as sorts and matrix products, call libraries.
_LOOP_NAMES = """
abs acos acosh add add_any and argmax argmin asin asinh atan atan2 atanh bitcast_convert_type
broadcast_in_dim cbrt ceil clamp clz concatenate convert_element_type copy copy_p cos cosh
cumlogsumexp cummax cummin cumprod cumsum custom_jvp_call digamma div dynamic_slice
dynamic_update_slice eq erf erf_inv erfc exp exp2 expm1 floor gather ge gt integer_pow iota
is_finite jit le lgamma log log1p log2 logistic lt max min mul ne neg nextafter not or pad pjit
population_count pow reduce_and reduce_max reduce_min reduce_or reduce_precision reduce_prod
reduce_sum reduce_xor rem reshape rev round rsqrt scan select_n shift_left shift_right_arithmetic
shift_right_logical sign sin sinh slice split sqrt square squeeze stack stop_gradient sub tan tanh
tile transpose unstack xla_metadata_value xor
"""
_LOOPS = frozenset(_LOOP_NAMES.split())


def cores() -> int:
    """Cores that this process may use for lanes: 1 unless it runs on CPUs, and alone."""
    if jax.default_backend() != "cpu" or jax.process_count() > 1:
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def one_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function, to be used under `jit`, as one kernel of XLA's CPU backend.

    The numbers are those of the function. It must consist of `only_loops`.

    Args:
        function: arrays -> a pytree of arrays.
    """

    def run(*arguments: Any) -> Any:
        return set_xla_metadata(jax.jit(function)(*arguments), **_KERNEL)

    return run


@lru_cache(maxsize=1)
def kernels_work() -> bool:
    """Whether this version of XLA makes one kernel of `one_kernel`: asked of itself, once.

    Attributes and options of XLA come and go; without them rollouts run as on one core.
    """

    def steps(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda y, _: (y + 1, y.sum()), x, None, length=2)[1]

    try:
        tried = lanes_jit(one_kernel(steps), KERNEL_OPTIONS).lower(jnp.zeros(1 << 17)).compile()
    except jax.errors.JaxRuntimeError:
        return False
    entry = tried.as_text().split("ENTRY")[-1]
    return " call(" in entry and " while(" not in entry


def only_loops(jaxpr: Any) -> bool:
    """Whether a jaxpr, with those inside of it, consists of what can become one kernel.

    Args:
        jaxpr: a `Jaxpr` or `ClosedJaxpr`.
    """
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        if equation.primitive.name not in _LOOPS:
            return False
        if not all(only_loops(inner) for inner in _inside(equation.params)):
            return False
    return True


def compiles(traced: Any) -> bool:
    """Whether a traced function of kernels can be compiled; jit keeps what was.

    Args:
        traced: what ``jitted.trace(...)`` returns.
    """
    if not only_loops(traced.jaxpr):
        return False
    try:
        traced.lower().compile()
    except jax.errors.JaxRuntimeError:  # XLA knows best what its kernels can do
        return False
    return True


def _inside(params: dict[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for one in value if isinstance(value, (tuple, list)) else (value,):
            if hasattr(one, "eqns") or hasattr(one, "jaxpr"):
                yield one


def each(function: Callable[[Any], Any], items: Sequence[Any], threads: int) -> list[Any]:
    """What a function makes of each item, on several threads, one of which is the caller's.

    A thread waits for the arrays of one item before it goes on to the next; those of its last item
    may still be computed when this returns. The caller then waits for them itself, which spares it
    a thread that is woken only to wake it.

    Args:
        function: what to do: begins a computation of JAX, which goes on outside of Python.
        items: what to do it with.
        threads: how many items are worked on at a time.

    Returns:
        The results, in the order of `items`.

    Raises:
        Whatever the function raises for one of them; those that wait are then left.
    """
    found: list[Any] = [None] * len(items)
    waiting = deque(range(len(items)))

    def taken() -> int | None:
        try:
            return waiting.popleft()
        except IndexError:
            return None

    def work() -> None:
        begun = None
        try:
            while (i := taken()) is not None:
                jax.block_until_ready(begun)
                begun = found[i] = function(items[i])
        finally:
            waiting.clear()  # after an error, or Ctrl-C, the others end what they have begun

    helpers = [_pool(threads - 1).submit(work) for _ in range(min(threads, len(items)) - 1)]
    try:
        work()
    finally:
        errors = [helper.exception() for helper in helpers]
    for error in errors:
        if error is not None:
            raise error
    return found


@lru_cache(maxsize=4)
def _pool(size: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(size, 1), thread_name_prefix="lanes")
