"""Inverse CDFs on the integers: summed terms for small means, an expansion for large ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from ._tables import LATTICE, SMALL_LOWER, SMALL_MEAN, SMALL_TERMS
from ._tails import polynomial

# Words below this quantile are looked up from below, the others from above. Anything but 1/2,
# where symmetric laws put an exact tie that the two sides would round differently.
_SEAM = 0.375


def count_small(
    upper: jax.Array, tail: jax.Array, factor: Callable[[int], jax.Array]
) -> jax.Array:
    """Quantile of a law on 0, 1, 2, ... with a mean of at most ``SMALL_MEAN``.

    The terms start from 1 and are normalised by their own sum, which takes no exponential
    and no gamma function. The lower side sums upward and the upper side downward, so that
    both tails keep their relative precision.

    Args:
        upper: side of the word. tail: its tail probability.
        factor: k -> k p(k) / (p(k - 1) SMALL_MEAN), for k from 1. The missing SMALL_MEAN / k
            is a constant of the sum, not a product per lane. It must depend on the word in
            some way that the compiler cannot remove: factors that are constant over a scan
            would be hoisted out of it as one array each, and reading those back costs more
            than the products.

    Returns:
        int32, the smallest k with P(X <= k) >= u.
    """
    product = factor(1)
    scaled, weight = [], 1.0
    for k in range(1, SMALL_TERMS):
        weight *= SMALL_MEAN / k
        scaled.append(product * np.float32(weight))
        product = product * factor(k + 1)
    above = [scaled[-1]]
    for term in reversed(scaled[:-1]):
        above.append(above[-1] + term)
    above.reverse()  # above[k] = P(X > k), up to the common factor
    total = above[0] + 1.0
    lower = ~upper & (tail < _SEAM)
    target = jnp.where(upper, tail, 1.0 - tail) * total
    high = sum((term > target).astype(jnp.int32) for term in above)
    target = tail * total
    below = jnp.ones_like(tail)
    low = (below < target).astype(jnp.int32)
    for term in scaled[: SMALL_LOWER - 1]:
        below = below + term
        low = low + (below < target).astype(jnp.int32)
    return jnp.where(lower, low, high)


def expansion(
    w: jax.Array, inverse_sd: jax.Array, v: jax.Array | None, d: jax.Array | None
) -> jax.Array:
    """Cornish-Fisher expansion of a lattice quantile, to order 8 in 1/sd.

    Args:
        w: normal quantile of the word.
        inverse_sd: 1 / standard deviation.
        v: p q, or None for 0 (Poisson).
        d: q - p, or None for 1 (Poisson).

    Returns:
        x(w) - w: the quantile less its mean is sd x(w), to be rounded to the nearest integer.
    """
    odd = _parity_sum(LATTICE, 1, w * w, inverse_sd * inverse_sd, v) * inverse_sd
    even = _parity_sum(LATTICE, 0, w * w, inverse_sd * inverse_sd, v) * (
        inverse_sd * inverse_sd * w
    )
    return (odd if d is None else odd * d) + even


def _parity_sum(
    table: Mapping[tuple[int, int, int], float],
    odd: int,
    w2: jax.Array,
    e: jax.Array,
    v: jax.Array | None,
) -> jax.Array:
    """Sum of the odd (or even) orders, without the factors common to them."""
    orders = []
    for n in range(2 - odd, 9, 2):
        powers = []
        for a in range(1 - odd, n + 2, 2):
            in_v = [np.float32(table[n, a, b]) for b in range(n // 2 + 1) if (n, a, b) in table]
            powers.append(in_v[0] if v is None or len(in_v) == 1 else polynomial(in_v, v))
        orders.append(polynomial(powers, w2))
    return polynomial(orders, e)
