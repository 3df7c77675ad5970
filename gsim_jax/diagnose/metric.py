"""Distances of clouds state by state, and their means with errors: what `next_state` reports."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from gsim_jax.diagnose.distances import mmd, mse, wasserstein_1d, wasserstein_each

#: Distances between draws that are on the device at once (of 64 pairs of clouds of 200; 10 MB).
_PAIRS = 64 * 200 * 200
_BOOTSTRAPS = 2000


@dataclass(frozen=True)
class Metric:
    """Distances at one horizon, means over states; in the units of the variables as they come.

    Attributes:
        horizon: steps h between a state and the draws.
        w1: exact Wasserstein distance of the candidate's cloud to the truth's.
        w1_se: its standard error.
        floor: the same for a second cloud of the truth, against the same first one.
        floor_se: its standard error.
        ratio: w1 / floor; 1 for the law of the truth.
        ratio_se: its standard error. All standard errors are bootstrapped over trajectories, whose
            states resemble one another; NaN with a single trajectory.
        excess: w1 - floor; 0 for the law of the truth.
        excess_se: its standard error.
        mmd: maximum mean discrepancy with the RBF kernel, see `distances.mmd`.
        mmd_floor: that of the truth.
        mse: mean squared difference between the candidate's draws and the data h steps later.
        mse_floor: that of the truth.
        variables: W1 of each variable by itself, and its floor: `{label: (w1, floor)}`.
        states: how many states the means are over.
        trajectories: how many trajectories these come from.
        failed: share of the candidate's draws that failed. A failed draw is replaced by one of the
            same state that did not; where all did, the distances are infinite.
    """

    horizon: int
    w1: float
    w1_se: float
    floor: float
    floor_se: float
    ratio: float
    ratio_se: float
    excess: float
    excess_se: float
    mmd: float
    mmd_floor: float
    mse: float
    mse_floor: float
    variables: dict[str, tuple[float, float]]
    states: int
    trajectories: int
    failed: float

    def to_json(self) -> dict[str, Any]:
        """The fields, with the variables as objects of `w1` and `floor`."""
        each = {label: {"w1": w1, "floor": floor} for label, (w1, floor) in self.variables.items()}
        return asdict(self) | {"variables": each}


@dataclass(frozen=True)
class Distances:
    """Distances between the clouds of S states.

    Attributes:
        w1: float64[S].
        each: float32[S, d], W1 variable by variable.
        mmd: float32[S].
        mse: float32[S]; NaN where nothing was observed.
        failed: share of the draws that failed.
    """

    w1: np.ndarray
    each: np.ndarray
    mmd: np.ndarray
    mse: np.ndarray
    failed: float


def fill(cloud: np.ndarray) -> np.ndarray:
    """Puts draws that did not fail in place of those of the same state that did.

    Args:
        cloud: float32[S, N, d].

    Returns:
        The same, with NaN only in states where every draw failed.
    """
    sound = np.asarray(np.isfinite(cloud).all(axis=2))
    filled = cloud.copy()
    for s in np.flatnonzero(~sound.all(axis=1) & sound.any(axis=1)):
        good = np.flatnonzero(sound[s])
        filled[s, ~sound[s]] = cloud[s, np.resize(good, int((~sound[s]).sum()))]
    return filled


def distances(
    cloud: np.ndarray,
    reference: np.ndarray,
    target: np.ndarray,
    seen: np.ndarray,
    *,
    sigma: float,
    workers: int = 1,
) -> Distances:
    """Distances of clouds to clouds of the truth, and to what was observed.

    Args:
        cloud: float32[S, N, d]; NaN where a draw failed.
        reference: float32[S, M, d], without failures.
        target: float32[S, d], the data.
        seen: bool[S, d].
        sigma: bandwidth of the MMD.
        workers: threads for exact W1.
    """
    failed = float((~np.isfinite(cloud).all(axis=2)).mean())
    cloud = fill(cloud)
    lost = np.asarray(~np.isfinite(cloud).all(axis=(1, 2)))
    w1 = np.full(len(cloud), np.inf)
    w1[~lost] = wasserstein_each(cloud[~lost], reference[~lost], workers=workers)
    found = _on_device(cloud, reference, target, seen, sigma)
    for values in found.values():
        values[lost] = np.inf
    return Distances(w1, found["each"], found["mmd"], found["mse"], failed)


@partial(jax.jit, static_argnums=4)
def _device(
    a: jax.Array, b: jax.Array, target: jax.Array, seen: jax.Array, sigma: float
) -> dict[str, jax.Array]:
    return {
        "each": jax.vmap(wasserstein_1d)(a, b),
        "mmd": jax.vmap(lambda x, y: mmd(x, y, sigma))(a, b),
        "mse": jax.vmap(mse)(a, target, seen),
    }


def _on_device(
    a: np.ndarray, b: np.ndarray, target: np.ndarray, seen: np.ndarray, sigma: float
) -> dict[str, np.ndarray]:
    parts = []
    many = max(1, min(len(a), _PAIRS // (a.shape[1] * b.shape[1])))
    for start in range(0, len(a), many):
        # The last part is filled up, so that one compilation serves all.
        index = np.minimum(np.arange(start, start + many), len(a) - 1)
        made = _device(a[index], b[index], target[index], seen[index], sigma)
        parts.append({name: np.asarray(x)[: len(a) - start] for name, x in made.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def summary(
    horizon: int,
    labels: Sequence[str],
    trajectory: np.ndarray,
    own: Distances,
    floor: Distances,
    seed: int,
) -> Metric:
    """Means over states, with standard errors.

    Args:
        horizon: steps ahead.
        labels: of the d variables.
        trajectory: int[S], where each state comes from.
        own: distances of the candidate.
        floor: distances of the truth's second cloud.
        seed: the bootstrap follows from it.
    """
    error = standard_errors(own.w1, floor.w1, trajectory, seed)
    w1, base = float(own.w1.mean()), float(floor.w1.mean())
    each = zip(labels, own.each.mean(axis=0).tolist(), floor.each.mean(axis=0).tolist(),
               strict=True)  # fmt: skip
    return Metric(
        horizon=horizon,
        w1=w1,
        w1_se=error["w1"],
        floor=base,
        floor_se=error["floor"],
        ratio=float(_ratio(w1, base)),
        ratio_se=error["ratio"],
        excess=w1 - base,
        excess_se=error["excess"],
        mmd=float(own.mmd.mean()),
        mmd_floor=float(floor.mmd.mean()),
        mse=_observed_mean(own.mse),
        mse_floor=_observed_mean(floor.mse),
        variables={label: (mine, least) for label, mine, least in each},
        states=len(own.w1),
        trajectories=len(np.unique(trajectory)),
        failed=own.failed,
    )


def _observed_mean(values: np.ndarray) -> float:
    """Mean over states of which something was observed."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _ratio(w1: Any, floor: Any) -> Any:
    """W1 over floor; 1 where both are 0, as for laws without any spread that agree."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((w1 == 0) & (floor == 0), 1.0, np.divide(w1, floor))


def standard_errors(
    w1: np.ndarray, floor: np.ndarray, trajectory: np.ndarray, seed: int
) -> dict[str, float]:
    """Standard errors by the cluster bootstrap: trajectories are drawn, with all their states.

    Field and Welsh (2007), J. R. Statist. Soc. B 69. States of one trajectory are correlated, and
    so are the distances from one state: both are drawn together.

    Args:
        w1: float64[S].
        floor: float64[S].
        trajectory: int[S].
        seed: the resamples follow from it.

    Returns:
        Standard errors of the means of `w1` and `floor`, of their `ratio` and of the `excess`; NaN
        with fewer than two trajectories or with infinite distances.
    """
    which, inverse = np.unique(trajectory, return_inverse=True)
    names = ("w1", "floor", "ratio", "excess")
    if len(which) < 2 or not np.isfinite(w1).all():
        return dict.fromkeys(names, float("nan"))
    sums = np.stack([np.bincount(inverse, weights) for weights in (w1, floor, np.ones(len(w1)))])
    generator = np.random.default_rng([seed, zlib.crc32(b"bootstrap")])
    times = generator.multinomial(len(which), np.full(len(which), 1 / len(which)), _BOOTSTRAPS)
    a, b, count = sums @ times.T
    a, b = a / count, b / count
    samples = (a, b, _ratio(a, b), a - b)
    return {name: float(x.std(ddof=1)) for name, x in zip(names, samples, strict=True)}
