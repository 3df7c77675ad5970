"""The words of lanes: made ahead or asked for, they are the same bits."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax import words
from gsim_jax.simulator._trace import trace_source
from gsim_jax.simulator.lanes import (
    BEFORE,
    Site,
    WordSource,
    draw_words,
    given_words,
    lane_words,
    step_sites,
)
from gsim_jax.simulator.program import Program
from tests.simulator.sources import signature

SIGNATURE = signature(x=("real", ()), n=("count", (3,)))
SOURCE = '''"""Draws of every shape: one, a row, two words each, in loops, in loops of loops."""
PARAMS = {"walk": {"sd": Uniform(0.0, 2.0, guess=1.0)}}

def walk(state, inputs, params, key):
    one, row, pairs, many = split(key, 4)
    shifts = normal(row, 0.0, params["sd"], shape=(2, 3))
    shares = beta(pairs, 2.0, 3.0, shape=(4,))

    def outer(total, k):
        def inner(sum_, k):
            return sum_ + jnp.sum(normal(k, shape=(2,))), uniform(k)
        total, us = lax.scan(inner, total, split(k, 3))
        return total + poisson(k, 4.0), us

    total, us = lax.scan(outer, 0.0, split(many, 5))
    return {"moved": normal(one) + jnp.sum(shifts) + jnp.sum(shares) + total + jnp.sum(us)}

def couple(state, inputs, outputs, params, key):
    p = jnp.array([0.2, 0.3, 0.5])
    return {"x": outputs["moved"], "n": multinomial(key, jnp.sum(state["n"]), p)}

SUBMODULES = (walk,)
'''


@pytest.fixture(scope="module")
def program() -> Program:
    return Program.from_document(trace_source(SOURCE, SIGNATURE), SIGNATURE)


@pytest.fixture(scope="module")
def lane() -> jax.Array:
    return words.lane_keys(jnp.asarray([3, 4], jnp.uint32), jnp.asarray([9], jnp.uint32))[0]


def run(program: Program, source: WordSource) -> Any:
    state = {"x": jnp.float32(0.0), "n": jnp.asarray([4, 5, 6], jnp.int32)}
    params = program.parameters.from_unit(jnp.asarray(program.parameters.guess(), jnp.float32))
    return program.step(state, {"t": jnp.int32(0)}, params, source)


@pytest.fixture(scope="module")
def sites(program: Program) -> tuple[Site, ...]:
    return step_sites(program, lambda source: run(program, source))


def test_every_draw_is_found_with_its_turns(sites: tuple[Site, ...]) -> None:
    found = {(s.function, s.shape, s.words, s.loops) for s in sites}
    assert found == {
        ("walk", (), 1, 1),
        ("walk", (2, 3), 1, 1),
        ("walk", (4,), 2, 1),
        ("walk", (2,), 1, 15),
        ("walk", (), 1, 15),
        ("walk", (), 1, 5),
        ("couple", (), 3, 1),
    }
    assert sum(site.size for site in sites) == 1 + 6 + 8 + 30 + 15 + 5 + 3


@pytest.mark.parametrize("generator", [words.threefry, words.counter_hash])
def test_words_made_ahead_are_the_words_asked_for(
    sites: tuple[Site, ...], lane: jax.Array, generator: Any
) -> None:
    for t in (BEFORE, 0, 41):
        made = draw_words(sites, lane, jnp.int32(t), generator)
        asked, given = lane_words(lane, t, generator), given_words(sites, made)
        for site in sites:
            for loop in range(site.loops):
                request = (site.function, site.ordinal, site.shape, site.words, np.uint32(loop))
                expected = np.asarray(asked(*request))
                assert expected.dtype == np.uint32
                np.testing.assert_array_equal(np.asarray(given(*request)), expected)


def test_a_step_is_the_same_either_way(
    program: Program, sites: tuple[Site, ...], lane: jax.Array
) -> None:
    t = jnp.int32(7)
    asked = jax.jit(lambda: run(program, lane_words(lane, t)))()
    given = jax.jit(lambda: run(program, given_words(sites, draw_words(sites, lane, t))))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), asked, given)
    np.testing.assert_array_equal(asked[0]["n"], given[0]["n"])


def test_no_word_is_used_twice(sites: tuple[Site, ...], lane: jax.Array) -> None:
    """Every element of every draw, turn and step has a word of its own."""
    every = [np.ravel(array) for t in range(20) for array in draw_words(sites, lane, jnp.int32(t))]
    pooled = np.concatenate(every)
    # Two of 1360 words of 32 bits would be equal by chance for one key in 4600.
    assert len(np.unique(pooled)) == len(pooled)


def test_words_follow_their_definition(lane: jax.Array) -> None:
    """The word of turn l, element i is threefry(lane, t, site + l * size + i)."""
    source = lane_words(lane, 6)
    got = np.asarray(source("arrivals", 2, (3,), 2, jnp.uint32(4)))
    counter = (np.uint64(words.site_id("arrivals", 2)) + np.uint64(4 * 6)) % np.uint64(2**32)
    for i in range(3):
        for j in range(2):
            at = np.uint32((int(counter) + 2 * i + j) % 2**32)
            expected = words.threefry(lane, jnp.int32(6), jnp.asarray(at))
            assert got[i, j] == int(expected)


def test_lanes_do_not_depend_on_their_company(sites: tuple[Site, ...]) -> None:
    key = jnp.asarray([5, 6], jnp.uint32)

    @jax.jit
    def made(numbers: jax.Array) -> tuple[jax.Array, ...]:
        lanes = words.lane_keys(key, numbers)
        return jax.vmap(lambda lane: draw_words(sites, lane, jnp.int32(3)))(lanes)

    whole = made(jnp.arange(12, dtype=jnp.uint32))
    parts = [made(jnp.arange(a, a + 4, dtype=jnp.uint32)) for a in (0, 4, 8)]
    for together, *apart in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(together, np.concatenate(apart))


def test_another_submodule_leaves_the_others_words_alone(
    program: Program, sites: tuple[Site, ...], lane: jax.Array
) -> None:
    more = SOURCE.replace("SUBMODULES = (walk,)", "SUBMODULES = (before, walk)").replace(
        "def couple",
        'def before(state, inputs, params, key):\n    return {"b": normal(key)}\n\ndef couple',
    )
    longer = Program.from_document(trace_source(more, SIGNATURE), SIGNATURE)
    found = step_sites(longer, lambda source: run(longer, source))
    assert {s.function for s in found} == {"before", "walk", "couple"}
    assert set(found) > set(sites)
    x = [jax.jit(lambda p=p: run(p, lane_words(lane, 1))[0]["x"])() for p in (program, longer)]
    assert float(x[0]) == pytest.approx(float(x[1]), rel=1e-6)
