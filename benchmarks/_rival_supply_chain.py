"""The one-stage beer game as others would write it: NumPy, numba, a plain Python loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

#: Outputs of the last row that every engine returns.
LABELS = ("inventory", "backlog", "demanded")


def numpy_run(
    start: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    truth: Mapping[str, float],
    steps: int,
    seed: int,
) -> np.ndarray:
    """All lanes at once; float64[lanes, 3]."""
    rng = np.random.default_rng(seed)
    inventory, backlog, demanded = (
        start[name].astype(np.int64) for name in ("inventory", "backlog", "demanded")
    )
    pipeline = start["pipeline"].astype(np.int64)  # [lanes, 8], entry k arrives in k + 1 steps
    lead = int(truth["supply.lead_time"])
    for t in range(steps):
        demand = rng.poisson(truth["demand.rate"], len(inventory))
        arrived = pipeline[:, 0]
        pipeline = np.concatenate([pipeline[:, 1:], np.zeros_like(pipeline[:, :1])], axis=1)
        pipeline[:, lead - 1] += inputs["order"][:, t]
        stock, owed = inventory + arrived, backlog + demand
        served = np.minimum(stock, owed)
        inventory, backlog, demanded = stock - served, owed - served, demanded + demand
    return np.stack([inventory, backlog, demanded], axis=1).astype(float)


def numba_run(
    start: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    truth: Mapping[str, float],
    steps: int,
    seed: int,
) -> np.ndarray:
    """One compiled loop per lane, lanes over the cores, numba's own seeds; float64[lanes, 3]."""
    state = np.stack([start[name] for name in LABELS], axis=1).astype(np.int64)
    return _numba_loop()(
        state, start["pipeline"].astype(np.int64), inputs["order"].astype(np.int64),
        truth["demand.rate"], int(truth["supply.lead_time"]), steps,
    )  # fmt: skip


_compiled: list[Any] = []


def _numba_loop() -> Any:
    if _compiled:
        return _compiled[0]
    import numba

    @numba.njit(parallel=True)
    def loop(state: Any, first: Any, order: Any, rate: float, lead: int, steps: int) -> Any:
        out = np.empty((len(state), 3))
        slots = first.shape[1]
        for lane in numba.prange(len(state)):
            inventory, backlog, demanded = state[lane]
            pipeline = first[lane].copy()
            for t in range(steps):
                demand = np.random.poisson(rate)
                stock, owed = inventory + pipeline[0], backlog + demand
                for k in range(slots - 1):
                    pipeline[k] = pipeline[k + 1]
                pipeline[slots - 1] = 0
                pipeline[lead - 1] += order[lane, t]
                served = min(stock, owed)
                inventory, backlog = stock - served, owed - served
                demanded += demand
            out[lane, 0], out[lane, 1], out[lane, 2] = inventory, backlog, demanded
        return out

    _compiled.append(loop)
    return loop


def python_run(
    start: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    truth: Mapping[str, float],
    steps: int,
    generator: Callable[[int, int], np.random.Generator],
) -> np.ndarray:
    """One trajectory after the other, shipments in a list; float64[lanes, 3].

    `generator(lane, t)` makes the draws of a step.
    """
    lead, ends = int(truth["supply.lead_time"]), []
    for lane in range(len(start["inventory"])):
        row = tuple(int(start[name][lane]) for name in LABELS)
        shipments = [(int(q), k + 1) for k, q in enumerate(start["pipeline"][lane]) if q]
        rows = [row]
        for t in range(steps):
            demand = int(generator(lane, t).poisson(truth["demand.rate"]))
            row, shipments = _python_step(
                row, shipments, int(inputs["order"][lane, t]), demand, lead
            )
            rows.append(row)
        ends.append(rows[-1])
    return np.array(ends, float)


def _python_step(
    row: tuple[int, ...], shipments: list[tuple[int, int]], order: int, demand: int, lead: int
) -> tuple[tuple[int, ...], list[tuple[int, int]]]:
    inventory, backlog, demanded = row
    underway = []
    for quantity, remaining in shipments:
        if remaining - 1 == 0:
            inventory += quantity
        else:
            underway.append((quantity, remaining - 1))
    owed = min(inventory, backlog)
    inventory, backlog = inventory - owed, backlog - owed
    sold = min(inventory, demand)
    inventory, backlog = inventory - sold, backlog + demand - sold
    if order > 0:
        underway.append((order, lead))
    return (inventory, backlog, demanded + demand), underway


def jax_random_draws() -> dict[str, Any]:
    """The draws that the simulator file uses, by jax.random."""

    def poisson(key: jax.Array, rate: Any) -> jax.Array:
        return jax.random.poisson(key, jnp.asarray(rate, jnp.float32))

    return {"poisson": poisson}
