"""Priors as coordinates in which a flow works: [0, 1] or the real line, prior uniform or normal.

A marginal with a quantile function becomes uniform on [0, 1], so that the flow's support is the
prior's and nothing leaks out of it; normal and lognormal ones become standard normal, where their
tails are not squeezed. What has neither goes through `numpyro.distributions.biject_to`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import ndtr, ndtri
from jax.scipy.stats import norm

from gsim_jax.simulator.parameters import EDGE, ParameterSpace
from gsim_jax.task import InputError, Problem

#: Coordinates on [0, 1] stay this far from its ends.
_EDGE = 1e-7
#: Prior draws that scale coordinates without a quantile function.
_PILOT = 4096
#: Standard normal coordinates end here when a region of them is taken.
FAR = 8.0


@dataclass(frozen=True, eq=False)
class Coordinates:
    """A prior seen from the flow: theta = value(y).

    Attributes:
        bounded: for each coordinate, whether y lives on [0, 1] instead of the real line.
        labels: names of the parameters.
        uniform: whether y is a priori uniform where bounded and standard normal elsewhere, all
            independent; then regions of it can be drawn from exactly.
        draw: key -> y float32[d], one draw from the prior.
        value: y float32[d] -> theta float32[d].
        locate: theta[n, d] -> y float32[n, d]; NaN outside of the prior's support.
        slope: theta[n, d] -> log |dy / dtheta| float32[n].
        source: what it was made from: a numpyro prior or a parameter space.
        cells: number of values of integers and choices, 0 for continuous parameters; empty where
            all are continuous.
    """

    bounded: tuple[bool, ...]
    labels: tuple[str, ...]
    uniform: bool
    draw: Callable[[jax.Array], jax.Array]
    value: Callable[[jax.Array], jax.Array]
    locate: Callable[[Any], jax.Array]
    slope: Callable[[Any], jax.Array]
    source: Any
    cells: tuple[int, ...] = ()

    @property
    def dimension(self) -> int:
        """Number of parameters d."""
        return len(self.bounded)

    @cached_property
    def values(self) -> Callable[[jax.Array], jax.Array]:
        """`value` of many points, float32[n, d] -> float32[n, d]; compiled once."""
        return jax.jit(jax.vmap(lambda y: jnp.ravel(self.value(y))))

    def whole_cells(self, y: np.ndarray, box: np.ndarray, cut: float) -> np.ndarray:
        """A box whose ends lie on the edges of cells, where parameters are integers or choices.

        Args:
            y: float[n, d], draws.
            box: float[2, d].
            cut: share of the draws that may fall below the first cell and above the last.
        """
        box = np.array(box)
        for k in np.flatnonzero(self.cells):
            count = self.cells[k]
            cell = np.clip(np.floor(y[:, k] * count), 0, count - 1)
            first, last = np.quantile(cell, [cut, 1 - cut], method="nearest")
            box[:, k] = first / count, (last + 1) / count
        return box

    def shares(self, key: jax.Array, box: jax.Array) -> jax.Array:
        """One draw from the prior inside of a box, in the coordinates that `from_box` takes.

        Args:
            key: a JAX key.
            box: float32[2, d].
        """
        share = jax.random.uniform(key, (self.dimension,), minval=_EDGE)
        # Integers and choices keep their place, so that each value keeps its cell.
        return jnp.where(self._whole(share.shape), box[0] + (box[1] - box[0]) * share, share)

    def from_box(self, inside: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
        """The point of a box low < y < high at shares `inside` of its prior mass per coordinate.

        Integers and choices are left as they are: their coordinate is no share of a box.

        Args:
            inside: float32[..., d] in [0, 1].
            low: float32[d].
            high: float32[d].
        """
        low, high = (jnp.broadcast_to(end, inside.shape) for end in (low, high))
        bounded = np.broadcast_to(np.asarray(self.bounded), inside.shape)
        straight = low + (high - low) * inside
        # Both tails by their own, so that neither ends at float32's 1 - 6e-8.
        below = ndtr(low) * (1.0 - inside) + ndtr(high) * inside
        above = ndtr(-low) * (1.0 - inside) + ndtr(-high) * inside
        tiny = np.finfo(np.float32).tiny
        bent = jnp.where(
            below < above,
            ndtri(jnp.clip(below, tiny, 0.5)),
            -ndtri(jnp.clip(above, tiny, 0.5)),
        )
        bent = jnp.clip(bent, low, high)
        straight = jnp.where(self._whole(inside.shape), inside, straight)
        return jnp.where(bounded, straight, bent)

    def _whole(self, shape: tuple[int, ...]) -> np.ndarray:
        """Which coordinates are integers or choices, bool of a shape[..., d]."""
        return np.broadcast_to(np.asarray(self.cells or (0,) * self.dimension) > 0, shape)

    def to_box(self, y: jax.Array, low: jax.Array, high: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The inverse of `from_box` and its log |determinant|; NaN outside of the box.

        Args:
            y: float32[n, d].
            low: float32[d].
            high: float32[d].

        Returns:
            Shares float32[n, d] and float32[n].
        """
        low, high = (jnp.broadcast_to(end, y.shape) for end in (low, high))
        bounded = np.broadcast_to(np.asarray(self.bounded), y.shape)
        flip = low + high > 0
        mass = jnp.where(flip, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low))
        part = jnp.where(flip, ndtr(-low) - ndtr(-y), ndtr(y) - ndtr(low))
        share = jnp.where(bounded, (y - low) / (high - low), part / mass)
        rise = jnp.where(bounded, -jnp.log(high - low), norm.logpdf(y) - jnp.log(mass))
        share, rise = (jnp.where(self._whole(y.shape), a, b) for a, b in ((y, share), (0.0, rise)))
        share = jnp.where((y >= low) & (y <= high), share, jnp.nan)
        return share, jnp.sum(rise, axis=-1)


def coordinates_of(prior: Any) -> Coordinates:
    """Coordinates of a prior.

    Args:
        prior: a continuous numpyro distribution of a vector or of independent numbers, or a
            `ParameterSpace`.

    Raises:
        InputError: something else.
    """
    if isinstance(prior, ParameterSpace):
        return _of_space(prior)
    if not isinstance(prior, dist.Distribution):
        text = f"prior: expected a numpyro distribution or a ParameterSpace; got {type(prior)!r}"
        raise InputError((Problem("prior", text),))
    shape = prior.batch_shape + prior.event_shape
    if len(shape) > 1 or prior.support is None or prior.support.is_discrete:
        text = (
            "prior: expected a continuous distribution of one number or one vector; got "
            f"{type(prior).__name__} of shape {list(shape)}"
        )
        raise InputError((Problem("prior", text),))
    marginals = _marginals(prior)
    if marginals is not None:
        return marginals
    if isinstance(prior, dist.MultivariateNormal):
        return _of_normal(prior)
    return _of_bijection(prior)


def _labels(d: int) -> tuple[str, ...]:
    return tuple(f"theta[{i}]" for i in range(d))


def _marginals(prior: dist.Distribution) -> Coordinates | None:
    """Coordinates of independent marginals; None where they are none, or have no quantiles."""
    base: Any = prior
    if isinstance(base, dist.Independent):
        base = base.base_dist
    if base.event_shape:
        return None
    d = int(np.prod(base.batch_shape, dtype=int))
    shape, inner = base.batch_shape, base
    while isinstance(inner, dist.ExpandedDistribution):
        inner = inner.base_dist
    if isinstance(inner, dist.Normal | dist.LogNormal):
        return _of_location_scale(prior, inner, d)
    try:
        middle = base.cdf(base.icdf(jnp.full(shape, 0.5)))
    except (NotImplementedError, ImportError):  # some quantiles ask for a package of their own
        return None
    if not bool(jnp.all(jnp.abs(middle - 0.5) < 1e-3)):
        return None

    def value(y: jax.Array) -> jax.Array:
        at = jnp.clip(jnp.reshape(y, shape), _EDGE, 1 - _EDGE)
        return jnp.reshape(base.icdf(at), (d,))

    # Row by row: numpyro's own arithmetic promotes ranks, which JAX may be told to refuse.
    def one(theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        at = jnp.reshape(theta, shape)
        inside = jnp.reshape(base.support(at), (d,))
        share = jnp.clip(jnp.reshape(base.cdf(at), (d,)), _EDGE, 1 - _EDGE)
        return jnp.where(inside, share, jnp.nan), jnp.sum(base.log_prob(at))

    def locate(theta: Any) -> jax.Array:
        return jax.vmap(one)(jnp.reshape(jnp.asarray(theta, jnp.float32), (-1, d)))[0]

    def slope(theta: Any) -> jax.Array:
        return jax.vmap(one)(jnp.reshape(jnp.asarray(theta, jnp.float32), (-1, d)))[1]

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (d,), minval=_EDGE, maxval=1 - _EDGE)

    return Coordinates((True,) * d, _labels(d), True, draw, value, locate, slope, prior)


def _of_location_scale(prior: Any, inner: Any, d: int) -> Coordinates:
    loc = np.broadcast_to(np.asarray(inner.loc, np.float32), (d,))
    scale = np.broadcast_to(np.asarray(inner.scale, np.float32), (d,))
    positive = isinstance(inner, dist.LogNormal)

    def value(y: jax.Array) -> jax.Array:
        x = jnp.asarray(loc + scale * y)
        return jnp.exp(x) if positive else x

    def locate(theta: Any) -> jax.Array:
        theta = jnp.reshape(jnp.asarray(theta, jnp.float32), (-1, d))
        x = jnp.log(jnp.where(theta > 0, theta, jnp.nan)) if positive else theta
        return jnp.asarray((x - loc[None]) / scale[None])

    def slope(theta: Any) -> jax.Array:
        theta = jnp.reshape(jnp.asarray(theta, jnp.float32), (-1, d))
        rise = -jnp.log(scale)[None] - (jnp.log(theta) if positive else 0.0 * theta)
        return jnp.sum(rise, axis=-1)

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.normal(key, (d,))

    return Coordinates((False,) * d, _labels(d), True, draw, value, locate, slope, prior)


def _of_normal(prior: dist.MultivariateNormal) -> Coordinates:
    loc, factor = np.asarray(prior.loc), np.asarray(prior.scale_tril)
    back = np.linalg.inv(factor.astype(float)).astype(np.float32)
    d = len(loc)
    rise = -float(np.sum(np.log(np.diagonal(factor))))

    def locate(theta: Any) -> jax.Array:
        theta = jnp.reshape(jnp.asarray(theta, jnp.float32), (-1, d))
        return (theta - loc[None]) @ back.T

    return Coordinates(
        (False,) * d, _labels(d), True, lambda key: jax.random.normal(key, (d,)),
        lambda y: jnp.asarray(loc + factor @ y), locate,
        lambda theta: jnp.full((jnp.reshape(jnp.asarray(theta), (-1, d)).shape[0],), rise), prior,
    )  # fmt: skip


def _of_bijection(prior: dist.Distribution) -> Coordinates:
    transform: Any = dist.biject_to(prior.support)
    shape = tuple(prior.batch_shape + prior.event_shape)
    theta = jax.vmap(prior.sample)(jax.random.split(jax.random.key(0), _PILOT))
    free = jnp.reshape(jax.vmap(transform.inv)(theta), (_PILOT, -1))
    d = free.shape[1]
    mean, scale = jnp.mean(free, axis=0), jnp.std(free, axis=0)

    def value(y: jax.Array) -> jax.Array:
        return jnp.reshape(transform(mean + scale * y), shape)

    def one(theta: jax.Array) -> tuple[jax.Array, jax.Array]:
        at = jnp.reshape(theta, shape)
        free = transform.inv(at)
        rise = jnp.sum(transform.log_abs_det_jacobian(free, at)) + jnp.sum(jnp.log(scale))
        inside = jnp.all(transform.codomain(at))
        return jnp.where(inside, (jnp.reshape(free, (d,)) - mean) / scale, jnp.nan), -rise

    def locate(theta: Any) -> jax.Array:
        return jax.vmap(one)(jnp.reshape(jnp.asarray(theta, jnp.float32), (-1, *shape)))[0]

    def slope(theta: Any) -> jax.Array:
        return jax.vmap(one)(jnp.reshape(jnp.asarray(theta, jnp.float32), (-1, *shape)))[1]

    def draw(key: jax.Array) -> jax.Array:
        return jnp.reshape((jnp.ravel(transform.inv(prior.sample(key))) - mean) / scale, (d,))

    return Coordinates((False,) * d, _labels(d), False, draw, value, locate, slope, prior)


def _of_space(space: ParameterSpace) -> Coordinates:
    """Parameters of a simulator: theta is their flat vector, integers and choices as floats."""
    bell = [e.prior in ("Normal", "LogNormal") for e in space.entries for _ in range(e.size)]
    bounded = ~np.asarray(bell, bool)
    d = space.dimension

    def value(y: jax.Array) -> jax.Array:
        found = space.from_unit(unit_of(bounded, y))
        cells = [jnp.ravel(found[e.group][e.name]).astype(jnp.float32) for e in space.entries]
        return jnp.concatenate(cells)

    def locate(theta: Any) -> jax.Array:
        if space.discrete.any():
            text = "log_prob: a density needs continuous parameters; count draws of the others"
            raise InputError((Problem("discrete", text),))
        theta = np.reshape(np.asarray(theta, float), (-1, d))
        u, at = np.empty_like(theta), 0
        for entry in space.entries:
            u[:, at : at + entry.size] = entry.position(theta[:, at : at + entry.size])
            at += entry.size
        # A position is clipped to the support: what does not come back was outside.
        y = jnp.where(bounded[None], u, ndtri(jnp.asarray(u, jnp.float32)))
        back = np.asarray(jax.vmap(value)(y))
        near = np.abs(back - theta) <= 1e-3 * (np.abs(theta) + np.abs(back)) + 1e-6
        return jnp.where(near, y, jnp.nan)

    def slope(theta: Any) -> jax.Array:
        y = locate(theta)
        rows = jax.vmap(jax.jacfwd(value))(jnp.nan_to_num(y, nan=0.5))
        return -jnp.sum(jnp.log(jnp.abs(jnp.diagonal(rows, axis1=-2, axis2=-1))), axis=-1)

    def draw(key: jax.Array) -> jax.Array:
        first, second = jax.random.split(key)
        flat = jax.random.uniform(first, (d,), minval=EDGE, maxval=1 - EDGE)
        return jnp.where(bounded, flat, jax.random.normal(second, (d,)))

    flags = tuple(bool(b) for b in bounded)
    cells = tuple(int(c) for c in space.cells)
    return Coordinates(flags, space.labels, True, draw, value, locate, slope, space, cells)


def unit_of(bounded: Any, y: jax.Array) -> jax.Array:
    """The unit cube's point of coordinates: y itself where bounded, else Phi(y)."""
    return jnp.where(np.broadcast_to(np.asarray(bounded), y.shape), y, ndtr(y))
