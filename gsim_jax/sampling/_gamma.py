"""Quantiles of the gamma law from one word, for every shape, without a loop."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ._lattice import overdispersed_expansion
from ._tables import LARGE_SHAPE, LOG_GAMMA_DENOMINATOR, LOG_GAMMA_NUMERATOR
from ._tails import normal_quantile, polynomial, shared, tails

_SERIES_TERMS = 24
_FRACTION_TERMS = 12


def log_gamma_1p(a: jax.Array) -> jax.Array:
    """log Gamma(1 + a) for a in [0, LARGE_SHAPE], to 3e-7."""
    numerator = polynomial([np.float32(c) for c in LOG_GAMMA_NUMERATOR], a)
    return a * (numerator / polynomial([np.float32(c) for c in LOG_GAMMA_DENOMINATOR], a))


def gamma_quantile(bits: jax.Array, shape: jax.Array) -> jax.Array:
    """Quantile of Gamma(shape, 1).

    Shapes from LARGE_SHAPE take the Cornish-Fisher expansion (CDF error 1e-6), smaller ones
    one Halley step on the logarithm of the tail probability that the word gives (3e-6).
    """
    large, deviation, log_small = _both_ways(bits, shape)
    return jnp.where(shape < LARGE_SHAPE, jnp.exp(log_small), large + large * deviation)


def log_gamma_quantile(bits: jax.Array, shape: jax.Array) -> jax.Array:
    """log(x / shape) of the Gamma(shape, 1) quantile x: exact where x underflows or is large."""
    _, deviation, log_small = _both_ways(bits, shape)
    small = shape < LARGE_SHAPE
    # An expansion far out in the lower tail may reach -1 by rounding only.
    log_large = jnp.log1p(jnp.maximum(deviation, -0.999999))
    return jnp.where(small, log_small - jnp.log(jnp.where(small, shape, 1.0)), log_large)


def _both_ways(bits: jax.Array, shape: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Shape and relative deviation x / shape - 1 for large shapes, log x for small ones."""
    upper, tail = tails(bits)
    w = normal_quantile(bits, tail)
    large = jnp.maximum(shape, LARGE_SHAPE)
    inverse_root = shared(1.0 / jnp.sqrt(large))
    x = w + overdispersed_expansion(w, 2.0 * inverse_root, inverse_root * inverse_root, None)
    log_small = small_gamma_log_quantile(upper, tail, w, jnp.minimum(shape, LARGE_SHAPE))
    return large, x * inverse_root, log_small


@jax.custom_jvp
def small_gamma_log_quantile(
    upper: jax.Array, tail: jax.Array, w: jax.Array, a: jax.Array
) -> jax.Array:
    """log of the Gamma(a, 1) quantile for 0 < a <= LARGE_SHAPE, differentiable in a.

    Args:
        upper: side of the word.
        tail: tail probability of the word.
        w: its normal quantile.
        a: shape.
    """
    log_tail, log_gamma = shared(jnp.log(tail)), log_gamma_1p(a)
    y = _start(upper, log_tail, tail, w, a, log_gamma)
    value, slope = _log_tail(upper, a, y)
    newton = shared((log_tail - value) / slope)
    step = newton / jnp.maximum(1.0 + 0.5 * newton * (a - shared(jnp.exp(y)) - slope), 0.3)
    return y + jnp.clip(step, -2.0, 2.0)


@small_gamma_log_quantile.defjvp
def _small_gamma_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    """The quantile keeps the tail probability: dy = -(d log tail / da) / (d log tail / dy) da."""
    upper, _, _, a = primals
    y = small_gamma_log_quantile(*primals)
    (_, slope), (change, _) = jax.jvp(
        lambda shape: _log_tail(upper, shape, y), (a,), (tangents[3],)
    )
    return y, -change / slope


def _start(
    upper: jax.Array,
    log_tail: jax.Array,
    tail: jax.Array,
    w: jax.Array,
    a: jax.Array,
    log_gamma: jax.Array,
) -> jax.Array:
    """First guess: a power series at 0, Wilson-Hilferty, and for a < 1 the far tail.

    The far tail is DiDonato and Morris (ACM TOMS 12, 1986), equation 25.
    """
    log_u = jnp.where(upper, jnp.log1p(-tail), log_tail)
    power = shared((log_u + log_gamma) / a)  # a lower bound, exact as u -> 0
    x = shared(jnp.exp(jnp.minimum(power, 0.0)))
    inverse = shared(1.0 / (a + 1.0))
    z = x * inverse
    second = 0.5 * (shared(1.0 / (a + 2.0)) - a * inverse * inverse)
    series = power + z * (1.0 + z + 0.8 * z * z) - second * x * x
    log_a = shared(jnp.log(a))
    root = 1.0 - 1.0 / (9.0 * a) + w / (3.0 * jnp.sqrt(a))
    cube = log_a + 3.0 * jnp.log(jnp.maximum(root, 0.15))
    y = jnp.where(root > 0.15, jnp.maximum(series, cube), series)
    far = log_a - log_tail - log_gamma  # -log(tail Gamma(a))
    b = 1.0 - a
    u = far - b * jnp.log(jnp.maximum(far, 1.0))
    top, bottom = u * u + (2.0 * u + b + 1.0) * (b + 2.0), u * u + (b + 4.0) * u + 2.0
    far_x = jnp.maximum(far - b * jnp.log(u) - jnp.log(top / bottom), 0.1)
    return jnp.where(upper & (far > 1.2) & (a < 1.0), jnp.log(far_x), y)


def _log_tail(upper: jax.Array, a: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """log P(a, x) (upper: log Q) at y = log x, and its slope in y."""
    x = shared(jnp.exp(y))
    turn = jnp.maximum(a + 1.0, 2.0)
    series = shared(_series(a, jnp.minimum(x, turn)))
    fraction = shared(_fraction(a, jnp.maximum(x, turn)))
    prefix = a * y - x - log_gamma_1p(a)  # log of x^a exp(-x) / Gamma(a + 1)
    log_p, slope_p = prefix + jnp.log(series), shared(a / series)
    p = jnp.minimum(jnp.exp(log_p), 1.0 - 2.0**-20)
    far = x > turn
    log_q = jnp.where(far, prefix + jnp.log(a * fraction), jnp.log1p(-p))
    slope_q = jnp.where(far, 1.0 / fraction, slope_p * (p / (1.0 - p)))
    return jnp.where(upper, log_q, log_p), jnp.where(upper, -slope_q, slope_p)


def _series(a: jax.Array, x: jax.Array) -> jax.Array:
    """1 + x/(a+1) (1 + x/(a+2) (1 + ...)), as one fraction: P(a, x) over its prefix.

    Constants near each factor keep numerator and denominator of order one: their squares
    appear in the derivative.
    """
    numerator = denominator = jnp.ones_like(x)
    for j in range(_SERIES_TERMS, 0, -1):
        scale = 1.0 / (j + 3)
        denominator = denominator * (a * np.float32(scale) + np.float32(j * scale))
        numerator = denominator + (x * np.float32(scale)) * numerator
    return numerator / denominator


def _fraction(a: jax.Array, x: jax.Array) -> jax.Array:
    """1/(x+1-a - 1(1-a)/(x+3-a - 2(2-a)/(x+5-a - ...))): Q(a, x) over x^a exp(-x)/Gamma(a)."""
    base = x - a
    numerator, denominator = jnp.ones_like(x), 1.0 / (base + np.float32(2 * _FRACTION_TERMS + 1))
    for j in range(_FRACTION_TERMS, 0, -1):
        scale = 1.0 / (2 * j + 3)
        numerator, denominator = (
            (base * np.float32(scale) + np.float32((2 * j - 1) * scale)) * numerator
            - (np.float32(j * j * scale) - a * np.float32(j * scale)) * denominator,
            numerator * np.float32(scale),
        )
    return denominator / numerator
