"""The values that expressions are evaluated on: one row, one trajectory, or many.

The same code serves NumPy arrays [n, rows, ...] on the host and traced arrays [rows, ...] or [...]
on the device: batch axes come first, and the last of them is time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from gsim_jax.task.schema import Schema

Env = dict[str, Any]


def with_derived(
    schema: Schema, env: Mapping[str, Any], known: Mapping[str, Any], needed: Iterable[str], xp: Any
) -> tuple[Env, Env]:
    """Adds the derived values that are needed, and those that they need in turn.

    Args:
        schema: declares the derived values.
        env: name -> array; constants may be left out.
        known: name -> mask, names left out being known.
        needed: names that will be used; those of other things are ignored.
        xp: ``numpy`` or ``jax.numpy``.

    Returns:
        The environment and the masks, constants and derived values included.
    """
    full: Env = {name: constant.value for name, constant in schema.constants.items()}
    full |= env
    masks: Env = dict(known)
    wanted = set(needed)
    for name in reversed(schema.derived_order):
        if name in wanted:
            wanted |= schema.derived[name].value.names
    for name in schema.derived_order:
        if name in wanted:
            full[name], masks[name] = schema.derived[name].value.evaluate(full, masks, xp=xp)
    return full, masks


def over_time(
    schema: Schema,
    env: Mapping[str, Any],
    known: Mapping[str, Any],
    needed: Iterable[str],
    batch: tuple[int, ...],
    xp: Any,
) -> tuple[Env, Env]:
    """Adds derived values, ``t``, ``initial.X`` and ``previous.X`` as far as they are needed.

    Args:
        schema: the task's schema.
        env: name -> array [*batch, *shape], or fewer axes that broadcast (constants, attributes).
        known: name -> mask like the array.
        needed: names that will be used.
        batch: the batch axes; the last one is time.
        xp: ``numpy`` or ``jax.numpy``.

    Returns:
        The environment and the masks. ``previous.X`` is unknown at t = 0, so that what uses it
        starts at t = 1.
    """
    wanted = set(needed)
    bare = {name.rpartition(".")[2] for name in wanted}
    rows = batch[-1]
    clock = {"t": np.arange(rows, dtype=np.int32), **env}
    full, masks = with_derived(schema, clock, known, bare, xp)
    later = np.arange(rows) > 0
    for name in sorted(wanted):
        prefix, _, base = name.rpartition(".")
        if not prefix:
            continue
        rank = len(schema.shapes[base])
        own = tuple(schema.shapes[base])
        value = xp.broadcast_to(full[base], batch + own)
        mask = xp.broadcast_to(masks.get(base, np.True_), batch + own)
        axis = len(batch) - 1
        if prefix == "initial":
            full[name], masks[name] = _rows(value, axis, 0, 1), _rows(mask, axis, 0, 1)
        else:
            full[name] = _shifted(value, axis, xp)
            masks[name] = _shifted(mask, axis, xp) & later.reshape((rows,) + (1,) * rank)
    return full, masks


def _rows(array: Any, axis: int, start: int, stop: int) -> Any:
    return array[(slice(None),) * axis + (slice(start, stop),)]


def _shifted(array: Any, axis: int, xp: Any) -> Any:
    """The row before; row 0 repeats itself."""
    rows = array.shape[axis]
    return xp.concatenate([_rows(array, axis, 0, 1), _rows(array, axis, 0, rows - 1)], axis=axis)
