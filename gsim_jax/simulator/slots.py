"""Helpers for populations in slots (beds, machines, herds) and for pipelines (orders, incubations).

A population of at most N individuals lives in arrays of N slots, one array per attribute, with a
value that marks an empty slot. A simulator written with argsort, a scan over candidates and an
N × K match of arrivals to slots costs a hundred times what these helpers cost: they rank by one
small matrix product, find by one scatter and move by one gather per attribute. A day in a ward:

    stays = occupied & ~leaving
    got = admit(prefer, jnp.stack([icu_free, standard_free]))        # bed type per arrival, or -1
    filled = place(kept, ~stays, {"bed": got, "los": los}, got >= 0)  # first come, first free slot

All arrays are those of one lane. Counts and indices are int32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

__all__ = [
    "admit",
    "age",
    "append",
    "deliver",
    "free_rank",
    "pipeline_step",
    "place",
    "remove",
    "serve",
    "tally",
]

#: Up to this length a triangular matrix product counts faster than a cumulative sum.
_SHORT = 128


def _count_up_to(mask: jax.Array) -> jax.Array:
    # How many entries are true up to and including each one, over the first axis. Sums of zeros
    # and ones below 2**24 are exact in float32 on every device, bfloat16 products included.
    mask = jnp.asarray(mask)
    length = mask.shape[0]
    if length > _SHORT:
        return jnp.cumsum(mask.astype(jnp.int32), axis=0)
    at = jnp.arange(length)
    lower = (at[:, None] >= at[None, :]).astype(jnp.float32)
    return jnp.tensordot(lower, mask.astype(jnp.float32), 1).astype(jnp.int32)


def free_rank(free: jax.Array) -> jax.Array:
    """Rank of every free slot among the free ones: 0, 1, 2, ... from the first slot on.

    Args:
        free: bool[N], which slots are free.

    Returns:
        int32[N]; -1 where a slot is not free.
    """
    free = jnp.asarray(free).astype(bool)
    return jnp.where(free, _count_up_to(free) - 1, -1)


def place(
    slots: Mapping[str, jax.Array],
    free: jax.Array,
    arrivals: Mapping[str, Any],
    admitted: jax.Array,
) -> dict[str, jax.Array]:
    """Puts arrivals into the first free slots, in order, with their attributes.

    Args:
        slots: attribute arrays [N] by name.
        free: bool[N], which slots are free.
        arrivals: new values by name, [K] each or one number for all; attributes of `slots` that are
            not named here keep their values.
        admitted: bool[K], which arrivals are to be placed, or an integer: the first so many. Those
            for which there is no free slot are lost; count them before, with `admit` or `serve`.

    Returns:
        The attribute arrays with the arrivals in them, same names, shapes and dtypes.

    Raises:
        ValueError: `arrivals` names an attribute that `slots` does not have.
    """
    if unknown := sorted(set(arrivals) - set(slots)):
        raise ValueError(f"place: slots have no {unknown[0]!r}; they have {', '.join(slots)}")
    rank = free_rank(free)
    admitted = jnp.asarray(admitted)
    if admitted.ndim == 0:
        source, total = rank, admitted.astype(jnp.int32)
    else:
        admitted = admitted.astype(bool)
        count = _count_up_to(admitted)
        candidates = admitted.shape[0]
        # where_is[r]: which arrival is the r-th admitted one. Others write outside, and are lost.
        where_is = jnp.zeros(candidates, jnp.int32)
        target = jnp.where(admitted, count - 1, candidates)
        where_is = where_is.at[target].set(jnp.arange(candidates, dtype=jnp.int32), mode="drop")
        source, total = where_is[jnp.clip(rank, 0, candidates - 1)], count[-1]
    filled = (rank >= 0) & (rank < total)
    placed = {}
    for name, old in slots.items():
        old = jnp.asarray(old)
        if name not in arrivals:
            placed[name] = old
            continue
        new = jnp.asarray(arrivals[name])
        if new.ndim:
            new = new[jnp.clip(source, 0, new.shape[0] - 1)]
        placed[name] = jnp.where(filled, new.astype(old.dtype), old)
    return placed


def serve(demand: jax.Array, supply: jax.Array) -> jax.Array:
    """Gives out a supply to demands in order: the first is served in full before the second.

    Args:
        demand: int32[C] or float32[C], what each class asks for, most urgent first.
        supply: scalar, what there is; nothing is served from a negative supply.

    Returns:
        What each class gets, [C], dtype of `demand`.
    """
    demand = jnp.asarray(demand)
    left = jnp.maximum(jnp.asarray(supply), 0).astype(demand.dtype)
    before = jnp.cumsum(demand) - demand
    return jnp.clip(left - before, 0, demand)


def admit(prefer: jax.Array, free: jax.Array) -> jax.Array:
    """Assigns arrivals to types of place, first come first served, each by its own preferences.

    Equal to serving one arrival after the other, but without a loop over arrivals: a type that is
    full stays full, so it is enough to find the moment at which each type runs out.

    Args:
        prefer: int32[K, J] or int32[K], types in the order in which each arrival would take them;
            -1 for none (no arrival, or no second choice).
        free: int32[B], free places of each type.

    Returns:
        int32[K], the type that each arrival gets, -1 for those refused.
    """
    prefer, free = jnp.asarray(prefer), jnp.asarray(free)
    prefer = prefer[:, None] if prefer.ndim == 1 else prefer
    arrivals, types = prefer.shape[0], free.shape[0]
    turn = jnp.arange(arrivals, dtype=jnp.int32)
    kind = jnp.arange(types, dtype=jnp.int32)
    # full[b]: the first turn at which type b has no place left. Found for one type after the other.
    full = jnp.full((types,), arrivals, jnp.int32)
    target = _targets(prefer, turn, full)
    for _ in range(types):
        wanted = target[:, None] == kind[None, :]
        short = wanted & (_count_up_to(wanted) > free[None, :])
        first = jnp.min(jnp.where(short, turn[:, None], arrivals), axis=0)
        # Only the earliest shortage is certain: later ones shift once its overflow is sent on.
        full = jnp.where(first == jnp.min(first), jnp.minimum(full, first), full)
        target = _targets(prefer, turn, full)
    return target


def _targets(prefer: jax.Array, turn: jax.Array, full: jax.Array) -> jax.Array:
    target = jnp.full(turn.shape, -1, jnp.int32)
    for choice in reversed(range(prefer.shape[1])):
        kind = prefer[:, choice]
        # A look-up among a few types: selects are cheaper than a gather and vectorise.
        until = jnp.zeros_like(turn)
        for b in range(full.shape[0]):
            until = jnp.where(kind == b, full[b], until)
        target = jnp.where((kind >= 0) & (turn < until), kind, target)
    return target.astype(jnp.int32)


def age(values: jax.Array, present: jax.Array, by: Any = 1) -> jax.Array:
    """Adds `by` to the attribute of everyone present: days since admission, or -1 to count down.

    Args:
        values: [N], the attribute.
        present: bool[N], which slots are occupied.
        by: number or [N].

    Returns:
        [N], dtype of `values`; entries of empty slots are as they were.
    """
    values = jnp.asarray(values)
    return jnp.where(present, values + jnp.asarray(by).astype(values.dtype), values)


def remove(
    slots: Mapping[str, jax.Array], leaving: jax.Array, empty: Mapping[str, Any] | Any = -1
) -> dict[str, jax.Array]:
    """Empties the slots of those who leave.

    Args:
        slots: attribute arrays [N] by name.
        leaving: bool[N].
        empty: the value of an empty slot: one number, or one per attribute by name.

    Returns:
        The attribute arrays, same names, shapes and dtypes.
    """
    cleared = {}
    for name, values in slots.items():
        values = jnp.asarray(values)
        mark = empty[name] if isinstance(empty, Mapping) else empty
        cleared[name] = jnp.where(leaving, jnp.asarray(mark).astype(values.dtype), values)
    return cleared


def tally(values: jax.Array, kinds: int, where: Any = True) -> jax.Array:
    """How many entries there are of each kind 0, 1, ..., kinds - 1; other values do not count.

    Args:
        values: int32[N].
        kinds: number of kinds, known when traced.
        where: bool[N], entries that count.

    Returns:
        int32[kinds].
    """
    values = jnp.asarray(values)
    counted = [jnp.sum((values == k) & where, dtype=jnp.int32) for k in range(kinds)]
    return jnp.stack(counted)


def deliver(pipe: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What arrives now, and the pipeline moved on by one step.

    Args:
        pipe: [L, ...], what arrives in 0, 1, ..., L - 1 steps from now.

    Returns:
        The first entry [...], and [L, ...] with a zero at the end.
    """
    pipe = jnp.asarray(pipe)
    return pipe[0], jnp.concatenate([pipe[1:], jnp.zeros_like(pipe[:1])])


def append(pipe: jax.Array, amount: Any, delay: Any = None) -> jax.Array:
    """Adds to a pipeline what is to arrive `delay` steps from now.

    Args:
        pipe: [L, ...], what arrives in 0, 1, ..., L - 1 steps from now.
        amount: [...], or [K, ...] with K delays.
        delay: steps from now, an integer or int32[K]; None for the last entry. Delays outside of
            0..L - 1 are brought to the nearest end, so nothing is lost.

    Returns:
        [L, ...], dtype of `pipe`.
    """
    pipe = jnp.asarray(pipe)
    last = pipe.shape[0] - 1
    amount = jnp.asarray(amount).astype(pipe.dtype)
    delay = jnp.clip(jnp.asarray(last if delay is None else delay), 0, last).astype(jnp.int32)
    return pipe.at[delay].add(amount)


def pipeline_step(pipe: jax.Array, amount: Any, delay: Any = None) -> tuple[jax.Array, jax.Array]:
    """One step of a pipeline: deliver what is due, move on, add what was sent.

    Args:
        pipe: [L, ...], what arrives in this step, the next one, and so on.
        amount: what is sent in this step, as in `append`.
        delay: steps from this one until it arrives, 1 to L; None for L, a pipeline of fixed length.
            With delay d, what is sent in step t is delivered in step t + d.

    Returns:
        What is delivered [...], and the pipeline of the next step.
    """
    due, moved = deliver(pipe)
    if delay is not None:
        delay = jnp.asarray(delay) - 1
    return due, append(moved, amount, delay)
