"""What the docstrings promise about CDFs, by threshold search and against scipy in float64."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special as sp
import scipy.stats as st

from gsim_jax import sampling
from tests.sampling import grids
from tests.sampling.thresholds import words_up_to

PROMISED = 3e-7
TAIL = 0.05  # of the tail probability, wherever that is at least 1e-7


def _met(deviation, promised: float, tail: float = TAIL) -> None:
    assert deviation.absolute <= promised, deviation
    assert deviation.relative <= tail, deviation


@pytest.mark.parametrize(
    "rates",
    [np.geomspace(1e-3, 8, 40), np.linspace(8.001, 30, 60), np.geomspace(30, 1e6, 60)],
    ids=["summed", "where the expansion starts", "large"],
)
def test_poisson_keeps_its_promise(rates):
    _met(grids.poisson(rates), PROMISED)


@pytest.mark.parametrize("p", [1e-3, 0.02, 0.1, 0.3, 0.45, 0.5, 0.6, 0.97])
def test_binomial_keeps_its_promise_for_small_n(p):
    n = np.unique(np.round(np.geomspace(1, 3000, 60)))
    _met(grids.binomial(n, np.full(n.shape, p)), PROMISED)


def test_binomial_keeps_its_promise_up_to_a_million_trials():
    rng = np.random.default_rng(0)
    n = np.round(10 ** rng.uniform(0, 6, 250))
    p = np.where(rng.random(250) < 0.5, rng.uniform(0, 1, 250), 10 ** rng.uniform(-6, 0, 250))
    _met(grids.binomial(n, p), PROMISED)
    _met(grids.binomial(np.full(40, 1e6), np.linspace(1e-6, 0.9999, 40)), PROMISED)


@pytest.mark.parametrize("dispersion", [1e-3, 0.1, 0.5, 2.0, 5.9, 6.0, 12.0, 300.0, 1e7])
def test_negative_binomial_keeps_its_promise(dispersion):
    means = np.concatenate([np.geomspace(0.05, 50, 14), [8.0, 10.0, 12.0, 15.0, 300.0, 1e4, 1e6]])
    deviation = grids.negative_binomial(means, np.full(means.shape, dispersion))
    _met(deviation, 1e-5, tail=0.4)


def test_geometric_keeps_its_promise():
    _met(grids.geometric(np.geomspace(1e-5, 0.999, 60)), PROMISED)


@pytest.mark.parametrize("top", [12, 60, 200, 2000, 1_000_000])
def test_hypergeometric_keeps_its_promise(top):
    rng = np.random.default_rng(top)
    good, bad = rng.integers(1, top // 2 + 1, (2, 40))
    n = (rng.random(40) * (good + bad + 1)).astype(int)
    _met(grids.hypergeometric(good, bad, n), 5e-6, tail=0.3)


def _words() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Words from 2^-32 to the median and their mirror images, with P(U <= u) and P(U > u)."""
    magnitude = np.unique(np.geomspace(1, 2**31, 300).astype(np.uint64)).astype(np.uint32) - 1
    bits = np.concatenate([magnitude, ~magnitude[::-1]])
    below = (bits.astype(np.float64) + 0.5) * 2.0**-32
    above = ((~bits).astype(np.float64) + 0.5) * 2.0**-32
    return bits, below, above


def _real_error(name: str, law, *arguments: float) -> tuple[float, float]:
    bits, below, above = _words()
    draw = sampling.LAWS[name].from_bits(jnp.asarray(bits), *map(np.float32, arguments))
    x = np.asarray(draw).astype(np.float64)
    error = np.where(below < 0.5, law.cdf(x) - below, above - law.sf(x))
    error = np.where(np.abs(x) > 1e-37, error, 0.0)  # below, float32 has only 0
    tail = np.minimum(below, above)
    return np.abs(error).max(), (np.abs(error) / tail)[tail >= 1e-7].max()


@pytest.mark.parametrize(
    ("name", "law", "arguments", "promised"),
    [
        ("normal", st.norm(0, 1), (0.0, 1.0), 8e-8),
        ("normal", st.norm(0, 2), (0.0, 2.0), 8e-8),
        ("lognormal", st.lognorm(0.5), (0.0, 0.5), 1e-7),
        ("exponential", st.expon(), (1.0,), 1e-7),
        ("uniform", st.uniform(-1, 2), (-1.0, 1.0), 1e-7),
        ("weibull", st.weibull_min(0.5, scale=3), (0.5, 3.0), 1e-6),
        ("weibull", st.weibull_min(4, scale=3), (4.0, 3.0), 1e-6),
        ("gamma", st.gamma(np.float32(0.003)), (0.003, 1.0), 3e-6),
        ("gamma", st.gamma(np.float32(0.1)), (0.1, 1.0), 3e-6),
        ("gamma", st.gamma(0.25), (0.25, 1.0), 3e-6),
        ("gamma", st.gamma(1.5, scale=0.5), (1.5, 2.0), 3e-6),
        ("gamma", st.gamma(5.75), (5.75, 1.0), 3e-6),
        ("gamma", st.gamma(6), (6.0, 1.0), 3e-6),
        ("gamma", st.gamma(50), (50.0, 1.0), 3e-6),
        ("gamma", st.gamma(10000), (10000.0, 1.0), 3e-6),
    ],
)
def test_reals_keep_their_promise_in_both_tails(name, law, arguments, promised):
    absolute, relative = _real_error(name, law, *arguments)
    assert absolute <= promised
    # uniform draws round near their ends; everything else keeps relative precision
    assert name == "uniform" or relative <= 0.05


def test_normal_words_reach_both_ends():
    ends = np.asarray(sampling.normal_from_bits(jnp.asarray([0, 2**32 - 1], jnp.uint32), 0.0, 1.0))
    exact = sp.ndtri(2.0**-33)
    np.testing.assert_allclose(ends, [exact, -exact], rtol=2e-6)


def test_float32_tails_of_a_count_are_right_far_below_one_in_ten_million():
    # P(X >= 20) = 4.3e-9 of Poisson(4): a running float32 CDF cannot see it.
    rate, k = np.float32(4.0), np.arange(14, 22)
    above = st.poisson(4.0).sf(k)
    words = words_up_to(sampling.poisson_from_bits, jnp.asarray(k), jnp.full(k.shape, rate))
    found = (2.0**32 - np.asarray(words).astype(float)) * 2.0**-32
    np.testing.assert_allclose(found, above, rtol=1e-3, atol=2.0**-32)


# The whole promise: dense grids and random parameters -------------------------------------------


@pytest.mark.slow
def test_poisson_on_a_dense_grid():
    for rates in np.array_split(np.geomspace(1e-4, 1e6, 5000), 10):
        _met(grids.poisson(rates, 256), PROMISED)


@pytest.mark.slow
@pytest.mark.parametrize("p", [*np.linspace(0.01, 0.5, 25), 0.75, 0.999])
def test_binomial_on_a_dense_grid(p):
    n = np.unique(np.round(np.geomspace(1, 1e6, 400)))
    _met(grids.binomial(n, np.full(n.shape, p), 256), PROMISED)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_binomial_and_poisson_at_five_thousand_random_parameters(seed):
    rng = np.random.default_rng(seed)
    n = np.round(10 ** rng.uniform(0, 6, 500))
    p = np.where(rng.random(500) < 0.5, rng.random(500), 10 ** rng.uniform(-6, 0, 500))
    _met(grids.binomial(n, p, 256), PROMISED)
    _met(grids.poisson(10 ** rng.uniform(-3, 6, 500), 256), PROMISED)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_negative_binomial_at_random_parameters(seed):
    rng = np.random.default_rng(seed)
    mean, dispersion = 10 ** rng.uniform(-2, 6, 600), 10 ** rng.uniform(-3, 8, 600)
    _met(grids.negative_binomial(mean, dispersion), 1e-5, tail=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_hypergeometric_at_random_parameters(seed):
    rng = np.random.default_rng(seed)
    good, bad = (10 ** rng.uniform(0, 5.7, (2, 400))).astype(int)
    n = (rng.random(400) * (good + bad + 1)).astype(int)
    _met(grids.hypergeometric(good, bad, n), 5e-6, tail=0.5)
