"""An alarm for data that a simulator cannot produce, however its parameters are chosen.

A posterior says which parameters suit the data best, not whether any do. So the data are compared
with replicas: data sets that the simulator itself draws at parameters from the posterior. What is
compared are residuals of forecasts one step ahead and of free runs, each in units of the forecast's
own spread: their bias, scatter, tails, memory, trend, and dependence on levels and on one another.
Each of these statistics is taken at the same parameters on the data and on a replica (posterior
predictive checks with discrepancies: Gelman, Meng and Stern, 1996, Statistica Sinica 6), and the
largest deviation is judged by how large it gets among replicas. The parameters are not fitted to
replicas again, as they were to the data: that makes the alarm a little slower to fire, not faster.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.calibrate.alarm_statistics import describe, names_of, statistics
from gsim_jax.calibrate.around import posterior_draws
from gsim_jax.calibrate.calibration import Calibration
from gsim_jax.compilation import lanes_jit
from gsim_jax.simulator.panel import TRAJECTORIES, Panel, build_panel, is_complete, repeat
from gsim_jax.simulator.predict import Forecast, Plan, predict
from gsim_jax.task import InputError, Problem, Schema, Trajectories

#: Replicas, and so the finest p-value: 1 / (REPLICAS + 1).
REPLICAS = 99
#: Draws per forecast; more particles where something is hidden.
_DRAWS, _PARTICLES = 32, 64
#: Rows of data looked at, and counted operations per draw and pass over the data; larger panels are
#: thinned by whole trajectories, those of dear simulators to no less than the least.
_LEAST_ROWS, _MOST_ROWS, _WORK = 500, 2000, 2_000_000
#: Replicas per compiled call.
_BATCH = 9
_PLAN = Plan((), True)
#: Residuals are cut here: where a forecast has no spread, the data may be infinitely far.
_CUT = 10.0


@dataclass(frozen=True)
class Deviation:
    """One statistic that is out of line.

    Attributes:
        name: of the statistic.
        z: (data - mean of replicas) / standard deviation of replicas.
        words: what it means.
    """

    name: str
    z: float
    words: str


@dataclass(frozen=True)
class AlarmReport:
    """Whether the data lie outside of what the simulator can produce.

    Attributes:
        fires: whether they do, at the level asked for.
        p_value: share of replicas whose largest deviation is as large as the data's.
        deviations: statistics beyond what replicas show, the largest first; at least one.
        statistics: `{name: z}`, all of them.
        failed: share of replicas in which something failed.
    """

    fires: bool
    p_value: float
    deviations: tuple[Deviation, ...]
    statistics: dict[str, float]
    failed: float

    def to_text(self) -> str:
        """For people."""
        if not self.fires:
            return (
                f"The data are such as this simulator produces (p = {self.p_value:.2f} for the "
                "largest deviation)."
            )
        lines = [
            "Alarm: this simulator does not produce such data at any of the parameters given "
            f"(p = {self.p_value:.2g}). Change its structure, or doubt the fit:"
        ]
        return "\n".join(lines + [f"  {deviation.words}" for deviation in self.deviations[:5]])

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "fires": self.fires,
            "p_value": self.p_value,
            "deviations": [vars(deviation) for deviation in self.deviations],
            "failed": self.failed,
        }


def check_data(
    simulator: Any,
    schema: Schema,
    data: Trajectories,
    draws: np.ndarray | Calibration,
    seed: int = 0,
    *,
    level: float = 0.05,
) -> AlarmReport:
    """Compares data with replicas of the simulator.

    Args:
        simulator: a program or native simulator.
        schema: the task's schema.
        data: the observed data; gaps and lengths are copied by the replicas.
        draws: float[m, d], points of the unit cube from a posterior given these data (not from
            the prior), or a calibration.
        seed: everything random follows from it.
        level: share of false alarms that is accepted; at least 0.01.

    Returns:
        The report.

    Raises:
        InputError: no draws, draws of another dimension, or a level out of range.
    """
    u = _points(simulator, draws, seed, level)
    panel = build_panel(schema, _thinned(data, simulator.cost))
    weighted = not is_complete(data) or bool(simulator.latent) or bool(simulator.observed)
    count = _PARTICLES if weighted else _DRAWS
    run = partial(_compiled, simulator, schema, count, weighted)
    own, null, bad = [], [], []
    for number, batch in enumerate(_batches(u)):
        points = jnp.asarray(batch, jnp.float32)
        found, states, outputs = run(points, repeat(panel, len(batch)), _key(seed, number, 0))
        replicas = _replicas(panel, states, outputs)
        again, _, _ = run(points, replicas, _key(seed, number, 1))
        own.append(np.asarray(found, float))
        null.append(np.asarray(again, float))
        lost = ~np.isfinite(np.asarray(outputs)) & np.asarray(panel.outputs_seen)[None, :, 1:]
        bad.append(lost.any(axis=(1, 2, 3)))
    labels = tuple(output.label for output in schema.outputs)
    return _judge(labels, np.concatenate(own), np.concatenate(null), np.concatenate(bad), level)


def _points(simulator: Any, draws: np.ndarray | Calibration, seed: int, level: float) -> np.ndarray:
    """float64[REPLICAS, d]: every draw as often as it takes."""
    if not 1 / (REPLICAS + 1) <= level < 1:
        text = f"level: expected 0.01 or more, below 1; got {level}"
        raise InputError((Problem("level", text),))
    if isinstance(draws, Calibration):
        draws = posterior_draws(draws, REPLICAS, seed)
    points, d = np.asarray(draws, float), simulator.parameters.dimension
    if points.ndim != 2 or not len(points) or points.shape[1] != d:
        text = f"draws: expected points of the unit cube [m, {d}]; got {list(points.shape)}"
        raise InputError((Problem("draws", text),))
    order = np.random.default_rng([seed, 4]).permutation(len(points))
    return np.resize(points[order], (REPLICAS, d))


def _thinned(data: Trajectories, cost: int) -> Trajectories:
    rows = int(np.clip(_WORK // max(cost, 1), _LEAST_ROWS, _MOST_ROWS))
    most = max(rows // max(data.rows - 1, 1), 1)
    if len(data) <= most:
        return data
    return data.take(np.linspace(0, len(data) - 1, most).astype(int))


def _batches(u: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(u), _BATCH):
        yield u[start : start + _BATCH]


def _key(seed: int, number: int, role: int) -> np.ndarray:
    return np.random.SeedSequence([seed, number, role]).generate_state(2, np.uint32)


def _replicas(panel: Panel, states: dict[str, jax.Array], outputs: jax.Array) -> Panel:
    """The panel with free runs instead of the data, masks as they were."""
    count = outputs.shape[0]
    shared = repeat(panel, count)

    def after(first: jax.Array, later: jax.Array) -> jax.Array:
        start = jnp.broadcast_to(first[None, :, :1], (count, *first[:, :1].shape))
        return jnp.concatenate([start.astype(later.dtype), later], axis=2)

    filled = {
        name: jnp.where(shared.seen[name], after(panel.states[name], states[name]), 0)
        for name in panel.states
    }
    values = after(panel.outputs, outputs)
    seen = shared.outputs_seen & jnp.isfinite(values)
    return shared.replace(  # type: ignore[attr-defined]
        states=filled, outputs=jnp.where(seen, values, 0.0), outputs_seen=seen
    )


def _residuals(forecast: Forecast) -> tuple[jax.Array, jax.Array, dict[str, jax.Array], jax.Array]:
    """Standardised residuals float32[V, H] of one row, whether they count, and the free run."""
    draws = forecast.draws
    sound = jnp.isfinite(draws)
    share = jnp.maximum(jnp.sum(sound, axis=-1), 1)
    mean = jnp.sum(jnp.where(sound, draws, 0.0), axis=-1) / share
    centred = jnp.where(sound, draws - mean[..., None], 0.0)
    sd = jnp.sqrt(jnp.sum(centred**2, axis=-1) / jnp.maximum(share - 1, 1))
    error = forecast.target[:, None] - mean
    tiny = 1e-6 * (jnp.abs(mean) + 1e-6)
    z = jnp.where(sd > tiny, error / jnp.maximum(sd, tiny), _CUT * jnp.sign(error))
    z = jnp.where((sd <= tiny) & (jnp.abs(error) <= 10 * tiny), 0.0, z)
    z = jnp.where(jnp.any(sound, axis=-1), jnp.clip(z, -_CUT, _CUT), _CUT)
    counted = forecast.seen[:, None] & forecast.valid[None]
    return jnp.where(counted, z, 0.0), counted, forecast.shown, forecast.outputs


def _one(
    simulator: Any, schema: Schema, count: int, weighted: bool, u: jax.Array, panel: Panel,
    key: jax.Array, show: jax.Array,
) -> Any:  # fmt: skip
    params = simulator.parameters.from_unit(u)
    z, counted, shown, outputs = predict(
        simulator, schema, params, panel, _PLAN, key, replicates=count, weighted=weighted,
        show=show, reduce=_residuals,
    )  # fmt: skip
    levels, seen = panel.outputs[:, :-1], panel.outputs_seen[:, :-1]
    return statistics(z, counted, levels, seen), shown, outputs


@partial(lanes_jit, static_argnums=(0, 1, 2, 3))
def _compiled(
    simulator: Any, schema: Schema, count: int, weighted: bool, u: jax.Array, panel: Panel,
    key: jax.Array,
) -> Any:  # fmt: skip
    # Members share their words: each keeps the free run of another replicate, so that the
    # replicas are independent.
    show = jnp.arange(u.shape[0]) % count
    axes = (0, TRAJECTORIES, None, 0)
    return jax.vmap(partial(_one, simulator, schema, count, weighted), in_axes=axes)(
        u, panel, key, show
    )


def _judge(
    labels: Sequence[str], own: np.ndarray, null: np.ndarray, bad: np.ndarray, level: float
) -> AlarmReport:
    """The largest deviation of the data among those of the replicas; rows are parameter draws."""
    names = names_of(labels)
    whole = null[~bad] if (~bad).sum() > 1 else null
    observed = own.mean(axis=0)
    count, total, squares = len(whole), whole.sum(axis=0), (whole**2).sum(axis=0)

    def deviations(values: np.ndarray, left_out: np.ndarray | None) -> np.ndarray:
        # A replica is judged by the others, as the data are by all.
        n = count - (left_out is not None)
        mean = (total - (0 if left_out is None else left_out)) / n
        square = (squares - (0 if left_out is None else left_out**2)) / n
        variance = np.maximum(square - mean**2, 0.0) * n / max(n - 1, 1)
        spread = np.sqrt(variance * (1 + 1 / n))
        return np.where(spread > 1e-9, (values - mean) / np.maximum(spread, 1e-9), 0.0)

    z = deviations(observed, None)
    largest = np.array([np.abs(deviations(row, row)).max() for row in whole])
    own_z: list[float] = z.tolist()
    p_value = float((1 + (largest >= np.abs(z).max()).sum()) / (count + 1))
    bound = float(np.quantile(largest, 0.95))
    order = np.argsort(-np.abs(z), kind="stable")
    centre = whole.mean(axis=0)
    told = [
        Deviation(names[i], own_z[i], describe(names[i], observed[i], centre[i], own_z[i]))
        for k, i in enumerate(order.tolist())
        if k == 0 or abs(z[i]) > bound
    ]
    return AlarmReport(
        fires=p_value <= level,
        p_value=p_value,
        deviations=tuple(told),
        statistics=dict(zip(names, own_z, strict=True)),
        failed=float(bad.mean()),
    )
