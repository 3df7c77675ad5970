"""Tasks of the simulation-based inference benchmark (Lueckmann et al. 2021, appendix T), in JAX."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpyro.distributions as dist

Simulate = Callable[[jax.Array, jax.Array], jax.Array]


@dataclass(frozen=True)
class Task:
    """One inference problem.

    Attributes:
        prior: of theta float[d].
        simulate: (theta, key) -> x, one draw.
        shape: of x; references hold it flattened.
        exchangeable: whether the first axis of x carries no order.
    """

    prior: dist.Distribution
    simulate: Simulate
    shape: tuple[int, ...]
    exchangeable: bool = False


def two_moons() -> Task:
    """Two crescents, symmetric about a diagonal (T.8)."""

    def simulate(theta: jax.Array, key: jax.Array) -> jax.Array:
        at, away = jax.random.split(key)
        angle = jax.random.uniform(at, minval=-math.pi / 2, maxval=math.pi / 2)
        radius = 0.1 + 0.01 * jax.random.normal(away)
        moon = radius * jnp.array([jnp.cos(angle), jnp.sin(angle)]) + jnp.array([0.25, 0.0])
        shift = jnp.array([-jnp.abs(theta[0] + theta[1]), theta[1] - theta[0]])
        return moon + shift / math.sqrt(2.0)

    prior = dist.Uniform(-jnp.ones(2), jnp.ones(2)).to_event(1)
    return Task(prior, simulate, (2,))


def gaussian_mixture() -> Task:
    """The common mean of two normals of different widths (T.7)."""

    def simulate(theta: jax.Array, key: jax.Array) -> jax.Array:
        which, noise = jax.random.split(key)
        scale = jnp.where(jax.random.bernoulli(which), 1.0, 0.1)
        return theta + scale * jax.random.normal(noise, (2,))

    prior = dist.Uniform(-10 * jnp.ones(2), 10 * jnp.ones(2)).to_event(1)
    return Task(prior, simulate, (2,))


def slcp() -> Task:
    """Simple likelihood, complex posterior: four points of one normal law (T.3)."""

    def simulate(theta: jax.Array, key: jax.Array) -> jax.Array:
        first, second = theta[2] ** 2, theta[3] ** 2
        rho = jnp.tanh(theta[4])
        noise = jax.random.normal(key, (4, 2))
        # The benchmark adds 1e-6 to both variances, which keeps the Cholesky factor finite.
        a = jnp.sqrt(first**2 + 1e-6)
        lean = rho * first * second / a
        rest = jnp.sqrt(jnp.maximum(second**2 + 1e-6 - lean**2, 0.0))
        return theta[:2] + jnp.stack(
            [a * noise[:, 0], lean * noise[:, 0] + rest * noise[:, 1]], axis=-1
        )

    prior = dist.Uniform(-3 * jnp.ones(5), 3 * jnp.ones(5)).to_event(1)
    return Task(prior, simulate, (4, 2), exchangeable=True)


TASKS: dict[str, Callable[[], Any]] = {
    "gaussian_mixture": gaussian_mixture,
    "slcp": slcp,
    "two_moons": two_moons,
}
