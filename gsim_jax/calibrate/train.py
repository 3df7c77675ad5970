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
from gsim_jax.compilation import lanes_jit
from gsim_jax.task import InputError, Problem

#: (y float32[d], box float32[2, d], key) -> x: what is simulated, on the flow's coordinates.
Simulate = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]
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
    """

    batch: int = 128
    rate: float = 2e-3
    decay: float = 1e-3
    average: float = 0.998
    clip: float = 5.0
    warm: float = 0.03


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
        recipe: how it is trained.
        draw: key -> y, one draw from the prior; None where training needs a stored sample.
        simulate: see `Simulate`.
    """

    plan: Architecture
    graph: Any
    unravel: Callable[[jax.Array], Any]
    recipe: Recipe
    draw: Callable[[jax.Array, jax.Array], jax.Array] | None
    simulate: Simulate | None

    def network(self, weights: jax.Array, fixed: Any) -> Network:
        """The network with these numbers."""
        return nnx.merge(self.graph, self.unravel(weights), fixed)


def take_apart(network: Network) -> tuple[Any, Callable[[jax.Array], Any], jax.Array, Any]:
    """Graph, unravel, flat weights and fixed numbers of a network."""
    graph, weights, fixed = nnx.split(network, nnx.Param, ...)
    flat, unravel = ravel_pytree(weights)
    return graph, unravel, flat, fixed


def build_network(plan: Architecture, seed: int) -> Network:
    """An untrained network; every weight follows from the seed."""
    return Network(plan, nnx.Rngs(seed))


def begin(weights: jax.Array) -> State:
    """The state before the first step."""
    # The buffers are given away to the first call, so no two may be the same.
    return State(jnp.array(weights), jnp.array(weights), _adam().init(weights))


def _adam() -> optax.GradientTransformation:
    return optax.scale_by_adam(b2=0.99)


def usable(x: jax.Array) -> jax.Array:
    """bool[B]: data sets of x[B, ...] in which anything is finite."""
    return jnp.any(jnp.isfinite(jnp.reshape(x, (x.shape[0], -1))), axis=1)


def _loss(
    estimator: Estimator, weights: jax.Array, fixed: Any, y: jax.Array, x: jax.Array
) -> jax.Array:
    """Mean negative log density of the usable data sets."""
    good = usable(x)
    # What is not usable still runs through the network: as plain numbers, for finite gradients.
    log_prob = estimator.network(weights, fixed).log_prob(y, x)
    return -jnp.sum(jnp.where(good, log_prob, 0.0)) / jnp.maximum(jnp.sum(good), 1)


def _update(estimator: Estimator, state: State, gradient: jax.Array, share: jax.Array) -> State:
    """One step of AdamW with clipping and a cosine schedule at `share` of the training."""
    recipe = estimator.recipe
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


def _train(
    estimator: Estimator, steps: int, state: State, fixed: Any, data: Any, box: jax.Array,
    share: jax.Array, key: jax.Array,
) -> tuple[State, jax.Array, jax.Array]:  # fmt: skip
    """So many steps.

    Args:
        estimator: static.
        steps: static.
        state: given away.
        fixed: numbers that training leaves alone.
        data: (y[N, d], x[N, ...]) of a fixed budget, or None: simulate.
        box: float32[2, d], region of the coordinates.
        share: float32[2], shares of the training at the first step and per step.
        key: of this call.

    Returns:
        The state after; mean loss; share of the simulations that gave nothing.
    """
    batch = estimator.recipe.batch
    rows = None
    if data is not None:
        rows = jax.random.permutation(key, data[0].shape[0])[: steps * batch]
        rows = jnp.reshape(rows, (steps, batch))

    def step(state: State, at: tuple[jax.Array, Any]) -> tuple[State, Any]:
        number, chosen = at
        if data is not None:
            y, x = data[0][chosen], data[1][chosen]
        else:
            y, x = fresh(estimator, box, jax.random.fold_in(key, number), batch)
        loss, gradient = jax.value_and_grad(partial(_loss, estimator))(state.weights, fixed, y, x)
        state = _update(estimator, state, gradient, share[0] + share[1] * number)
        return state, (loss, jnp.mean(~usable(x)))

    state, (losses, lost) = jax.lax.scan(step, state, (jnp.arange(steps), rows))
    return state, jnp.mean(losses), jnp.mean(lost)


def fresh(
    estimator: Estimator, box: jax.Array, key: jax.Array, count: int
) -> tuple[jax.Array, jax.Array]:
    """Coordinates float32[count, d] from the prior, and data sets x[count, ...] simulated there."""
    assert estimator.draw is not None
    assert estimator.simulate is not None
    first, second = jax.random.split(key)
    keys = jax.random.split(first, count)
    y = jax.vmap(estimator.draw, in_axes=(0, None))(keys, box)
    keys = jax.random.split(second, count)
    x = jax.vmap(estimator.simulate, in_axes=(0, None, 0))(y, box, keys)
    x = jnp.where(jnp.isfinite(x), x, jnp.nan).astype(jnp.float32)
    return y, x


train_steps = lanes_jit(_train, static_argnums=(0, 1), donate_argnums=(2,))
"""`_train`, compiled: one program per estimator and number of steps."""
simulate_batch = lanes_jit(fresh, static_argnums=(0, 3))
"""`fresh`, compiled."""


@partial(lanes_jit, static_argnums=(0,))
def held_out_loss(
    estimator: Estimator, weights: jax.Array, fixed: Any, y: jax.Array, x: jax.Array
) -> jax.Array:
    """Mean negative log density of stored data sets, in nats."""
    return _loss(estimator, weights, fixed, y, x)


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


def train_online(
    estimator: Estimator, weights: jax.Array, fixed: Any, box: jax.Array, key: jax.Array, *,
    steps: int | None, until: float | None, progress: Callable[[float], None],
) -> tuple[np.ndarray, Trace]:  # fmt: skip
    """Trains on fresh simulations.

    Args:
        estimator: the network's structure.
        weights: where to start.
        fixed: numbers that training leaves alone.
        box: float32[2, d], region of the coordinates.
        key: all draws follow from it, given the number of steps.
        steps: how many; None to go on until the time is up.
        until: `time.perf_counter()` at which to stop.
        progress: told the share that is done.

    Returns:
        The averaged weights, and how it went.
    """
    if steps is None and until is None:
        raise ValueError("expected steps or until")
    begun, trace, state = time.perf_counter(), Trace(), begin(weights)
    chunk = CHUNK if steps is None else max(1, min(CHUNK, steps))
    lost, calls, done = 0.0, 0, 0.0
    compiled = begun
    while done < 1.0:
        ahead = chunk / steps if steps is not None else _pace(compiled, calls, until, done)
        share = jnp.asarray([done, ahead / chunk], jnp.float32)
        state, loss, gone = train_steps(
            estimator, chunk, state, fixed, None, box, share, jax.random.fold_in(key, calls)
        )
        trace.losses.append(float(loss))
        lost, calls = lost + float(gone), calls + 1
        if calls == 1:
            compiled = time.perf_counter()
        done = min(done + ahead, 1.0) if done + ahead < 1.0 - 1e-6 else 1.0
        if until is not None and time.perf_counter() >= until:
            break
        progress(done)
    trace.steps = calls * chunk
    trace.simulations = trace.steps * estimator.recipe.batch
    trace.lost = lost / calls
    trace.seconds = time.perf_counter() - begun
    return np.asarray(state.average), trace


def _pace(compiled: float, calls: int, until: float | None, done: float) -> float:
    """Share of what is left of the time that the next call will take."""
    assert until is not None
    if calls < 2:  # the first call compiles, so its time says nothing
        return 1e-3
    now = time.perf_counter()
    each = (now - compiled) / (calls - 1)
    return (1.0 - done) * min(1.0, each / max(until - now, 1e-9))


def train_stored(
    estimator: Estimator, weights: jax.Array, fixed: Any, data: tuple[Any, Any], key: jax.Array, *,
    epochs: int, until: float | None, progress: Callable[[float], None],
) -> tuple[np.ndarray, Trace]:  # fmt: skip
    """Trains on stored simulations, and keeps the weights that predict held-out ones best.

    Args:
        estimator: the network's structure.
        weights: where to start.
        fixed: numbers that training leaves alone.
        data: y[N, d] and x[N, ...], all usable.
        key: order of the simulations, and which are held out.
        epochs: passes over the data.
        until: `time.perf_counter()` at which to stop.
        progress: told the share that is done.

    Returns:
        The averaged weights of the best epoch, and how it went.

    Raises:
        InputError: too few simulations.
    """
    count = len(data[0])
    held = min(max(int(HELD_OUT * count), LEAST_HELD), MOST_HELD)
    steps = (count - held) // estimator.recipe.batch
    if steps < 1:
        need = held + estimator.recipe.batch
        text = f"simulations: expected {need} or more with finite results; got {count}"
        raise InputError((Problem("simulations", text),))
    begun, trace, state = time.perf_counter(), Trace(), begin(weights)
    order = jax.random.permutation(jax.random.fold_in(key, 0), count)
    mine, others = order[held:], order[:held]
    rest = data[0][others], data[1][others]
    data = data[0][mine], data[1][mine]
    box = jnp.zeros((2, data[0].shape[1]))
    best, best_weights, patience = math.inf, np.asarray(weights), max(10, epochs // 4)
    since = 0
    for epoch in range(epochs):
        share = jnp.asarray([epoch / epochs, 1.0 / (epochs * steps)], jnp.float32)
        state, loss, _ = train_steps(
            estimator, steps, state, fixed, data, box, share, jax.random.fold_in(key, epoch + 1)
        )
        trace.losses.append(float(loss))
        trace.held_out.append(float(held_out_loss(estimator, state.average, fixed, *rest)))
        since += 1
        if trace.held_out[-1] < best:
            best, best_weights, since = trace.held_out[-1], np.array(state.average), 0
        progress((epoch + 1) / epochs)
        late = until is not None and time.perf_counter() >= until
        if late or since >= patience:
            break
    trace.steps = len(trace.losses) * steps
    trace.simulations = count
    trace.seconds = time.perf_counter() - begun
    return best_weights, trace
