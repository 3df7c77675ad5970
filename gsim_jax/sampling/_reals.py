"""Real draws: uniform, normal, lognormal, exponential, gamma, beta, Weibull."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ._arguments import broadcast, compiled, real
from ._gamma import gamma_quantile, log_gamma_quantile
from ._tails import exponential_quantile, normal_quantile, settle, tails


@compiled
def uniform_from_bits(bits: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Uniform draw between low and high.

    One word, non-decreasing in it; exact up to the rounding of float32.

    Args:
        bits: uint32[...].
        low: lower end.
        high: upper end, at least low; otherwise, or for an infinite width, NaN.

    Returns:
        float32 of the broadcast shape.
    """
    bits, low, high = broadcast(jnp.asarray(bits), real(low), real(high))
    upper, tail = tails(bits)
    width = high - low
    draw = jnp.where(upper, high - width * tail, low + width * tail)
    return settle(jnp.where((width >= 0) & (width < jnp.inf), draw, jnp.nan))


@compiled
def normal_from_bits(bits: jax.Array, mean: jax.Array, sd: jax.Array) -> jax.Array:
    """Normal draw.

    One word, increasing in it, out to 6.3 standard deviations; CDF error below 8e-8.

    Args:
        bits: uint32[...].
        mean: mean.
        sd: standard deviation; negative or NaN gives NaN.

    Returns:
        float32 of the broadcast shape.
    """
    bits, mean, sd = broadcast(jnp.asarray(bits), real(mean), real(sd))
    _, tail = tails(bits)
    draw = mean + sd * normal_quantile(bits, tail)
    return settle(jnp.where(sd >= 0, draw, jnp.nan))


@compiled
def lognormal_from_bits(bits: jax.Array, mu: jax.Array, sigma: jax.Array) -> jax.Array:
    """Lognormal draw: exp of a normal draw.

    One word, increasing in it; accuracy of the normal draw.

    Args:
        bits: uint32[...].
        mu: mean of the logarithm.
        sigma: standard deviation of the logarithm; negative or NaN gives NaN.

    Returns:
        float32 of the broadcast shape.
    """
    return jnp.exp(normal_from_bits(bits, mu, sigma))


@compiled
def exponential_from_bits(bits: jax.Array, rate: jax.Array) -> jax.Array:
    """Exponential draw of mean 1 / rate.

    One word, increasing in it; CDF error below 1e-7, both tails.

    Args:
        bits: uint32[...].
        rate: rate; 0 gives infinity, negative or NaN gives NaN.

    Returns:
        float32 of the broadcast shape.
    """
    bits, rate = broadcast(jnp.asarray(bits), real(rate))
    return settle(jnp.where(rate >= 0, exponential_quantile(bits) / rate, jnp.nan))


@compiled
def weibull_from_bits(bits: jax.Array, shape: jax.Array, scale: jax.Array) -> jax.Array:
    """Weibull draw, P(X > x) = exp(-(x / scale)^shape).

    One word, increasing in it; CDF error below 1e-6.

    Args:
        bits: uint32[...].
        shape: shape, above 0.
        scale: scale, at least 0. Anything else gives NaN.

    Returns:
        float32 of the broadcast shape.
    """
    bits, shape, scale = broadcast(jnp.asarray(bits), real(shape), real(scale))
    draw = scale * jnp.exp(jnp.log(exponential_quantile(bits)) / shape)
    return settle(jnp.where((shape > 0) & (scale >= 0), draw, jnp.nan))


@compiled
def gamma_from_bits(bits: jax.Array, shape: jax.Array, rate: jax.Array) -> jax.Array:
    """Gamma draw of mean shape / rate.

    One word, increasing in it; CDF error below 3e-6 for shapes from 1e-3 to 1e4, beyond that
    limited by the rounding of the draw itself. Draws below 1e-38 are 0. The derivative in the
    shape is the exact one at a fixed word.

    Args:
        bits: uint32[...].
        shape: shape; 0 gives 0, negative or NaN gives NaN.
        rate: rate, above 0; otherwise NaN.

    Returns:
        float32 of the broadcast shape.
    """
    bits, shape, rate = broadcast(jnp.asarray(bits), real(shape), real(rate))
    draw = gamma_quantile(bits, jnp.where(shape > 0, shape, 1.0)) / rate
    draw = jnp.where(shape == 0, 0.0, draw)
    return settle(jnp.where((shape >= 0) & (rate > 0), draw, jnp.nan))


@compiled
def beta_from_bits(bits: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """Beta draw: X / (X + Y) of a Gamma(a) draw X and a Gamma(b) draw Y.

    Two words, increasing in both (Y takes the second one's mirror image); CDF error below
    1e-5 for parameters from 1e-3 to 1e4. No fast inverse of the incomplete beta function in
    one word is known to us.

    Args:
        bits: uint32[..., 2].
        a: first parameter, above 0.
        b: second parameter, above 0. Anything else gives NaN.

    Returns:
        float32 of the broadcast shape, without the axis of words.
    """
    bits = jnp.asarray(bits)
    first, second, a, b = broadcast(bits[..., 0], bits[..., 1], real(a), real(b))
    valid = (a > 0) & (b > 0)
    a, b = jnp.where(valid, a, 1.0), jnp.where(valid, b, 1.0)
    # Logarithms, because small shapes underflow although their ratio does not.
    log_x = settle(log_gamma_quantile(first, a))
    log_y = settle(log_gamma_quantile(~second, b))
    ratio = jax.nn.sigmoid(log_x - log_y + jnp.log(a / b))
    return settle(jnp.where(valid, ratio, jnp.nan))
