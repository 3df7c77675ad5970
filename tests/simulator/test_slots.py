"""Helpers for slots and pipelines against plain loops."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsim_jax.simulator import slots

SIZES = [(1, 1), (7, 5), (25, 36), (130, 9)]


def masks(rng: np.random.Generator, length: int) -> list[np.ndarray]:
    """Nothing, everything, and something in between."""
    return [np.zeros(length, bool), np.ones(length, bool), rng.random(length) < 0.5]


@pytest.mark.parametrize("length", [1, 7, 64, 65, 130])
def test_free_rank(length: int) -> None:
    for free in masks(np.random.default_rng(length), length):
        expected, count = [], 0
        for slot in free:
            expected.append(count if slot else -1)
            count += int(slot)
        rank = slots.free_rank(free)
        assert rank.dtype == jnp.int32
        np.testing.assert_array_equal(rank, expected)


def loop_place(
    old: dict[str, np.ndarray], free: np.ndarray, new: dict[str, Any], admitted: np.ndarray
) -> dict[str, np.ndarray]:
    """Arrivals one after the other into the first slot that is still free."""
    out, free = {name: values.copy() for name, values in old.items()}, free.copy()
    for arrival in np.flatnonzero(admitted):
        places = np.flatnonzero(free)
        if not len(places):
            break
        free[places[0]] = False
        for name, values in new.items():
            out[name][places[0]] = np.broadcast_to(values, len(admitted))[arrival]
    return out


@pytest.mark.parametrize(("count", "arrivals"), SIZES)
def test_place(count: int, arrivals: int) -> None:
    rng = np.random.default_rng(count)
    place = jax.jit(slots.place)
    old = {
        "kind": rng.integers(0, 9, count, np.int32),
        "stay": rng.random(count, np.float32),
        "other": rng.integers(0, 9, count, np.int32),
    }
    new = {"kind": rng.integers(10, 19, arrivals, np.int32), "stay": 2.5}
    for free in masks(rng, count):
        for admitted in masks(rng, arrivals):
            found = place(old, free, new, admitted)
            expected = loop_place(old, free, new, admitted)
            assert set(found) == set(old)
            for name, values in expected.items():
                np.testing.assert_array_equal(found[name], values, strict=True)


def test_place_the_first_so_many() -> None:
    rng = np.random.default_rng(0)
    free = rng.random(12) < 0.5
    old, new = {"kind": np.zeros(12, np.int32)}, {"kind": np.arange(1, 9, dtype=np.int32)}
    for count in range(9):
        found = slots.place(old, free, new, jnp.int32(count))
        expected = loop_place(old, free, new, np.arange(8) < count)
        np.testing.assert_array_equal(found["kind"], expected["kind"])


def test_place_names_what_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="slots have no 'los'; they have bed"):
        slots.place({"bed": jnp.zeros(3)}, jnp.ones(3, bool), {"los": 1}, 2)


def loop_admit(prefer: np.ndarray, free: np.ndarray) -> list[int]:
    """One arrival after the other, each to the first of its choices that has room."""
    left, got = free.copy(), []
    for choices in np.reshape(prefer, (len(prefer), -1)):
        open_ = [kind for kind in choices if kind >= 0 and left[kind] > 0]
        got.append(int(open_[0]) if open_ else -1)
        if open_:
            left[open_[0]] -= 1
    return got


ADMIT = jax.jit(slots.admit)


@given(
    st.lists(st.tuples(*[st.integers(-1, 2)] * 3), min_size=9, max_size=9),
    st.lists(st.integers(-2, 4), min_size=3, max_size=3),
)
def test_admit(prefer: list[tuple[int, ...]], free: list[int]) -> None:
    wishes, places = np.asarray(prefer, np.int32), np.asarray(free, np.int32)
    np.testing.assert_array_equal(ADMIT(wishes, places), loop_admit(wishes, places))


@pytest.mark.parametrize(("arrivals", "choices", "kinds"), [(1, 1, 1), (40, 2, 2), (70, 4, 5)])
def test_admit_sizes(arrivals: int, choices: int, kinds: int) -> None:
    rng = np.random.default_rng(arrivals)
    for _ in range(20):
        prefer = rng.integers(-1, kinds, (arrivals, choices), np.int32)
        free = rng.integers(0, max(2, arrivals // kinds), kinds, np.int32)
        np.testing.assert_array_equal(ADMIT(prefer, free), loop_admit(prefer, free))
        np.testing.assert_array_equal(ADMIT(prefer[:, 0], free), loop_admit(prefer[:, 0], free))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(-3, 40))
def test_serve(demand: list[int], supply: int) -> None:
    left, expected = max(supply, 0), []
    for asked in demand:
        expected.append(min(asked, left))
        left -= expected[-1]
    np.testing.assert_array_equal(slots.serve(jnp.array(demand), supply), expected)
    halves = slots.serve(jnp.array(demand) * 0.5, jnp.float32(supply * 0.5))
    np.testing.assert_allclose(halves, np.array(expected) * 0.5)


def test_age_and_remove() -> None:
    present = np.array([True, False, True])
    days = jnp.array([3, 0, 7])
    np.testing.assert_array_equal(slots.age(days, present), [4, 0, 8])
    np.testing.assert_array_equal(slots.age(days, present, by=-1), [2, 0, 6])
    beds = {"bed": jnp.array([0, 1, 1]), "los": jnp.array([2.5, 1.0, 0.0])}
    gone = slots.remove(beds, jnp.array([False, True, True]), empty={"bed": -1, "los": 0})
    np.testing.assert_array_equal(gone["bed"], [0, -1, -1])
    np.testing.assert_array_equal(gone["los"], np.array([2.5, 0, 0], np.float32), strict=True)
    np.testing.assert_array_equal(slots.remove(beds, present)["bed"], [-1, 1, -1])


def test_tally() -> None:
    values = jnp.array([0, 2, 2, -1, 5, 0])
    np.testing.assert_array_equal(slots.tally(values, 3), [2, 0, 2])
    np.testing.assert_array_equal(slots.tally(values, 3, where=values > 0), [0, 0, 2])


@pytest.mark.parametrize("shape", [(), (2,)])
def test_pipeline_of_fixed_length(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    sent = rng.integers(0, 9, (12, *shape), np.int32)
    pipe = jnp.zeros((4, *shape), jnp.int32)
    delivered = []
    for amount in sent:
        due, pipe = slots.pipeline_step(pipe, amount)
        delivered.append(due)
    np.testing.assert_array_equal(delivered[4:], sent[:-4])
    assert not np.any(delivered[:4])


def test_pipeline_with_delays_of_its_own() -> None:
    rng = np.random.default_rng(2)
    steps, length = 30, 6
    sent = rng.integers(0, 9, (steps, 3), np.int32)
    delays = rng.integers(1, length + 1, (steps, 3), np.int32)
    expected = np.zeros(steps + length + 1, np.int32)
    for step in range(steps):
        np.add.at(expected, step + delays[step], sent[step])
    pipe, found = jnp.zeros(length, jnp.int32), []
    for step in range(steps):
        due, pipe = slots.pipeline_step(pipe, sent[step], delays[step])
        found.append(int(due))
    np.testing.assert_array_equal(found, expected[:steps])
    np.testing.assert_array_equal(pipe, expected[steps : steps + length])


def test_append_loses_nothing() -> None:
    pipe = slots.append(jnp.zeros(3), jnp.array([1.0, 2.0, 4.0]), jnp.array([-2, 1, 99]))
    np.testing.assert_array_equal(pipe, np.float32([1, 2, 4]))
    due, moved = slots.deliver(pipe)
    assert due == 1
    np.testing.assert_array_equal(moved, np.float32([2, 4, 0]))


def test_helpers_run_without_rank_promotion_under_vmap() -> None:
    def ward(key: jax.Array) -> Any:
        bits = jax.random.bits(key, (25,))
        kept = {"bed": ((bits % 3).astype(jnp.int32) - 1).at[:5].set(-1)}
        got = slots.admit((bits[:8] % 2).astype(jnp.int32), jnp.array([2, 3]))
        filled = slots.place(kept, kept["bed"] < 0, {"bed": got}, got >= 0)
        return slots.tally(filled["bed"], 2), slots.tally(kept["bed"], 2), slots.tally(got, 2)

    after, before, got = jax.vmap(ward)(jax.random.split(jax.random.key(0), 50))
    np.testing.assert_array_equal(after, before + got)
