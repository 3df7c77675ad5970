"""Log densities and log masses of the laws: float32, -inf outside the support.

All of them broadcast, take the arguments of the law after the value, and have finite
gradients in the parameters wherever the value itself is finite. Parameters out of range
give NaN. Integer values may come as int32 or float32.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ._arguments import broadcast, compiled, exact_product, real
from ._raw_mass import binomial_raw, poisson_raw

_HALF_LOG_2PI = np.float32(0.9189385332046727)


def _integer(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A count as float32 and whether it is integral and not negative."""
    x = real(x)
    inside = (x >= 0) & (x == jnp.floor(x))
    return jnp.where(inside, x, 0.0), inside


def _whole(n: jax.Array) -> jax.Array:
    return (n >= 0) & (n == jnp.floor(n))


def _answer(inside: jax.Array, valid: jax.Array, log_prob: jax.Array) -> jax.Array:
    return jnp.where(valid, jnp.where(inside, log_prob, -jnp.inf), jnp.nan)


@compiled
def bernoulli_log_prob(value: jax.Array, p: jax.Array) -> jax.Array:
    """Log mass of Bernoulli(p)."""
    value, p = broadcast(real(value), real(p))
    hit = value == 1
    safe = jnp.where((p > 0) & (p < 1), p, 0.5)
    inner = jnp.where(hit, jnp.log(safe), jnp.log1p(-safe))
    edge = jnp.where(hit == (p == 1), 0.0, -jnp.inf)
    log_prob = jnp.where((p > 0) & (p < 1), inner, edge)
    return _answer(hit | (value == 0), (p >= 0) & (p <= 1), log_prob)


@compiled
def binomial_log_prob(value: jax.Array, n: jax.Array, p: jax.Array) -> jax.Array:
    """Log mass of Binomial(n, p); relative error of the mass below 1e-5 for n to 1e6."""
    (x, inside), n, p = _integer(value), real(n), real(p)
    x, inside, n, p = broadcast(x, inside, n, p)
    valid = _whole(n) & (p >= 0) & (p <= 1)
    inside = inside & (x <= n)
    x = jnp.where(inside, x, 0.0)
    whole, part = exact_product(jnp.where(valid, n, 0.0).astype(jnp.int32), p)
    return _answer(
        inside,
        valid,
        binomial_raw(x, jnp.where(inside, n - x, 0.0), p, 1.0 - p, (x - whole) - part),
    )


@compiled
def poisson_log_prob(value: jax.Array, rate: jax.Array) -> jax.Array:
    """Log mass of Poisson(rate); relative error of the mass below 1e-5 for rates to 1e6."""
    (x, inside), rate = _integer(value), real(rate)
    x, inside, rate = broadcast(x, inside, rate)
    return _answer(inside, rate >= 0, poisson_raw(x, rate, x - rate))


@compiled
def negative_binomial_log_prob(
    value: jax.Array, mean: jax.Array, dispersion: jax.Array
) -> jax.Array:
    """Log mass of the negative binomial with variance mean + mean^2 / dispersion."""
    x, inside = _integer(value)
    x, inside, mean, r = broadcast(x, inside, real(mean), real(dispersion))
    valid = (mean >= 0) & (r > 0)
    r = jnp.where(valid, r, 1.0)
    excess = r * ((mean - x) / (r + mean))  # r - (x + r) p
    raw = binomial_raw(r, x, r / (r + mean), mean / (r + mean), excess)
    return _answer(inside, valid, raw - jnp.log1p(x / r))


@compiled
def geometric_log_prob(value: jax.Array, p: jax.Array) -> jax.Array:
    """Log mass of the number of failures before the first success."""
    x, inside = _integer(value)
    x, inside, p = broadcast(x, inside, real(p))
    some = (x > 0) & (p < 1)
    miss = jnp.where(some, x * jnp.log1p(-jnp.where(some, p, 0.5)), 0.0)
    miss = jnp.where((x > 0) & (p == 1), -jnp.inf, miss)
    return _answer(inside, (p > 0) & (p <= 1), jnp.log(jnp.where(p > 0, p, 1.0)) + miss)


@compiled
def hypergeometric_log_prob(
    value: jax.Array, good: jax.Array, bad: jax.Array, n: jax.Array
) -> jax.Array:
    """Log mass of the number of good ones among n taken from good + bad."""
    x, inside = _integer(value)
    x, inside, g, b, n = broadcast(x, inside, real(good), real(bad), real(n))
    valid = _whole(g) & _whole(b) & _whole(n) & (n <= g + b)
    inside = inside & (x <= g) & (n - x <= b) & (x <= n)
    x, n = jnp.where(inside, x, 0.0), jnp.where(inside, n, 0.0)
    urn = jnp.maximum(g + b, 1.0)
    p, q = n / urn, (urn - n) / urn
    excess = (x * b - g * (n - x)) / urn  # x - g p, and minus the same for the others
    log_prob = binomial_raw(x, g - x, p, q, excess)
    log_prob = log_prob + binomial_raw(n - x, b - (n - x), p, q, -excess)
    zero = jnp.zeros_like(x)
    return _answer(inside, valid, log_prob - binomial_raw(n, g + b - n, p, q, zero))


@compiled
def beta_binomial_log_prob(
    value: jax.Array, n: jax.Array, p: jax.Array, concentration: jax.Array
) -> jax.Array:
    """Log mass of the binomial whose probability is beta(p concentration, ...)."""
    x, inside = _integer(value)
    x, inside, n, p, c = broadcast(x, inside, real(n), real(p), real(concentration))
    valid = _whole(n) & (p >= 0) & (p <= 1) & (c > 0)
    inside = inside & (x <= n)
    inner = (p > 0) & (p < 1) & (c > 0)
    x, c = jnp.where(inside, x, 0.0), jnp.where(inner, c, 1.0)
    mid = jnp.where(inner, p, 0.5)
    a, b = c * mid, c * (1.0 - mid)
    middle, other = (x + a) / (n + c), (n - x + b) / (n + c)
    excess = (x * b - (n - x) * a) / (n + c)
    log_prob = (
        binomial_raw(x, n - x, middle, other, excess)
        + binomial_raw(a, b, middle, other, -excess)
        - binomial_raw(x + a, n - x + b, middle, other, jnp.zeros_like(x))
        + jnp.log(a / (x + a))
        + jnp.log(b / (n - x + b))
        + jnp.log((n + c) / c)
    )
    edge = jnp.where(x == n * p, 0.0, -jnp.inf)  # p = 0 or 1
    return _answer(inside, valid, jnp.where(inner, log_prob, edge))


@compiled
def categorical_log_prob(value: jax.Array, probs: jax.Array) -> jax.Array:
    """Log mass of an index; probabilities on the last axis, up to a common factor."""
    probs = real(probs)
    size = probs.shape[-1]
    index, inside = _integer(value)
    index, inside = broadcast(index, inside)
    inside = inside & (index < size)
    batch = jnp.broadcast_shapes(index.shape, probs.shape[:-1])
    index, inside = jnp.broadcast_to(index, batch), jnp.broadcast_to(inside, batch)
    probs = jnp.broadcast_to(probs, (*batch, size))
    at = jnp.where(inside, index, 0.0).astype(jnp.int32)
    mass = jnp.take_along_axis(probs, at[..., None], axis=-1)[..., 0]
    total = jnp.sum(probs, axis=-1)
    valid = jnp.all(probs >= 0, axis=-1) & (total > 0) & jnp.isfinite(total)
    log_prob = jnp.log(jnp.where(mass > 0, mass, 1.0)) - jnp.log(jnp.where(valid, total, 1.0))
    return _answer(inside & (mass > 0), valid, log_prob)


@compiled
def multinomial_log_prob(value: jax.Array, n: jax.Array, probs: jax.Array) -> jax.Array:
    """Log mass of counts on the last axis; probabilities up to a common factor."""
    (x, inside), probs = _integer(value), real(probs)
    batch = jnp.broadcast_shapes(x.shape[:-1], jnp.shape(n), probs.shape[:-1])
    x, inside, probs = (jnp.broadcast_to(y, (*batch, x.shape[-1])) for y in (x, inside, probs))
    n = jnp.broadcast_to(real(n), batch)
    total = jnp.sum(probs, axis=-1)
    valid = jnp.all(probs >= 0, axis=-1) & (total > 0) & jnp.isfinite(total) & _whole(n)
    mean = n[..., None] * (probs / jnp.where(valid, total, 1.0)[..., None])
    each = jnp.sum(poisson_raw(x, mean, x - mean), axis=-1)
    inside = jnp.all(inside, axis=-1) & (jnp.sum(x, axis=-1) == n)
    return _answer(inside, valid, each - poisson_raw(n, n, jnp.zeros_like(n)))


@compiled
def uniform_log_prob(value: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Log density of the uniform law on [low, high]."""
    value, low, high = broadcast(real(value), real(low), real(high))
    width = high - low
    return _answer((value >= low) & (value <= high), width >= 0, -jnp.log(width))


@compiled
def normal_log_prob(value: jax.Array, mean: jax.Array, sd: jax.Array) -> jax.Array:
    """Log density of the normal law."""
    value, mean, sd = broadcast(real(value), real(mean), real(sd))
    safe = jnp.where(sd > 0, sd, 1.0)
    z = (value - mean) / safe
    return jnp.where(sd > 0, -0.5 * z * z - jnp.log(safe) - _HALF_LOG_2PI, jnp.nan)


@compiled
def lognormal_log_prob(value: jax.Array, mu: jax.Array, sigma: jax.Array) -> jax.Array:
    """Log density of the exponential of a normal draw."""
    value, mu, sigma = broadcast(real(value), real(mu), real(sigma))
    inside = value > 0
    log = jnp.log(jnp.where(inside, value, 1.0))
    return _answer(inside, sigma > 0, normal_log_prob(log, mu, sigma) - log)


@compiled
def exponential_log_prob(value: jax.Array, rate: jax.Array) -> jax.Array:
    """Log density of the exponential law of mean 1 / rate."""
    value, rate = broadcast(real(value), real(rate))
    safe = jnp.where(rate > 0, rate, 1.0)
    return _answer(value >= 0, rate > 0, jnp.log(safe) - safe * jnp.maximum(value, 0.0))


@compiled
def weibull_log_prob(value: jax.Array, shape: jax.Array, scale: jax.Array) -> jax.Array:
    """Log density of the Weibull law, P(X > x) = exp(-(x / scale)^shape), for x > 0."""
    value, shape, scale = broadcast(real(value), real(shape), real(scale))
    valid, inside = (shape > 0) & (scale > 0), value > 0
    k, s = jnp.where(valid, shape, 1.0), jnp.where(valid, scale, 1.0)
    log_ratio = jnp.log(jnp.where(inside, value, s)) - jnp.log(s)
    log_prob = jnp.log(k / s) + (k - 1.0) * log_ratio - jnp.exp(k * log_ratio)
    return _answer(inside, valid, log_prob)


@compiled
def gamma_log_prob(value: jax.Array, shape: jax.Array, rate: jax.Array) -> jax.Array:
    """Log density of the gamma law of mean shape / rate, for x > 0."""
    value, a, rate = broadcast(real(value), real(shape), real(rate))
    valid, inside = (a > 0) & (rate > 0), value > 0
    a, rate = jnp.where(valid, a, 1.0), jnp.where(valid, rate, 1.0)
    x = jnp.where(inside, value, 1.0)
    mean = x * rate
    return _answer(inside, valid, poisson_raw(a, mean, a - mean) + jnp.log(a) - jnp.log(x))


@compiled
def beta_log_prob(value: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """Log density of the beta law, for 0 < x < 1."""
    value, a, b = broadcast(real(value), real(a), real(b))
    valid, inside = (a > 0) & (b > 0), (value > 0) & (value < 1)
    a, b = jnp.where(valid, a, 1.0), jnp.where(valid, b, 1.0)
    x = jnp.where(inside, value, 0.5)
    y = 1.0 - x
    raw = binomial_raw(a, b, x, y, a * y - b * x)
    log_prob = raw + jnp.log(a * (b / (a + b))) - jnp.log(x) - jnp.log(y)
    return _answer(inside, valid, log_prob)
