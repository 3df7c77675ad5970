"""log_prob of every law against scipy in float64, outside the support, and under grad."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats as st

from gsim_jax.sampling import LAWS
from tests.sampling.cases import BY_NAME

N = 600
Columns = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Case:
    """Random parameters with a value likely under them, and the exact answer."""

    law: str
    make: Callable[[np.random.Generator], tuple[np.ndarray, Columns]]
    exact: Callable[..., np.ndarray]
    outside: tuple[float, ...]


def _f32(x: np.ndarray) -> np.ndarray:
    return np.asarray(x).astype(np.float32)


def _wide(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    return _f32(10 ** rng.uniform(low, high, N))


def _binomial(rng):
    n = np.round(10 ** rng.uniform(0, 6, N)).astype(np.int32)
    p = np.where(rng.random(N) < 0.5, _f32(rng.random(N)), _wide(rng, -6, 0))
    return rng.binomial(n, p), (n, _f32(p))


def _beta_binomial(rng):
    n = np.round(10 ** rng.uniform(0, 5, N)).astype(np.int32)
    p, c = _f32(rng.uniform(0.01, 0.99, N)), _wide(rng, -1, 4)
    return rng.binomial(n, rng.beta(c * p, c * (1 - p))), (n, p, c)


def _negative_binomial(rng):
    mean, r = _wide(rng, -1, 5), _wide(rng, -1.5, 5)
    return rng.negative_binomial(r, 1 / (1 + mean.astype(float) / r)), (mean, r)


def _hypergeometric(rng):
    good, bad = (10 ** rng.uniform(0, 4.5, (2, N))).astype(int)
    n = (rng.random(N) * (good + bad)).astype(int)
    return rng.hypergeometric(good, bad, n), (good, bad, n)


def _beta(rng):
    a, b = _wide(rng, -1, 4), _wide(rng, -1, 4)
    return np.clip(_f32(rng.beta(a, b)), 1e-6, 1 - 1e-6), (a, b)


CASES = (
    Case(
        "bernoulli",
        lambda rng: (rng.integers(0, 2, N), (_f32(rng.random(N)),)),
        lambda x, p: st.bernoulli.logpmf(x, p),
        (-1.0, 2.0, 0.5),
    ),
    Case("binomial", _binomial, lambda x, n, p: st.binom.logpmf(x, n, p), (-1.0, 2e6, 0.5)),
    Case(
        "poisson",
        lambda rng: (rng.poisson(rate := _wide(rng, -3, 6)), (rate,)),
        lambda x, rate: st.poisson.logpmf(x, rate),
        (-1.0, 0.5),
    ),
    Case(
        "negative_binomial",
        _negative_binomial,
        lambda x, mean, r: st.nbinom.logpmf(x, r, 1 / (1 + mean / r)),
        (-1.0, 0.5),
    ),
    Case(
        "beta_binomial",
        _beta_binomial,
        lambda x, n, p, c: st.betabinom.logpmf(x, n, c * p, c * (1 - p)),
        (-1.0, 2e6, 0.5),
    ),
    Case(
        "geometric",
        lambda rng: (rng.geometric(p := _wide(rng, -4, 0)) - 1, (p,)),
        lambda x, p: st.geom.logpmf(x + 1, p),
        (-1.0, 0.5),
    ),
    Case(
        "hypergeometric",
        _hypergeometric,
        lambda x, good, bad, n: st.hypergeom.logpmf(x, good + bad, good, n),
        (-1.0, 2e6, 0.5),
    ),
    Case(
        "uniform",
        lambda rng: (_f32(rng.random(N)), (_f32(-rng.random(N)), _f32(1 + rng.random(N)))),
        lambda x, low, high: st.uniform.logpdf(x, low, high - low),
        (-2.0, 3.0),
    ),
    Case(
        "normal",
        lambda rng: (_f32(rng.normal(size=N)), (_f32(rng.normal(size=N)), _wide(rng, -1, 2))),
        lambda x, mean, sd: st.norm.logpdf(x, mean, sd),
        (),
    ),
    Case(
        "lognormal",
        lambda rng: (_wide(rng, -2, 2), (_f32(rng.normal(size=N)), _wide(rng, -1, 2))),
        lambda x, mu, sigma: st.lognorm.logpdf(x, sigma, scale=np.exp(mu)),
        (-1.0, 0.0),
    ),
    Case(
        "exponential",
        lambda rng: (_wide(rng, -3, 1), (_wide(rng, -2, 1),)),
        lambda x, rate: st.expon.logpdf(x, scale=1 / rate),
        (-1.0,),
    ),
    Case(
        "gamma",
        lambda rng: (
            np.maximum(
                _f32(rng.gamma(a := _wide(rng, -1, 4)) / (rate := _wide(rng, -2, 2))), 1e-20
            ),
            (a, rate),
        ),
        lambda x, a, rate: st.gamma.logpdf(x, a, scale=1 / rate),
        (-1.0, 0.0),
    ),
    Case("beta", _beta, lambda x, a, b: st.beta.logpdf(x, a, b), (-0.1, 0.0, 1.0, 1.1)),
    Case(
        "weibull",
        lambda rng: (
            _f32((s := _wide(rng, -2, 2)) * rng.weibull(k := _wide(rng, -0.5, 1))),
            (k, s),
        ),
        lambda x, k, scale: st.weibull_min.logpdf(x, k, scale=scale),
        (-1.0, 0.0),
    ),
)

EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: case.law)


def _made(case: Case) -> tuple[jax.Array, list[jax.Array], np.ndarray]:
    value, arguments = case.make(np.random.default_rng(0))
    exact = case.exact(value.astype(float), *(a.astype(float) for a in arguments))
    kind = jnp.int32 if value.dtype.kind == "i" else jnp.float32
    return jnp.asarray(value, kind), [jnp.asarray(_as_jax(a)) for a in arguments], exact


def _as_jax(a: np.ndarray) -> np.ndarray:
    return a.astype(np.int32 if a.dtype.kind == "i" else np.float32)


def test_every_law_is_tested():
    assert {case.law for case in CASES} | {"categorical", "multinomial"} == set(LAWS)


@EVERY
def test_log_prob_is_the_law_s(case):
    value, arguments, exact = _made(case)
    found = np.asarray(jax.jit(LAWS[case.law].log_prob)(value, *arguments))
    assert found.dtype == np.float32
    # 1e-5 where the value is likely; float32 itself is the limit far out.
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=6e-5)


@EVERY
def test_values_outside_the_support_have_no_probability(case):
    _, arguments, _ = _made(case)
    log_prob = jax.jit(LAWS[case.law].log_prob)
    for value in case.outside:
        assert (np.asarray(log_prob(jnp.float32(value), *arguments)) == -np.inf).all(), value


@EVERY
def test_gradients_are_finite_and_right(case):
    value, arguments, exact = _made(case)
    reals = [i for i, a in enumerate(arguments) if a.dtype == jnp.float32]
    if not reals:
        return
    log_prob = LAWS[case.law].log_prob
    indices = tuple(i + 1 for i in reals)
    gradients = jax.jit(jax.vmap(jax.grad(log_prob, indices)))(value, *arguments)
    x, plain = np.asarray(value).astype(float), [np.asarray(a).astype(float) for a in arguments]
    for i, gradient in zip(reals, gradients, strict=True):
        room = plain[i] if plain[i].min() > 0 else np.ones(N)
        if case.law in ("bernoulli", "binomial", "beta_binomial", "geometric") and i == reals[0]:
            room = np.minimum(plain[i], 1 - plain[i])  # a probability
        step = 1e-4 * room
        up, down = (
            case.exact(x, *(a + sign * step * (j == i) for j, a in enumerate(plain)))
            for sign in (1, -1)
        )
        slope = (up - down) / (2 * step)
        lost = 1e-12 * np.abs(exact) / step  # by the difference quotient
        assert np.isfinite(gradient).all()
        error = np.abs(np.asarray(gradient) - slope)
        assert (error <= 2e-3 * (np.abs(slope) + 1 / room) + lost).all()


@EVERY
def test_parameters_out_of_range_give_nan(case):
    value, _, _ = _made(case)
    log_prob = LAWS[case.law].log_prob
    for parameters in BY_NAME[case.law].bad:
        if not all(isinstance(p, float) and np.isfinite(p) for p in parameters):
            continue
        assert np.isnan(log_prob(value[:1], *map(jnp.float32, parameters))).all(), parameters


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("binomial", (30, 0.3)),
        ("binomial", (30, 0.0)),
        ("binomial", (30, 1.0)),
        ("poisson", (4.0,)),
        ("poisson", (0.0,)),
        ("negative_binomial", (3.0, 0.7)),
        ("negative_binomial", (0.0, 0.7)),
        ("beta_binomial", (30, 0.3, 2.0)),
        ("beta_binomial", (30, 0.0, 2.0)),
        ("beta_binomial", (30, 1.0, 2.0)),
        ("geometric", (0.3,)),
        ("geometric", (1.0,)),
        ("hypergeometric", (9, 14, 12)),
        ("hypergeometric", (9, 0, 5)),
        ("categorical", ([0.2, 0.0, 3.0],)),
    ],
)
def test_masses_sum_to_one(name, arguments):
    k = jnp.arange(120)
    mass = np.exp(np.asarray(LAWS[name].log_prob(k, *map(jnp.asarray, arguments)), np.float64))
    assert abs(mass.sum() - 1) < 2e-5


def test_categories_have_their_share():
    probs = jnp.asarray([1.0, 0.0, 3.0])
    found = LAWS["categorical"].log_prob(jnp.asarray([0, 1, 2, 3, -1]), probs)
    np.testing.assert_allclose(found, [np.log(0.25), -np.inf, np.log(0.75), -np.inf, -np.inf])


def test_multinomial_is_the_law_s():
    rng = np.random.default_rng(0)
    n, probs = rng.integers(0, 5000, 200), rng.dirichlet(np.full(5, 0.7), 200)
    probs = probs.astype(np.float32)
    counts = np.stack(
        [rng.multinomial(m, p / p.sum()) for m, p in zip(n, probs.astype(float), strict=True)]
    )
    exact = [
        st.multinomial.logpmf(x, m, p / p.sum())
        for x, m, p in zip(counts, n, probs.astype(float), strict=True)
    ]
    log_prob = LAWS["multinomial"].log_prob
    found = log_prob(jnp.asarray(counts, jnp.int32), jnp.asarray(n, jnp.int32), jnp.asarray(probs))
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=6e-5)
    wrong = jnp.asarray(counts, jnp.int32).at[:, 0].add(1)
    assert (
        np.asarray(log_prob(wrong, jnp.asarray(n, jnp.int32), jnp.asarray(probs))) == -np.inf
    ).all()
