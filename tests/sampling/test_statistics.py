"""Chi-square of draws against scipy, for words as simulations make them."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st

from gsim_jax import words
from gsim_jax.sampling import LAWS

CHUNK = 2**21

SETTINGS = {
    "bernoulli": [(p,) for p in (1e-3, 0.1, 0.3, 0.5, 0.8, 0.999)],
    "binomial": [(5, 0.3), (40, 0.1), (40, 0.5), (1000, 0.02), (1000, 0.7), (1_000_000, 0.3)],
    "poisson": [(rate,) for rate in (0.1, 3.0, 7.9, 8.5, 60.0, 1e5)],
    "negative_binomial": [
        *((3.0, 0.5), (30.0, 0.5), (30.0, 3.0)),
        *((30.0, 20.0), (5.0, 8.0), (1e4, 50.0)),
    ],
    "beta_binomial": [
        *((10, 0.5, 2.0), (30, 0.1, 1.0), (30, 0.7, 20.0)),
        *((200, 0.3, 5.0), (200, 0.5, 500.0), (1, 0.2, 3.0)),
    ],
    "geometric": [(p,) for p in (0.9, 0.5, 0.2, 0.05, 0.01, 1e-3)],
    "hypergeometric": [
        *((5, 9, 6), (20, 20, 20), (48, 49, 32)),
        *((300, 200, 400), (1000, 50, 900), (300_000, 200_000, 4000)),
    ],
    "categorical": [
        (tuple(np.arange(1.0, k + 1) / (k * (k + 1) / 2)),) for k in (2, 3, 6, 12, 20, 40)
    ],
}


def _law(name: str, arguments: tuple):
    """The exact law, at the float32 parameters that the draw gets."""
    values = [
        np.asarray(a, np.float32 if isinstance(a, float | tuple) else None) for a in arguments
    ]
    values = [v.astype(float) if v.dtype == np.float32 else int(v) for v in values]
    match name, values:
        case "bernoulli", [p]:
            return st.bernoulli(p)
        case "binomial", [n, p]:
            return st.binom(n, p)
        case "poisson", [rate]:
            return st.poisson(rate)
        case "negative_binomial", [mean, r]:
            return st.nbinom(r, 1 / (1 + mean / r))
        case "beta_binomial", [n, p, c]:
            return st.betabinom(n, c * p, c * (1 - p))
        case "geometric", [p]:
            return st.geom(p, loc=-1)
        case "hypergeometric", [good, bad, n]:
            return st.hypergeom(good + bad, good, n)
        case "categorical", [probs]:
            return st.rv_discrete(values=(np.arange(len(probs)), probs / probs.sum()))
    raise AssertionError(name)


def _chunks(name: str, arguments: tuple, draws: int) -> Iterator[np.ndarray]:
    """Draws of many lanes at many steps, as in a rollout."""
    law = LAWS[name]
    arrays = [jnp.asarray(a, jnp.int32 if isinstance(a, int) else jnp.float32) for a in arguments]
    count = law.words_per_draw(*arrays)

    @jax.jit
    def chunk(keys: jax.Array, t: jax.Array) -> jax.Array:
        def lane(key: jax.Array) -> jax.Array:
            return law.from_bits(words.draw_words(words.threefry, key, t, 77, (), count), *arrays)

        return jax.vmap(lane)(keys)

    lanes = min(CHUNK, draws)
    keys = words.lane_keys(jnp.asarray([11, 13], jnp.uint32), jnp.arange(lanes, dtype=jnp.uint32))
    for t in range(-(-draws // lanes)):
        yield np.asarray(chunk(keys, t))


def chi_square(name: str, arguments: tuple, draws: int, smallest: float = 1e-4) -> float:
    """p-value of the draws, cells pooled from both ends to a probability of at least smallest."""
    law = _law(name, arguments)
    low, high = int(law.ppf(1e-9)), int(law.isf(1e-9))
    # Cells of one value, or of equal width where there are too many values.
    edges = np.unique(np.linspace(low, high, min(high - low, 2000) + 1).astype(int))
    mass = np.diff(law.cdf(edges), prepend=0.0, append=1.0)
    group = _pool(mass, smallest)
    expected = np.bincount(group, mass)
    counts = np.zeros(len(expected))
    total = 0
    for chunk in _chunks(name, arguments, draws):
        cells = group[np.searchsorted(edges, chunk, side="left")]
        counts += np.bincount(cells, minlength=len(expected))
        total += chunk.size
    statistic = ((counts - total * expected) ** 2 / (total * expected)).sum()
    return float(st.chi2(max(len(expected) - 1, 1)).sf(statistic))


def _pool(mass: np.ndarray, smallest: float) -> np.ndarray:
    group, current, filled = [], 0, 0.0
    for i, m in enumerate(mass):
        group.append(current)
        filled += m
        if filled >= smallest and mass[i + 1 :].sum() >= smallest:
            current, filled = current + 1, 0.0
    return np.array(group)


EVERY = [(name, arguments) for name, settings in SETTINGS.items() for arguments in settings]


@pytest.mark.parametrize(("name", "arguments"), [(n, s[3]) for n, s in SETTINGS.items()])
def test_draws_follow_the_law(name, arguments):
    assert chi_square(name, arguments, 300_000, 1e-3) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("name", "arguments"), EVERY)
def test_many_draws_follow_the_law(name, arguments):
    draws = 100_000_000 if name in ("binomial", "poisson") else 1_000_000
    assert chi_square(name, arguments, draws) > 1e-4


@pytest.mark.parametrize(
    ("a", "b"), [(0.05, 0.2), (0.7, 0.4), (2.0, 5.0), (30.0, 4.0), (400.0, 900.0)]
)
def test_beta_draws_follow_the_law(a, b):
    draws = np.concatenate(list(_chunks("beta", (a, b), 500_000))).astype(float)
    exact = st.beta(float(np.float32(a)), float(np.float32(b)))
    # Compare where float32 tells values apart: near 1 many small-parameter draws coincide.
    edges = np.unique(exact.ppf(np.linspace(0.01, 0.99, 60)).clip(1e-30, 1 - 1e-5))
    expected = np.diff(exact.cdf(edges), prepend=0.0, append=1.0)
    counts = np.bincount(np.searchsorted(edges, draws, side="left"), minlength=len(expected))
    statistic = ((counts - len(draws) * expected) ** 2 / (len(draws) * expected)).sum()
    assert st.chi2(len(expected) - 1).sf(statistic) > 1e-4


def test_multinomial_categories_follow_their_binomials():
    probs, n = (0.1, 0.25, 0.05, 0.4, 0.2), 60
    draws = np.concatenate(list(_chunks("multinomial", (n, probs), 200_000)))
    for i, p in enumerate(probs):
        exact = st.binom(n, float(np.float32(p))).pmf(np.arange(n + 1))
        group = _pool(exact, 1e-3)
        expected = np.bincount(group, exact) * len(draws)
        counts = np.bincount(group[draws[:, i]], minlength=len(expected))
        statistic = ((counts - expected) ** 2 / expected).sum()
        assert st.chi2(len(expected) - 1).sf(statistic) > 1e-4
    covariance = np.cov(draws.T.astype(float))
    exact = n * (np.diag(probs) - np.outer(probs, probs))
    np.testing.assert_allclose(covariance, exact, atol=0.15)
