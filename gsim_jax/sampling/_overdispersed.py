"""Over-dispersed counts: negative binomial and beta-binomial."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ._arguments import LARGEST, broadcast, compiled, count, real
from ._counts import binomial_from_bits
from ._gamma import small_gamma_log_quantile
from ._lattice import count_terms, overdispersed_expansion
from ._reals import beta_from_bits
from ._tables import LARGE_SHAPE, OVERDISPERSED_MEAN
from ._tails import INVALID, normal_quantile, settle, shared, tails

_TERMS = 33


@compiled
def negative_binomial_from_bits(
    bits: jax.Array, mean: jax.Array, dispersion: jax.Array
) -> jax.Array:
    """Negative binomial draw with variance mean + mean^2 / dispersion.

    One word, non-decreasing in it; CDF error at most 1e-5 for means up to 1e6 and any
    dispersion from 1e-3. Draws stop at 2^31 - 128.

    Three ways, by parameters: terms from 0 to 40 by their own sum; from a dispersion of
    LARGE_SHAPE and a mean of OVERDISPERSED_MEAN, the Cornish-Fisher expansion; otherwise
    draws above 40 come from the gamma law of the same shape. With N = k + (r + 1) / 2 and
    s = N log(1 + r / mean) the incomplete beta function is exactly the distribution of a
    density proportional to s^(r-1) exp(-s) (sinh(s/2N) / (s/2N))^(r-1), so a gamma quantile
    z answers with N = z / log(1 + r / mean) to first order in 1/N^2.

    Args:
        bits: uint32[...].
        mean: mean; negative, NaN or above 2.1e9 gives INVALID.
        dispersion: shape of the gamma law of the rates; not above 0 or NaN gives INVALID.

    Returns:
        int32 of the broadcast shape.
    """
    bits, mean, r = broadcast(jnp.asarray(bits), real(mean), real(dispersion))
    valid = (mean >= 0) & (mean <= LARGEST) & (r > 0)
    upper, tail = tails(bits)
    mean = jnp.clip(mean, 0.0, LARGEST + tail)
    r = jnp.clip(r, 1e-6, 1e12)
    excess = shared(mean / r)
    growth = r * jnp.log1p(excess)  # -log p(0)
    small = _small(upper, tail, mean, r, growth)
    w = normal_quantile(bits, tail)
    smooth = r >= LARGE_SHAPE
    direct = jnp.where(smooth, mean <= OVERDISPERSED_MEAN, growth < 60.0)
    large = jnp.where(
        smooth,
        _by_expansion(w, mean, r, excess),
        _by_gamma(upper, tail, w, mean, jnp.minimum(r, LARGE_SHAPE)),
    )
    large = jnp.maximum(large, jnp.where(direct, float(_TERMS), 0.0))
    k = jnp.where(direct & (small < _TERMS), small.astype(jnp.float32), large)
    k = jnp.where(valid, jnp.minimum(k, LARGEST), float(INVALID))
    return settle(k).astype(jnp.int32)


def _small(
    upper: jax.Array, tail: jax.Array, mean: jax.Array, r: jax.Array, growth: jax.Array
) -> jax.Array:
    """Quantile among 0 .. 40, or 41 where it lies beyond."""
    ratio = shared(mean / (mean + r))
    terms, term = [], jnp.ones_like(tail)
    for k in range(1, _TERMS):
        term = term * ((r + np.float32(k - 1)) * ratio * np.float32(1 / k))
        terms.append(term)
    some = sum(terms[1:], terms[0]) + 1.0
    # Beyond the last term: nearly geometric where that is little, else what is missing to
    # the total, whose rounding (exp) is harmless there.
    next_ratio = (r + np.float32(_TERMS)) * ratio * np.float32(1 / (_TERMS + 1))
    next_ratio = jnp.minimum(next_ratio, 0.999)
    little = term * (r + np.float32(_TERMS - 1)) * ratio * np.float32(1 / _TERMS)
    little = shared(little / (1.0 - next_ratio))
    missing = jnp.maximum(jnp.exp(jnp.minimum(growth, 80.0)) - some, 0.0)
    rest = jnp.where(little < 1e-5 * some, little, missing)
    return count_terms(upper, tail, terms, _TERMS, rest=rest)


def _by_expansion(w: jax.Array, mean: jax.Array, r: jax.Array, excess: jax.Array) -> jax.Array:
    # Below OVERDISPERSED_MEAN only draws above 40 come here, far out in the tail.
    r, mean = jnp.maximum(r, LARGE_SHAPE), jnp.maximum(mean, 1.0)
    variance = mean * (1.0 + excess)
    inverse_sd = shared(1.0 / jnp.sqrt(variance))
    skew = (1.0 + 2.0 * excess) * inverse_sd
    whole = jnp.floor(mean)
    x = w + overdispersed_expansion(w, skew, shared(1.0 / r), inverse_sd * inverse_sd)
    return jnp.maximum(jnp.floor((mean - whole) + (variance * inverse_sd * x + 0.5)) + whole, 0.0)


def _by_gamma(
    upper: jax.Array, tail: jax.Array, w: jax.Array, mean: jax.Array, r: jax.Array
) -> jax.Array:
    z = shared(jnp.exp(small_gamma_log_quantile(upper, tail, w, r)))
    unit = shared(jnp.log1p(r / mean))
    correction = (r - 1.0) * unit * (1.0 + (r + 1.0) / z) * np.float32(1 / 24)
    return jnp.ceil(z / unit + correction - 0.5 * (r + 1.0))


@compiled
def beta_binomial_from_bits(
    bits: jax.Array, n: jax.Array, p: jax.Array, concentration: jax.Array
) -> jax.Array:
    """Beta-binomial draw: binomial whose probability is beta with mean p.

    Three words: two for the beta law's gammas, one for the binomial. Non-decreasing in the
    first and the last, non-increasing in none: coupled. CDF error below 1e-5.

    Args:
        bits: uint32[..., 3].
        n: trials, int32 or integral float32.
        p: mean probability, in [0, 1].
        concentration: sum of the beta law's two parameters, above 0. The variance is that of
            a binomial times 1 + (n - 1) / (concentration + 1). Anything else gives INVALID.

    Returns:
        int32 of the broadcast shape.
    """
    n, valid = count(n)
    bits = jnp.asarray(bits)
    first, second, third, n, p, c, valid = broadcast(
        bits[..., 0], bits[..., 1], bits[..., 2], n, real(p), real(concentration), valid
    )
    c = jnp.minimum(c, 1e9)
    chance = beta_from_bits(jnp.stack([first, second], axis=-1), c * p, c * (1.0 - p))
    chance = jnp.where((p == 0) | (p == 1), p, chance)
    valid = valid & (p >= 0) & (p <= 1) & (c > 0)
    return binomial_from_bits(third, jnp.where(valid, n, -1), chance)
