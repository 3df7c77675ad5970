"""Tasks of the simulation-based inference benchmark (Lueckmann et al. 2021, appendix T), in JAX."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from gsim_jax.sampling import binomial

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
        return theta[None, :2] + jnp.stack(
            [a * noise[:, 0], lean * noise[:, 0] + rest * noise[:, 1]], axis=-1
        )

    prior = dist.Uniform(-3 * jnp.ones(5), 3 * jnp.ones(5)).to_event(1)
    return Task(prior, simulate, (4, 2), exchangeable=True)


def gaussian_linear() -> Task:
    """Mean of a normal law under a normal prior, ten dimensions (T.1)."""

    def simulate(theta: jax.Array, key: jax.Array) -> jax.Array:
        return theta + math.sqrt(0.1) * jax.random.normal(key, (10,))

    prior = dist.Normal(jnp.zeros(10), math.sqrt(0.1) * jnp.ones(10)).to_event(1)
    return Task(prior, simulate, (10,))


def gaussian_linear_uniform() -> Task:
    """The same under a uniform prior (T.2)."""
    prior = dist.Uniform(-jnp.ones(10), jnp.ones(10)).to_event(1)
    return Task(prior, gaussian_linear().simulate, (10,))


def slcp_distractors() -> Task:
    """SLCP among 92 columns of noise from twenty t laws, in a fixed order (T.4)."""
    # The benchmark's own generator and order of draws: they define where the signal is.
    random = np.random.RandomState(42)
    loc = np.stack([15 * random.normal(size=92) for _ in range(20)])
    factors = np.stack(
        [
            np.tril(random.normal(size=(92, 92))) + np.diag(np.exp(random.normal(size=92)))
            for _ in range(20)
        ]
    )
    loc, factors = loc.astype(np.float32), (3 * factors).astype(np.float32)
    order = random.permutation(100)
    plain = slcp()

    def simulate(theta: jax.Array, key: jax.Array) -> jax.Array:
        data, which, noise, tail = jax.random.split(key, 4)
        signal = jnp.ravel(plain.simulate(theta, data))
        k = jax.random.randint(which, (), 0, 20)
        # chi^2 with two degrees of freedom, over two, is exponential.
        spread = jax.lax.rsqrt(jax.random.exponential(tail))
        rest = jnp.asarray(loc)[k] + jnp.asarray(factors)[k] @ (
            jax.random.normal(noise, (92,)) * spread
        )
        return jnp.concatenate([signal, rest])[order]

    return Task(plain.prior, simulate, (100,))


def _glm() -> tuple[dist.Distribution, np.ndarray, np.ndarray]:
    """Prior, stimulus and design of the Bernoulli GLM."""
    stimulus = np.random.RandomState(42).randn(100).astype(np.float32)
    design = np.ones((100, 10), np.float32)
    for lag in range(9):
        design[:, lag + 1] = np.concatenate([np.zeros(lag), stimulus[: 100 - lag]])
    steps = np.eye(9) - np.eye(9, k=-1)
    smooth = steps @ steps + np.diag(np.sqrt(np.arange(9) / 9))
    precision = np.zeros((10, 10))
    precision[0, 0], precision[1:, 1:] = 0.5, smooth.T @ smooth
    covariance = jnp.asarray(np.linalg.inv(precision), jnp.float32)
    return dist.MultivariateNormal(jnp.zeros(10), covariance), stimulus, design


def bernoulli_glm_raw() -> Task:
    """Spikes of a neuron under a known stimulus (T.6)."""
    prior, _, design = _glm()

    def simulate(theta: jax.Array, key: jax.Array) -> jax.Array:
        chance = jax.nn.sigmoid(jnp.asarray(design) @ theta)
        return jax.random.bernoulli(key, chance).astype(jnp.float32)

    return Task(prior, simulate, (100,))


def bernoulli_glm() -> Task:
    """The same by its sufficient statistics: spike count and spike-triggered average (T.5)."""
    prior, stimulus, _ = _glm()
    raw = bernoulli_glm_raw()
    lagged = np.stack([np.concatenate([np.zeros(k), stimulus[: 100 - k]]) for k in range(9)])
    lagged = lagged.astype(np.float32)

    def simulate(theta: jax.Array, key: jax.Array) -> jax.Array:
        spikes = raw.simulate(theta, key)
        return jnp.concatenate([jnp.sum(spikes)[None], jnp.asarray(lagged) @ spikes])

    return Task(prior, simulate, (10,))


def _runge_kutta(
    slope: Callable[[jax.Array], jax.Array], start: jax.Array, step: float, inner: int, rows: int
) -> jax.Array:
    """States float32[rows + 1, ...] every `inner` steps of the classical method."""

    def one(state: jax.Array, _: None) -> tuple[jax.Array, None]:
        a = slope(state)
        b = slope(state + step / 2 * a)
        c = slope(state + step / 2 * b)
        d = slope(state + step * c)
        return state + step / 6 * (a + 2 * b + 2 * c + d), None

    def row(state: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        state, _ = jax.lax.scan(one, state, None, length=inner)
        return state, state

    _, later = jax.lax.scan(row, start, None, length=rows)
    return jnp.concatenate([start[None], later])


def sir() -> Task:
    """Infections in a million people, counted among a thousand every 17 days (T.9)."""
    people = 1e6

    def simulate(theta: jax.Array, key: jax.Array) -> jax.Array:
        def slope(state: jax.Array) -> jax.Array:
            infected, recovered = theta[0] * state[0] * state[1] / people, theta[1] * state[1]
            return jnp.stack([-infected, infected - recovered, recovered])

        path = _runge_kutta(slope, jnp.array([people - 1, 1.0, 0.0]), 0.25, 68, 9)
        share = jnp.clip(path[:, 1] / people, 0.0, 1.0)
        drawn = binomial(jax.random.key_data(key), jnp.int32(1000), share)
        return drawn.astype(jnp.float32)

    middle, scale = jnp.log(jnp.array([0.4, 0.125])), jnp.array([0.5, 0.2])
    return Task(dist.LogNormal(middle, scale).to_event(1), simulate, (10,))


def lotka_volterra() -> Task:
    """Predators and prey, seen with ten per cent of noise every 2.1 time units (T.10)."""

    def simulate(theta: jax.Array, key: jax.Array) -> jax.Array:
        def slope(state: jax.Array) -> jax.Array:
            prey, hunters = state
            return jnp.stack(
                [
                    theta[0] * prey - theta[1] * prey * hunters,
                    -theta[2] * hunters + theta[3] * prey * hunters,
                ]
            )

        path = _runge_kutta(slope, jnp.array([30.0, 1.0]), 0.02, 105, 9)
        seen = jnp.log(jnp.clip(path, 1e-10, 1e4)) + 0.1 * jax.random.normal(key, (10, 2))
        return jnp.ravel(jnp.exp(seen).T)

    middle = jnp.array([-0.125, -3.0, -0.125, -3.0])
    return Task(dist.LogNormal(middle, 0.5 * jnp.ones(4)).to_event(1), simulate, (20,))


TASKS: dict[str, Callable[[], Task]] = {
    function.__name__: function
    for function in (
        bernoulli_glm,
        bernoulli_glm_raw,
        gaussian_linear,
        gaussian_linear_uniform,
        gaussian_mixture,
        lotka_volterra,
        sir,
        slcp,
        slcp_distractors,
        two_moons,
    )
}
"""Tasks by the names of the benchmark: one function each."""
