"""Training of a neural posterior, on the device: whole epochs in one compiled call.

Two ways to feed it. A *fixed budget* of simulations is run once, a part of it is held out, and
training stops when the held-out part is predicted worse and worse. *Online*, every step simulates
its own batch inside the compiled loop: nothing is stored, nothing can be overfitted.

All weights travel as one flat vector, so that the optimiser is three operations and not hundreds,
which halves the time to compile.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.flatten_util import ravel_pytree

from gsim_jax.calibrate.network import Architecture, Network
from gsim_jax.calibrate.simulations import Source, usable
from gsim_jax.compilation import lanes_jit
from gsim_jax.task import InputError, Problem

#: Online, a call of the compiled loop takes about so many steps.
CHUNK = 100
#: Share of a fixed budget that is held out, and bounds of its size.
HELD_OUT, LEAST_HELD, MOST_HELD = 0.05, 16, 2000


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        batch: data sets per step.
        rate: largest learning rate; it warms up and falls along a cosine.
        decay: weight decay of AdamW (Loshchilov and Hutter 2019).
        average: decay of the exponential moving average of the weights, which is what is kept.
        clip: largest norm of a gradient.
        warm: share of the training that warms up.
        steps: about as many gradient steps are taken on stored simulations, in 10 to 120 epochs.
    """

    batch: int = 128
    rate: float = 2e-3
    decay: float = 1e-3
    average: float = 0.998
    clip: float = 5.0
    warm: float = 0.03
    steps: int = 4500


class State(NamedTuple):
    """What a step of training needs of the last: flat vectors, and the optimiser's state."""

    weights: jax.Array
    average: jax.Array
    moments: Any


@dataclass(frozen=True, eq=False)
class Estimator:
    """A network taken apart, for compiled functions: structure here, numbers as arguments.

    Attributes:
        plan: what the network is built from.
        graph: structure of the network.
        unravel: flat vector -> its weights.
    """

    plan: Architecture
    graph: Any
    unravel: Callable[[jax.Array], Any]

    @classmethod
    def of(cls, plan: Architecture, network: Network) -> tuple[Estimator, jax.Array, Any]:
        """The estimator, the flat weights and the fixed numbers of a network."""
        graph, weights, fixed = nnx.split(network, nnx.Param, ...)
        flat, unravel = ravel_pytree(weights)
        return cls(plan, graph, unravel), flat, fixed

    def network(self, weights: jax.Array, fixed: Any) -> Network:
        """The network with these numbers."""
        return nnx.merge(self.graph, self.unravel(weights), fixed)


@partial(lanes_jit, static_argnums=(0,))
def prepare(estimator: Estimator, weights: jax.Array, fixed: Any, x: jax.Array) -> Any:
    """Data sets x[B, ...] as the network's embedding prepares them."""
    return estimator.network(weights, fixed).prepare(x)


def begin(weights: jax.Array) -> State:
    """The state before the first step."""
    # The buffers are given away to the first call, so no two may be the same.
    return State(jnp.array(weights), jnp.array(weights), _adam().init(weights))


def _adam() -> optax.GradientTransformation:
    return optax.scale_by_adam(b2=0.99)


def _loss(
    estimator: Estimator, weights: jax.Array, fixed: Any, y: jax.Array, ready: Any, good: jax.Array
) -> jax.Array:
    """Sum of the negative log densities of the data sets that count, over the batch's size."""
    # The others still run through the network: as plain numbers, for finite gradients.
    log_prob = estimator.network(weights, fixed).log_prob(y, ready)
    return -jnp.sum(jnp.where(good, log_prob, 0.0)) / jnp.maximum(jnp.sum(good), 1)


def _update(recipe: Recipe, state: State, gradient: jax.Array, share: jax.Array) -> State:
    """One step of AdamW with clipping and a cosine schedule at `share` of the training."""
    warm = jnp.minimum(share / recipe.warm, 1.0)
    past = jnp.clip((share - recipe.warm) / (1.0 - recipe.warm), 0.0, 1.0)
    rate = recipe.rate * warm * (0.01 + 0.99 * 0.5 * (1.0 + jnp.cos(math.pi * past)))
    norm = jnp.sqrt(jnp.sum(gradient**2))
    sound = jnp.isfinite(norm)
    # A step whose gradient is not finite is left out; it would end everything.
    gradient = jnp.where(sound, gradient * jnp.minimum(1.0, recipe.clip / (norm + 1e-12)), 0.0)
    step, moments = _adam().update(gradient, state.moments)
    weights = state.weights - rate * (jnp.asarray(step) + recipe.decay * state.weights)
    count = optax.tree_utils.tree_get(moments, "count").astype(jnp.float32)
    keep = jnp.minimum(recipe.average, count / (9.0 + count))
    average = keep * state.average + (1.0 - keep) * weights
    return State(weights, average, moments)


def _train_online(
    estimator: Estimator, recipe: Recipe, source: Source, steps: int, state: State, fixed: Any,
    box: jax.Array, share: jax.Array, key: jax.Array,
) -> tuple[State, jax.Array, jax.Array]:  # fmt: skip
    """So many steps, each on its own simulations.

    Args:
        estimator: static.
        recipe: static.
        source: static.
        steps: static.
        state: given away.
        fixed: numbers that training leaves alone.
        box: float32[2, d], region of the coordinates.
        share: float32[2], shares of the training at the first step and per step.
        key: of this call.

    Returns:
        The state after; mean loss; share of the simulations that gave nothing.
    """

    def step(state: State, number: jax.Array) -> tuple[State, Any]:
        y, x = source.batch(box, jax.random.fold_in(key, number), recipe.batch)
        ready, good = estimator.network(state.weights, fixed).prepare(x), usable(x)
        loss, gradient = jax.value_and_grad(partial(_loss, estimator))(
            state.weights, fixed, y, ready, good
        )
        state = _update(recipe, state, gradient, share[0] + share[1] * number)
        return state, (loss, jnp.mean(~good))

    state, (losses, lost) = jax.lax.scan(step, state, jnp.arange(steps))
    return state, jnp.mean(losses), jnp.mean(lost)


def _train_stored(
    estimator: Estimator, recipe: Recipe, checks: int, state: State, fixed: Any, data: Any,
    rows: jax.Array, share: jax.Array,
) -> tuple[State, jax.Array, jax.Array]:  # fmt: skip
    """One epoch: a step per row of `rows`; the last `checks` only measure the held-out loss.

    They run the same program as the steps do, gradient and all, and leave the state as it is: a
    program of their own would take as long to compile as it saves.

    Args:
        estimator: static.
        recipe: static.
        checks: static.
        state: given away.
        fixed: numbers that training leaves alone.
        data: y[N, d] and data sets as prepared.
        rows: int32[steps + checks, batch], data sets of each step; -1 for none.
        share: float32[2], shares of the training at the first step and per step.

    Returns:
        The state after; mean loss; held-out loss of the averaged weights.
    """
    steps = rows.shape[0] - checks

    def step(state: State, at: tuple[jax.Array, jax.Array]) -> tuple[State, jax.Array]:
        number, chosen = at
        y, ready = jax.tree.map(lambda leaf: leaf[chosen], data)
        checking = number >= steps
        weights = jnp.where(checking, state.average, state.weights)
        loss, gradient = jax.value_and_grad(partial(_loss, estimator))(
            weights, fixed, y, ready, chosen >= 0
        )
        after = _update(recipe, state, gradient, share[0] + share[1] * number)
        kept = jax.tree.map(lambda old, new: jnp.where(checking, old, new), state, after)
        return kept, loss

    state, losses = jax.lax.scan(step, state, (jnp.arange(rows.shape[0]), rows))
    weight = jnp.sum(rows[steps:] >= 0, axis=1).astype(jnp.float32)
    held_out = jnp.sum(losses[steps:] * weight) / jnp.sum(weight)
    return state, jnp.mean(losses[:steps]), held_out


online_steps = lanes_jit(_train_online, static_argnums=(0, 1, 2, 3), donate_argnums=(4,))
"""`_train_online`, compiled."""
stored_epoch = lanes_jit(_train_stored, static_argnums=(0, 1, 2), donate_argnums=(3,))
"""`_train_stored`, compiled."""


@dataclass
class Trace:
    """How a training went.

    Attributes:
        losses: mean training loss of each call or epoch, nats.
        held_out: loss on held-out simulations after each epoch; empty online.
        steps: gradient steps.
        simulations: data sets simulated for the training.
        lost: share of them in which nothing was finite.
        seconds: wall time, compilation included.
    """

    losses: list[float] = field(default_factory=list)
    held_out: list[float] = field(default_factory=list)
    steps: int = 0
    simulations: int = 0
    lost: float = 0.0
    seconds: float = 0.0


class Limits(NamedTuple):
    """When a training ends.

    Attributes:
        steps: gradient steps, or epochs over stored simulations; None for no limit.
        until: `time.perf_counter()` at which to stop; None for no limit.
        progress: told the share that is done.
    """

    steps: int | None
    until: float | None
    progress: Callable[[float], None]

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.until is not None and time.perf_counter() >= self.until


def train_online(
    estimator: Estimator, recipe: Recipe, source: Source, weights: jax.Array, fixed: Any,
    box: jax.Array, key: jax.Array, limits: Limits,
) -> tuple[np.ndarray, Trace]:  # fmt: skip
    """Trains on fresh simulations.

    Args:
        estimator: the network's structure.
        recipe: how to train.
        source: what is simulated.
        weights: where to start.
        fixed: numbers that training leaves alone.
        box: float32[2, d], region of the coordinates.
        key: all draws follow from it, given the number of steps.
        limits: steps, or the time.

    Returns:
        The averaged weights, and how it went.
    """
    begun, trace, state = time.perf_counter(), Trace(), begin(weights)
    chunk = CHUNK if limits.steps is None else max(1, min(CHUNK, limits.steps))
    lost, calls, done, compiled = 0.0, 0, 0.0, begun
    while done < 1.0 - 1e-6:
        ahead = chunk / limits.steps if limits.steps else _pace(limits, compiled, calls, done)
        share = jnp.asarray([done, ahead / chunk], jnp.float32)
        state, loss, gone = online_steps(
            estimator, recipe, source, chunk, state, fixed, box, share,
            jax.random.fold_in(key, calls),
        )  # fmt: skip
        trace.losses.append(float(loss))
        lost, calls, done = lost + float(gone), calls + 1, done + ahead
        if calls == 1:
            compiled = time.perf_counter()
        if limits.over:
            break
        limits.progress(min(done, 1.0))
    trace.steps = calls * chunk
    trace.simulations = trace.steps * recipe.batch
    trace.lost = lost / calls
    trace.seconds = time.perf_counter() - begun
    return np.asarray(state.average), trace


def _pace(limits: Limits, compiled: float, calls: int, done: float) -> float:
    """Share of the training that the next call will be, from the time that is left."""
    assert limits.until is not None
    if calls < 2:  # the first call compiles, so its time says nothing
        return 1e-3
    now = time.perf_counter()
    each = (now - compiled) / (calls - 1)
    return (1.0 - done) * min(1.0, each / max(limits.until - now, 1e-9))


def train_stored(
    estimator: Estimator, recipe: Recipe, weights: jax.Array, fixed: Any, data: tuple[Any, Any],
    seed: int, limits: Limits,
) -> tuple[np.ndarray, Trace]:  # fmt: skip
    """Trains on stored simulations, and keeps the weights that predict held-out ones best.

    Args:
        estimator: the network's structure.
        recipe: how to train.
        weights: where to start.
        fixed: numbers that training leaves alone.
        data: y[N, d] and data sets as prepared, all usable.
        seed: order of the simulations, and which are held out.
        limits: epochs, and the time.

    Returns:
        The averaged weights of the best epoch, and how it went.

    Raises:
        InputError: too few simulations.
    """
    assert limits.steps is not None
    count, batch, epochs = len(data[0]), recipe.batch, limits.steps
    held = min(max(int(HELD_OUT * count), LEAST_HELD), MOST_HELD)
    steps = (count - held) // batch
    if steps < 1:
        text = (
            f"simulations: expected {held + batch} or more with finite results; got {count}: "
            "raise simulations=, or lower the recipe's batch"
        )
        raise InputError((Problem("simulations", text),))
    begun, trace, state = time.perf_counter(), Trace(), begin(weights)
    generator = np.random.default_rng(seed)
    order = generator.permutation(count).astype(np.int32)
    checks = -(-held // batch)
    rest = np.full((checks, batch), -1, np.int32)
    rest.ravel()[:held] = order[:held]
    best, kept, since, patience = math.inf, np.asarray(weights), 0, max(10, epochs // 4)
    for epoch in range(epochs):
        mine = generator.permutation(order[held:])[: steps * batch]
        rows = jnp.asarray(np.concatenate([mine.reshape(steps, batch), rest]))
        share = jnp.asarray([epoch / epochs, 1.0 / (epochs * steps)], jnp.float32)
        state, loss, held_out = stored_epoch(
            estimator, recipe, checks, state, fixed, data, rows, share
        )
        trace.losses.append(float(loss))
        trace.held_out.append(float(held_out))
        since += 1
        if trace.held_out[-1] < best:
            best, kept, since = trace.held_out[-1], np.array(state.average), 0
        limits.progress((epoch + 1) / epochs)
        if limits.over or since >= patience:
            break
    trace.steps = len(trace.losses) * steps
    trace.simulations = count
    trace.seconds = time.perf_counter() - begun
    return kept, trace
