"""The flow: exact inverses, determinants, densities that integrate to one, masks."""

from __future__ import annotations

from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from gsim_jax.calibrate.flow import Flow, FlowShape
from gsim_jax.calibrate.splines import (
    Bell,
    bell,
    bell_forward,
    bell_inverse,
    bell_parameter,
    spline,
    spline_bins,
    spline_inverse,
    spline_size,
)


def test_a_spline_is_monotone_onto_the_unit_interval_and_inverts() -> None:
    params = 2.0 * jax.random.normal(jax.random.key(0), (spline_size(8), 3, 1))
    bins = spline_bins(jnp.broadcast_to(params, (spline_size(8), 3, 401)))
    x = jnp.broadcast_to(jnp.linspace(0.0, 1.0, 401), (3, 401))
    y, rise = spline(bins, x)
    np.testing.assert_allclose(y[:, 0], 0.0, atol=1e-6)
    np.testing.assert_allclose(y[:, -1], 1.0, atol=1e-6)
    assert bool(jnp.all(jnp.diff(y, axis=1) >= 0))
    back = spline_inverse(bins, y)
    np.testing.assert_allclose(spline(bins, back)[0], y, atol=2e-5)
    # Where the spline is flat, float32 says little about where a value came from.
    off = np.abs(np.asarray(back - x))
    assert off[np.asarray(rise) > np.log(0.2)].max() < 1e-4


@pytest.mark.slow
def test_slopes_of_a_spline_are_those_of_automatic_differentiation() -> None:
    params = jax.random.normal(jax.random.key(1), (spline_size(5),))
    bins = spline_bins(params)
    x = jnp.linspace(0.001, 0.999, 97)
    slope = jax.vmap(jax.grad(lambda v: spline(bins, v)[0]))(x)
    wide = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[:, None], (len(leaf), 97)), bins)
    np.testing.assert_allclose(spline(wide, x)[1], jnp.log(slope), atol=1e-4)


def test_parameters_of_zero_are_the_identity() -> None:
    x = jnp.linspace(0.0, 1.0, 21)
    bins = spline_bins(jnp.zeros((spline_size(6), 21)))
    y, rise = spline(bins, x)
    np.testing.assert_allclose(y, x, atol=1e-6)
    np.testing.assert_allclose(rise, 0.0, atol=1e-5)


@pytest.mark.parametrize(
    ("location", "scale"), [(0.5, 0.1), (-0.3, 0.1), (1.4, 0.2), (0.2, 1.5), (0.9, 1e-3)]
)
def test_a_bell_is_the_truncated_normal(location: float, scale: float) -> None:
    law = bell(jnp.float32(location), jnp.float32(bell_parameter(np.array(scale))), True)
    exact = stats.truncnorm(-location / scale, (1 - location) / scale, location, scale)
    x = exact.ppf(np.linspace(0.01, 0.99, 33))
    image, rise = bell_forward(law, jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(image, exact.cdf(x), atol=2e-4)
    np.testing.assert_allclose(rise, exact.logpdf(x), atol=2e-3, rtol=2e-3)
    np.testing.assert_allclose(bell_inverse(law, image), x, atol=2e-4 * max(scale, 0.1))


def test_a_bell_without_bounds_is_the_normal() -> None:
    law = Bell(jnp.float32(2.0), jnp.float32(3.0), jnp.float32(-jnp.inf), jnp.float32(jnp.inf))
    x = np.linspace(-6, 10, 41).astype(np.float32)
    image, rise = bell_forward(law, jnp.asarray(x))
    np.testing.assert_allclose(image, stats.norm.cdf(x, 2, 3), atol=1e-6)
    np.testing.assert_allclose(rise, stats.norm.logpdf(x, 2, 3), rtol=1e-5)
    np.testing.assert_allclose(bell_inverse(law, image), x, atol=1e-3)


def shaken(shape: FlowShape, size: float = 0.08) -> Flow:
    """A flow with weights that no start leaves at zero."""
    flow = Flow(shape, np.random.default_rng(0))
    graph, weights, rest = nnx.split(flow, nnx.Param, ...)
    random = np.random.default_rng(1)
    moved = jax.tree.map(
        lambda leaf: leaf + jnp.asarray(size * random.normal(size=leaf.shape), jnp.float32),
        weights,
    )
    return nnx.merge(graph, moved, rest)


def image(flow: Flow, y: jax.Array, context: jax.Array, summary: jax.Array) -> jax.Array:
    """The point of the unit cube that y[B, d] goes to."""
    for layer in flow.layers:
        y, _ = layer.forward(y, layer.prepare(context, summary))
    return y


INPUT = (jnp.array([[0.3, -1.0, 0.7]]), jnp.array([[0.5, -0.2]]))
SHAPES = {
    "bounded": FlowShape((True, True), 3, 2, layers=3),
    "line": FlowShape((False, False), 3, 2, layers=2),
    "mixed": FlowShape((True, False, True), 3, 2, layers=2),
    "coupling": FlowShape((True,) * 6, 3, 2, layers=2, groups=2),
    "one": FlowShape((True,), 3, 2, layers=2),
}


@pytest.mark.parametrize(
    "name",
    [n if n == "one" else pytest.param(n, marks=pytest.mark.slow) for n in SHAPES],
)
def test_transform_is_the_inverse_and_log_prob_the_determinant(name: str) -> None:
    shape = SHAPES[name]
    flow = shaken(shape)
    d = len(shape.bounded)
    base = jax.random.uniform(jax.random.key(2), (64, d), minval=0.02, maxval=0.98)
    y = jax.jit(flow.transform)(base, *INPUT)
    np.testing.assert_allclose(image(flow, y, *INPUT), base, atol=2e-3)
    one = jax.jacfwd(lambda row: image(flow, row[None], *INPUT)[0])
    jacobian = jax.jit(jax.vmap(one))(y)
    sign, size = jnp.linalg.slogdet(jacobian)
    assert bool(jnp.all(sign == 1.0))
    np.testing.assert_allclose(flow.log_prob(y, *INPUT), size, atol=5e-3)


@pytest.mark.parametrize(
    ("name", "reach"),
    [
        pytest.param("bounded", (0.0, 1.0), marks=pytest.mark.slow),
        ("line", (-9.0, 9.0)),
    ],
)
def test_the_density_integrates_to_one(name: str, reach: tuple[float, float]) -> None:
    flow = shaken(SHAPES[name])
    low, high = reach
    count = 800
    at = low + (np.arange(count) + 0.5) * (high - low) / count
    grid = jnp.asarray(np.stack(np.meshgrid(at, at), -1).reshape(-1, 2), jnp.float32)
    density = jnp.exp(jax.jit(flow.log_prob)(grid, *INPUT))
    total = float(np.mean(np.asarray(density, float))) * (high - low) ** 2
    assert total == pytest.approx(1.0, abs=2e-3)


@pytest.mark.slow
def test_a_variable_depends_on_the_groups_before_it_only() -> None:
    flow = shaken(SHAPES["mixed"])
    layer = flow.layers[0]
    ready = layer.prepare(*INPUT)
    jacobian = jax.jacfwd(lambda y: layer.forward(y[None], ready)[0][0])(jnp.array([0.4, 0.1, 0.6]))
    assert bool(jnp.all(jnp.triu(jacobian, 1) == 0.0))
    lower = np.asarray(jacobian)[np.tril_indices(3)]
    assert bool(np.all(np.abs(lower) > 0.0))


def test_the_start_is_the_regression() -> None:
    flow = Flow(FlowShape((False, False), 3, 2), np.random.default_rng(0))
    weights, before = np.array([[1.0, 0.5], [0.0, -1.0]]), np.array([[0.0, 0.3], [0.0, 0.0]])
    centre, spread = np.array([0.2, -0.4]), np.array([0.5, 0.1])
    flow.start_at(weights, before, centre, spread)
    y = jax.random.normal(jax.random.key(3), (50, 2))
    mean = np.asarray(INPUT[1]) @ weights + np.asarray(y) @ before + centre
    exact = stats.norm.logpdf(np.asarray(y), mean, spread).sum(axis=1)
    np.testing.assert_allclose(flow.log_prob(y, *INPUT), exact, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_it_lowers_for_accelerators(platform: Any) -> None:
    graph, state = nnx.split(shaken(SHAPES["mixed"]))

    def both(state: Any, y: jax.Array, base: jax.Array) -> Any:
        flow = nnx.merge(graph, state)
        loss = jax.value_and_grad(lambda s: jnp.mean(nnx.merge(graph, s).log_prob(y, *INPUT)))
        return loss(state), flow.transform(base, *INPUT)

    y = jnp.full((8, 3), 0.4)
    exported = jax.export.export(jax.jit(both), platforms=[platform])(state, y, y)
    assert exported.platforms == (platform,)
