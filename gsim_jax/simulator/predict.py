"""Predictive draws at several horizons, with particles for whatever the data does not show.

`predict` is the one function that scores, diagnoses and what-ifs "from now" are built on. One scan
over the rows carries, for each replicate, a few *tracks* of the state side by side:

- the filter (track 0) restarts at every row: observed entries overwrite, latent and missing ones
  keep what was simulated. Its step is the one-step prediction;
- a track per phase p of a horizon h restarts from the filter at rows p, p + h, p + 2h, ...: its
  value at row t, just before a restart, is the prediction made at row t - h;
- the free run never restarts.

So all horizons cost one traced step, hence one compilation, and latent particles stay conditioned
on the past. Where something is latent or missing, the filter's particles are weighted by how well
they predicted the row and resampled. Complete rows reduce to plain teacher forcing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax import words as words_
from gsim_jax.simulator.codes import lane_code
from gsim_jax.simulator.contract import Params, Simulator
from gsim_jax.simulator.lanes import (
    BEFORE,
    Site,
    WordSource,
    draw_words,
    given_words,
    lane_words,
    step_sites,
)
from gsim_jax.simulator.panel import TRAJECTORIES, Panel, row_inputs
from gsim_jax.simulator.particles import resample
from gsim_jax.task import Schema, output_vector

State = dict[str, jax.Array]
_NEVER = 2**30
#: Lane number = replicate * _LANES + trajectory, so that neither depends on chunks.
_LANES = 1 << 20
#: Above this many words per trajectory (256 MiB) they are made step by step instead of ahead.
_MOST_WORDS = 1 << 26


@dataclass(frozen=True)
class Plan:
    """Which horizons are predicted, and from which rows.

    Attributes:
        steps: horizons above 1, in steps.
        free: whether a free run from the first row is added.
        stride: every `stride`-th phase of a horizon is used; larger is cheaper, fewer targets.
    """

    steps: tuple[int, ...] = (7,)
    free: bool = True
    stride: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """Horizons in order: `"1"`, each of `steps`, then `"free"`."""
        return ("1", *map(str, self.steps), *(("free",) if self.free else ()))

    @property
    def tracks(self) -> tuple[np.ndarray, np.ndarray]:
        """(period, phase) of each track, int32[M] each; the filter first, the free run last."""
        pairs = [(1, 0)]
        pairs += [(h, p) for h in self.steps for p in range(0, h, self.stride)]
        pairs += [(_NEVER, _NEVER - 1)] if self.free else []
        period, phase = np.asarray(pairs, np.int32).T
        return period, phase

    def weights(self, rows: int) -> np.ndarray:
        """Share of each horizon in a score, float64[H], summing to 1.

        A trajectory of T steps holds T forecasts of one step that do not overlap, T / h of h
        steps and one free run: horizons count by what they add independently. Equal shares let
        the luck of a few free runs outvote all single steps.
        """
        independent = [1.0, *(1.0 / h for h in self.steps)]
        independent += [1.0 / max(rows - 1, 1)] if self.free else []
        return np.asarray(independent) / sum(independent)

    def look_up(self, target: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Where the predictions of row `target` stand: (track int32[H], valid bool[H])."""
        track, valid, start = [jnp.int32(0)], [target >= 1], 1
        for h in self.steps:
            phase = target % h
            track.append(start + phase // self.stride)
            valid.append((phase % self.stride == 0) & (target >= h))
            start += len(range(0, h, self.stride))
        if self.free:
            track.append(jnp.int32(start))
            valid.append(target >= 1)
        return jnp.stack(track), jnp.stack(valid)


class Forecast(NamedTuple):
    """Predictions of one row of one trajectory, as `reduce` receives them.

    Replicates stand on the last axis: that is the axis which vector units run along.

    Attributes:
        draws: float32[V, H, R]; NaN where a lane failed.
        target: float32[V], what was observed (0 where unseen).
        seen: bool[V].
        valid: bool[H], whether the horizon reaches this row.
        code: int32[R], failure codes of the free run so far (the filter where there is none).
        shown: `{name: [*shape]}` schema states of one replicate's free run; [k, *shape] of k runs.
        outputs: float32[V], the scored values of that run, NaN where it failed; [V, k] of k runs.
    """

    draws: jax.Array
    target: jax.Array
    seen: jax.Array
    valid: jax.Array
    code: jax.Array
    shown: State
    outputs: jax.Array


def draws_only(forecast: Forecast) -> jax.Array:
    """The default `reduce`: draws[R, H, V], NaN where a horizon does not reach the row."""
    return jnp.where(forecast.valid[:, None], jnp.transpose(forecast.draws), jnp.nan)


def predict(
    simulator: Simulator,
    schema: Schema,
    params: Params,
    panel: Panel,
    plan: Plan,
    key: jax.Array,
    *,
    replicates: int,
    weighted: bool,
    first: jax.Array | int = 0,
    show: jax.Array | int = 0,
    reduce: Callable[[Forecast], Any] = draws_only,
) -> Any:
    """Predictive draws for every row of every trajectory; jit, and vmap over `params` and `panel`.

    Args:
        simulator: a program or a native simulator.
        schema: the task's schema.
        params: `{group: {name: value}}`.
        panel: n trajectories of `rows` rows.
        plan: horizons.
        key: uint32[2]; the same key gives the same words (common random numbers).
        replicates: R particles per trajectory.
        weighted: whether particles are weighted and resampled: needed where a state is latent,
            missing or reported with error.
        first: number of the panel's first trajectory, so that words do not depend on chunks.
        show: the replicate whose free run is `Forecast.shown`; int32[k] for those of k of them.
        reduce: turns the forecast of one row into what is stored.

    Returns:
        The stacked results of `reduce`, axes [n, rows - 1, ...]; entry t is about row t + 1. By
        default float32[n, rows - 1, R, H, V].
    """
    count = panel.length.shape[0]
    numbers = jnp.arange(count, dtype=jnp.uint32) + jnp.asarray(first, jnp.uint32)
    show = jnp.asarray(show, jnp.int32)

    def one(trajectory: Panel, number: jax.Array) -> Any:
        replicate = jnp.arange(replicates, dtype=jnp.uint32) * np.uint32(_LANES)
        lanes = words_.lane_keys(key, replicate + number)
        walk = _Walk(simulator, schema, params, trajectory, plan, lanes, key, weighted, show)
        return walk.run(reduce)

    return jax.vmap(one, in_axes=(TRAJECTORIES, 0))(panel, numbers)


def overwrite(state: State, observed: State, seen: Mapping[str, jax.Array]) -> State:
    """Observed entries replace simulated ones; latent and unseen entries stay."""
    return {
        name: jnp.where(seen[name], observed[name], value) if name in seen else value
        for name, value in state.items()
    }


def first_state(
    simulator: Simulator,
    params: Params,
    trajectory: Panel,
    lane: jax.Array,
) -> State:
    """Full state of one lane at the first row of one trajectory."""
    observed = {k: v[0] for k, v in trajectory.states.items()}
    seen = {k: v[0] for k, v in trajectory.seen.items()}
    inputs = row_inputs(trajectory, jnp.int32(0))
    state = simulator.initial(observed, seen, inputs, params, lane_words(lane, BEFORE))
    return overwrite(
        state, observed, {k: v for k, v in seen.items() if k not in simulator.observed}
    )


def with_reports(outputs: State, reported: State | None) -> State:
    """Everything besides the state that may be invalid: outputs, and what `observe` returned."""
    return outputs | {f"observe.{name}": value for name, value in (reported or {}).items()}


class _RowWords(NamedTuple):
    """Words of one row, made ahead: per site uint32[R, ...]."""

    sites: tuple[Site, ...]
    arrays: tuple[jax.Array, ...]


@dataclass(frozen=True)
class _Walk:
    """The scan over the rows of one trajectory; states are [M, R, ...], tracks then replicates."""

    simulator: Simulator
    schema: Schema
    params: Any
    trajectory: Panel
    plan: Plan
    lanes: jax.Array
    key: jax.Array
    weighted: bool
    show: jax.Array

    def run(self, reduce: Callable[[Forecast], Any]) -> Any:
        steps = jnp.arange(self.trajectory.outputs.shape[0] - 1, dtype=jnp.int32)
        start = jax.vmap(
            lambda lane: first_state(self.simulator, self.params, self.trajectory, lane)
        )(self.lanes)
        tracks = len(self.plan.tracks[0])
        states = jax.tree.map(lambda x: jnp.broadcast_to(x, (tracks, *x.shape)), start)
        lanes = (tracks, len(self.lanes))
        carry = (states, self._past(start, tracks), jnp.zeros(lanes, jnp.int32))
        sites, made = self._words(start, steps)

        def body(carry: Any, row: tuple[jax.Array, Any]) -> tuple[Any, Any]:
            t, arrays = row
            return self._row(carry, t, _RowWords(sites, arrays) if sites else None, reduce)

        return jax.lax.scan(body, carry, (steps, made))[1]

    @property
    def windows(self) -> np.ndarray:
        return np.array([output.window for output in self.schema.outputs], np.int32)

    @property
    def longest(self) -> int:
        return int(self.windows.max(initial=1)) - 1

    def _past(self, start: State, tracks: int) -> jax.Array:
        """Values of the rows before, for outputs that are sums; float32[V, longest, M, R]."""
        past = jnp.zeros((len(self.windows), self.longest, tracks, len(self.lanes)), jnp.float32)
        if not self.longest:
            return past
        given = row_inputs(self.trajectory, jnp.int32(0))

        def lane(state: State) -> jax.Array:
            return output_vector(self.schema, {k: state[k] for k in self.schema.states}, given)

        # The first sum of a table reaches back to its first row.
        return past.at[:, 0].set(jax.vmap(lane, out_axes=-1)(start)[:, None])

    def _words(self, start: State, steps: jax.Array) -> tuple[tuple[Site, ...], Any]:
        # Words do not depend on parameters: made here, they are shared by all members.
        one = jax.tree.map(lambda x: x[0], start)

        def call(source: WordSource) -> Any:
            return self._step(one, jnp.int32(0), source)

        sites = step_sites(self.simulator, call)
        if sum(site.size for site in sites) * len(self.lanes) * len(steps) > _MOST_WORDS:
            return (), ()

        def at(t: jax.Array) -> Any:
            return jax.vmap(lambda lane: draw_words(sites, lane, t))(self.lanes)

        return sites, jax.vmap(at)(steps)

    def _step(self, state: State, t: jax.Array, source: WordSource) -> tuple[Any, ...]:
        """One lane: next state, scored values one by one, states as the table shows them, code."""
        now, then = row_inputs(self.trajectory, t), row_inputs(self.trajectory, t + 1)
        following, outputs = self.simulator.step(state, now, self.params, source)
        shown = {k: following[k] for k in self.schema.states}
        reported = self.simulator.observe(following, outputs, self.params, source) or {}
        shown |= reported
        code = lane_code(self.simulator.states, following, with_reports(outputs, reported))
        values = output_vector(self.schema, shown, then)
        return following, [values[v] for v in range(len(self.windows))], shown, code

    def _advance(self, states: State, t: jax.Array, row: _RowWords | None) -> tuple[Any, ...]:
        def lane(state: State, words: Any) -> tuple[Any, ...]:
            if row is None:
                return self._step(state, t, lane_words(words, t))
            return self._step(state, t, given_words(row.sites, words))

        words = self.lanes if row is None else row.arrays
        track = jax.vmap(lane, in_axes=(0, 0))
        return jax.vmap(track, in_axes=(0, None))(states, words)

    def _row(
        self, carry: Any, t: jax.Array, row: _RowWords | None, reduce: Callable[[Forecast], Any]
    ) -> tuple[Any, Any]:
        states, past, code = carry
        trajectory, target = self.trajectory, t + 1
        states, values, shown, fresh = self._advance(states, t, row)
        code = code | fresh
        values = jnp.where(code == 0, jnp.stack(values), jnp.nan)
        sums = values
        if self.longest:
            # inside[v, k]: whether the value k + 1 steps back is part of the sum output v shows.
            inside = np.arange(self.longest)[None] < (self.windows[:, None] - 1)
            sums = values + jnp.einsum("vkmr,vk->vmr", past, inside.astype(np.float32))
            past = jnp.concatenate([values[:, None], past], axis=1)[:, :-1]
        tracks, valid = self.plan.look_up(target)
        draws = [
            jax.lax.dynamic_index_in_dim(sums, tracks[h], axis=1, keepdims=False)
            for h in range(len(self.plan.names))
        ]
        last = len(self.plan.tracks[0]) - 1 if self.plan.free else 0
        forecast = Forecast(
            jnp.stack(draws, axis=1),
            trajectory.outputs[target],
            trajectory.outputs_seen[target],
            valid,
            # What a lane does behind the trajectory's last row, or on padding, is no failure.
            jnp.where(target < trajectory.length, code[last], 0),
            jax.tree.map(lambda x: x[last, self.show], shown),
            sums[:, last, self.show],
        )
        merged = self._restart((states, past, code), sums[:, 0], target)
        return merged, reduce(forecast)

    def _restart(self, carry: Any, predicted: jax.Array, target: jax.Array) -> Any:
        """Tracks whose turn it is continue from the filter, into which the row has entered."""
        states, past, code = carry
        trajectory, simulator = self.trajectory, self.simulator
        forced = [name for name in trajectory.states if name not in simulator.observed]
        filtered = overwrite(
            jax.tree.map(lambda x: x[0], states),
            {k: trajectory.states[k][target] for k in forced},
            {k: trajectory.seen[k][target] for k in forced},
        )
        # A complete row mends a failed filter; a latent part that failed stays failed.
        sound = code[0] if self.weighted else jnp.zeros_like(code[0])
        memory = past[:, :, 0]
        if self.weighted:
            seen = trajectory.outputs_seen[target]
            index = resample(
                predicted.T, trajectory.outputs[target], seen, self.key, target, sound == 0
            )
            filtered = jax.tree.map(lambda x: x[index], filtered)
            memory, sound = memory[:, :, index], sound[index]
        period, phase = self.plan.tracks
        turn = target % period == phase

        def merge(old: jax.Array, new: jax.Array, axis: int) -> jax.Array:
            flag = turn.reshape([-1 if i == axis else 1 for i in range(old.ndim)])
            return jnp.where(flag, jnp.expand_dims(new, axis), old)

        states = jax.tree.map(lambda old, new: merge(old, new, 0), states, filtered)
        return states, merge(past, memory, 2), merge(code, sound, 0)
