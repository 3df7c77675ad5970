"""Words: threefry bit for bit, the hash statistically, the rest by what it promises."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st
from jax.extend.random import threefry_2x32 as reference
from scipy.stats import qmc

from gsim_jax import sampling, words

GENERATORS = {"threefry": words.threefry, "counter_hash": words.counter_hash}


def _hex(*numbers: int) -> list[jax.Array]:
    return [jnp.uint32(n) for n in numbers]


def test_threefry_equals_jax_bit_for_bit():
    rng = np.random.default_rng(0)
    key = rng.integers(0, 2**32, 2, dtype=np.uint32)
    x0, x1 = rng.integers(0, 2**32, (2, 10_000), dtype=np.uint32)
    ours = np.concatenate(words.threefry_2x32(*map(jnp.asarray, (key[0], key[1], x0, x1))))
    theirs = np.asarray(reference(jnp.asarray(key), jnp.concatenate([x0, x1])))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_meets_the_published_answers(key, counter, expected):
    # Known-answer tests of Random123 for threefry2x32, 20 rounds.
    first, second = words.threefry_2x32(*_hex(*key, *counter))
    assert (int(first), int(second)) == expected


def test_threefry_words_are_first_outputs_of_blocks_of_step_and_counter():
    key, counter = jnp.asarray([7, 9], jnp.uint32), jnp.arange(5, dtype=jnp.uint32)
    blocks = reference(key, jnp.concatenate([jnp.full(5, 3, jnp.uint32), counter]))
    np.testing.assert_array_equal(words.threefry(key, 3, counter), blocks[:5])


def test_no_loop_is_left_in_the_program():
    key = jnp.asarray([7, 9], jnp.uint32)
    lowered = jax.jit(words.threefry).lower(key, 3, jnp.arange(8, dtype=jnp.uint32))
    assert "while" not in lowered.as_text()


def test_the_key_of_a_lane_depends_on_its_number_only():
    key = jnp.asarray([1, 2], jnp.uint32)
    whole = words.lane_keys(key, jnp.arange(100, dtype=jnp.uint32))
    pieces = [
        words.lane_keys(key, jnp.arange(i, i + 25, dtype=jnp.uint32)) for i in (0, 25, 50, 75)
    ]
    np.testing.assert_array_equal(whole, np.concatenate(pieces))
    assert len(np.unique(np.asarray(whole), axis=0)) == 100


def test_site_ids_are_fixed_numbers():
    # Recorded runs are replayed by these: they may never change.
    assert words.site_id("infection", 0) == 3819932810
    assert words.site_id("infection", 1) != words.site_id("infection", 0)
    assert 0 <= words.site_id("x", 0) < 2**32


@pytest.mark.parametrize("generator", GENERATORS.values(), ids=GENERATORS.keys())
@pytest.mark.parametrize(("shape", "count"), [((), 1), ((3,), 1), ((), 2), ((2, 3), 3), ((4,), 20)])
def test_words_of_a_draw_have_the_counters_of_the_contract(generator, shape, count):
    key = jnp.asarray([1, 2], jnp.uint32)
    start = 2**32 - 5  # wraps
    full = shape if count == 1 else (*shape, count)
    offsets = np.arange(np.prod(full, dtype=int), dtype=np.uint32).reshape(full)
    expected = generator(key, 4, jnp.asarray(np.uint32(start) + offsets))
    found = words.draw_words(generator, key, 4, np.uint32(start), shape, count)
    np.testing.assert_array_equal(found, expected)


def test_antithetic_words_mirror_the_draw():
    bits = jnp.asarray([0, 1, 12345, 2**31], jnp.uint32)
    total = bits.astype(jnp.float32) + words.antithetic(bits).astype(jnp.float32)
    np.testing.assert_allclose(total, 2.0**32)


def test_sobol_words_are_the_points_of_scipy():
    directions = words.sobol_directions(50, points=256)
    assert directions.shape == (50, 8)
    lanes = jnp.arange(256, dtype=jnp.uint32)
    found = jax.vmap(lambda lane: words.sobol(directions, lane, jnp.zeros(50, jnp.uint32)))(lanes)
    expected = qmc.Sobol(50, scramble=False, bits=32).random(256)
    np.testing.assert_array_equal(np.asarray(found) * 2.0**-32, expected)


def test_shifted_sobol_words_still_fill_every_interval_once():
    directions, shift = words.sobol_directions(9, points=512), jnp.uint32(0xDEADBEEF)
    lanes = jnp.arange(512, dtype=jnp.uint32)
    found = jax.vmap(lambda lane: words.sobol(directions[7], lane, shift))(lanes)
    assert len(np.unique(np.asarray(found) >> 23)) == 512


def test_sobol_words_cut_the_variance_of_a_mean():
    directions = words.sobol_directions(2, points=1024)
    lanes = jnp.arange(1024, dtype=jnp.uint32)

    def mean(shift: jax.Array, even: bool) -> jax.Array:
        if even:
            bits = jax.vmap(lambda lane: words.sobol(directions, lane, shift))(lanes)
        else:
            keys = words.lane_keys(shift, lanes)
            counters = jnp.arange(2, dtype=jnp.uint32)
            bits = jax.vmap(lambda key: words.threefry(key, 0, counters))(keys)
        first = sampling.binomial_from_bits(bits[:, 0], 990, 0.01)
        return sampling.binomial_from_bits(bits[:, 1], first + 10, 0.2).astype(jnp.float32).mean()

    shifts = words.lane_keys(jnp.asarray([1, 2], jnp.uint32), jnp.arange(64, dtype=jnp.uint32))
    spread = [
        np.var(jax.jit(jax.vmap(mean, (0, None)), static_argnums=1)(shifts, e))
        for e in (False, True)
    ]
    assert spread[1] < spread[0] / 20


@pytest.mark.parametrize(("dimensions", "points"), [(0, 8), (30_000, 8), (3, 0)])
def test_sobol_says_what_it_cannot_do(dimensions, points):
    with pytest.raises(ValueError, match="expected 1 to 21201 dimensions"):
        words.sobol_directions(dimensions, points)


# Statistics: the same for both generators, which pass or fail alike ------------------------------

LANES, STEPS, SITES = 4096, 32, 8


def _sample(name: str) -> np.ndarray:
    """uint32[lanes, steps, sites] from consecutive lanes, steps and counters: the hard case."""
    keys = words.lane_keys(jnp.asarray([3, 5], jnp.uint32), jnp.arange(LANES, dtype=jnp.uint32))
    counters = jnp.arange(SITES, dtype=jnp.uint32) + np.uint32(words.site_id("infection", 0))
    generator = GENERATORS[name]
    per_step = jax.vmap(lambda key, t: generator(key, t, counters), (None, 0))
    return np.asarray(jax.vmap(per_step, (0, None))(keys, jnp.arange(STEPS)))


@pytest.fixture(scope="module", params=GENERATORS, ids=GENERATORS)
def sample(request) -> np.ndarray:
    return _sample(request.param)


def _plausible(p_value: float) -> None:
    assert 1e-4 < p_value < 1 - 1e-4


@pytest.mark.parametrize("shift", [0, 8, 16, 24])
def test_every_byte_is_uniform(sample, shift):
    counts = np.bincount(((sample >> shift) & 255).ravel(), minlength=256)
    _plausible(st.chisquare(counts).pvalue)


def test_every_bit_is_balanced(sample):
    n = sample.size
    ones = np.array([np.count_nonzero((sample >> i) & 1) for i in range(32)])
    _plausible(st.chi2(32).sf((((ones - n / 2) ** 2) / (n / 4)).sum()))


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["lanes", "steps", "sites"])
def test_neighbours_are_uncorrelated(sample, axis):
    u = (sample.astype(np.float64) + 0.5) * 2.0**-32 - 0.5
    a = np.moveaxis(u, axis, 0)
    pairs = a[1:].size
    z = (a[1:] * a[:-1]).sum() * 12 / np.sqrt(pairs)
    _plausible(st.norm.sf(z))


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["lanes", "steps", "sites"])
def test_pairs_of_neighbours_fill_the_square(sample, axis):
    top = np.moveaxis(sample >> 28, axis, 0)
    cells = np.bincount((top[1:] * 16 + top[:-1]).ravel(), minlength=256)
    _plausible(st.chisquare(cells).pvalue)


@pytest.mark.parametrize("axis", [0, 1, 2], ids=["lanes", "steps", "sites"])
def test_low_bits_of_neighbours_differ_in_half_their_places(sample, axis):
    a = np.moveaxis(sample, axis, 0)
    flips = np.array([np.count_nonzero(((a[1:] ^ a[:-1]) >> i) & 1) for i in range(32)])
    n = a[1:].size
    _plausible(st.chi2(32).sf((((flips - n / 2) ** 2) / (n / 4)).sum()))


def test_sums_over_steps_have_the_right_spread(sample):
    # What a simulation accumulates: 32 steps of one site, over the lanes.
    u = (sample.astype(np.float64) + 0.5) * 2.0**-32
    sums = (u[:, :, 0].sum(1) - STEPS / 2) / np.sqrt(STEPS / 12)
    _plausible(st.chi2(LANES).sf((sums**2).sum()))
    _plausible(st.norm.sf(sums.mean() * np.sqrt(LANES)))


def test_collisions_are_as_many_as_birthdays_make(sample):
    n = sample.size
    expected = n**2 / 2 / 2**32
    found = n - len(np.unique(sample))
    assert abs(found - expected) < 5 * np.sqrt(expected)


@pytest.mark.parametrize("name", GENERATORS)
def test_one_changed_input_bit_changes_half_of_the_output(name):
    rng = np.random.default_rng(0)
    k0, k1, t, c = rng.integers(0, 2**32, (4, 20_000), dtype=np.uint32)
    generator = jax.jit(jax.vmap(lambda a, b, t, c: GENERATORS[name](jnp.stack([a, b]), t, c)))
    base = np.asarray(generator(k0, k1, t, c))
    for which in range(4):
        for bit in range(0, 32, 5):
            inputs = [k0, k1, t, c]
            inputs[which] = inputs[which] ^ np.uint32(1 << bit)
            changed = np.asarray(generator(*inputs)) ^ base
            share = np.array([np.mean((changed >> i) & 1) for i in range(32)])
            # 5.5 standard deviations of 20,000 flips of a fair coin, 28 * 32 coins
            assert np.abs(share - 0.5).max() < 5.5 * 0.5 / np.sqrt(20_000), (which, bit)
