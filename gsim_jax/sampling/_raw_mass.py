"""Poisson and binomial masses at real arguments, without cancellation (Loader 2000).

The textbook form subtracts log gamma functions of order n log n from one another, which at
n = 1e6 leaves no correct digit in float32. Loader's saddle-point form has the deviance in
place of that difference, and every other law's mass is a product of these two ("Fast and
accurate computation of binomial probabilities", 2000).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln

from ._tables import STIRLING
from ._tails import polynomial

_HALF_LOG_2PI = np.float32(0.9189385332046727)


def stirling_remainder(x: jax.Array) -> jax.Array:
    """log Gamma(x + 1) - (x + 1/2) log x + x - log(2 pi) / 2, for x > 0."""
    large = jnp.maximum(x, 1.0)
    inverse = 1.0 / large
    far = polynomial([np.float32(c) for c in STIRLING], inverse * inverse) * inverse
    small = jnp.clip(x, 1e-30, 1.0)
    near = gammaln(small + 1.0) - (small + 0.5) * jnp.log(small) + small - _HALF_LOG_2PI
    return jnp.where(x < 1.0, near, far)


def deviance(x: jax.Array, mean: jax.Array, excess: jax.Array) -> jax.Array:
    """x log(x / mean) + mean - x for x, mean > 0; ``excess`` is x - mean, exact."""
    v = excess / (x + mean)
    close = jnp.abs(v) < 0.1
    u = jnp.where(close, v, 0.0)
    series = polynomial([np.float32(2.0 / (2 * j + 3)) for j in range(5)], u * u)
    near = excess * u + x * u * u * u * series
    # The mean may be tiny, x is not: this way round the gradient does not overflow.
    far = -x * jnp.log(jnp.where(close, 1.0, mean / x)) - excess
    return jnp.where(close, near, far)


def poisson_raw(x: jax.Array, mean: jax.Array, excess: jax.Array) -> jax.Array:
    """log of mean^x exp(-mean) / Gamma(x + 1) for real x >= 0, mean >= 0.

    Args:
        x: argument.
        mean: mean.
        excess: x - mean, as exact as it can be had.
    """
    inner = (x > 0) & (mean > 0)
    safe_x, safe_mean = jnp.where(inner, x, 1.0), jnp.where(inner, mean, 1.0)
    safe_excess = jnp.where(inner, excess, 0.0)
    body = -stirling_remainder(safe_x) - deviance(safe_x, safe_mean, safe_excess)
    body = body - 0.5 * jnp.log(safe_x) - _HALF_LOG_2PI
    return jnp.where(inner, body, jnp.where(x > 0, -jnp.inf, -mean))


def binomial_raw(
    x: jax.Array, rest: jax.Array, p: jax.Array, q: jax.Array, excess: jax.Array
) -> jax.Array:
    """log of Gamma(n+1) / (Gamma(x+1) Gamma(rest+1)) p^x q^rest for real x, rest >= 0.

    Args:
        x: argument.
        rest: n - x, given apart so that a small one is not lost in n.
        p: probability.
        q: 1 - p.
        excess: x - n p, as exact as it can be had.
    """
    n = x + rest
    inner = (x > 0) & (rest > 0) & (p > 0) & (q > 0)
    sx, sr, sn = (jnp.where(inner, y, c) for y, c in ((x, 1.0), (rest, 1.0), (n, 2.0)))
    mean_x, mean_r = jnp.where(inner, n * p, 1.0), jnp.where(inner, n * q, 1.0)
    e = jnp.where(inner, excess, 0.0)
    body = stirling_remainder(sn) - stirling_remainder(sx) - stirling_remainder(sr)
    body = body - deviance(sx, mean_x, e) - deviance(sr, mean_r, -e)
    body = body + 0.5 * (jnp.log(sn / sx) - jnp.log(sr)) - _HALF_LOG_2PI
    at_none, at_all = _times_log(n, q, p), _times_log(n, p, q)
    edge = jnp.where(x == 0, at_none, jnp.where(rest == 0, at_all, -jnp.inf))
    return jnp.where(inner, body, edge)


def _times_log(n: jax.Array, p: jax.Array, q: jax.Array) -> jax.Array:
    """n log p with p = 1 - q near 1, and 0 for n = 0; gradients stay finite."""
    near = q < 0.5
    log = jnp.where(
        near,
        jnp.log1p(-jnp.where(near, q, 0.0)),
        jnp.log(jnp.where(near | (p <= 0), 1.0, p)),
    )
    return jnp.where(n > 0, jnp.where(p > 0, n * log, -jnp.inf), 0.0)
