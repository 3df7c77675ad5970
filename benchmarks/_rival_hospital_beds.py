"""The hospital as others would write it: NumPy over lanes and slots, numba, a plain Python loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

#: Outputs of the last row that every engine returns.
LABELS = ("icu", "standard", "patients_0", "patients_1", "patients_2")
_NO_BED, _NO_DISEASE = 2, 3
_NAMES = ("bed", "disease", "remaining", "day")


def _parameters(truth: Mapping[str, float]) -> tuple[np.ndarray, ...]:
    groups = ("arrivals.rate", "arrivals.stay", "illness.base", "illness.factor")
    return tuple(np.array([truth[f"{name}[{d}]"] for d in range(3)]) for name in groups)


def _counts(bed: np.ndarray, disease: np.ndarray) -> np.ndarray:
    parts = [bed == 0, bed == 1, *(disease == d for d in range(3))]
    return np.stack([part.sum(axis=1) for part in parts], axis=1).astype(float)


def numpy_run(
    start: Mapping[str, np.ndarray], inputs: Any, truth: Mapping[str, float], steps: int, seed: int
) -> np.ndarray:
    """Arrays [lanes, slots], admissions by counting; float64[lanes, 5]."""
    rng = np.random.default_rng(seed)
    rate, stay, base, factor = _parameters(truth)
    base, factor, stay = (np.append(x, 0.0) for x in (base, factor, stay))
    bed, disease, remaining, day = (start[name].astype(np.int64) for name in _NAMES)
    lanes = len(bed)
    for _ in range(steps):
        there = bed != _NO_BED
        died = there & (
            rng.random(bed.shape) < np.clip(base[disease] + factor[disease] * day, 0, 1)
        )
        stays = there & ~died & (remaining > 1)
        free = [
            np.maximum(truth["admission.icu"] - (stays & (bed == 0)).sum(1), 0),
            np.maximum(truth["admission.standard"] - (stays & (bed == 1)).sum(1), 0),
        ]
        admitted = []
        for d, order in enumerate(((0, 1), (0, 1), (1, 0))):
            waiting = rng.poisson(rate[d], lanes)
            taken = [np.zeros(lanes, np.int64)] * 2
            for kind in order:
                taken[kind] = np.minimum(waiting, free[kind])
                waiting, free[kind] = waiting - taken[kind], free[kind] - taken[kind]
            admitted += taken
        rank = np.where(stays, 1000, np.cumsum(~stays, axis=1) - 1)
        upto = np.cumsum(np.stack(admitted, axis=1), axis=1)
        group = (rank[:, :, None] >= upto[:, None, :]).sum(axis=2)
        new = group < 6
        kept = stays & ~new
        disease = np.where(new, group // 2, np.where(kept, disease, _NO_DISEASE))
        long = np.maximum(rng.normal(stay[disease], 1.0).astype(np.int64), 1)
        bed = np.where(new, group % 2, np.where(kept, bed, _NO_BED))
        remaining = np.where(new, long, np.where(kept, remaining - 1, 0))
        day = np.where(new, 1, np.where(kept, day + 1, 0))
    return _counts(bed, disease)


def numba_run(
    start: Mapping[str, np.ndarray], inputs: Any, truth: Mapping[str, float], steps: int, seed: int
) -> np.ndarray:
    """A compiled loop per lane, lanes over the cores, numba's own seeds; float64[lanes, 5]."""
    patients = np.stack([start[name] for name in _NAMES], axis=1).astype(np.int64)
    beds = np.array([truth["admission.icu"], truth["admission.standard"]], np.int64)
    last = _numba_loop()(patients, *_parameters(truth), beds, steps)
    return _counts(last[:, 0], last[:, 1])


_compiled: list[Any] = []


def _numba_loop() -> Any:
    if _compiled:
        return _compiled[0]
    import numba

    @numba.njit(parallel=True)
    def loop(
        patients: Any, rate: Any, stay: Any, base: Any, factor: Any, beds: Any, steps: int,
    ) -> Any:  # fmt: skip
        out = patients.copy()
        slots = patients.shape[2]
        for lane in numba.prange(len(patients)):
            bed, disease, remaining, day = out[lane]
            for _ in range(steps):
                free = beds.copy()
                for k in range(slots):
                    if bed[k] == 2:
                        continue
                    d = disease[k]
                    if np.random.random() < base[d] + factor[d] * day[k] or remaining[k] <= 1:
                        bed[k], disease[k], remaining[k], day[k] = 2, 3, 0, 0
                    else:
                        remaining[k] -= 1
                        day[k] += 1
                        free[bed[k]] -= 1
                slot = 0
                for d in range(3):
                    for _patient in range(np.random.poisson(rate[d])):
                        long = max(1, int(np.random.normal(stay[d], 1.0)))
                        first = 1 if d == 2 else 0
                        kind = first if free[first] > 0 else 1 - first
                        if free[kind] <= 0:
                            continue
                        while bed[slot] != 2:
                            slot += 1
                        bed[slot], disease[slot], remaining[slot], day[slot] = kind, d, long, 1
                        free[kind] -= 1
        return out

    _compiled.append(loop)
    return loop


def python_run(
    start: Mapping[str, np.ndarray],
    inputs: Any,
    truth: Mapping[str, float],
    steps: int,
    generator: Callable[[int, int], np.random.Generator],
) -> np.ndarray:
    """One trajectory after the other, patients in a list of dicts; float64[lanes, 5].

    `generator(lane, t)` makes the draws of a step.
    """
    values = tuple(array.tolist() for array in _parameters(truth))
    beds = [int(truth["admission.icu"]), int(truth["admission.standard"])]
    ends = []
    for lane in range(len(start["bed"])):
        rows = zip(*(start[name][lane].tolist() for name in _NAMES), strict=True)
        ward = [dict(zip(_NAMES, row, strict=True)) for row in rows if row[0] != _NO_BED]
        for t in range(steps):
            ward = _python_day(ward, values, beds, generator(lane, t))
        parts = [sum(who["bed"] == kind for who in ward) for kind in range(2)]
        ends.append(parts + [sum(who["disease"] == d for who in ward) for d in range(3)])
    return np.array(ends, float)


def _python_day(
    ward: list[Any], values: tuple[Any, ...], beds: list[int], rng: np.random.Generator
) -> list[Any]:
    rate, stay, base, factor = values
    remains = []
    for who in ward:
        d = who["disease"]
        if rng.random() < min(max(base[d] + factor[d] * who["day"], 0.0), 1.0):
            continue
        if who["remaining"] > 1:
            remains.append({**who, "remaining": who["remaining"] - 1, "day": who["day"] + 1})
    for d in range(3):
        for _ in range(rng.poisson(rate[d])):
            long = max(1, int(rng.normal(stay[d], 1.0)))
            for kind in (1, 0) if d == 2 else (0, 1):
                if sum(who["bed"] == kind for who in remains) < beds[kind]:
                    remains.append({"bed": kind, "disease": d, "remaining": long, "day": 1})
                    break
    return remains


def jax_random_draws() -> dict[str, Any]:
    """The draws that the simulator file uses, by jax.random."""

    def poisson(key: jax.Array, rate: Any) -> jax.Array:
        return jax.random.poisson(key, jnp.asarray(rate, jnp.float32))

    def bernoulli(key: jax.Array, p: jax.Array) -> jax.Array:
        return jax.random.bernoulli(key, p).astype(jnp.int32)

    def normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return jax.random.normal(key, shape)

    return {"poisson": poisson, "bernoulli": bernoulli, "normal": normal}
