"""Inverse CDFs on the integers: summed terms for small means, an expansion for large ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate

import jax
import jax.numpy as jnp
import numpy as np

from ._tables import GENERAL, LATTICE, OVERDISPERSED, SMALL_MEAN, SMALL_TERMS
from ._tails import polynomial

# Words below this quantile are looked up from below, the others from above. Anything but 1/2,
# where symmetric laws put an exact tie that the two sides would round differently.
SEAM = 0.381966


#: Thresholds that `count_few` sums up to. 22 terms and what belongs to them fit into the 32
#: vector registers of a modern CPU (33 terms take twice as long), and beyond 22 the expansion is
#: right: for a mean of 6 it misses 3 % of a tail of 1e-7, for 8 a tenth of that.
FEW = 22
_BLOCK = 4  # terms that are summed by themselves
_CLOSING = 5  # further terms in the mass beyond; they leave out 2e-8 at a mean of 8


def count_few(upper: jax.Array, tail: jax.Array, ratio: Callable[[int], jax.Array]) -> jax.Array:
    """Quantile of a law on 0, 1, 2, ... with a mean of at most ``SMALL_MEAN``, as far as ``FEW``.

    The terms start from 1 and are normalised by their own sum, which takes no exponential and no
    gamma function. Masses are summed from above, so that the upper tail keeps its relative
    precision; the lower tail of such a law ends at P(X = 0) > 1e-5 and needs none.

    What takes time is not how many operations there are but how many of them wait for one another:
    one vector of lanes is nearly as many instructions as a CPU looks ahead. So terms are multiplied
    in pairs, masses summed in blocks and held against what is left of the target there: half as
    long a chain, and a draw in 0.7 of the time.

    Args:
        upper: side of the word.
        tail: tail probability of the word.
        ratio: k -> p(k) / p(k - 1), for k from 1. It must depend on the word in some way that the
            compiler cannot remove: ratios that are constant over a scan would be hoisted out of it
            as one array each, and reading those back costs more than the arithmetic.

    Returns:
        float32, the smallest k with P(X <= k) >= u; ``FEW + 1`` stands for anything beyond
        ``FEW``.
    """
    ratios = [ratio(k) for k in range(1, FEW + _CLOSING + 1)]
    terms: list[jax.Array] = []
    for odd, even in zip(ratios[:FEW:2], ratios[1:FEW:2], strict=True):
        terms += [terms[-1] * odd, terms[-1] * (odd * even)] if terms else [odd, odd * even]
    beyond = ratios[-1]
    for step in reversed(ratios[FEW:-1]):
        beyond = step * (1.0 + beyond)
    beyond = terms[-1] * beyond
    above, blocks = beyond, []
    for first in reversed(range(0, FEW, _BLOCK)):
        masses = list(accumulate(reversed(terms[first : first + _BLOCK])))
        blocks.append((above, masses))
        above = above + masses[-1]
    # Masses are P(X > 22), P(X > 21), ..., P(X > 0), up to a common factor.
    target = jnp.where(upper, tail, 1.0 - tail) * (above + 1.0)
    passed = jnp.where(beyond > target, 1.0, 0.0)
    for offset, masses in blocks:
        rest = target - offset
        for mass in masses:
            passed = jnp.where(mass > rest, passed + 1.0, passed)
    return passed


def count_small(
    upper: jax.Array,
    tail: jax.Array,
    factor: Callable[[int], jax.Array],
    lower_terms: int,
) -> jax.Array:
    """Quantile of a law on 0, 1, 2, ... with a mean of at most ``SMALL_MEAN``.

    The terms start from 1 and are normalised by their own sum, which takes no exponential
    and no gamma function.

    Args:
        upper: side of the word.
        tail: tail probability of the word.
        factor: k -> k p(k) / (p(k - 1) SMALL_MEAN), for k from 1. The missing SMALL_MEAN / k
            is a constant of the sum, not a product per lane. It must depend on the word in
            some way that the compiler cannot remove: factors that are constant over a scan
            would be hoisted out of it as one array each, and reading those back costs more
            than the products.
        lower_terms: how many terms the quantiles below SEAM need.

    Returns:
        int32, the smallest k with P(X <= k) >= u.
    """
    product = factor(1)
    terms, weight = [], 1.0
    for k in range(1, SMALL_TERMS):
        weight *= SMALL_MEAN / k
        terms.append(product * np.float32(weight))
        if k + 1 < SMALL_TERMS:
            product = product * factor(k + 1)
    return count_terms(upper, tail, terms, lower_terms)


def count_terms(
    upper: jax.Array,
    tail: jax.Array,
    terms: list[jax.Array],
    lower_terms: int,
    first: jax.Array | float = 1.0,
    rest: jax.Array | None = None,
) -> jax.Array:
    """Number of categories that the word's quantile passes, for terms p(0), p(1), ...

    The lower side sums upward and the upper side downward, so that both tails keep their
    relative precision.

    Args:
        upper: side of the word.
        tail: tail probability of the word.
        terms: p(1), p(2), ..., up to a common factor.
        lower_terms: how many of p(0), p(1), ... the lower side needs.
        first: p(0).
        rest: mass beyond the last term; none when left out.

    Returns:
        int32, the smallest k with P(X <= k) >= u, up to the number of terms.
    """
    above = [terms[-1]] if rest is None else [rest, terms[-1] + rest]
    for term in reversed(terms[:-1]):
        above.append(above[-1] + term)
    above.reverse()  # above[k] is P(X > k), up to the common factor
    total = above[0] + first
    target = jnp.where(upper, tail, 1.0 - tail) * total
    high = sum((mass > target).astype(jnp.int32) for mass in above)
    target = tail * total
    below = jnp.full_like(tail, first) if isinstance(first, float) else first
    low = (below < target).astype(jnp.int32)
    for term in terms[: lower_terms - 1]:
        below = below + term
        low = low + (below < target).astype(jnp.int32)
    return jnp.where(~upper & (tail < SEAM), low, high)


def expansion(
    w: jax.Array,
    inverse_sd: jax.Array,
    v: jax.Array | None,
    d: jax.Array | None,
    cumulants: Sequence[jax.Array] | None = None,
) -> jax.Array:
    """Cornish-Fisher expansion of a lattice quantile, to order 8 in 1/sd.

    Args:
        w: normal quantile of the word.
        inverse_sd: 1 / standard deviation.
        v: p q of the binomial, or None for 0 (Poisson).
        d: q - p of the binomial, or None for 1 (Poisson).
        cumulants: third to sixth cumulant over the variance for a law that is only near a
            binomial; orders 1 to 4 take them, orders 5 to 8 the binomial's.

    Returns:
        x(w) - w. The mean plus sd x(w), rounded to the nearest integer, is the quantile.
    """
    lowest = 1 if cumulants is None else 5
    e = inverse_sd * inverse_sd
    odd = _parity_sum(1, lowest, w * w, e, v) * inverse_sd
    even = _parity_sum(0, lowest, w * w, e, v) * (e * w)
    x = (odd if d is None else odd * d) + even
    return x if cumulants is None else x + _general_sum(w, inverse_sd, cumulants)


def _parity_sum(
    odd: int, lowest: int, w2: jax.Array, e: jax.Array, v: jax.Array | None
) -> jax.Array:
    """Sum of the odd (or even) orders, without the factors common to them."""
    orders: list[jax.Array | np.floating] = []
    for n in range(2 - odd, 9, 2):
        powers = []
        for a in range(1 - odd, n + 2, 2):
            in_v = [np.float32(LATTICE[n, a, b]) for b in range(5) if (n, a, b) in LATTICE]
            powers.append(in_v[0] if v is None or len(in_v) == 1 else polynomial(in_v, v))
        orders.append(polynomial(powers, w2) if n >= lowest else np.float32(0.0))
    return polynomial(orders, e)


def _general_sum(w: jax.Array, inverse_sd: jax.Array, cumulants: Sequence[jax.Array]) -> jax.Array:
    """Orders 1 to 4 for a law given by its third to sixth cumulant."""
    orders: list[jax.Array | np.floating] = [np.float32(0.0)]
    for n in range(1, 5):
        powers: list[jax.Array | np.floating] = [np.float32(0.0)] * (n + 2)
        for (order, a, *exponents), c in GENERAL.items():
            if order == n:
                term = np.float32(c)
                for cumulant, exponent in zip(cumulants, exponents, strict=True):
                    term = term * cumulant**exponent if exponent else term
                powers[a] = powers[a] + term
        orders.append(polynomial(powers, w))
    return polynomial(orders, inverse_sd)


def overdispersed_expansion(
    w: jax.Array, skew: jax.Array, inverse_shape: jax.Array, e: jax.Array | None
) -> jax.Array:
    """The same for the negative binomial and, as its continuous limit, the gamma law.

    Args:
        w: normal quantile of the word.
        skew: skewness, d / sd.
        inverse_shape: 1 / shape.
        e: 1 / variance of the counts, or None for the gamma law.

    Returns:
        x(w) - w.
    """
    w2, minus_v = w * w, -inverse_shape
    odd = _homogeneous_sum(1, w2, minus_v, e) * skew
    even = _homogeneous_sum(0, w2, minus_v, e) * w
    return odd + even


def _homogeneous_sum(odd: int, w2: jax.Array, v: jax.Array, e: jax.Array | None) -> jax.Array:
    """Sum over v^b e^c w^a: order n has b + c = n // 2."""
    in_e = []
    for c in range(5 if e is not None else 1):
        in_v = []
        for b in range(5 - c):
            n = 2 * (b + c) + odd
            powers = [
                np.float32(OVERDISPERSED.get((n, a, b), 0.0)) for a in range(1 - odd, n + 2, 2)
            ]
            in_v.append(polynomial(powers, w2) if 0 < n < 9 else np.float32(0.0))
        in_e.append(polynomial(in_v, v))
    return in_e[0] if e is None else polynomial(in_e, e)
