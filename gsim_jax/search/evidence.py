"""What a calibrated candidate says about data, and what it would say about data of its own.

Scores of the real data mean little without the scores of data drawn from the candidate itself (its
noise floor), so both are made here, with the objective that calibration has already compiled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.calibrate.objective import SHOWN, Objective
from gsim_jax.calibrate.score import Scores, contributions
from gsim_jax.diagnose import Cells, Evidence
from gsim_jax.simulator.panel import Panel
from gsim_jax.task import Schema, Trajectories
from gsim_jax.words import named_words


@dataclass(frozen=True)
class Replicas:
    """Data sets drawn from a candidate: same first rows, inputs, lengths and masks as the data.

    Attributes:
        states: `{name: [B, n, rows, *shape]}`, known from the second row on; the first one is the
            data's, 0 where unseen.
        outputs: float32[B, n, rows, V], as scored (sums over windows where the data has them); NaN
            where a run failed or a derived value is undefined.
    """

    states: dict[str, np.ndarray]
    outputs: np.ndarray


def draw_replicas(
    objective: Objective, points: np.ndarray, data: Trajectories, count: int, seed: int
) -> Replicas:
    """Draws `count` data sets by free runs of the candidate from each trajectory's first row.

    Args:
        objective: the candidate's compiled objective.
        points: float64[m, d] on the unit cube; `SHOWN` replicas in a row have the same point.
        data: first rows, inputs, lengths and masks.
        count: B.
        seed: the run's seed.
    """
    members = objective.settings.members
    chunks = []
    for index, panel in enumerate(objective.panels(data)):
        shared, runs = objective.shared(panel), []
        for call in range(-(-count // (members * SHOWN))):
            keys = np.stack([named_words(seed, f"replicas {call}", p) for p in range(members)])
            point = np.take(points, np.arange(members) + call * members, axis=0, mode="wrap")
            scores = objective.scores(point, shared, keys, index * objective.settings.chunk)
            runs.append(_apart(scores))
        chunks.append(jax.tree.map(lambda *x: np.concatenate(x), *runs))
    states, outputs = jax.tree.map(lambda *x: np.concatenate(x, axis=1), *chunks)

    def after(first: np.ndarray, later: np.ndarray) -> np.ndarray:
        later = later[:count, : len(data), : data.rows - 1]
        start = np.broadcast_to(first[None, :, :1], (count, *first[:, :1].shape))
        return np.concatenate([start, later], axis=2)

    return Replicas(
        {name: after(first, states[name]) for name, first in data.states.items()},
        after(data.outputs, outputs),
    )


def _apart(scores: Scores) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The free runs of all members, each on its own: [P k, n, T, ...]."""

    def flat(x: jax.Array, axis: int) -> np.ndarray:
        runs = np.moveaxis(np.asarray(x), axis, 1)
        return runs.reshape(-1, *runs.shape[2:])

    return {k: flat(v, 3) for k, v in scores.shown.items()}, flat(scores.outputs, 4)


def _observable(schema: Schema, data: Trajectories) -> np.ndarray:
    """Where an output would be seen were it defined, bool[n, rows, V].

    A ratio over zero is unseen in the data though everything that it is made of was seen; in a
    replica, where it may be defined, it is seen then.
    """
    mask = data.outputs_seen.copy()
    for v, output in enumerate(schema.outputs):
        if output.variable not in schema.derived or output.window > 1:
            continue
        names = {output.variable}
        for name in reversed(schema.derived_order):
            if name in names:
                names |= schema.derived[name].value.names
        whole = data.exists.copy()
        for name in names & set(schema.states):
            whole &= data.seen[name].reshape(*whole.shape, -1).all(axis=-1)
        mask[:, :, v] |= whole
    return mask


def _replica_panels(
    objective: Objective, data: Trajectories, replicas: Replicas
) -> Iterator[tuple[int, int, Panel]]:
    """(first replica, chunk, panel of `members` replicas), masks as in the data."""
    members, chunk = objective.settings.members, objective.settings.chunk
    count = len(replicas.outputs)
    # What a replica does not define cannot be observed in it.
    seen = _observable(objective.schema, data)[None] & np.isfinite(replicas.outputs)
    outputs = np.where(seen, replicas.outputs, 0.0)
    for index, panel in enumerate(objective.panels(data)):
        shared = objective.shared(panel)
        cut = slice(index * chunk, (index + 1) * chunk)
        for start in range(0, count, members):
            take = np.arange(start, start + members) % count

            def fill(values: np.ndarray, like: jax.Array) -> np.ndarray:
                part = values[take][:, cut]  # noqa: B023 - used before the loop moves on
                pad = [(0, a - b) for a, b in zip(like.shape, part.shape, strict=True)]
                return np.pad(part, pad).astype(like.dtype)

            states = {
                name: jnp.where(shared.seen[name], fill(values, shared.states[name]), 0)
                for name, values in replicas.states.items()
            }
            filled = shared.replace(  # type: ignore[attr-defined]
                states=states,
                outputs=jnp.asarray(fill(outputs, shared.outputs)),
                outputs_seen=jnp.asarray(fill(seen, shared.outputs_seen)),
            )
            yield start, index, filled


def score_data(objective: Objective, u: np.ndarray, data: Trajectories, seed: int) -> Scores:
    """Scores of the data, NumPy arrays with axes [n, T, ...]; fresh words from the seed.

    Every member holds the same point with words of its own, and scores are means over members: a
    score of `replicates` draws alone is off by a third of what chance in the data makes of it. All
    candidates of a run are scored with the same words, so that differences are paired.
    """
    members = objective.settings.members
    point = np.tile(u, (members, 1))
    keys = np.stack([named_words(seed, "rank", p) for p in range(members)])
    parts = []
    for index, panel in enumerate(objective.panels(data)):
        scores = objective.scores(
            point, objective.shared(panel), keys, index * objective.settings.chunk
        )
        parts.append(_over_members(scores))
    joined = jax.tree.map(lambda *xs: np.concatenate(xs), *parts)
    return jax.tree.map(lambda x: x[: len(data)], joined)


def _over_members(scores: Scores) -> Scores:
    """Means over members; failure codes combined, ranks and free runs those of the first.

    A rank among many draws scatters less than one among few, which replicas have.
    """
    first: Scores = jax.tree.map(lambda x: np.asarray(x[0]), scores)
    means = {
        name: np.asarray(getattr(scores, name)).mean(axis=0, dtype=np.float64)
        for name in ("energy", "crps", "error", "spread", "failed")
    }
    code = np.bitwise_or.reduce(np.asarray(scores.code), axis=0)
    return first.replace(code=code, **means)  # type: ignore[attr-defined]


def gather(
    objective: Objective,
    u: np.ndarray,
    data: Trajectories,
    *,
    replicas: int,
    seed: int,
    points: np.ndarray | None = None,
) -> tuple[Evidence, Replicas, np.ndarray]:
    """Everything that the diagnosis of a candidate rests on.

    Data, validation data say, come from a world whose parameters the calibrated point misses by its
    error, and the floor of the point is off to first order in that. So replicas are drawn at points
    spread by that error, and scored, as the data are, with forecasts of the calibrated point
    (a posterior predictive check: Gelman, Meng and Stern, 1996, Statistica Sinica 6).

    Args:
        objective: the candidate's compiled objective.
        u: the calibrated point, float64[d].
        data: validation data, or the training data where there is none.
        replicas: B, data sets drawn from the candidate.
        seed: the run's seed.
        points: float64[m, d], what replicas are drawn at; `u` by default.

    Returns:
        The evidence, the replicas, and the contributions float64[U] to the score.
    """
    plan, rows = objective.settings.plan, objective.settings.rows
    weights, units = plan.weights(rows), len(data)
    scores = score_data(objective, u, data, seed)
    drawn = draw_replicas(objective, u[None] if points is None else points, data, replicas, seed)
    point = np.tile(u, (objective.settings.members, 1))
    cells: list[dict[str, np.ndarray]] = []
    energies: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    sums: dict[int, list[dict[str, np.ndarray]]] = {}
    for start, index, panel in _replica_panels(objective, data, drawn):
        key = np.stack([named_words(seed, f"floor {start}", p) for p in range(len(point))])
        part = objective.scores(point, panel, key, index * objective.settings.chunk)
        energies.setdefault(start, []).append((np.asarray(part.energy), np.asarray(part.valid)))
        sums.setdefault(start, []).append(_cell_sums(part))
    floor_parts = []
    for start in sorted(sums):
        energy = np.concatenate([e for e, _ in energies[start]], axis=1).astype(float)
        valid = np.concatenate([v for _, v in energies[start]], axis=1)
        floor_parts.append(contributions(energy, valid, weights, units))
        cells.append({k: np.sum([part[k] for part in sums[start]], 0) for k in sums[start][0]})
    null = {k: np.concatenate([c[k] for c in cells])[:replicas] for k in cells[0]}
    own = _cell_sums(jax.tree.map(lambda x: x[None], scores))
    energy, valid = np.asarray(scores.energy, float), np.asarray(scores.valid)
    parts = contributions(energy[None], valid[None], weights, units)[0]
    evidence = Evidence(
        horizons=plan.names,
        variables=tuple(output.label for output in objective.schema.outputs),
        score=float(parts.mean()),
        null_scores=np.concatenate(floor_parts)[:replicas].mean(axis=1),
        observed=_cells({k: v[0] for k, v in own.items()}),
        null=_cells(null),
        residuals=_residuals(scores),
        counted=np.asarray(scores.counted[:, :, 0]),
        failed=float(scores.failed.mean()),
    )
    return evidence, drawn, parts


@jax.jit
def _device_sums(scores: Scores) -> dict[str, jax.Array]:
    rank = scores.below - 0.5
    counted = scores.counted
    over = (1, 2)
    return {
        "count": jnp.sum(counted, over),
        "crps": jnp.sum(scores.crps, over),
        "error": jnp.sum(scores.error, over),
        "rank": jnp.sum(jnp.where(counted, 12.0 * rank**2, 0.0), over),
    }


def _cell_sums(scores: Scores) -> dict[str, np.ndarray]:
    return {k: np.asarray(v, float) for k, v in _device_sums(scores).items()}


def _cells(sums: dict[str, np.ndarray]) -> Cells:
    count = np.maximum(sums["count"], 1)
    return Cells(
        count=sums["count"],
        crps=sums["crps"] / count,
        error=sums["error"] / count,
        rank=sums["rank"] / count,
    )


def _residuals(scores: Scores) -> np.ndarray:
    """One-step errors in units of the forecast's own spread, float64[n, T, V], 0 where unseen."""
    spread = scores.spread[:, :, 0]
    wide = spread > 1e-9
    return np.where(
        scores.counted[:, :, 0] & wide, scores.error[:, :, 0] / np.where(wide, spread, 1), 0.0
    )
