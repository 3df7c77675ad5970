"""Proper scores of predictive draws: the energy score over all variables, the CRPS of each.

The energy score of draws x_1..x_R against y is mean |x_r - y| - 1/2 mean |x_r - x_s| over pairs
r != s (Gneiting and Raftery, 2007, Journal of the American Statistical Association 102, equation
22, in its unbiased form), with |.| the Euclidean norm of differences divided by a fixed scale per
variable and horizon. Its expectation is smallest for the true law, unlike the squared error of a
single simulated trajectory, which rewards too small a variance.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gsim_jax.simulator.panel import Panel
from gsim_jax.simulator.predict import Forecast, Plan, predict
from gsim_jax.task import Schema

#: Each draw is paired with this many others. Of the score's noise, the pairs' share is then already
#: below that of the distances to the observation.
PAIRS = 2
#: A draw that failed (NaN) counts as this many scales away from everything.
FAILED = 1e3
#: Rows per block where trajectories are too few to be the units of a standard error.
BLOCK = 3
FEW = 10


@struct.dataclass
class Scores:
    """Scores per trajectory, target row and horizon.

    Attributes:
        energy: float32[..., n, T, H], in units of the scale; 0 where `valid` is false.
        valid: bool[..., n, T, H].
        crps: float32[..., n, T, H, V], per variable in units of the scale.
        error: float32[..., n, T, H, V], mean of the draws minus the observation, natural units.
        below: float32[..., n, T, H, V], share of draws below the observation, ties counted half.
        spread: float32[..., n, T, H, V], standard deviation of the draws, natural units.
        counted: bool[..., n, T, H, V], where the variable was seen and the horizon reaches.
        failed: float32[..., n, T], share of free runs that have failed so far.
        code: int32[..., n, T], their failure codes combined.
        shown: `{name: [..., n, T, k, *shape]}`, schema states of the free runs of k replicates;
            without that axis where one replicate was asked for by a scalar.
        outputs: float32[..., n, T, V, k], the scored values of those runs; NaN where they failed.
    """

    energy: jax.Array
    valid: jax.Array
    crps: jax.Array
    error: jax.Array
    below: jax.Array
    spread: jax.Array
    counted: jax.Array
    failed: jax.Array
    code: jax.Array
    shown: dict[str, jax.Array]
    outputs: jax.Array


def energy_score(
    draws: jax.Array, target: jax.Array, seen: jax.Array, scale: jax.Array
) -> jax.Array:
    """Energy score of one forecast.

    Args:
        draws: float32[R, V]; NaN counts as `FAILED` scales away where the variable is seen.
        target: float32[V].
        seen: bool[V]; unseen variables do not enter.
        scale: float32[V], positive, fixed in advance (a scale that depends on the candidate would
            not be proper).

    Returns:
        float32 scalar in units of the scale.
    """
    error, gaps = _differences(draws.T, target, seen, scale)
    return jnp.mean(_norm(error)) - 0.5 * jnp.mean(_norm(gaps))


def _differences(
    draws: jax.Array, target: jax.Array, seen: jax.Array, scale: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Scaled errors [V, R] and differences between paired draws [V, K, R] of draws [V, R]."""
    inside = jnp.where(seen, 1.0 / scale, 0.0)[:, None]
    error = jnp.where(jnp.isfinite(draws), (draws - target[:, None]) * inside, FAILED)
    # What nobody observed is no failure either: a ratio over zero is undefined in both worlds.
    error = jnp.where(seen[:, None], error, 0.0)
    # Offsets spread over the ring of replicates; any set of distinct offsets is unbiased.
    count = draws.shape[1]
    offsets = sorted({max(1, (k * count) // (PAIRS + 1)) for k in range(1, PAIRS + 1)})
    rolled = jnp.stack([jnp.roll(error, offset, axis=1) for offset in offsets], axis=1)
    return error, error[:, None] - rolled


def _norm(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(x * x, axis=0))


def score_forecast(forecast: Forecast, scale: jax.Array) -> Scores:
    """All scores of one row; `scale` is float32[H, V]."""
    target = forecast.target[:, None]

    def one(draws: jax.Array, scale: jax.Array) -> tuple[jax.Array, ...]:
        error, gaps = _differences(draws, forecast.target, forecast.seen, scale)
        energy = jnp.mean(_norm(error)) - 0.5 * jnp.mean(_norm(gaps))
        crps = jnp.mean(jnp.abs(error), 1) - 0.5 * jnp.mean(jnp.abs(gaps), (1, 2))
        below = jnp.mean((draws < target) + 0.5 * (draws == target), 1)
        spread = jnp.sqrt(0.5 * jnp.mean(gaps**2, (1, 2))) * scale
        return energy, crps, jnp.mean(error, 1) * scale, below, spread

    energy, crps, error, below, spread = jax.vmap(one, in_axes=(1, 0))(forecast.draws, scale)
    counted = forecast.valid[:, None] & forecast.seen[None]
    valid = jnp.any(counted, axis=-1)

    def keep(x: jax.Array) -> jax.Array:
        return jnp.where(counted, x, 0.0)

    return Scores(
        energy=jnp.where(valid, energy, 0.0),
        valid=valid,
        crps=keep(crps),
        error=keep(error),
        below=keep(below),
        spread=keep(spread),
        counted=counted,
        failed=jnp.mean(forecast.code != 0),
        code=jax.lax.reduce(forecast.code, np.int32(0), jax.lax.bitwise_or, (0,)),
        shown=forecast.shown,
        outputs=forecast.outputs,
    )


def panel_scores(
    simulator: Any,
    schema: Schema,
    plan: Plan,
    scale: jax.Array,
    u: jax.Array,
    panel: Panel,
    key: jax.Array,
    first: jax.Array,
    show: jax.Array,
    *,
    replicates: int,
    weighted: bool,
) -> Scores:
    """Scores of one point of the unit cube on one panel; jit and vmap at will.

    Args:
        simulator: a program or native simulator.
        schema: the task's schema.
        plan: horizons.
        scale: float32[H, V].
        u: float32[d] on the unit cube.
        panel: n trajectories.
        key: uint32[2], the words.
        first: number of the first trajectory.
        show: the replicate whose free run is kept, int32 scalar or int32[k].
        replicates: R.
        weighted: see `predict`.

    Returns:
        `Scores` with axes [n, T, ...].
    """
    params = simulator.parameters.from_unit(u)
    return predict(
        simulator,
        schema,
        params,
        panel,
        plan,
        key,
        replicates=replicates,
        weighted=weighted,
        first=first,
        show=show,
        reduce=lambda forecast: score_forecast(forecast, scale),
    )


def increment_scale(panel: Panel, plan: Plan) -> np.ndarray:
    """Standard deviation of h-step increments in the data, per horizon and variable.

    Computed once from the training data and frozen: it must not depend on any candidate. The free
    run is scaled by the deviation of `y_t - y_0` over all t.

    Args:
        panel: training data.
        plan: horizons.

    Returns:
        float32[H, V], natural units; where increments do not vary, 1 for the variable's own
        standard deviation of 0, else that deviation.
    """
    values, seen = np.asarray(panel.outputs, float), np.asarray(panel.outputs_seen)
    rows, variables = values.shape[1:]
    scale = np.zeros((len(plan.names), variables))
    for i, name in enumerate(plan.names):
        for v in range(variables):
            y, ok = values[:, :, v], seen[:, :, v]
            if name == "free":
                # A variable may be unseen in the first row: its first seen value stands in.
                begin = np.take_along_axis(y, ok.argmax(1)[:, None], 1)
                increments = (y - begin)[:, 1:][ok[:, 1:]]
            else:
                h = min(int(name), rows - 1)
                increments = (y[:, h:] - y[:, :-h])[ok[:, h:] & ok[:, :-h]]
            deviation = increments.std() if increments.size > 1 else 0.0
            level = y[ok].std() if ok.any() else 0.0
            scale[i, v] = deviation if deviation > 1e-6 * max(level, 1e-12) else level or 1.0
    return scale.astype(np.float32)


def horizon_sums(scores: Scores) -> tuple[jax.Array, jax.Array]:
    """Sum of the energy and number of forecasts per horizon, float32[..., H] each."""
    return jnp.sum(scores.energy, axis=(-3, -2)), jnp.sum(scores.valid, axis=(-3, -2))


def overall(energy: np.ndarray, count: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The score of a candidate; smaller is better.

    Args:
        energy: float64[..., H], sums of the energy.
        count: float64[..., H], numbers of forecasts.
        weights: float64[H], see `Plan.weights`.

    Returns:
        float64[...], the weighted mean over horizons that have forecasts; inf without any.
    """
    share = np.where(count > 0, weights, 0.0)
    means = np.where(count > 0, energy / np.maximum(count, 1), 0.0)
    total = share.sum(axis=-1)
    return np.where(total > 0, (share * means).sum(axis=-1) / np.maximum(total, 1e-12), np.inf)


def contributions(
    energy: np.ndarray, valid: np.ndarray, weights: np.ndarray, units: int
) -> np.ndarray:
    """Splits the overall score into the shares of single units.

    Args:
        energy: float64[P, n, T, H].
        valid: bool[P, n, T, H].
        weights: float64[H].
        units: trajectories that exist, the rest is padding.

    Returns:
        float64[P, U] whose mean over U is the overall score. Units are trajectories, or the single
        rows of fewer than `FEW` trajectories; see `standard_error`.
    """
    count = valid.sum(axis=(1, 2), keepdims=True)
    share = np.where(count > 0, weights, 0.0)
    share = share / np.maximum(share.sum(axis=-1, keepdims=True), 1e-12) / np.maximum(count, 1)
    parts = (energy * share).sum(axis=-1)[:, :units]
    parts = parts.reshape(len(parts), -1) if units < FEW else parts.sum(axis=-1)
    return parts * parts.shape[1]


def covariance_of_mean(values: np.ndarray, trajectories: int) -> np.ndarray:
    """Covariance of the mean over units.

    Trajectories are independent. Rows of few trajectories are not: their covariance comes from
    overlapping blocks of `BLOCK` rows on a ring (Politis and Romano, 1992, the circular block
    bootstrap, whose variance has this closed form).

    Args:
        values: float64[U, k], one row per unit.
        trajectories: number of trajectories behind the units.

    Returns:
        float64[k, k].
    """
    count = len(values)
    centred = values - values.mean(axis=0)
    if trajectories >= FEW:
        return centred.T @ centred / max(count - 1, 1) / count
    block = min(BLOCK, max(count // 2, 1))
    blocks = np.mean([np.roll(centred, -k, axis=0) for k in range(block)], axis=0)
    return block * (blocks.T @ blocks) / max(count - block, 1) / count


def standard_error(values: np.ndarray, trajectories: int) -> float:
    """Standard error of the mean of float64[U] units."""
    return float(np.sqrt(covariance_of_mean(values[:, None], trajectories)[0, 0]))
