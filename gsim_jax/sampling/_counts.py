"""Counts without over-dispersion: Bernoulli, binomial, Poisson, geometric, hypergeometric.

Each draw takes one word and is monotone in it, up to the rounding of float32 next to a
threshold.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ._arguments import LARGEST, broadcast, compiled, count, exact_product, real
from ._lattice import FEW, count_few, count_small, expansion
from ._tables import SMALL_MEAN, SMALL_TERMS
from ._tails import INVALID, exponential_quantile, normal_quantile, settle, shared, tails

_LARGEST_RATE = 2.0**31 - 2.0**19  # leaves room for ten standard deviations below 2^31


@compiled
def bernoulli_from_bits(bits: jax.Array, p: jax.Array) -> jax.Array:
    """Bernoulli draw: 1 with probability p, else 0.

    One word, non-decreasing in it; exact to 2^-24 of min(p, 1 - p).

    Args:
        bits: uint32[...].
        p: probability; outside [0, 1] or NaN gives INVALID.

    Returns:
        int32 of the broadcast shape.
    """
    bits, p = broadcast(jnp.asarray(bits), real(p))
    upper, tail = tails(bits)
    # 1 where 1 - u < p, each side compared in the tail that is exact there.
    hit = jnp.where(upper, tail < p, tail > 1.0 - p)
    draw = jnp.where((p >= 0) & (p <= 1), hit.astype(jnp.float32), float(INVALID))
    return settle(draw).astype(jnp.int32)


@compiled
def binomial_from_bits(bits: jax.Array, n: jax.Array, p: jax.Array) -> jax.Array:
    """Binomial draw: the number of successes in n trials.

    One word, non-decreasing in it. For n <= 1e6 the CDF errs by at most 3e-7 (2e-7 measured)
    and by 3 % of the tail probability where that is 1e-7. Larger n still give integers
    between 0 and n; above 2^24 they are rounded to float32.

    Args:
        bits: uint32[...].
        n: trials, int32 or integral float32; negative or NaN gives INVALID.
        p: probability of success; outside [0, 1] or NaN gives INVALID.

    Returns:
        int32 of the broadcast shape.
    """
    n, valid = count(n)
    bits, n, p, valid = broadcast(jnp.asarray(bits), n, real(p), valid)
    upper, tail = tails(bits)
    # No probability reaches the bound; it ties all that follows to the word (see count_few).
    p = jnp.minimum(p, 2.0 + tail)
    valid = valid & (p >= 0) & (p <= 1)
    fold = p > 0.5
    bits, upper = jnp.where(fold, ~bits, bits), upper ^ fold
    p = jnp.where(fold, 1.0 - p, p)
    q = 1.0 - p
    trials = n.astype(jnp.float32)
    odds = shared(p / q)
    more = (trials + 1.0) * odds
    small = count_few(upper, tail, lambda k: more * np.float32(1 / k) - odds)
    whole, part = exact_product(n, p)
    large = _from_expansion(bits, tail, whole, part, trials * p * q, p * q, q - p)
    few = (trials * p <= SMALL_MEAN) & (small <= FEW)
    k = jnp.where(few, small, _beyond_few(large, trials * p))
    k = jnp.clip(k, 0.0, trials)
    k = jnp.where(valid, jnp.where(fold, trials - k, k), float(INVALID))
    return jnp.minimum(settle(k).astype(jnp.int32), n)


def _from_expansion(
    bits: jax.Array,
    tail: jax.Array,
    whole: jax.Array,
    part: jax.Array,
    variance: jax.Array,
    v: jax.Array | None,
    d: jax.Array | None,
    cumulants: Sequence[jax.Array] | None = None,
) -> jax.Array:
    """Quantile near the mean whole + part, float32 and integral."""
    w = normal_quantile(bits, tail)
    sd = jnp.sqrt(jnp.maximum(variance, 1.0))
    x = w + expansion(w, 1.0 / sd, v, d, cumulants)
    return jnp.floor(part + (sd * x + 0.5)) + whole


def _beyond_few(large: jax.Array, mean: jax.Array) -> jax.Array:
    """Where terms were summed in vain, the quantile lies beyond them, whatever the expansion."""
    return jnp.where(mean <= SMALL_MEAN, jnp.maximum(large, FEW + 1.0), large)


@compiled
def poisson_from_bits(bits: jax.Array, rate: jax.Array) -> jax.Array:
    """Poisson draw.

    One word, non-decreasing in it. For rates up to 1e6 the CDF errs by at most 3e-7 (2e-7
    measured) and by 3 % of the tail probability where that is 1e-7. Above 2^24 draws are
    rounded to float32.

    Args:
        bits: uint32[...].
        rate: mean; negative, NaN or above 2.1e9 gives INVALID.

    Returns:
        int32 of the broadcast shape.
    """
    bits, rate = broadcast(jnp.asarray(bits), real(rate))
    upper, tail = tails(bits)
    rate = jnp.minimum(rate, 2.0**31 + tail)  # ties it to the word, see binomial
    valid = (rate >= 0) & (rate <= _LARGEST_RATE)
    rate = jnp.clip(rate, 0.0, _LARGEST_RATE)
    little = jnp.minimum(rate, SMALL_MEAN + tail)
    small = count_few(upper, tail, lambda k: little * np.float32(1 / k))
    whole = jnp.floor(rate)
    large = _from_expansion(bits, tail, whole, rate - whole, rate, None, None)
    few = (rate <= SMALL_MEAN) & (small <= FEW)
    k = jnp.where(few, small, _beyond_few(jnp.maximum(large, 0.0), rate))
    return settle(jnp.where(valid, k, float(INVALID))).astype(jnp.int32)


@compiled
def geometric_from_bits(bits: jax.Array, p: jax.Array) -> jax.Array:
    """Geometric draw: failures before the first success.

    One word, non-decreasing in it; CDF error below 3e-7. Draws stop at 2^31 - 128.

    Args:
        bits: uint32[...].
        p: probability of success; outside (0, 1] or NaN gives INVALID.

    Returns:
        int32 of the broadcast shape.
    """
    bits, p = broadcast(jnp.asarray(bits), real(p))
    k = jnp.ceil(exponential_quantile(bits) / -jnp.log1p(-p)) - 1.0
    k = jnp.clip(k, 0.0, LARGEST)
    return settle(jnp.where((p > 0) & (p <= 1), k, float(INVALID))).astype(jnp.int32)


@compiled
def hypergeometric_from_bits(
    bits: jax.Array, good: jax.Array, bad: jax.Array, n: jax.Array
) -> jax.Array:
    """Hypergeometric draw: good ones among n taken from good + bad without replacement.

    One word, non-decreasing in it. The CDF errs by at most 5e-6 for good + bad <= 1e6.

    Args:
        bits: uint32[...].
        good: int32 or integral float32, at least 0.
        bad: likewise; good + bad below 2^31.
        n: likewise, at most good + bad. Anything else gives INVALID.

    Returns:
        int32 of the broadcast shape.
    """
    (good, good_ok), (bad, bad_ok), (n, n_ok) = count(good), count(bad), count(n)
    bits, good, bad, n, good_ok, bad_ok, n_ok = broadcast(
        jnp.asarray(bits), good, bad, n, good_ok, bad_ok, n_ok
    )
    everything = good + bad  # wraps to a negative number from 2^31
    valid = good_ok & bad_ok & n_ok & (everything >= 0) & (n <= everything)
    # Two symmetries leave at most half of the urn good and at most half of it taken.
    swap, rest = good > bad, n > everything - n
    few, many = jnp.minimum(good, bad), jnp.maximum(good, bad)
    taken = jnp.where(rest, everything - n, n)
    bits = jnp.where(swap ^ rest, ~bits, bits)
    upper, tail = tails(bits)
    g, b, m = (x.astype(jnp.float32) for x in (few, many, taken))
    g = jnp.minimum(g, 2.0**31 + tail)
    small = count_small(
        upper,
        tail,
        lambda k: (g - (k - 1)) * (m - (k - 1)) / ((b - m + k) * np.float32(SMALL_MEAN)),
        lower_terms=20,
    )
    large = _hypergeometric_large(bits, tail, few, many, taken)
    urn = jnp.maximum(g + b, 2.0)
    mean = shared(m * g / urn)
    variance = mean * (b / urn) * ((urn - m) / (urn - 1.0))
    # Small urns spread less than a Poisson law: the terms reach further for them.
    k = jnp.where(
        (mean <= SMALL_MEAN) | (mean + 7.0 * jnp.sqrt(variance) < SMALL_TERMS - 1),
        small.astype(jnp.float32),
        large,
    )
    k = jnp.clip(k, 0.0, jnp.minimum(g, m))
    k = jnp.where(rest, few.astype(jnp.float32) - k, k)
    k = jnp.where(swap, n.astype(jnp.float32) - k, k)
    draw = settle(jnp.where(valid, k, float(INVALID))).astype(jnp.int32)
    return jnp.minimum(draw, jnp.minimum(good, n))


def _hypergeometric_large(
    bits: jax.Array, tail: jax.Array, good: jax.Array, bad: jax.Array, n: jax.Array
) -> jax.Array:
    """The expansion with the hypergeometric's cumulants (tools/derive_quantiles.py)."""
    urn = jnp.maximum((good + bad).astype(jnp.float32), 4.0)
    p = shared(good.astype(jnp.float32) / urn)
    taken = n.astype(jnp.float32)
    whole, part = exact_product(good + bad, p)
    p_rest = ((good.astype(jnp.float32) - whole) - part) / urn  # what rounding took from p
    whole, part = exact_product(n, p)
    share = shared(taken / urn)
    a, b = p * (1.0 - p), share * (1.0 - share)
    both, product = a + b, a * b
    # The third and fourth cumulants of the urn as it is, the next two of a large one.
    d = (1.0 - 2.0 * p) * (1.0 - 2.0 * share) * (urn / (urn - 2.0))
    fourth = 1.0 + 1.0 / urn - 6.0 * both + 30.0 * product * ((urn - 1.2) / (urn - 1.0))
    fourth = fourth * (urn / (urn - 2.0)) * (urn / (urn - 3.0))
    fifth = d * (1.0 - 12.0 * both + 84.0 * product)
    sixth = 1.0 - 30.0 * both + 120.0 * (a * a + b * b)
    sixth = sixth + product * (510.0 - 1680.0 * both + 5040.0 * product)
    variance = taken * a * (1.0 - share) * (urn / (urn - 1.0))
    return _from_expansion(
        bits,
        tail,
        whole,
        part + taken * p_rest,
        variance,
        (1.0 - d * d) * 0.25,
        d,
        (d, fourth, fifth, sixth),
    )
