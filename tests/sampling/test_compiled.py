"""What XLA makes of draws in a rollout: one fusion each, small enough to compile in a second."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax import sampling, words

LANES = 1000


def _sir(generator: words.Generator):
    sites = [np.uint32(words.site_id(name, 0)) for name in ("infection", "recovery")]

    def lane(key, beta, gamma):
        def step(state, t):
            s, i, r = state
            n = jnp.maximum((s + i + r).astype(jnp.float32), 1.0)
            chance = 1.0 - jnp.exp(-beta * i.astype(jnp.float32) / n)
            infected = sampling.binomial_from_bits(generator(key, t, sites[0]), s, chance)
            recovered = sampling.binomial_from_bits(generator(key, t, sites[1]), i, gamma)
            return (s - infected, i + infected - recovered, r + recovered), i

        start = (jnp.int32(990), jnp.int32(10), jnp.int32(0))
        return jax.lax.scan(step, start, jnp.arange(60))

    return jax.jit(jax.vmap(lane))


def _arguments() -> tuple[jax.Array, ...]:
    keys = words.lane_keys(jnp.asarray([1, 2], jnp.uint32), jnp.arange(LANES, dtype=jnp.uint32))
    return keys, jnp.full(LANES, 0.4), jnp.full(LANES, 0.15)


@pytest.fixture(scope="module", params=["threefry", "counter_hash"])
def compiled(request):
    return _sir(getattr(words, request.param)).lower(*_arguments()).compile()


def test_the_chain_binomial_sir_conserves_its_people(compiled):
    (s, i, r), infected = compiled(*_arguments())
    assert (np.asarray(s + i + r) == 1000).all()
    assert (np.asarray(infected) >= 0).all()
    assert 850 < np.asarray(r).mean() < 950


def test_a_draw_is_computed_once_in_one_fusion(compiled):
    """A second copy, or a word computed again for each part, would double the big blocks."""
    sizes, current = {}, ""
    for line in compiled.as_text().splitlines():
        if header := re.match(r"^(%\S+|ENTRY \S+) ", line):
            current = header.group(1)
        sizes[current] = sizes.get(current, 0) + 1
    sizes = sorted(n for name, n in sizes.items() if name.startswith("%fused"))
    assert sizes[-3] < 50, sizes
    assert sum(sizes) < 2400


def test_binomial_programs_stay_small():
    # Every draw site inlines this: its length is the compile time of candidates.
    bits, n, p = jnp.uint32(0), jnp.int32(0), jnp.float32(0)
    for draw, arguments, most in (
        (sampling.binomial_from_bits, (bits, n, p), 600),
        (sampling.poisson_from_bits, (bits, p), 420),
        (sampling.negative_binomial_from_bits, (bits, p, p), 1300),
    ):
        text = jax.jit(draw).lower(*arguments).as_text()
        operations = [
            line for line in text.splitlines()
            if " = " in line and "constant" not in line and "broadcast" not in line
        ]  # fmt: skip
        assert len(operations) <= most, (draw.__name__, len(operations))
