"""The chain-binomial SIR as others would write it: NumPy over lanes, numba, a plain Python loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

#: Outputs of the last row that every engine returns.
LABELS = ("S", "I", "R")


def numpy_run(
    start: Mapping[str, np.ndarray], inputs: Any, truth: Mapping[str, float], steps: int, seed: int
) -> np.ndarray:
    """All lanes at once, one call of the generator per draw; float64[lanes, 3]."""
    rng = np.random.default_rng(seed)
    s, i, r = (start[name].astype(np.int64) for name in "SIR")
    for _ in range(steps):
        p = 1 - np.exp(-truth["infection.beta"] * i / (s + i + r))
        new = rng.binomial(s, p)
        gone = rng.binomial(i, truth["recovery.gamma"])
        s, i, r = s - new, i + new - gone, r + gone
    return np.stack([s, i, r], axis=1).astype(float)


def numba_run(
    start: Mapping[str, np.ndarray], inputs: Any, truth: Mapping[str, float], steps: int, seed: int
) -> np.ndarray:
    """One compiled loop per lane, lanes over the cores, numba's own seeds; float64[lanes, 3]."""
    state = np.stack([start[name] for name in "SIR"], axis=1).astype(np.int64)
    return _numba_loop()(state, truth["infection.beta"], truth["recovery.gamma"], steps)


_compiled: list[Any] = []


def _numba_loop() -> Any:
    if _compiled:
        return _compiled[0]
    import numba

    @numba.njit(parallel=True)
    def loop(state: Any, beta: float, gamma: float, steps: int) -> Any:
        out = np.empty((len(state), 3))
        for lane in numba.prange(len(state)):
            s, i, r = state[lane]
            for _ in range(steps):
                new = np.random.binomial(s, 1 - np.exp(-beta * i / (s + i + r)))
                gone = np.random.binomial(i, gamma)
                s, i, r = s - new, i + new - gone, r + gone
            out[lane, 0], out[lane, 1], out[lane, 2] = s, i, r
        return out

    _compiled.append(loop)
    return loop


def python_run(
    start: Mapping[str, np.ndarray],
    inputs: Any,
    truth: Mapping[str, float],
    steps: int,
    generator: Callable[[int, int], np.random.Generator],
) -> np.ndarray:
    """One trajectory after the other; float64[lanes, 3].

    `generator(lane, t)` makes the draws of a step.
    """
    ends = []
    for lane in range(len(start["S"])):
        rows = [{name: int(start[name][lane]) for name in "SIR"}]
        for t in range(steps):
            rows.append(_python_step(rows[-1], truth, generator(lane, t)))
        ends.append([rows[-1][name] for name in "SIR"])
    return np.array(ends, float)


def _python_step(
    state: Mapping[str, int], truth: Mapping[str, float], rng: np.random.Generator
) -> dict[str, int]:
    total = state["S"] + state["I"] + state["R"]
    p = 1 - np.exp(-truth["infection.beta"] * state["I"] / total)
    new = int(rng.binomial(state["S"], p))
    gone = int(rng.binomial(state["I"], truth["recovery.gamma"]))
    return {"S": state["S"] - new, "I": state["I"] + new - gone, "R": state["R"] + gone}


def jax_random_draws() -> dict[str, Any]:
    """The draws that the simulator file uses, by jax.random."""

    def binomial(key: jax.Array, n: Any, p: Any) -> jax.Array:
        count, chance = jnp.asarray(n, jnp.float32), jnp.asarray(p, jnp.float32)
        return jax.random.binomial(key, count, chance).astype(jnp.int32)

    return {"binomial": binomial}
