"""Common random numbers rest on this: more word, more draw; and more parameter, more draw."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs

from gsim_jax import sampling

WORD = hs.integers(0, 2**32 - 1)
# float32 rounds next to a threshold: words this near may swap (5e-7 of probability).
SWAP = 2048

PARAMETERS = {
    "bernoulli": (hs.floats(0, 1, width=32),),
    "binomial": (hs.integers(0, 10_000_000), hs.floats(0, 1, width=32)),
    "poisson": (hs.floats(0, 1e7, width=32),),
    "negative_binomial": (hs.floats(0, 1e6, width=32), hs.floats(2**-10, 1e6, width=32)),
    "geometric": (hs.floats(2**-20, 1, width=32),),
    "uniform": (hs.just(-2.0), hs.floats(-1, 1e6, width=32)),
    "normal": (hs.floats(-1e3, 1e3, width=32), hs.floats(0, 1e3, width=32)),
    "lognormal": (hs.floats(-3, 3, width=32), hs.floats(0, 3, width=32)),
    "exponential": (hs.floats(2**-10, 1e3, width=32),),
    "gamma": (hs.floats(2**-10, 1e4, width=32), hs.floats(2**-6, 100, width=32)),
    "weibull": (hs.floats(2**-4, 20, width=32), hs.floats(0, 100, width=32)),
}


COMPILED = {name: jax.jit(law.from_bits) for name, law in sampling.LAWS.items()}


def _at(name: str, words: list[int] | np.ndarray, arguments: tuple) -> np.ndarray:
    draws = COMPILED[name](jnp.asarray(words, jnp.uint32), *arguments)
    return np.asarray(draws).astype(np.float64)


@pytest.mark.parametrize("name", PARAMETERS)
@settings(max_examples=60)
@given(data=hs.data())
def test_draws_do_not_decrease_in_the_word(name, data):
    arguments = tuple(data.draw(p) for p in PARAMETERS[name])
    words = sorted(data.draw(hs.lists(WORD, min_size=2, max_size=2)))
    words = [words[0], min(words[1] + SWAP, 2**32 - 1)]
    if words[1] - words[0] < SWAP:
        words[0] = words[1] - SWAP
    draws = _at(name, words, arguments)
    # Real draws are rounded: allow the last place.
    slack = 0.0 if sampling.LAWS[name].dtype == "int32" else 4e-7 * np.abs(draws).max()
    assert draws[0] <= draws[1] + slack


@settings(max_examples=60)
@given(hs.integers(1, 400), hs.floats(0, 1, width=32), hs.integers(SWAP, 2**32 - 1 - SWAP))
def test_sums_of_terms_are_monotone_word_by_word(n, p, word):
    if n * min(p, 1 - p) > 8:
        p = 4 / n
    near = np.arange(word - 300, word + 300)
    draws = _at("binomial", near, (n, np.float32(p)))
    assert (np.diff(draws) >= 0).all()


@pytest.mark.parametrize("seam", [2**31, int(0.381966 * 2**32), 2**32 - int(0.381966 * 2**32)])
@pytest.mark.parametrize("n", [1, 3, 5, 7, 15, 16])
def test_nothing_happens_where_the_sides_meet(seam, n):
    draws = _at("binomial", np.arange(seam - 5000, seam + 5000), (n, 0.5))
    assert (np.diff(draws) >= 0).all()


@settings(max_examples=60)
@given(WORD, hs.integers(1, 3000), hs.floats(0, 1, width=32), hs.floats(0, 1, width=32))
def test_binomial_draws_do_not_decrease_in_the_probability(word, n, p, q):
    low, high = sorted((p, q))
    high = min(high * (1 + 1e-4) + 1e-6, 1.0)
    draws = [_at("binomial", [word], (n, np.float32(x)))[0] for x in (low, high)]
    assert draws[0] <= draws[1]


@settings(max_examples=60)
@given(WORD, hs.floats(0, 3000, width=32), hs.floats(0, 3000, width=32))
def test_poisson_draws_do_not_decrease_in_the_rate(word, a, b):
    low, high = sorted((a, b))
    draws = [_at("poisson", [word], (np.float32(x),))[0] for x in (low, high * (1 + 1e-4) + 1e-6)]
    assert draws[0] <= draws[1]


@settings(max_examples=40)
@given(hs.integers(0, 2**32 - 1 - SWAP), WORD, hs.integers(0, 300), hs.floats(0, 1, width=32))
def test_beta_binomial_draws_do_not_decrease_in_any_word(word, other, n, p):
    for which in range(3):
        bits = np.full((2, 3), other, np.uint32)
        bits[:, which] = word, word + SWAP
        draws = np.asarray(COMPILED["beta_binomial"](jnp.asarray(bits), n, np.float32(p), 4.0))
        assert draws[0] <= draws[1]
