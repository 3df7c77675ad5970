"""Draws on keys: the calls that simulators written by hand use, with real JAX keys."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.words import draw_words, threefry, threefry_2x32

from ._laws import LAWS

_SPLIT = np.uint32(0x53504C54)  # first counter word of split, so that keys never equal draws

Shape = tuple[int, ...] | None


def _key_data(key: jax.Array) -> jax.Array:
    data = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    if data.shape != (2,) or data.dtype != jnp.uint32:
        raise ValueError(
            f"expected one threefry key (jax.random.key(seed) or uint32[2]), got "
            f"{key.dtype}{list(key.shape)}; use jax.vmap for arrays of keys"
        )
    return data


def split(key: jax.Array, n: int = 2) -> jax.Array:
    """n new keys of the same form as ``key``.

    Args:
        key: a typed threefry key or uint32[2].
        n: number of keys.

    Returns:
        Array of n keys (typed), or uint32[n, 2].
    """
    data = _key_data(key)
    first, second = threefry_2x32(
        data[0], data[1], jnp.uint32(_SPLIT), jnp.arange(n, dtype=jnp.uint32)
    )
    keys = jnp.stack([first, second], axis=-1)
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(keys, impl=jax.random.key_impl(key))
    return keys


def _draw(name: str, key: jax.Array, shape: Shape, *arguments: jax.Array | float) -> jax.Array:
    law = LAWS[name]
    parameters = tuple(jnp.asarray(a) for a in arguments)
    batch = law.batch_shape(*parameters)
    shape = batch if shape is None else tuple(shape)
    fits = len(batch) <= len(shape) and all(
        b in (1, n) for b, n in zip(reversed(batch), reversed(shape), strict=False)
    )
    if not fits:
        raise ValueError(
            f"{name}: expected arguments that broadcast to shape {shape}, got shape {batch}"
        )
    return _from_key(name, shape, _key_data(key), *parameters)


@partial(jax.jit, static_argnums=(0, 1), inline=True)
def _from_key(
    name: str, shape: tuple[int, ...], key: jax.Array, *parameters: jax.Array
) -> jax.Array:
    law = LAWS[name]
    count = law.words_per_draw(*parameters)
    bits = draw_words(threefry, key, 0, 0, shape, count)
    return law.from_bits(bits.reshape(law.bits_shape(shape, *parameters)), *parameters)


def bernoulli(key: jax.Array, p: jax.Array, shape: Shape = None) -> jax.Array:
    """Bernoulli draws, int32: 1 with probability p."""
    return _draw("bernoulli", key, shape, p)


def binomial(key: jax.Array, n: jax.Array, p: jax.Array, shape: Shape = None) -> jax.Array:
    """Binomial draws, int32: successes in n trials of probability p."""
    return _draw("binomial", key, shape, n, p)


def poisson(key: jax.Array, rate: jax.Array, shape: Shape = None) -> jax.Array:
    """Poisson draws, int32, of mean ``rate``."""
    return _draw("poisson", key, shape, rate)


def negative_binomial(
    key: jax.Array, mean: jax.Array, dispersion: jax.Array, shape: Shape = None
) -> jax.Array:
    """Negative binomial draws, int32, with variance mean + mean^2 / dispersion."""
    return _draw("negative_binomial", key, shape, mean, dispersion)


def beta_binomial(
    key: jax.Array, n: jax.Array, p: jax.Array, concentration: jax.Array, shape: Shape = None
) -> jax.Array:
    """Beta-binomial draws, int32: n trials of a beta probability of mean p."""
    return _draw("beta_binomial", key, shape, n, p, concentration)


def geometric(key: jax.Array, p: jax.Array, shape: Shape = None) -> jax.Array:
    """Geometric draws, int32: failures before the first success."""
    return _draw("geometric", key, shape, p)


def hypergeometric(
    key: jax.Array, good: jax.Array, bad: jax.Array, n: jax.Array, shape: Shape = None
) -> jax.Array:
    """Hypergeometric draws, int32: good ones among n taken from good + bad."""
    return _draw("hypergeometric", key, shape, good, bad, n)


def categorical(key: jax.Array, probs: jax.Array, shape: Shape = None) -> jax.Array:
    """Indices, int32, with the probabilities on the last axis; ``shape`` is the batch's."""
    return _draw("categorical", key, shape, probs)


def multinomial(key: jax.Array, n: jax.Array, probs: jax.Array, shape: Shape = None) -> jax.Array:
    """Multinomial counts, int32[..., k]; ``shape`` is the batch's, without the k categories."""
    return _draw("multinomial", key, shape, n, probs)


def uniform(
    key: jax.Array, low: jax.Array | float = 0.0, high: jax.Array | float = 1.0, shape: Shape = None
) -> jax.Array:
    """Uniform draws between low and high, float32."""
    return _draw("uniform", key, shape, low, high)


def normal(
    key: jax.Array, mean: jax.Array | float = 0.0, sd: jax.Array | float = 1.0, shape: Shape = None
) -> jax.Array:
    """Normal draws, float32."""
    return _draw("normal", key, shape, mean, sd)


def lognormal(key: jax.Array, mu: jax.Array, sigma: jax.Array, shape: Shape = None) -> jax.Array:
    """Lognormal draws, float32: exp of a normal draw of mean mu and deviation sigma."""
    return _draw("lognormal", key, shape, mu, sigma)


def exponential(key: jax.Array, rate: jax.Array, shape: Shape = None) -> jax.Array:
    """Exponential draws of mean 1 / rate, float32."""
    return _draw("exponential", key, shape, rate)


def gamma(
    key: jax.Array, shape_parameter: jax.Array, rate: jax.Array, shape: Shape = None
) -> jax.Array:
    """Gamma draws of mean shape_parameter / rate, float32."""
    return _draw("gamma", key, shape, shape_parameter, rate)


def beta(key: jax.Array, a: jax.Array, b: jax.Array, shape: Shape = None) -> jax.Array:
    """Beta draws of mean a / (a + b), float32."""
    return _draw("beta", key, shape, a, b)


def weibull(
    key: jax.Array, shape_parameter: jax.Array, scale: jax.Array, shape: Shape = None
) -> jax.Array:
    """Weibull draws with P(X > x) = exp(-(x / scale)^shape_parameter), float32."""
    return _draw("weibull", key, shape, shape_parameter, scale)
