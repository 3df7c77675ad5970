"""Method of simulated moments with optimal weights: the last step of calibration, and its error.

For every forecast the first two moments of the draws, phi = (y, (y - m0)^2), are compared with the
observation's. Weighted by the inverse covariance W of phi under a pilot point, the residuals give
the estimating equation sum J' W (phi_observed - E phi) = 0, the best one that is linear in phi
(Godambe and Thompson, 1989, Journal of Statistical Planning and Inference 22, section 2; McFadden,
1989, Econometrica 57, for simulated expectations). For laws of one exponential family in phi, such
as binomial draws that two rows reveal, it is the likelihood's own equation: no efficiency is lost,
where scores with fixed scales lose some. It is solved by Gauss-Newton steps (`gauss_newton`).

J and E phi are simulated, with different words, so that noise makes the equation neither biased nor
its information too large. J is an instrument: it need not be exact to keep the equation unbiased,
only near the derivative to lose nothing. So slopes are taken over a cloud that is wide compared
with the errors, and smoothed by regression on what is known before the row: either makes them much
less noisy than derivatives row by row.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import hadamard

from gsim_jax.calibrate.contractions import by_horizon, crossed, grams, regressed
from gsim_jax.calibrate.forecasts import Forecasts
from gsim_jax.calibrate.score import FEW
from gsim_jax.calibrate.weights import LEAST, RIDGE, inflation, pooling, weigh
from gsim_jax.simulator.panel import Panel

#: Up to so many variables, products of two are regressors of the slopes.
FEW_VARIABLES = 6
#: Up to so many variables, products of moments are summed entry by entry.
FEW_PRODUCTS = 4
#: Moments of a draw beyond this many scales are cut off: it tells that something is far off, and
#: how far has no say.
REACH = 1e3


@dataclass(frozen=True)
class Equation:
    """The estimating equation at a centre, in coordinates z of a cloud: x = centre + shape z.

    Attributes:
        slope: float64[d], sum of J' W r.
        information: float64[d, d], sum of J' W J.
        units: float64[n, d], each unit's share of `slope` (sums to it).
        noise: float64[d, d], covariance of `slope` from simulation alone.
        misfit: how much wider than noise residuals are, geometric mean over moments; 1 for the
            right structure near the solution.
    """

    slope: np.ndarray
    information: np.ndarray
    units: np.ndarray
    noise: np.ndarray
    misfit: float = 1.0


def design(dimension: int, members: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of a cloud of +-1: a folded-over Hadamard matrix, repeated to fill a call.

    Every column is orthogonal to the others and to all products of two, so that neither other
    parameters nor curvature enter a slope (Plackett and Burman, 1946, Biometrika 33).

    Args:
        dimension: number of parameters d.
        members: N is a multiple of this power of two.

    Returns:
        Points float64[N, d] and the number of the copy that each belongs to, int[N].
    """
    size = 2 ** int(np.ceil(np.log2(dimension + 1)))
    half = hadamard(size)[:, 1 : dimension + 1].astype(float)
    points = np.concatenate([half, -half])
    copies = -(-members // len(points))
    return np.tile(points, (copies, 1)), np.repeat(np.arange(copies), len(points))


def _standard(values: jax.Array, pivot: jax.Array, scale: jax.Array) -> jax.Array:
    """Values less a pivot [n, T, V, H], in units of scale [V, H]; shapes broadcast."""
    scale = scale[(None,) * (values.ndim - scale.ndim)]
    pivot = pivot[(None,) * (values.ndim - pivot.ndim)]
    return jnp.clip((values - pivot) / scale, -REACH, REACH)


@jax.jit
def _contrasts(draws: jax.Array, pivot: jax.Array, scale: jax.Array, signs: jax.Array) -> jax.Array:
    """Sums over members of their mean moments times a sign.

    Args:
        draws: float32[P, n, T, V, H, R].
        pivot: float32[n, T, V, H].
        scale: float32[V, H].
        signs: float32[P, k].

    Returns:
        float32[n, T, H, 2 V, k].
    """
    fine = jnp.isfinite(draws)
    centred = jnp.where(fine, _standard(draws, pivot[..., None], scale[:, :, None]), 0.0)
    count = jnp.maximum(jnp.sum(fine, -1), 1)
    phi = jnp.stack([jnp.sum(centred, -1) / count, jnp.sum(centred**2, -1) / count])
    found = jnp.einsum("fpntvh,pk->nthfvk", phi, signs.astype(jnp.float32))
    return found.reshape(*found.shape[:3], -1, found.shape[-1])


@jax.jit
def _observed(target: jax.Array, pivot: jax.Array, scale: jax.Array) -> jax.Array:
    """The observation's own moments about the pivot, float32[n, T, H, 2 V]."""
    centred = jnp.moveaxis(_standard(target[..., None], pivot, scale), 2, 3)
    return jnp.concatenate([centred, centred**2], axis=-1)


@jax.jit
def _pilot(draws: jax.Array, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What the draws of all members together say, which stand at one point with different words.

    Returns:
        Their mean float32[n, T, V, H] and the covariance of phi float32[n, T, H, 2 V, 2 V].
    """
    draws_of = (0, -1)
    fine = jnp.isfinite(draws)
    count = jnp.maximum(jnp.sum(fine, draws_of), 1)
    mean = jnp.sum(jnp.where(fine, draws, 0.0), draws_of) / count
    centred = jnp.where(fine, _standard(draws, mean[..., None], scale[:, :, None]), 0.0)
    number = draws.shape[0] * draws.shape[-1]
    if draws.shape[3] > FEW_PRODUCTS:
        phi = jnp.concatenate([centred, centred**2], axis=3)
        phi = phi - jnp.mean(phi, draws_of, keepdims=True)
        return mean, jnp.einsum("pntahr,pntbhr->nthab", phi, phi) / number
    # Matrices this small are multiplied faster entry by entry.
    columns = [centred[:, :, :, v] for v in range(draws.shape[3])]
    columns += [column**2 for column in columns]
    means = [jnp.mean(column, draws_of) for column in columns]
    size = len(columns)
    entries = {
        (a, b): jnp.mean(columns[a] * columns[b], draws_of) - means[a] * means[b]
        for a in range(size)
        for b in range(a + 1)
    }
    rows = [[entries[max(a, b), min(a, b)] for b in range(size)] for a in range(size)]
    return mean, jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def equation(
    forecasts: Forecasts,
    to_unit: Callable[[np.ndarray], np.ndarray],
    centre: np.ndarray,
    shape: np.ndarray,
    scale: np.ndarray,
    weights: np.ndarray,
    passes: int,
    fresh: Callable[[], np.ndarray],
    pieces: Sequence[int] | None = None,
) -> Equation:
    """Simulates the estimating equation around a centre.

    Args:
        forecasts: the simulator on the data.
        to_unit: from coordinates x of the search, float64[P, D], to the unit cube.
        centre: float64[D].
        shape: float64[D, d], from the cloud's coordinates to x.
        scale: float32[H, V], see `increment_scale`.
        weights: float64[H], how much a forecast of each horizon counts.
        passes: number of passes with words of their own, at least 2.
        fresh: gives uint32[2], new words with every call.
        pieces: numbers of the pieces of the data to look at, rising; all by default.

    Returns:
        The equation at the centre.
    """
    members, by_variable = forecasts.shape.members, np.asarray(scale.T)
    points, copy = design(shape.shape[1], members)
    batches = np.split(to_unit(centre + points @ shape.T), len(points) // members)
    middle = to_unit(np.tile(centre, (members, 1)))
    signs = np.split(points, len(batches))
    # Copies of the design have words of their own; within one, points share them.
    keys = [np.stack([fresh() for _ in range(copy[-1] + 1)])[copy] for _ in range(passes)]
    keys = [np.split(each, len(batches)) for each in keys]
    own = np.stack([[fresh() for _ in range(members)] for _ in range(2)])
    pieces = range(len(forecasts.panels)) if pieces is None else pieces

    def simulate(piece: int) -> _Simulated:
        drawn, _ = forecasts.draws(middle, piece, own[0])
        pivot, covariance = _pilot(drawn, by_variable)
        # Weights and mean from the same draws would go together wherever draws are skewed.
        again, _ = forecasts.draws(middle, piece, own[1])
        mean = _contrasts(again, pivot, by_variable, np.full((members, 1), 1 / members))
        sums = [
            [
                _contrasts(forecasts.draws(batch, piece, words)[0], pivot, by_variable, z)
                for batch, words, z in zip(batches, of_pass, signs, strict=True)
            ]
            for of_pass in keys
        ]
        return _Simulated(pivot, covariance, mean, sums, drawn.shape[0] * drawn.shape[-1])

    rows, misfit, ahead = [], [], simulate(pieces[0])
    for piece, later in itertools.zip_longest(pieces, pieces[1:]):
        # The device simulates the next piece while this one is evaluated here.
        simulated, ahead = ahead, ahead if later is None else simulate(later)
        pilot = _pilot_of(forecasts, piece, simulated, by_variable, scale)
        slopes = [
            crossed(
                pilot.known, pilot.precision,
                sum(np.asarray(part, float) for part in of_pass) / len(points),
            )
            for of_pass in simulated.sums
        ]  # fmt: skip
        inverse = pilot.inverse * weights[:, None, None]
        rows.append(_Rows(pilot.known, pilot.precision, inverse, pilot.residual, np.stack(slopes)))
        misfit.append(np.log(pilot.misfit).mean())
    chunk = forecasts.shape.chunk
    count = sum(min(chunk, forecasts.count - piece * chunk) for piece in pieces)
    return replace(_assemble(rows, count), misfit=float(np.exp(np.mean(misfit))))


class _Simulated(NamedTuple):
    """What the device makes of one piece of the data.

    Attributes:
        pivot: float32[n, T, V, H], means of draws at the centre.
        covariance: float32[n, T, H, 2 V, 2 V] of their moments.
        mean: float32[n, T, H, 2 V, 1], mean moments of other draws.
        sums: by pass and call the contrasts of the design, float32[n, T, H, 2 V, d].
        sample: number of draws behind each covariance.
    """

    pivot: jax.Array
    covariance: jax.Array
    mean: jax.Array
    sums: list[list[jax.Array]]
    sample: int


class _Pilot(NamedTuple):
    """What draws at the centre say about one piece of the data; fields as in `_Rows`.

    Attributes:
        misfit: float64[H, F], see `inflation`.
    """

    known: np.ndarray
    precision: np.ndarray
    inverse: np.ndarray
    residual: np.ndarray
    misfit: np.ndarray


def _pilot_of(
    forecasts: Forecasts,
    piece: int,
    simulated: _Simulated,
    by_variable: np.ndarray,
    scale: np.ndarray,
) -> _Pilot:
    """Residuals, weights and regressors of a piece, at the centre."""
    pivot, sample = simulated.pivot, simulated.sample
    mean = np.asarray(simulated.mean, float)[..., 0]
    target, seen = forecasts.seen(piece)
    mask = np.moveaxis(np.asarray(seen), 2, 3)  # [n, T, H, V]
    mask = np.concatenate([mask, mask], axis=-1)
    covariance = np.asarray(simulated.covariance, float)
    observed = np.asarray(_observed(target, pivot, by_variable), float)
    residual = np.where(mask, observed - mean, 0.0)
    known = _known(forecasts.panels[piece], np.asarray(pivot, float), covariance, scale)
    known = known * mask.any(axis=-1, keepdims=True)
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    typical = np.mean(variance, axis=(0, 1), keepdims=True)
    ridge = RIDGE * np.maximum(typical, LEAST)
    pooled = pooling(covariance, mask, sample)
    precision = 1.0 / ((1.0 - pooled) * variance + pooled * typical + ridge)
    worse = inflation(residual, precision, mask)
    wider = covariance + ((worse**2 - 1.0) * variance)[..., None] * np.eye(variance.shape[-1])
    return _Pilot(known, precision, weigh(wider, mask, sample, pooled), residual, worse)


class _Rows(NamedTuple):
    """What one piece of the data adds.

    Attributes:
        known: float64[n, T, H, q], regressors Z of the slopes; 0 in rows that do not count.
        precision: float64[n, T, H, F], weights G of that regression.
        inverse: float64[n, T, H, F, F], weights W.
        residual: float64[n, T, H, F], r.
        slopes: float64[K, H, q, F, d], Z' G J per pass.
    """

    known: np.ndarray
    precision: np.ndarray
    inverse: np.ndarray
    residual: np.ndarray
    slopes: np.ndarray


def _known(
    panel: Panel, pivot: np.ndarray, covariance: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Regressors of the slopes, float64[n, T, H, q]: what is known before a row.

    Mean and variance that the pilot forecasts, products of means where variables are few, and what
    was observed one row before.
    """
    mean = np.moveaxis(pivot, 2, 3) / scale  # [n, T, H, V]
    variables = mean.shape[-1]
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)[..., :variables]
    shown = np.asarray(panel.outputs_seen[:, :-1])
    before = np.where(shown, np.asarray(panel.outputs[:, :-1]), 0.0) / scale[0]
    before = np.broadcast_to(before[:, :, None], mean.shape)
    columns = [np.ones((*mean.shape[:-1], 1)), mean, variance, before]
    if variables <= FEW_VARIABLES:
        upper = np.triu_indices(variables)
        columns.append(mean[..., upper[0]] * mean[..., upper[1]])
        columns.append(before[..., upper[0]] * before[..., upper[1]])
    return np.concatenate(columns, axis=-1)


def _assemble(rows: list[_Rows], trajectories: int) -> Equation:
    """Smooths the slopes over all rows and adds everything up."""
    gram = np.sum([grams(row.known, row.precision) for row in rows], axis=0)
    size = np.sqrt(np.maximum(np.diagonal(gram, axis1=-2, axis2=-1), 1e-12))
    both = size[..., :, None] * size[..., None, :]
    solved = np.linalg.inv(gram / both + 1e-6 * np.eye(gram.shape[-1])) / both
    per_piece = np.stack([row.slopes for row in rows])  # [p, K, h, q, f, d]
    smooth = np.moveaxis(solved @ np.moveaxis(per_piece, 4, 3), 3, 4)
    passes = smooth.shape[1]
    of_pass = smooth.sum(axis=0)
    mean = of_pass.mean(axis=0)
    weighted = [np.einsum("nthab,nthb->ntha", row.inverse, row.residual) for row in rows]
    units = np.concatenate(
        [_units(row.known, mean, w) for row, w in zip(rows, weighted, strict=True)]
    )[:trajectories]
    total = sum(
        by_horizon(row.known).swapaxes(1, 2) @ by_horizon(w)
        for row, w in zip(rows, weighted, strict=True)
    )
    # Lanes of different pieces and passes have words of their own: their noise adds up.
    each = np.einsum("hqf,pkhqfd->pkd", total, smooth, optimize=True)
    centred = each - each.mean(axis=1, keepdims=True)
    noise = np.einsum("pkd,pke->de", centred, centred) / (passes * (passes - 1))
    if trajectories >= FEW:
        units = units.sum(axis=1)
    units = units.reshape(-1, units.shape[-1])
    return Equation(units.sum(axis=0), _information(rows, of_pass), units, noise)


def _units(known: np.ndarray, slope: np.ndarray, weighted: np.ndarray) -> np.ndarray:
    """J' W r of every row, float64[n, T, d]."""
    made = np.einsum("hkfd,hkf->kd", regressed(known, slope), by_horizon(weighted))
    return made.reshape(*known.shape[:2], -1)


def _information(rows: list[_Rows], slopes: np.ndarray) -> np.ndarray:
    """Sum of J' W J, factors from different passes; `slopes` float64[K, H, q, F, d]."""
    passes, total = len(slopes), np.zeros((slopes.shape[-1],) * 2)

    def squared(known: np.ndarray, inverse: np.ndarray, slope: np.ndarray) -> np.ndarray:
        j = regressed(known, slope)
        return np.tensordot(j, by_horizon(inverse) @ j, ((0, 1, 2), (0, 1, 2)))

    for row in rows:
        total += squared(row.known, row.inverse, slopes.sum(axis=0))
        total -= sum(squared(row.known, row.inverse, slope) for slope in slopes)
    return (total + total.T) / 2 / (passes * (passes - 1))
