"""Monotone maps of one variable onto the unit interval: quadratic splines, truncated normals.

Parameters stand on the leading axis, so that the arithmetic runs along the long trailing ones; the
bin of a value is picked by a sum over bins, because gathers (and the scatters of their gradients)
are what is slow on a CPU.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jax.typing import ArrayLike

#: Narrowest and lowest bin, as a share of the interval.
LEAST_BIN = 1e-4
#: Smallest slope at a knot.
LEAST_SLOPE = 1e-3
#: What the softplus of a slope is shifted by, so that a parameter of 0 means slope 1.
_ONE = math.log(math.expm1(1.0 - LEAST_SLOPE))
#: Scales of the truncated normal, as a share of the support of a bounded variable.
SCALES = (1e-5, 3.0)
#: A bounded variable's support stays within so many scales of the location: float32 tails.
_REACH = 6.0
#: Values stay this far from the ends of the interval, where a normal quantile is infinite.
_EDGE = 1e-7


class Bins(NamedTuple):
    """A rational-quadratic spline from [0, 1] onto [0, 1]; K bins, trailing shape of the data.

    Attributes:
        left: [K, ...], left knots.
        width: [K, ...], distances to the right ones.
        bottom: [K, ...], values at the left knots.
        height: [K, ...], rises to the right ones.
        slope: [K + 1, ...], derivatives at the knots.
    """

    left: jax.Array
    width: jax.Array
    bottom: jax.Array
    height: jax.Array
    slope: jax.Array


def spline_size(bins: int) -> int:
    """Number of parameters of one spline: widths, heights, and slopes at all knots."""
    return 3 * bins + 1


def spline_bins(params: jax.Array) -> Bins:
    """The spline of free parameters; all zero is the identity.

    Args:
        params: float32[3 K + 1, ...], any real numbers.
    """
    count = (params.shape[0] - 1) // 3
    left, width = _partition(params[:count])
    bottom, height = _partition(params[count : 2 * count])
    slope = LEAST_SLOPE + jax.nn.softplus(params[2 * count :] + _ONE)
    return Bins(left, width, bottom, height, slope)


def _partition(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    count = logits.shape[0]
    share = LEAST_BIN + (1.0 - LEAST_BIN * count) * jax.nn.softmax(logits, axis=0)
    # A matrix product adds up faster than a cumulative sum does.
    below = np.tril(np.ones((count, count), np.float32), -1)
    left = jnp.reshape(below @ jnp.reshape(share, (count, -1)), share.shape)
    return left, share


def _pick(edges: jax.Array, value: jax.Array, bins: Bins) -> tuple[jax.Array, ...]:
    """Entries of the bin of each value: left, width, bottom, height, both slopes."""
    reached = jnp.concatenate([jnp.ones_like(edges[:1], bool), value[None] >= edges[1:]])
    beyond = jnp.concatenate([reached[1:], jnp.zeros_like(reached[:1])])
    inside = reached & ~beyond

    def of(entries: jax.Array) -> jax.Array:
        return jnp.sum(jnp.where(inside, entries, 0.0), axis=0)

    return *(of(entries) for entries in bins[:4]), of(bins.slope[:-1]), of(bins.slope[1:])


def spline(bins: Bins, value: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Rational-quadratic spline (Durkan et al. 2019, eqs. 4 and 5).

    Args:
        bins: of `spline_bins`.
        value: float32[...] in [0, 1].

    Returns:
        The image in [0, 1], and the log of the derivative.
    """
    left, width, bottom, height, first, last = _pick(bins.left, value, bins)
    ratio = height / width
    at = jnp.clip((value - left) / width, 0.0, 1.0)
    around = at * (1.0 - at)
    below = ratio + (first + last - 2.0 * ratio) * around
    image = bottom + height * (ratio * at**2 + first * around) / below
    rise = last * at**2 + 2.0 * ratio * around + first * (1.0 - at) ** 2
    return jnp.clip(image, 0.0, 1.0), 2.0 * jnp.log(ratio) + jnp.log(rise) - 2.0 * jnp.log(below)


def spline_inverse(bins: Bins, image: jax.Array) -> jax.Array:
    """The value whose image this is (Durkan et al. 2019, eqs. 6 to 8).

    Args:
        bins: of `spline_bins`.
        image: float32[...] in [0, 1].
    """
    left, width, bottom, height, first, last = _pick(bins.bottom, image, bins)
    ratio = height / width
    risen = jnp.clip(image - bottom, 0.0, height)
    bend = risen * (first + last - 2.0 * ratio)
    a = height * (ratio - first) + bend
    b = height * first - bend
    c = -ratio * risen
    root = jnp.sqrt(jnp.maximum(b**2 - 4.0 * a * c, 0.0))
    at = jnp.clip(-2.0 * c / jnp.maximum(b + root, 1e-30), 0.0, 1.0)
    return jnp.clip(left + at * width, 0.0, 1.0)


class Bell(NamedTuple):
    """A normal law cut to the support of a variable, whose distribution function is the map.

    Attributes:
        location: float32[...].
        scale: float32[...], positive.
        low: float32[...], standardised lower end of the support; -inf where there is none.
        high: float32[...], standardised upper end.
    """

    location: jax.Array
    scale: jax.Array
    low: jax.Array
    high: jax.Array


def bell(location: jax.Array, log_scale: jax.Array, bounded: ArrayLike) -> Bell:
    """A truncated normal from free parameters.

    Args:
        location: float32[...], any real numbers.
        log_scale: float32[...], any real numbers.
        bounded: bool[...], whether the variable lives on [0, 1] instead of the real line.
    """
    least, most = np.log(SCALES)
    # A soft clip: a hard one has no gradient to come back by.
    middle, half = (least + most) / 2, (most - least) / 2
    scale = jnp.exp(middle + half * jnp.tanh((log_scale - middle) / half))
    reach = _REACH * scale
    # Beyond its reach the ends' tails would be 0 in float32, and the mass between them as well.
    cut = jnp.where(bounded, jnp.clip(location, -reach, 1.0 + reach), location)
    low = jnp.where(bounded, -cut / scale, -np.inf)
    high = jnp.where(bounded, (1.0 - cut) / scale, np.inf)
    return Bell(cut, scale, low, high)


def bell_parameter(scale: np.ndarray) -> np.ndarray:
    """The `log_scale` that makes a scale, on the host."""
    least, most = np.log(SCALES)
    middle, half = (least + most) / 2, (most - least) / 2
    inside = np.clip((np.log(scale) - middle) / half, -0.999, 0.999)
    return middle + half * np.arctanh(inside)


def _mass(low: jax.Array, high: jax.Array) -> jax.Array:
    """P(low < Z < high); in the upper tail by the lower one, which float32 resolves."""
    flip = low + high > 0
    return ndtr(jnp.where(flip, -low, high)) - ndtr(jnp.where(flip, -high, low))


def bell_forward(law: Bell, value: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The distribution function of a truncated normal.

    Args:
        law: of `bell`.
        value: float32[...] in the support.

    Returns:
        The image in [0, 1], and the log of the derivative.
    """
    at = (value - law.location) / law.scale
    total = _mass(law.low, law.high)
    image = _mass(law.low, at) / total
    log_density = -0.5 * at**2 - 0.5 * math.log(2 * math.pi) - jnp.log(law.scale)
    return jnp.clip(image, 0.0, 1.0), log_density - jnp.log(total)


def bell_inverse(law: Bell, image: jax.Array) -> jax.Array:
    """The quantile function of a truncated normal.

    Args:
        law: of `bell`.
        image: float32[...] in [0, 1].
    """
    image = jnp.clip(image, _EDGE, 1.0 - _EDGE)
    below = ndtr(law.low) * (1.0 - image) + ndtr(law.high) * image
    above = ndtr(-law.low) * (1.0 - image) + ndtr(-law.high) * image
    # Each side keeps its own relative precision; the smaller one is the exact one.
    at = jnp.where(below < above, ndtri(jnp.minimum(below, 0.5)), -ndtri(jnp.minimum(above, 0.5)))
    at = jnp.clip(at, law.low, law.high)
    return law.location + law.scale * at
