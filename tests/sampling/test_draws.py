"""Draws on keys, as hand-written simulators make them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax import sampling, words

KEY = jax.random.key(3)

CALLS = {
    "bernoulli": (0.3,),
    "binomial": (10, 0.3),
    "poisson": (4.0,),
    "negative_binomial": (4.0, 2.0),
    "beta_binomial": (10, 0.3, 5.0),
    "geometric": (0.3,),
    "hypergeometric": (5, 6, 7),
    "categorical": (jnp.asarray([0.2, 0.8]),),
    "multinomial": (10, jnp.asarray([0.2, 0.3, 0.5])),
    "uniform": (),
    "normal": (),
    "lognormal": (0.0, 1.0),
    "exponential": (2.0,),
    "gamma": (2.0, 1.0),
    "beta": (2.0, 3.0),
    "weibull": (2.0, 1.0),
}
EVERY = pytest.mark.parametrize("name", sampling.LAWS)


@EVERY
def test_every_law_draws_on_a_key(name):
    event = (3,) if name == "multinomial" else ()
    draw = jax.jit(getattr(sampling, name), static_argnames="shape")
    draws = draw(KEY, *CALLS[name], shape=(32, 2))
    assert draws.shape == (32, 2, *event)
    assert draws.dtype == sampling.LAWS[name].dtype
    assert len(np.unique(np.asarray(draws))) > 1
    # Typed keys and their data mean the same.
    np.testing.assert_array_equal(
        draws, draw(jax.random.key_data(KEY), *CALLS[name], shape=(32, 2))
    )
    assert draw(KEY, *CALLS[name]).shape == event


def test_words_are_threefry_blocks_of_the_key():
    data = jax.random.key_data(KEY)
    bits = words.threefry(data, 0, jnp.arange(5, dtype=jnp.uint32))
    expected = sampling.normal_from_bits(bits, 1.0, 2.0)
    np.testing.assert_array_equal(sampling.normal(KEY, 1.0, 2.0, shape=(5,)), expected)


def test_shape_defaults_to_the_broadcast_arguments():
    assert sampling.binomial(KEY, jnp.arange(4), 0.5).shape == (4,)
    assert sampling.normal(KEY, jnp.zeros((3, 1)), jnp.ones((1, 2))).shape == (3, 2)
    assert sampling.categorical(KEY, jnp.ones((5, 3))).shape == (5,)
    assert sampling.multinomial(KEY, jnp.arange(5), jnp.ones((5, 3))).shape == (5, 3)


def test_arguments_that_do_not_fit_the_shape_are_named():
    with pytest.raises(
        ValueError, match=r"poisson: expected arguments that broadcast to shape \(2,\), got"
    ):
        sampling.poisson(KEY, jnp.ones(3), shape=(2,))


@pytest.mark.parametrize(
    "key", [jax.random.split(jax.random.key(0), 3), jnp.zeros(3, jnp.uint32), jnp.zeros(2)]
)
def test_anything_but_one_threefry_key_is_refused(key):
    with pytest.raises(ValueError, match="expected one threefry key"):
        sampling.normal(key)


@pytest.mark.parametrize("typed", [True, False])
def test_split_gives_new_keys_of_the_same_form(typed):
    key = KEY if typed else jax.random.key_data(KEY)
    keys = sampling.split(key, 5)
    assert keys.dtype == key.dtype
    assert keys.shape == ((5,) if typed else (5, 2))
    data = np.asarray(jax.random.key_data(keys) if typed else keys)
    assert len(np.unique(data, axis=0)) == 5
    # Children never equal the words that the parent draws.
    drawn = words.threefry(jax.random.key_data(KEY), 0, jnp.arange(100, dtype=jnp.uint32))
    assert not np.isin(data, np.asarray(drawn)).any()


def test_draws_under_vmap_over_keys_are_those_of_each_key():
    keys = sampling.split(KEY, 6)
    together = jax.vmap(lambda key: sampling.poisson(key, 5.0, shape=(3,)))(keys)
    one_by_one = [sampling.poisson(key, 5.0, shape=(3,)) for key in keys]
    np.testing.assert_array_equal(together, one_by_one)


def test_gamma_draws_have_their_exact_derivative():
    # At a fixed word x(a) solves P(a, x) = u: dx/da = -(dP/da) / p(x).
    from scipy.special import gammainccinv, gammaincinv

    rng = np.random.default_rng(0)
    bits = jnp.asarray(rng.integers(0, 2**32, 400, dtype=np.uint32))
    a = (10 ** rng.uniform(-1, 2, 400)).astype(np.float32)
    slope = jax.vmap(jax.grad(lambda a, b: sampling.gamma_from_bits(b, a, 1.0)))(a, bits)
    u, up = (np.asarray(bits) + 0.5) * 2.0**-32, np.asarray(bits) >= 2**31

    def quantile(a):
        return np.where(up, gammainccinv(a, 1 - u), gammaincinv(a, u))

    step = 1e-5 * a.astype(float)
    exact = (quantile(a + step) - quantile(a - step)) / (2 * step)
    np.testing.assert_allclose(slope, exact, rtol=2e-3, atol=1e-6)


def test_normal_draws_differentiate_in_mean_and_deviation():
    bits = jnp.asarray([3_000_000_000], jnp.uint32)
    draw = sampling.normal_from_bits(bits, 0.0, 1.0)[0]
    by_mean, by_sd = jax.grad(lambda m, s: sampling.normal_from_bits(bits, m, s)[0], (0, 1))(
        0.5, 2.0
    )
    assert by_mean == 1.0
    np.testing.assert_allclose(by_sd, draw, rtol=1e-6)
