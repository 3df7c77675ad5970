"""What is hidden at a row of the data: particles of the filter that forecasts run on."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax import words
from gsim_jax.compilation import lanes_jit
from gsim_jax.simulator.codes import lane_code
from gsim_jax.simulator.contract import Simulator
from gsim_jax.simulator.lanes import lane_words
from gsim_jax.simulator.panel import TRAJECTORIES, Panel, build_panel, row_inputs
from gsim_jax.simulator.particles import resample
from gsim_jax.simulator.predict import first_state, overwrite, with_reports
from gsim_jax.task import Schema, Trajectories, output_vector

State = dict[str, jax.Array]
_BY_TRAJECTORY = ("states", "seen", "inputs", "attributes", "outputs", "outputs_seen", "length")


def particles(
    simulator: Simulator,
    schema: Schema,
    data: Trajectories,
    rows: list[int],
    chosen: np.ndarray,
    params: Any,
    count: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Full states at one row of each trajectory, given the data up to that row.

    The filter of `predict`: `initial` at the first row, then step by step; observed entries
    overwrite, particles are weighted by how well they told the row and resampled.

    Args:
        simulator: what is filtered.
        schema: the task's schema.
        data: n trajectories.
        rows: the row of each trajectory at which the particles are wanted.
        chosen: int[D, m], the trajectories that each draw is to filter.
        params: `{group: {name: [D, *shape]}}`.
        count: particles P per trajectory and draw.
        seed: all words follow from it.

    Returns:
        `{name: [D, m, P, *shape]}`, latent states included.
    """
    panel = build_panel(schema, data)
    key = jax.random.key_data(jax.random.key(seed, impl="threefry2x32"))
    picked = jnp.asarray(chosen, jnp.int32)
    found = _particles(simulator, schema, count, params, picked, panel, jnp.asarray(rows), key)
    return {name: np.asarray(value) for name, value in found.items()}


@partial(lanes_jit, static_argnums=(0, 1, 2))
def _particles(
    simulator: Simulator, schema: Schema, count: int, params: Any, chosen: jax.Array, panel: Panel,
    rows: Any, key: Any,
) -> State:  # fmt: skip
    def draw(each: tuple[jax.Array, Any]) -> State:
        picked, values = each
        own = {f: jax.tree.map(lambda x: x[picked], getattr(panel, f)) for f in _BY_TRAJECTORY}
        one = partial(_filter, simulator, schema, values, count, key)
        mapped = jax.vmap(one, in_axes=(TRAJECTORIES, 0, 0))
        return mapped(panel.replace(**own), rows[picked], picked.astype(jnp.uint32))  # type: ignore[attr-defined]

    # Draw after draw: particles of all of them at once would not fit into caches, or memory.
    return jax.lax.map(draw, (chosen, params))


def _filter(
    simulator: Simulator, schema: Schema, params: Any, count: int, key: Any, panel: Panel,
    last: jax.Array, number: jax.Array,
) -> State:  # fmt: skip
    """Particles of one trajectory under one draw, leaves [P, *shape]."""
    lanes = words.lane_keys(key, number * np.uint32(count) + jnp.arange(count, dtype=jnp.uint32))
    window = np.array([output.window for output in schema.outputs], np.int32)
    longest = int(window.max(initial=1)) - 1
    inside = (np.arange(longest)[None] < window[:, None] - 1).astype(np.float32)
    states = jax.vmap(lambda lane: first_state(simulator, params, panel, lane))(lanes)
    forced = [name for name in panel.states if name not in simulator.observed]

    def values_of(state: State, t: jax.Array) -> jax.Array:
        shown = {k: state[k] for k in schema.states}
        return output_vector(schema, shown, row_inputs(panel, t))

    def advance(state: State, t: jax.Array, lane: jax.Array) -> tuple[Any, ...]:
        source, now = lane_words(lane, t), row_inputs(panel, t)
        following, outputs = simulator.step(state, now, params, source)
        reported = simulator.observe(following, outputs, params, source) or {}
        code = lane_code(simulator.states, following, with_reports(outputs, reported))
        return following, values_of({**following, **reported}, t + 1), code

    def body(carry: tuple[Any, ...], t: jax.Array) -> tuple[Any, None]:
        states, past, code = carry
        new, values, fresh = jax.vmap(advance, in_axes=(0, None, 0))(states, t, lanes)
        code_now = code | fresh
        told = values + jnp.einsum("rkv,vk->rv", past, inside) if longest else values
        seen = panel.outputs_seen[t + 1]
        index = resample(told, panel.outputs[t + 1], seen, key, t + 1, code_now == 0)
        shown = {k: panel.states[k][t + 1] for k in forced}
        known = {k: panel.seen[k][t + 1] for k in forced}
        filtered = jax.vmap(lambda state: overwrite(state, shown, known))(new)
        if longest:
            past_now = jnp.concatenate([values[:, None], past], axis=1)[:, :-1][index]
        else:
            past_now = past
        picked = jax.tree.map(lambda x: x[index], filtered)
        after = (picked, past_now, code_now[index])
        # Behind the row that is asked for nothing changes any more.
        return jax.tree.map(lambda a, b: jnp.where(t < last, a, b), after, carry), None

    past = jnp.zeros((count, longest, len(window)), jnp.float32)
    if longest:
        past = past.at[:, 0].set(jax.vmap(values_of, in_axes=(0, None))(states, jnp.int32(0)))
    begun = (states, past, jnp.zeros(count, jnp.int32))
    times = jnp.arange(panel.outputs.shape[0] - 1, dtype=jnp.int32)
    return jax.lax.scan(body, begun, times)[0][0]
