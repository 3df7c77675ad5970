"""Exact CDFs (scipy, float64) on grids, and what the discrete laws deviate from them."""

from __future__ import annotations

import numpy as np
import scipy.special as sp
import scipy.stats as st

from gsim_jax import sampling
from tests.sampling.thresholds import Deviation, compare, rows, spread


def binomial(n: np.ndarray, p: np.ndarray, points: int = 160) -> Deviation:
    n, p = np.asarray(n, np.int32), np.asarray(p, np.float32)
    exact = p.astype(float)
    mean, sd = n * exact, np.sqrt(n * exact * (1 - exact))
    low = np.clip(np.floor(mean - 7 * sd - 8), 0, n)
    high = np.clip(np.ceil(mean + 7 * sd + 24), 0, n)
    k = spread(low, high, points)
    n, p = rows(n, p, like=k)
    law = st.binom(n, p.astype(float))
    return compare(sampling.binomial_from_bits, k, law.cdf(k), law.sf(k), n, p)


def poisson(rate: np.ndarray, points: int = 160) -> Deviation:
    rate = np.asarray(rate, np.float32)
    exact = rate.astype(float)
    low = np.clip(np.floor(exact - 7 * np.sqrt(exact) - 8), 0, None)
    k = spread(low, np.ceil(exact + 7 * np.sqrt(exact) + 24), points)
    (rate,) = rows(rate, like=k)
    law = st.poisson(rate.astype(float))
    return compare(sampling.poisson_from_bits, k, law.cdf(k), law.sf(k), rate)


def negative_binomial(mean: np.ndarray, dispersion: np.ndarray, points: int = 64) -> Deviation:
    mean, r = np.asarray(mean, np.float32), np.asarray(dispersion, np.float32)
    law = st.nbinom(r.astype(float), 1 / (1 + mean.astype(float) / r))
    low, high = np.maximum(law.ppf(1e-9) - 2, 0), np.minimum(law.isf(1e-8) + 2, 2e9)
    # Each k at the start (where the method changes), then evenly, then crowded at the low end.
    start = np.minimum(low[:, None] + np.arange(points), high[:, None])
    crowded = low[:, None] + np.round((high - low)[:, None] * np.linspace(0, 1, points) ** 4)
    k = np.concatenate([start, spread(low, high, points), crowded], 1).astype(np.int32)
    mean, r = rows(mean, r, like=k)
    chance = 1 / (1 + mean.astype(float) / r)
    below = sp.betainc(r.astype(float), k + 1.0, chance)
    above = sp.betainc(k + 1.0, r.astype(float), 1 - chance)
    return compare(sampling.negative_binomial_from_bits, k, below, above, mean, r)


def geometric(p: np.ndarray, points: int = 200) -> Deviation:
    p = np.asarray(p, np.float32)
    k = spread(np.zeros(p.shape), np.ceil(-21 / np.log1p(-p.astype(float))), points)
    (p,) = rows(p, like=k)
    log_above = (k + 1.0) * np.log1p(-p.astype(float))
    return compare(sampling.geometric_from_bits, k, -np.expm1(log_above), np.exp(log_above), p)


def hypergeometric(
    good: np.ndarray, bad: np.ndarray, n: np.ndarray, points: int = 100
) -> Deviation:
    urn = good + bad
    mean = n * (good / urn)
    sd = np.sqrt(mean * (bad / urn) * ((urn - n) / np.maximum(urn - 1, 1)))
    low = np.maximum(np.maximum(0, n - bad), np.floor(mean - 7 * sd - 8))
    k = spread(low, np.minimum(np.minimum(n, good), np.ceil(mean + 7 * sd + 10)), points)
    good, bad, n = rows(*(x.astype(np.int32) for x in (good, bad, n)), like=k)
    law = st.hypergeom(good.astype(np.int64) + bad, good, n)
    draw = sampling.hypergeometric_from_bits
    return compare(draw, k, law.cdf(k), law.sf(k), good, bad, n)
