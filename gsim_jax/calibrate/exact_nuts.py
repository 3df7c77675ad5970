"""Posteriors by NUTS (numpyro) on x = Phi^-1(u), evidence by bridge sampling."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import multivariate_normal, norm

from gsim_jax.calibrate.exact_grid import Piece
from gsim_jax.calibrate.exact_target import Target

#: Steps of adaptation per chain.
_WARMUP = 500
_MOST_ROUNDS = 100


def nuts(target: Target, number: int, count: int, seed: int, chains: int) -> Piece:
    """NUTS in one cell of discrete values.

    Args:
        target: the likelihood, differentiable in its continuous coordinates.
        number: of the cell.
        count: draws, over all chains.
        seed: everything random follows from it.
        chains: number of chains, run side by side.

    Returns:
        The piece, draws chain after chain. `info` holds `divergences`, `r_hat` (the largest),
        `effective_draws` (the smallest) and `evidence_error`.
    """
    from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
    from numpyro.infer import MCMC, NUTS

    free = target.space.free
    inside = target.on_normal(target.cells[number])

    def potential(x: jax.Array) -> jax.Array:
        return 0.5 * jnp.sum(x * x) - inside(x)

    each = -(-count // chains)
    sampler = MCMC(
        NUTS(potential_fn=potential, dense_mass=True), num_warmup=_WARMUP, num_samples=each,
        num_chains=chains, chain_method="vectorized", progress_bar=False,
    )  # fmt: skip
    generator = np.random.default_rng(seed)
    start = _starts(target, number, chains, generator)
    with jax.numpy_rank_promotion("allow"):  # numpyro adds vectors to matrices
        sampler.run(jax.random.key(seed), init_params=jnp.asarray(start, jnp.float32),
                    extra_fields=("diverging",))  # fmt: skip
    x = np.asarray(sampler.get_samples(group_by_chain=True), float)
    evidence, error = bridge(target, number, x, generator)
    draws = np.repeat(target.cells[number][None], chains * each, axis=0)
    draws[:, free] = norm.cdf(x.reshape(-1, len(free)))
    divergences: Any = sampler.get_extra_fields()["diverging"]
    info = {
        "divergences": float(np.sum(divergences)),
        "r_hat": float(np.max(split_gelman_rubin(x))),
        "effective_draws": float(np.min(effective_sample_size(x))),
        "evidence_error": error,
    }
    return Piece(draws, evidence, info)


def _starts(target: Target, number: int, chains: int, generator: np.random.Generator) -> np.ndarray:
    """Starting points near the peaks, float64[chains, k]: one per peak in turn, a little apart."""
    peaks = target.modes(number)[:, target.space.free]
    values = target.values(target.modes(number))
    peaks = peaks[values > values.max() - 20.0]
    x = norm.ppf(np.resize(peaks, (chains, peaks.shape[1])))
    for scale in (0.1, 0.03, 0.01, 0.003, 0.0):
        moved = x + scale * generator.standard_normal(x.shape)
        points = np.repeat(target.cells[number][None], chains, axis=0)
        points[:, target.space.free] = norm.cdf(moved)
        if (target.values(points) > values.max() - 100.0).all():
            return moved
    return x


def bridge(
    target: Target, number: int, x: np.ndarray, generator: np.random.Generator
) -> tuple[float, float]:
    """Evidence from posterior draws by bridge sampling (Meng and Wong, 1996, Statistica Sinica 6).

    A normal law is fitted to one half of the draws and bridged to the other half with the optimal
    bridge function.

    Args:
        target: the likelihood.
        number: of the cell of discrete values.
        x: float64[chains, m, k], posterior draws of x = Phi^-1(u).
        generator: for draws of the normal law.

    Returns:
        Log integral of the relative likelihood, and the difference between its two halves.
    """
    half = x.shape[1] // 2
    parts = [x[:, :half].reshape(-1, x.shape[2]), x[:, half:].reshape(-1, x.shape[2])]
    found = [_bridge(target, number, parts[i], parts[1 - i], generator) for i in range(2)]
    return float(np.mean(found)), float(abs(found[0] - found[1]) / 2)


def _bridge(
    target: Target, number: int, fit: np.ndarray, draws: np.ndarray, generator: np.random.Generator
) -> float:
    mean = fit.mean(axis=0)
    covariance: Any = np.atleast_2d(np.cov(fit.T)) + 1e-12 * np.eye(len(mean))
    law = multivariate_normal(mean, covariance)
    proposed = np.reshape(law.rvs(len(draws), random_state=generator), draws.shape)

    def ratios(x: np.ndarray) -> np.ndarray:
        points = np.repeat(target.cells[number][None], len(x), axis=0)
        points[:, target.space.free] = norm.cdf(x)
        prior = norm.logpdf(x).sum(axis=1)
        return target.values(points) + prior - np.reshape(law.logpdf(x), len(x))

    ours, theirs = ratios(draws), ratios(proposed)
    shift, log_ratio = np.median(ours), 0.0
    for _ in range(_MOST_ROUNDS):
        above = _mean_log(theirs - shift - np.logaddexp(theirs - shift, log_ratio))
        below = _mean_log(-np.logaddexp(ours - shift, log_ratio))
        new = above - below
        if abs(new - log_ratio) < 1e-8:
            break
        log_ratio = new
    return float(log_ratio + shift)


def _mean_log(logs: np.ndarray) -> float:
    return float(np.logaddexp.reduce(logs) - np.log(len(logs)))
