"""Posteriors and evidence by particles: tempered SMC and nested sampling, both from blackjax.

Tempered SMC (Del Moral, Doucet and Jasra, 2006, Journal of the Royal Statistical Society B 68) runs
on x = Phi^-1(u) under a standard normal prior, with random-walk moves shaped by the particles.
Nested slice sampling (Yallup, Kroupa and Handley, 2026, arXiv 2601.23252) runs on the cube itself
and gives a second opinion about the evidence.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from gsim_jax.calibrate.exact_grid import Piece
from gsim_jax.calibrate.exact_target import Target
from gsim_jax.simulator.parameters import sobol

#: Share of the particles that stays effective in one step of temperature.
_EFFECTIVE = 0.8
#: Random-walk moves per temperature, plus so many per dimension.
_MOVES, _MOVES_EACH = 2, 1
#: Points of the live set that nested sampling replaces at a time, as a share.
_REPLACED = 0.1
#: Nested sampling stops when the live points can add this share to the evidence.
_LEFT = 1e-3


def tempered(target: Target, number: int, count: int, seed: int) -> Piece:
    """Adaptive tempered SMC in one cell of discrete values.

    Args:
        target: the likelihood.
        number: of the cell.
        count: particles, and draws.
        seed: everything random follows from it.

    Returns:
        The piece; `info` holds the number of `temperatures`, the share of moves `accepted` at the
        last one, and `evidence_error`, the standard error of the log evidence to first order.
    """
    import blackjax
    from blackjax.smc import resampling, tempered

    free = target.space.free
    inside = target.on_normal(target.cells[number])
    dimension, moves = len(free), _MOVES + _MOVES_EACH * len(free)
    walk = blackjax.additive_step_random_walk.build_kernel()

    def move(key: jax.Array, state: Any, density: Any, root: jax.Array) -> Any:
        def step(key: jax.Array, x: jax.Array) -> jax.Array:
            return root @ jax.random.normal(key, x.shape)

        return walk(key, state, density, step)

    kernel = tempered.build_kernel(
        lambda x: -0.5 * jnp.sum(x * x), inside, move, blackjax.additive_step_random_walk.init,
        resampling.systematic,
    )  # fmt: skip
    advance = jax.jit(kernel, static_argnums=2)
    likelihood = jax.jit(jax.vmap(inside))
    start = norm.ppf(sobol(dimension, count, seed))  # even over the prior: less noise at first
    state = tempered.init(jnp.asarray(start, jnp.float32))
    state = state._replace(tempering_param=jnp.float32(0.0))
    key, temperature, steps, variance, evidence = jax.random.key(seed), 0.0, 0, 0.0, 0.0
    accepted = 1.0
    while True:
        x, weights = np.asarray(state.particles, float), np.asarray(state.weights, float)
        if temperature >= 1.0:
            break
        # The kernel resamples and moves at the old temperature, then weights for the new one; the
        # new temperature is chosen on the particles as they stand.
        values = np.asarray(likelihood(state.particles), float)
        temperature = _next(values, weights, temperature)
        key, now = jax.random.split(key)
        parameters = {"root": jnp.asarray(_root(x, weights, dimension), jnp.float32)[None]}
        state, info = advance(now, state, moves, jnp.float32(temperature), parameters)
        evidence += float(info.log_likelihood_increment)
        accepted = float(np.mean(np.asarray(info.update_info.is_accepted)))
        share = np.asarray(state.weights, float)
        variance += float((share**2).sum()) - 1 / len(share)
        steps += 1
    # The last weights are those of temperature 1: one more round of moves spreads the particles.
    key, now = jax.random.split(key)
    parameters = {"root": jnp.asarray(_root(x, weights, dimension), jnp.float32)[None]}
    state, _ = advance(now, state, moves, jnp.float32(1.0), parameters)
    draws = np.repeat(target.cells[number][None], count, axis=0)
    draws[:, free] = norm.cdf(np.asarray(state.particles, float))
    info = {
        "temperatures": float(steps), "accepted": accepted, "evidence_error": float(variance**0.5)
    }  # fmt: skip
    return Piece(draws, evidence, info)


def _next(values: np.ndarray, weights: np.ndarray, temperature: float) -> float:
    """The next temperature, by bisection of log step: the effective share falls to `_EFFECTIVE`."""

    def effective(step: float) -> float:
        with np.errstate(divide="ignore"):
            logs = np.log(weights) + step * (values - values.max())
        share = np.exp(logs - np.logaddexp.reduce(logs))
        return 1.0 / (share**2).sum() / len(share)

    # What the weights lost before is restored by resampling.
    wanted = _EFFECTIVE * effective(0.0)
    most = 1.0 - temperature
    if effective(most) >= wanted:
        return 1.0
    low, high = np.log(1e-12), np.log(most)
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if effective(np.exp(middle)) > wanted else (low, middle)
    return min(temperature + float(np.exp(low)), 1.0)


def _root(x: np.ndarray, weights: np.ndarray, dimension: int) -> np.ndarray:
    """Cholesky root of the steps' covariance: that of the particles, times 2.38^2 / d."""
    centred = x - weights @ x
    covariance = (centred * weights[:, None]).T @ centred
    covariance = 2.38**2 / dimension * covariance + 1e-12 * np.eye(dimension)
    return np.linalg.cholesky(covariance)


def nested(target: Target, number: int, count: int, seed: int) -> Piece:
    """Nested slice sampling in one cell of discrete values.

    Args:
        target: the likelihood.
        number: of the cell.
        count: draws; a quarter as many live points, at least 400.
        seed: everything random follows from it.

    Returns:
        The piece; `info` holds `iterations`, `effective_draws` and `evidence_error`, the standard
        deviation of the log evidence over simulated shrinkages of the volume.
    """
    import blackjax
    from blackjax.ns import utils

    free = target.space.free
    inside = target.on_cube(target.cells[number])
    dimension, live = len(free), max(count // 4, 400)

    def prior(u: jax.Array) -> jax.Array:
        return jnp.where(jnp.all((u > 0) & (u < 1)), 0.0, -jnp.inf)

    def likelihood(u: jax.Array) -> jax.Array:
        # Slices step over the walls of the cube; outside nothing is alive.
        within = jnp.all((u > 0) & (u < 1))
        return jnp.where(within, inside(jnp.clip(u, 0.0, 1.0)), -jnp.inf)

    sampler = blackjax.nss(
        prior, likelihood, num_inner_steps=max(5, 2 * dimension),
        num_delete=max(1, int(_REPLACED * live)),
    )  # fmt: skip
    key, begin, fade = jax.random.split(jax.random.key(seed), 3)
    state = jax.jit(sampler.init)(jax.random.uniform(begin, (live, dimension)))
    advance, dead = jax.jit(sampler.step), []
    while float(state.integrator.logZ_live - state.integrator.logZ) > np.log(_LEFT):
        key, now = jax.random.split(key)
        state, info = advance(now, state)
        dead.append(info)
    found = utils.finalise(state, dead, update_info=False)
    weights = np.asarray(utils.log_weights(fade, found), float)
    weights = np.where(np.isnan(weights), -np.inf, weights)
    sums, logs = np.logaddexp.reduce(weights, axis=0), np.logaddexp.reduce(weights, axis=1)
    share = np.exp(logs - np.logaddexp.reduce(logs))
    points = np.asarray(found.particles.position, float)
    generator = np.random.default_rng(seed)
    chosen = generator.choice(len(points), size=count, p=share)
    draws = np.repeat(target.cells[number][None], count, axis=0)
    draws[:, free] = points[chosen]
    info = {
        "iterations": float(len(dead)), "effective_draws": float(1 / (share**2).sum()),
        "evidence_error": float(sums.std()),
    }  # fmt: skip
    return Piece(draws, float(sums.mean()), info)
