"""What a calibrated candidate says about data, and what it would say about data of its own.

Scores of the real data mean little without the scores of data drawn from the candidate itself (its
noise floor), so both are made here, with the objective that calibration has already compiled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.calibrate.objective import SHOWN, Objective
from gsim_jax.calibrate.score import Scores, contributions, standard_error
from gsim_jax.diagnose import Cells, Evidence
from gsim_jax.simulator.panel import Panel
from gsim_jax.task import Schema, Trajectories
from gsim_jax.words import named_words

#: Counted operations that the scores of all replicas may take; replicas of expensive programs have
#: fewer trajectories than the data, though no fewer than these.
OPERATIONS, FEWEST = 6e10, 20
#: A point that the data like less than the calibrated one by so many standard errors is no draw
#: from a posterior, whatever a covariance that is wrong by far may say.
IMPLAUSIBLE = 2.0


@dataclass(frozen=True)
class Replicas:
    """Data sets drawn from a candidate: same first rows, inputs, lengths and masks as the data.

    Attributes:
        states: `{name: [B, n, rows, *shape]}`, known from the second row on; the first one is the
            data's, 0 where unseen.
        outputs: float32[B, n, rows, V], as scored (sums over windows where the data has them); NaN
            where a run failed or a derived value is undefined.
        like: the data.
    """

    states: dict[str, np.ndarray]
    outputs: np.ndarray
    like: Trajectories


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
    runs = []
    for call in range(-(-count // (members * SHOWN))):
        keys = np.stack([named_words(seed, f"replicas {call}", p) for p in range(members)])
        point = np.take(points, np.arange(members) + call * members, axis=0, mode="wrap")
        pieces = [_apart(scores) for scores in objective.scores_of(point, data, keys)]
        runs.append(jax.tree.map(lambda *x: np.concatenate(x, axis=1), *pieces))
    states, outputs = jax.tree.map(lambda *x: np.concatenate(x), *runs)

    def after(first: np.ndarray, later: np.ndarray) -> np.ndarray:
        later = later[:count, : len(data), : data.rows - 1]
        start = np.broadcast_to(first[None, :, :1], (count, *first[:, :1].shape))
        return np.concatenate([start, later], axis=2)

    return Replicas(
        {name: after(first, states[name]) for name, first in data.states.items()},
        after(data.outputs, outputs),
        data,
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


def _replica_panels(objective: Objective, replicas: Replicas) -> Iterator[tuple[int, int, Panel]]:
    """(first replica, chunk, panel of `members` replicas), masks as in the data."""
    members, chunk = objective.settings.members, objective.settings.chunk
    count, data = len(replicas.outputs), replicas.like
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
    parts = [_over_members(scores) for scores in objective.scores_of(point, data, keys)]
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


def thinned(objective: Objective, data: Trajectories, replicas: int) -> Trajectories:
    """As many trajectories, evenly spread, as `OPERATIONS` allow for the replicas' scores."""
    lanes = replicas * objective.replicates * len(objective.settings.plan.tracks[0])
    each = lanes * (data.rows - 1) * max(objective.simulator.cost, 1)
    most = max(int(OPERATIONS / max(each, 1)), FEWEST)
    if len(data) <= most:
        return data
    return data.take(np.linspace(0, len(data) - 1, most).round().astype(int))


def plausible(
    objective: Objective, u: np.ndarray, points: np.ndarray, data: Trajectories, seed: int
) -> np.ndarray:
    """Draws of a posterior, with the calibrated point in place of those that the data refute.

    Args:
        objective: the candidate's compiled objective.
        u: the calibrated point, float64[d].
        points: float64[m, d].
        data: what they are compared on, with the same words.
        seed: the run's seed.

    Returns:
        float64[m, d].
    """
    members, units = objective.settings.members, len(data)
    weights = objective.settings.plan.weights(objective.settings.rows)
    kept = points.copy()
    for start in range(0, len(points), members - 1):
        batch = points[start : start + members - 1]
        tried = np.resize(np.concatenate([u[None], batch]), (members, len(u)))
        key = named_words(seed, "plausible", start)
        pieces = [_energies(scores) for scores in objective.scores_of(tried, data, key)]
        shares = _shares(pieces, weights, units)
        for k in range(len(batch)):
            lead = shares[k + 1] - shares[0]
            if lead.mean() > IMPLAUSIBLE * standard_error(lead, units):
                kept[start + k] = u
    return kept


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
        The evidence on the data (on some of the trajectories where the program is expensive, see
        `thinned`), the replicas of that, and the contributions float64[U] of all data to the score.
    """
    weights = objective.settings.plan.weights(objective.settings.rows)
    scores = score_data(objective, u, data, seed)
    parts = _shares([_energies(_single(scores))], weights, len(data))[0]
    part = thinned(objective, data, replicas)
    own = scores if part is data else score_data(objective, u, part, seed)
    if points is not None:
        points = plausible(objective, u, points, part, seed)
    drawn = draw_replicas(objective, u[None] if points is None else points, part, replicas, seed)
    null, null_scores = _null(objective, u, drawn, seed)
    own_sums = _cell_sums(_single(own))
    # The floor of all data is what their score is above the floor of the part.
    ahead = _shares([_energies(_single(own))], weights, len(part))[0].mean()
    evidence = Evidence(
        horizons=objective.settings.plan.names,
        variables=tuple(output.label for output in objective.schema.outputs),
        score=float(parts.mean()),
        null_scores=null_scores + (parts.mean() - ahead),
        observed=_cells({k: v[0] for k, v in own_sums.items()}),
        null=null,
        residuals=_residuals(scores),
        counted=np.asarray(scores.counted[:, :, 0]),
        failed=float(scores.failed.mean()),
    )
    return evidence, drawn, parts


def _single(scores: Scores) -> Scores:
    """Scores [n, T, ...] as those of one member."""
    return jax.tree.map(lambda x: x[None], scores)


def _energies(scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Energy and validity on the host, [P, n, T, H]."""
    return np.asarray(scores.energy, float), np.asarray(scores.valid)


def _shares(
    pieces: Sequence[tuple[np.ndarray, np.ndarray]], weights: np.ndarray, units: int
) -> np.ndarray:
    """`contributions` of all chunks of trajectories together, float64[P, U]."""
    energy, valid = (np.concatenate(parts, axis=1) for parts in zip(*pieces, strict=True))
    return contributions(energy, valid, weights, units)


def _null(
    objective: Objective, u: np.ndarray, drawn: Replicas, seed: int
) -> tuple[Cells, np.ndarray]:
    """Cells and scores float64[B] of the replicas, forecast from the calibrated point."""
    weights = objective.settings.plan.weights(objective.settings.rows)
    count, point = len(drawn.outputs), np.tile(u, (objective.settings.members, 1))
    energies: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    sums: dict[int, list[dict[str, np.ndarray]]] = {}
    for start, index, panel in _replica_panels(objective, drawn):
        key = np.stack([named_words(seed, f"floor {start}", p) for p in range(len(point))])
        part = objective.scores(point, panel, key, index * objective.settings.chunk)
        energies.setdefault(start, []).append(_energies(part))
        sums.setdefault(start, []).append(_cell_sums(part))
    floors, cells = [], []
    for start in sorted(sums):
        floors.append(_shares(energies[start], weights, len(drawn.like)))
        cells.append({k: np.sum([part[k] for part in sums[start]], 0) for k in sums[start][0]})
    null = {k: np.concatenate([c[k] for c in cells])[:count] for k in cells[0]}
    return _cells(null), np.concatenate(floors)[:count].mean(axis=1)


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
