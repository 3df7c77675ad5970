"""Log densities and log masses of the laws, float32, -inf outside the support."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, xlog1py, xlogy


def bernoulli_log_prob(value: jax.Array, p: jax.Array) -> jax.Array:
    """Log mass of Bernoulli(p) at value."""
    inside = (value == 0) | (value == 1)
    return jnp.where(inside, xlogy(value, p) + xlog1py(1 - value, -p), -jnp.inf)


def binomial_log_prob(value: jax.Array, n: jax.Array, p: jax.Array) -> jax.Array:
    """Log mass of Binomial(n, p) at value."""
    inside = (value >= 0) & (value <= n)
    k = jnp.where(inside, value, 0).astype(jnp.float32)
    n = jnp.asarray(n, jnp.float32)
    choose = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    return jnp.where(inside, choose + xlogy(k, p) + xlog1py(n - k, -p), -jnp.inf)


def poisson_log_prob(value: jax.Array, rate: jax.Array) -> jax.Array:
    """Log mass of Poisson(rate) at value."""
    inside = jnp.asarray(value) >= 0
    k = jnp.where(inside, value, 0).astype(jnp.float32)
    return jnp.where(inside, xlogy(k, rate) - rate - gammaln(k + 1), -jnp.inf)


def categorical_log_prob(value: jax.Array, probs: jax.Array) -> jax.Array:
    """Log mass of Categorical(probs) at value."""
    probs = jnp.asarray(probs, jnp.float32)
    inside = (value >= 0) & (value < probs.shape[-1])
    hit = jnp.arange(probs.shape[-1]) == jnp.where(inside, value, 0)[..., None]
    mass = jnp.sum(jnp.where(hit, probs, 0.0), axis=-1) / jnp.sum(probs, axis=-1)
    return jnp.where(inside, jnp.log(mass), -jnp.inf)


def uniform_log_prob(value: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Log density of Uniform(low, high) at value."""
    return jnp.where((value >= low) & (value <= high), -jnp.log(high - low), -jnp.inf)


def normal_log_prob(value: jax.Array, mean: jax.Array, sd: jax.Array) -> jax.Array:
    """Log density of Normal(mean, sd) at value."""
    z = (value - mean) / sd
    return -0.5 * z * z - jnp.log(sd) - 0.9189385332046727


def exponential_log_prob(value: jax.Array, rate: jax.Array) -> jax.Array:
    """Log density of Exponential(rate) at value."""
    return jnp.where(value >= 0, jnp.log(rate) - rate * value, -jnp.inf)
