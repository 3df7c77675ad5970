"""How far a simulator is from a known truth: the test metric of G-Sim, with its floor.

From states of held-out trajectories N states h steps later are drawn from the truth and from a
candidate, under the inputs of the data; the distance between the two clouds is averaged over states
(arXiv 2506.09272 has h = 1). Two clouds of N draws from one law are not at distance 0 either: the
truth against a second, independent cloud of itself is the *floor*, without which a W1 means
nothing. Their ratio is 1 and their difference, the excess, is 0 for a candidate that has the law of
the truth.

Only benchmarks and tests can use this: data of the real world come without a truth.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.diagnose.distances import PAPER_SIGMA
from gsim_jax.diagnose.metric import Distances, Metric, distances, fill, summary
from gsim_jax.simulator.contract import Params, Simulator
from gsim_jax.simulator.panel import build_panel, is_complete, take
from gsim_jax.simulator.predict import Plan, predict
from gsim_jax.task import Schema, Trajectories

#: Lanes (trajectories x draws x tracks) that run at once; with the words of a program of hundreds
#: of draws they stay below a gigabyte.
_LANES = 1 << 14


class Cells(NamedTuple):
    """Chosen forecasts: trajectory and row of what is forecast, int[S] each.

    A forecast of h steps starts from the state h rows before.
    """

    trajectory: np.ndarray
    row: np.ndarray


class Request(NamedTuple):
    """Which draws are wanted of a simulator.

    Attributes:
        schema: the task's schema.
        data: the trajectories.
        plan: horizons, without a free run.
        cells: by horizon the forecasts.
        keep: positions of the variables in `schema.outputs`.
        draws: N.
    """

    schema: Schema
    data: Trajectories
    plan: Plan
    cells: Mapping[int, Cells]
    keep: tuple[int, ...]
    draws: int


@dataclass(frozen=True)
class Yardstick:
    """Clouds of a truth and their floors, against which any number of candidates is measured.

    Build it with `yardstick`.

    Attributes:
        request: the states, horizons and variables.
        labels: names of the d variables.
        truth: by horizon float32[S, N, d].
        floors: by horizon the distances of a second cloud of the truth.
        sigma: bandwidth of the MMD.
        seed: all draws and choices follow from it.
        workers: threads.
    """

    request: Request
    labels: tuple[str, ...]
    truth: Mapping[int, np.ndarray]
    floors: Mapping[int, Distances]
    sigma: float
    seed: int
    workers: int

    def measure(self, candidate: Simulator, params: Params) -> list[Metric]:
        """The distance of a simulator from the truth at each horizon.

        Args:
            candidate: a program or native simulator of the same task.
            params: `{group: {name: value}}`, see `ParameterSpace.values`.
        """
        key = _key(self.seed, "candidate")
        drawn = clouds(candidate, params, self.request, [key], workers=self.workers)
        return self.measure_clouds(drawn[0])

    def measure_clouds(self, drawn: Mapping[int, np.ndarray]) -> list[Metric]:
        """The same for draws that something else made, such as a neural network.

        Args:
            drawn: by horizon float32[S, N, d] for the forecasts in `request.cells`; NaN where a
                draw failed.
        """
        found = []
        for h, cells in self.request.cells.items():
            target = _target(self.request, cells)
            own = distances(
                drawn[h], self.truth[h], *target, sigma=self.sigma, workers=self.workers
            )
            metric = summary(h, self.labels, cells.trajectory, own, self.floors[h], self.seed)
            found.append(metric)
        return found


def score(
    candidate: Simulator,
    candidate_params: Params,
    truth: Simulator,
    truth_params: Params,
    schema: Schema,
    data: Trajectories,
    **options: Any,
) -> list[Metric]:
    """The distance of one candidate from the truth at each horizon; see `yardstick`.

    Args:
        candidate: the simulator to judge.
        candidate_params: its parameters, `{group: {name: value}}`.
        truth: the simulator that made the data.
        truth_params: its parameters.
        schema: the task's schema.
        data: trajectories of the test split.
        **options: of `yardstick`.

    Returns:
        One `Metric` per horizon, in order.
    """
    against = yardstick(truth, truth_params, schema, data, **options)
    return against.measure(candidate, candidate_params)


def yardstick(
    truth: Simulator,
    params: Params,
    schema: Schema,
    data: Trajectories,
    *,
    values: Sequence[str] | None = None,
    horizons: Sequence[int] = (1, 7, 20),
    states: int = 1000,
    draws: int = 200,
    sigma: float = PAPER_SIGMA,
    seed: int = 0,
    workers: int = 1,
) -> Yardstick:
    """Draws clouds of the truth, and measures its distance from itself.

    A state is a row of the data; what a simulator hides or the data do not show is filled by
    particles that have seen all rows before (see `simulator.predict`). Three clouds with words of
    their own are drawn from each state: truth, truth again, candidate. The first one is shared by
    W1 and floor, which makes their ratio steadier than either.

    Args:
        truth: the simulator that made the data.
        params: its parameters.
        schema: the task's schema.
        data: trajectories of the test split.
        values: labels of `schema.outputs` that make up the clouds; all by default, which are the
            entries of states that carry order, and the derived values.
        horizons: steps ahead.
        states: states per horizon, as evenly over the trajectories as can be; fewer where the data
            have no more.
        draws: N.
        sigma: bandwidth of the MMD.
        seed: all draws and choices follow from it.
        workers: threads that simulate, and that solve for exact distances (which helps clouds of
            reals or of thousands of draws, see `distances.wasserstein_each`). Results do not depend
            on it.

    Raises:
        ValueError: a label or a horizon does not fit the task, or the truth fails.
    """
    keep = _positions(schema, values)
    horizons = tuple(dict.fromkeys(horizons))
    longest = int(data.length.max(initial=0)) - 1
    if not horizons or min(horizons) < 1 or max(horizons) > longest:
        raise ValueError(f"expected horizons of 1 to {longest} steps; got {list(horizons)}")
    plan = plan_for(horizons, data.length, states)
    cells = {h: choose(h, plan.stride, data.length, states, seed) for h in horizons}
    request = Request(schema, data, plan, cells, keep, draws)
    keys = [_key(seed, "truth"), _key(seed, "floor")]
    first, again = (
        {h: _sound(cloud, h) for h, cloud in drawn.items()}
        for drawn in clouds(truth, params, request, keys, workers=workers)
    )
    floors = {
        h: distances(again[h], first[h], *_target(request, where), sigma=sigma, workers=workers)
        for h, where in cells.items()
    }
    labels = tuple(schema.outputs[v].label for v in keep)
    return Yardstick(request, labels, first, floors, sigma, seed, workers)


def _positions(schema: Schema, values: Sequence[str] | None) -> tuple[int, ...]:
    labels = [output.label for output in schema.outputs]
    wanted = labels if values is None else list(dict.fromkeys(values))
    unknown = [label for label in wanted if label not in labels]
    if unknown or not wanted:
        got = ", ".join(unknown) or "none"
        raise ValueError(f"expected values out of {', '.join(labels)}; got {got}")
    return tuple(labels.index(label) for label in wanted)


def _sound(cloud: np.ndarray, horizon: int) -> np.ndarray:
    """The truth's draws; a derived value that one of them leaves undefined is filled."""
    filled = fill(cloud)
    lost = int((~np.isfinite(filled).all(axis=(1, 2))).sum())
    if lost:
        raise ValueError(
            f"expected the truth to have a next state everywhere; {horizon} steps ahead of {lost} "
            f"of {len(cloud)} states all its draws failed or left a value undefined: choose other "
            f"values, or mend the truth"
        )
    return filled


def plan_for(horizons: Sequence[int], length: np.ndarray, states: int) -> Plan:
    """The cheapest plan that forecasts enough states at each horizon.

    Args:
        horizons: steps ahead.
        length: int[n], rows per trajectory.
        states: how many are wanted.
    """
    steps = tuple(h for h in horizons if h > 1)
    for stride in range(max(steps, default=1), 1, -1):
        if all(len(_offered(h, stride, length)[0]) >= states for h in steps):
            return Plan(steps, free=False, stride=stride)
    return Plan(steps, free=False)


def _offered(horizon: int, stride: int, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All forecasts of a plan at a horizon: (trajectory, row of the target)."""
    target = np.arange(int(length.max(initial=0)))
    # As `Plan.look_up`: tracks restart at phases 0, stride, 2 stride, ... of the horizon.
    offered = (target >= horizon) & ((target % horizon) % stride == 0)
    trajectory, row = np.nonzero(offered[None] & (target[None] < length[:, None]))
    return trajectory, row


def choose(horizon: int, stride: int, length: np.ndarray, states: int, seed: int) -> Cells:
    """Chooses states at random, as many from each trajectory as from the next.

    Args:
        horizon: steps ahead.
        stride: that of the plan.
        length: int[n], rows per trajectory.
        states: how many.
        seed: the choice follows from it.

    Returns:
        At most `states` cells, in the order of the data.
    """
    trajectory, row = _offered(horizon, stride, length)
    generator = np.random.default_rng([seed, zlib.crc32(b"states"), horizon])
    shuffled = generator.permutation(len(row))
    order = shuffled[np.argsort(trajectory[shuffled], kind="stable")]
    # Turn k takes the k-th state of every trajectory.
    turn = np.arange(len(order)) - np.searchsorted(trajectory[order], trajectory[order])
    tie = generator.random(len(order))
    picked = np.sort(order[np.lexsort((tie, turn))][:states])
    return Cells(trajectory[picked], row[picked])


def clouds(
    simulator: Simulator,
    params: Params,
    request: Request,
    keys: Sequence[np.ndarray],
    *,
    workers: int = 1,
) -> list[dict[int, np.ndarray]]:
    """Draws of one simulator from the chosen states, all horizons and keys in one compilation.

    Args:
        simulator: a program or native simulator.
        params: its parameters.
        request: what is wanted.
        keys: uint32[2] each; equal keys give equal words.
        workers: threads, each of which runs some trajectories at a time. XLA on CPU does not spread
            programs of many small arrays over cores by itself.

    Returns:
        Per key, float32[S, N, d] by horizon; NaN where a draw failed or a value is undefined.
    """
    schema, data, plan, cells, keep, draws = request
    weighted = bool(simulator.latent) or bool(simulator.observed) or not is_complete(data)
    chunk = max(1, min(len(data), _LANES // (draws * len(plan.tracks[0]))))
    panel = build_panel(schema, data, multiple=chunk)
    chosen = np.asarray(keep, np.int32)

    @jax.jit
    def run(part: Any, first: jax.Array, key: jax.Array) -> jax.Array:
        made = predict(
            simulator, schema, params, part, plan, key,
            replicates=draws, weighted=weighted, first=first,
        )  # fmt: skip
        return made[..., chosen]

    found = [
        {h: np.empty((len(at.row), draws, len(keep)), np.float32) for h, at in cells.items()}
        for _ in keys
    ]

    def part(job: tuple[int, int]) -> None:
        start, k = job
        made = np.asarray(run(take(panel, start, chunk), jnp.uint32(start), jnp.asarray(keys[k])))
        for h, (trajectory, row) in cells.items():
            here = np.flatnonzero((trajectory >= start) & (trajectory < start + chunk))
            at = plan.names.index(str(h))
            found[k][h][here] = made[trajectory[here] - start, row[here] - 1, :, at]

    jobs = list(product(range(0, len(data), chunk), range(len(keys))))
    part(jobs[0])  # compiles, once and not in every thread
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(part, jobs[1:]))
    return found


def _key(seed: int, stage: str) -> np.ndarray:
    sequence = np.random.SeedSequence([seed, zlib.crc32(f"next state, {stage}".encode())])
    return sequence.generate_state(2, np.uint32)


def _target(request: Request, cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    at = (cells.trajectory[:, None], cells.row[:, None], np.asarray(request.keep)[None])
    return request.data.outputs[at], request.data.outputs_seen[at]
