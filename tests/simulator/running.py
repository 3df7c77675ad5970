"""Running a program on plausible values, for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gsim_jax.simulator.cost import Budget
from gsim_jax.simulator.lanes import BEFORE, lane_words
from gsim_jax.simulator.program import Program
from tests.simulator.sources import SIR_SIGNATURE

STEPS = 5


def build(document: Any, signature: Any = SIR_SIGNATURE, **limits: int) -> Program:
    """A program under a budget."""
    return Program.from_document(document, signature, Budget(**limits))


def first_row(program: Program) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """States, masks and inputs of a plausible first row."""
    start = {"S": 90, "I": 10, "stock": 30, "disease": -1, "bed": -1, "level": 2.0}
    shown = {n: spec for n, spec in program.states.items() if n not in program.latent}
    state = {n: jnp.full(s.shape, start.get(n, 0), s.dtype) for n, s in shown.items()}
    seen = {n: jnp.full(s.shape, True) for n, s in shown.items()}
    inputs = {"lockdown": jnp.float32(0.2), "population": jnp.int32(100)}
    return state, seen, {**inputs, "price": jnp.float32(0.1), "dose": jnp.float32(1.0)}


def guess(program: Program) -> dict[str, dict[str, jax.Array]]:
    """Parameters at their guesses."""
    return program.parameters.from_unit(jnp.asarray(program.parameters.guess(), jnp.float32))


def rollout(program: Program, step: Callable[..., Any]) -> Callable[[jax.Array], Any]:
    """States and outputs of a few steps of one lane."""
    state, seen, inputs = first_row(program)
    params = guess(program)

    def run(key: jax.Array) -> Any:
        start = program.initial(state, seen, inputs, params, lane_words(key, BEFORE))

        def body(now: Any, t: jax.Array) -> Any:
            now, outputs = step(now, {**inputs, "t": t}, params, lane_words(key, t))
            now = {n: jnp.asarray(now[n]).astype(s.dtype) for n, s in program.states.items()}
            return now, (now, outputs)

        return jax.lax.scan(body, start, jnp.arange(STEPS))[1]

    return run
