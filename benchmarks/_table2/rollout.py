"""Forecasts of a one-step predictor: its own predictions are fed back, with or without noise.

All cells and draws run in one compiled function. A forecast of h steps that starts from row s reads
the states up to and including row s and the inputs up to row s + h - 1, nothing else.

**Overflow.** Polynomials and genetic programs can grow without bound when fed their own
predictions. What is fed back, and what is forecast more than one step ahead, is therefore clipped
to the range of the training data plus `supervised.REACH` standard deviations on either side; a
prediction that is no finite number is replaced by the state before it. The share of forecasts that
this happened to is in `Rollout.failed`. One-step predictions are not clipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks._table2.noise import Noise, draw_noise, features, fit_noise, looked_at_by
from benchmarks._table2.supervised import (
    Recipe,
    Scale,
    Series,
    StepModel,
    fit_network,
    pairs,
    scale_of,
    series,
    splits,
)
from gsim_jax.compilation import lanes_jit
from gsim_jax.diagnose.next_state import Cells, Request
from gsim_jax.task import InputError, Problem, Task

#: Lanes (cells x draws) that run at once.
_LANES = 1 << 11
#: Cells at once without noise, where each cell is one lane.
_CELLS = 256


@dataclass
class Rollout:
    """A fitted one-step predictor as a forecaster.

    Attributes:
        model: the predictor of scaled increments.
        scale: units and limits.
        noise: residual noise, None for a deterministic forecaster.
        failed: by horizon the share of the forecasts drawn last that were clipped or not finite.
    """

    model: StepModel
    scale: Scale
    noise: Noise | None = None
    failed: dict[int, float] = field(default_factory=dict)

    @property
    def numbers(self) -> int:
        """Fitted numbers, those of the noise among them."""
        return self.model.numbers + (0 if self.noise is None else self.noise.numbers)

    def draw(self, request: Request, seed: int) -> dict[int, np.ndarray]:
        """Forecasts of the cells of a request.

        Args:
            request: cells, variables and number N of draws, see `gsim_jax.diagnose.next_state`.
            seed: the draws follow from it.

        Returns:
            By horizon float32[S, N, d]; N equal rows without noise.

        Raises:
            InputError: a cell's history has missing entries.
        """
        data = series(request.schema, request.data, "given")
        longest = max(request.cells)
        found = {}
        for starts, horizons in _together(request.cells):
            drawn, failed = self._forecasts(data, starts, horizons, longest, request.draws, seed)
            for k, h in enumerate(horizons):
                found[h] = np.ascontiguousarray(drawn[:, :, k, np.asarray(request.keep, int)])
                self.failed[h] = float(failed[..., k].mean())
        return {h: found[h] for h in request.cells}

    def _forecasts(
        self, data: Series, starts: np.ndarray, horizons: list[int], longest: int, draws: int,
        seed: int,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """From rows int[S, 2] (trajectory, row): float32[S, draws, K, V], bool[S, lanes, K]."""
        lanes = 1 if self.noise is None else draws
        chunk = _CELLS if self.noise is None else max(1, _LANES // lanes)
        chunk = min(chunk, len(starts))
        made, failed = [], []
        for begin in range(0, len(starts), chunk):
            part = starts[begin : begin + chunk]
            # Chunks of one size compile once.
            full = np.concatenate([part, np.repeat(part[-1:], chunk - len(part), 0)])
            x, u = data.x[full[:, 0]], data.u[full[:, 0]]
            graph, state = nnx.split(self.model)
            drawn, lost = _forecast(
                graph, longest, lanes, state, self.scale, self.noise, x, u,
                full[:, 1].astype(np.int32), full[:, 0].astype(np.int32),
                np.asarray(horizons, np.int32), np.uint32(seed % 2**32),
            )  # fmt: skip
            made.append(np.asarray(drawn)[: len(part)])
            failed.append(np.asarray(lost)[: len(part)])
        drawn = np.concatenate(made)
        spread = np.broadcast_to(drawn, (len(drawn), draws, *drawn.shape[2:]))
        return spread, np.concatenate(failed)


def _together(cells: Mapping[int, Cells]) -> list[tuple[np.ndarray, list[int]]]:
    """Rows that forecasts start from, int[S, 2], and the horizons of those that start there."""
    found: dict[bytes, tuple[np.ndarray, list[int]]] = {}
    for h in sorted(cells):
        trajectory, row = np.asarray(cells[h].trajectory), np.asarray(cells[h].row)
        starts = np.stack([trajectory, row - h], -1)
        found.setdefault(starts.tobytes(), (starts, []))[1].append(h)
    return list(found.values())


@partial(lanes_jit, static_argnums=(0, 1, 2))
def _forecast(
    graph: Any, longest: int, draws: int, state: Any, scale: Scale, noise: Noise | None,
    x: jax.Array, u: jax.Array, start: jax.Array, name: jax.Array, horizons: jax.Array,
    seed: jax.Array,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """Forecasts from C rows at horizons int32[K], rising.

    Returns:
        float32[C, draws, K, V], and bool[C, draws, K] whether it was clipped up to there.
    """
    model = nnx.merge(graph, state)

    def advance(memory: Any, now: jax.Array, given: jax.Array) -> tuple[jax.Array, Any]:
        made, memory = model.step(memory, scale.state(now), scale.inputs(given))
        return now + scale.drift + scale.step * made, memory

    def shaken(now: jax.Array, mean: jax.Array, key: jax.Array) -> jax.Array:
        if noise is None:
            return mean
        return shake(scale, noise, now, mean, key)

    def one(x: jax.Array, u: jax.Array, start: jax.Array, name: jax.Array) -> Any:
        memory = model.read(jax.vmap(scale.state)(x), jax.vmap(scale.inputs)(u), start, longest)
        mean, memory = advance(memory, x[start], u[start])
        base = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), name), start)

        def told(found: Any, count: Any, now: jax.Array, lost: jax.Array) -> Any:
            kept, left = _inside(scale, now)
            value = jnp.where(count == 1, now, kept)
            flag = lost | (left & (count > 1))
            here = horizons == count
            return jnp.where(here[:, None], value, found[0]), jnp.where(here, flag, found[1])

        def lane(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            first, lost = _finite(shaken(x[start], mean, jax.random.fold_in(key, 0)), x[start])
            nothing = jnp.zeros((len(horizons), len(first))), jnp.zeros(len(horizons), bool)

            def body(k: jax.Array, carry: Any) -> Any:
                found, now, memory, lost = carry
                now, left = _inside(scale, now)
                ahead, memory = advance(memory, now, u[start + k])
                ahead, broken = _finite(shaken(now, ahead, jax.random.fold_in(key, k)), now)
                lost = lost | left | broken
                return told(found, k + 1, ahead, lost), ahead, memory, lost

            begin = told(nothing, 1, first, lost), first, memory, lost
            return jax.lax.fori_loop(1, horizons[-1], body, begin)[0]

        return jax.vmap(lane)(jax.random.split(base, draws))

    return jax.vmap(one)(x, u, start, name)


def shake(scale: Scale, noise: Noise, now: jax.Array, mean: jax.Array, key: jax.Array) -> jax.Array:
    """A draw around a mean; whole variables are rounded, bounds kept.

    Args:
        scale: units and limits.
        noise: of the residuals.
        now: float32[V], the state that the forecast starts from.
        mean: float32[V], the forecast.
        key: of the draw.
    """
    made = mean + draw_noise(noise, features(scale, now, mean), key)
    return jnp.clip(jnp.where(scale.whole, jnp.rint(made), made), scale.least, scale.most)


def _finite(ahead: jax.Array, now: jax.Array) -> tuple[jax.Array, jax.Array]:
    sound = jnp.isfinite(ahead)
    return jnp.where(sound, ahead, now), ~sound.all()


def _inside(scale: Scale, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    kept = jnp.clip(x, scale.low, scale.high)
    return kept, (kept != x).any()


@partial(jax.jit, static_argnums=0)
def _means(graph: Any, state: Any, z: jax.Array, v: jax.Array) -> jax.Array:
    return jax.vmap(nnx.merge(graph, state).increments)(z, v)


def one_step(model: StepModel, scale: Scale, data: Series) -> tuple[np.ndarray, ...]:
    """One-step predictions of every step of a split, each from the rows seen before it.

    Returns:
        States, predicted next states and observed next states, float32[B, V] each.
    """
    scaled = pairs(data, scale)
    graph, state = nnx.split(model)
    made = np.asarray(_means(graph, state, scaled.z, scaled.v))
    mean = data.x[:, :-1] + scale.drift + scale.step * made
    return tuple(part[data.steps] for part in (data.x[:, :-1], mean, data.x[:, 1:]))


def rollout(model: StepModel, scale: Scale, held: Series, *, noise: bool, seed: int) -> Rollout:
    """A fitted predictor as a forecaster.

    Args:
        model: the fitted predictor.
        scale: its units.
        held: data that the mean was not fitted on.
        noise: whether residual noise is fitted on them.
        seed: of the noise's fit.

    Raises:
        InputError: not one prediction of the held-out data is finite.
    """
    now, mean, ahead = one_step(model, scale, held)
    sound = np.isfinite(mean).all(1)
    if not sound.any():
        text = "not one prediction of held-out data is a finite number: this fit has failed"
        raise InputError((Problem("failed-fit", text),))
    if not noise:
        return Rollout(model, scale)
    now, mean, ahead = now[sound], mean[sound], ahead[sound]
    looked_at = looked_at_by(scale, now, mean)
    return Rollout(model, scale, fit_noise(looked_at, ahead - mean, seed))


def fit_predictor(
    build: Callable[[int, int, Scale], StepModel],
    recipes: Sequence[Recipe],
    task: Task,
    seed: int,
    noise: bool,
) -> Rollout:
    """Fits a network on the one-step error of a task's training trajectories.

    Args:
        build: the untrained network, from the numbers V of states and U of inputs and the units.
        recipes: of the training; the one with the least error on validation data is kept.
        task: the task.
        seed: of the order of the trajectories, and of the noise's fit.
        noise: whether residual noise is fitted on the validation data.

    Raises:
        InputError: entries are missing, or the fit failed.
    """
    train, held = splits(task)
    scale = scale_of(task.schema, train)
    given, others = pairs(train, scale), pairs(held, scale)
    sizes = train.x.shape[-1], train.u.shape[-1]
    fits = [fit_network(build(*sizes, scale), given, others, recipe, seed) for recipe in recipes]
    model, _ = min(fits, key=lambda fit: fit[1])
    return rollout(model, scale, held, noise=noise, seed=seed)
