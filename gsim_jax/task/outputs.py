"""What is scored: entries of the non-exchangeable states, then derived values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gsim_jax.task.environment import with_derived
from gsim_jax.task.schema import Schema

if TYPE_CHECKING:
    from jax import Array

Given = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Label -> (values, mask), both [n, rows]."""


def derived_values(
    schema: Schema,
    state: Mapping[str, Any],
    inputs: Mapping[str, Any],
    known: Mapping[str, Any] | None = None,
    *,
    xp: Any = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The derived values of one row, or of rows with leading batch axes.

    Args:
        schema: the task's schema.
        state: variable -> [*batch, *shape].
        inputs: inputs, calendar, attributes and ``t``, as far as they are used; the schema's
            constants need not be in it.
        known: masks of the states; what is left out is known.
        xp: ``numpy`` on the host; jax.numpy where left out.

    Returns:
        ``(values, known)``: name -> float32[*batch], name -> bool[*batch]. A value that is not
        known is NaN, such as a ratio over zero.
    """
    if xp is None:
        import jax.numpy as xp
    env, masks = with_derived(schema, {**state, **inputs}, known or {}, schema.derived, xp)
    values = {
        name: xp.where(masks[name], env[name].astype(np.float32), np.float32(np.nan))
        for name in schema.derived
    }
    return values, {name: masks[name] for name in schema.derived}


def output_values(
    schema: Schema, state: Mapping[str, Array], inputs: Mapping[str, Array]
) -> tuple[Array, ...]:
    """The scored scalars of one fully known row, apart from one another.

    Under `vmap` each is an array over lanes; a vector per lane would have to be put together and
    taken apart again.

    Args:
        schema: the task's schema (closed over, not traced).
        state: variable -> [*shape].
        inputs: values at t: inputs, calendar, attributes, ``t``; the constants may be left out.

    Returns:
        V scalars float32[] in the order of ``schema.outputs``; of an aggregated variable the value
        of this row alone. A derived value that is undefined here (a ratio over zero) is NaN.
    """
    parts = _output_parts(schema, state, inputs)
    return tuple(part[k] for part in parts for k in range(part.shape[0]))


def output_vector(schema: Schema, state: Mapping[str, Array], inputs: Mapping[str, Array]) -> Array:
    """The same as one vector float32[V]; may be jitted and vmapped."""
    import jax.numpy as jnp

    parts = _output_parts(schema, state, inputs)
    return jnp.concatenate(parts) if parts else jnp.zeros(0, np.float32)


def _output_parts(
    schema: Schema, state: Mapping[str, Array], inputs: Mapping[str, Array]
) -> list[Array]:
    import jax.numpy as jnp

    values, _ = derived_values(schema, state, inputs)
    parts = [
        jnp.reshape(state[name], -1).astype(np.float32)
        for name, variable in schema.states.items()
        if variable.exchangeable is None
    ]
    return [*parts, *(jnp.reshape(values[name], 1) for name in schema.derived)]


def observed_outputs(
    schema: Schema,
    states: Mapping[str, np.ndarray],
    seen: Mapping[str, np.ndarray],
    inputs: Mapping[str, np.ndarray],
    attributes: Mapping[str, np.ndarray],
    given: Given,
) -> tuple[np.ndarray, np.ndarray]:
    """The scored scalars of data, as far as they are known.

    Args:
        schema: the task's schema.
        states: variable -> [n, rows, *shape].
        seen: variable -> bool like the states.
        inputs: input -> [n, rows, *shape].
        attributes: attribute -> [n].
        given: columns of the tables that are outputs themselves: sums over several steps, and
            observed derived values (taken where seen, computed elsewhere).

    Returns:
        float32[n, rows, V], 0 where unseen, and bool[n, rows, V].
    """
    batch = next(iter(states.values())).shape[:2]
    clock = {"t": np.arange(batch[1], dtype=np.int32)}
    per_row = {name: value[:, None] for name, value in attributes.items()}
    derived, known = derived_values(schema, states, {**clock, **inputs, **per_row}, seen, xp=np)
    values = np.zeros((*batch, len(schema.outputs)), np.float32)
    masks = np.zeros(values.shape, bool)
    nothing = np.zeros(batch, np.float32), np.zeros(batch, bool)
    for v, output in enumerate(schema.outputs):
        value, mask = given.get(output.label, nothing)
        if output.window == 1 and output.variable in schema.states:
            place = (slice(None), slice(None), *output.index)
            value, mask = states[output.variable][place], seen[output.variable][place]
        elif output.window == 1:
            computed = np.broadcast_to(derived[output.variable], batch)
            value = np.where(mask, value, computed)
            mask = mask | np.broadcast_to(known[output.variable], batch)
        values[..., v] = np.where(mask, value, 0)
        masks[..., v] = mask
    return values, masks
