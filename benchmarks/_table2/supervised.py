"""What the predictors of Table 2 learn from: one-step pairs of the data, scaled, and the fitting.

A predictor's state is everything that is scored (`schema.outputs`): it does not see the states
whose entries carry no order, such as the hospital's slots. Its inputs are those of the data. All
predict the *increment* of the state in units of its own standard deviation; the mean squared error
of that is what they are fitted on, as is usual. (With the next state itself as the target, the
precision that a network needs would be lost in the spread of the state.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from benchmarks._table2 import trained
from gsim_jax.task import InputError, Problem, Schema, Task, Trajectories

#: Half-width, in standard deviations beyond the range of the training data, of where a rollout may
#: be; see `Scale`.
REACH = 10.0
#: Share of the training trajectories that is held out where a task has no validation data.
HELD_OUT = 0.2


class Series(NamedTuple):
    """Complete trajectories as plain arrays.

    Attributes:
        x: float32[n, rows, V], states in the order of `schema.outputs`.
        u: float32[n, rows, U], inputs and attributes; row t acts on t -> t + 1.
        length: int[n], rows of each.
    """

    x: np.ndarray
    u: np.ndarray
    length: np.ndarray

    @property
    def steps(self) -> np.ndarray:
        """bool[n, rows - 1]: the steps t -> t + 1 that exist."""
        return np.arange(1, self.x.shape[1])[None] < self.length[:, None]


class Pairs(NamedTuple):
    """Steps t -> t + 1 in scaled units, as a model is fitted on them.

    Attributes:
        z: float32[n, T, V], scaled states.
        v: float32[n, T, U], scaled inputs.
        target: float32[n, T, V], scaled increments.
        weight: float32[n, T], 1 for steps that exist.
    """

    z: Any
    v: Any
    target: Any
    weight: Any


class Scale(NamedTuple):
    """Units of a state and its limits, all float32[V] or bool[V] but those of the inputs.

    Attributes:
        mean: subtracted from states.
        sd: states are divided by it; 1 where a variable never changes.
        drift: mean increment.
        step: standard deviation of the increment, 0 where a variable never changes.
        u_mean: subtracted from inputs, float32[U].
        u_sd: inputs are divided by it.
        low: lower end of the range that a rollout may reach: the least value of the training data,
            less `REACH` standard deviations.
        high: its upper end.
        least: lower bound of the variable itself, -inf where there is none. Draws keep to it.
        most: upper bound.
        whole: whether the variable is a whole number everywhere in the training data.
    """

    mean: Any
    sd: Any
    drift: Any
    step: Any
    u_mean: Any
    u_sd: Any
    low: Any
    high: Any
    least: Any
    most: Any
    whole: Any

    def state(self, x: Any) -> Any:
        """Scaled states."""
        return (x - self.mean) / self.sd

    def inputs(self, u: Any) -> Any:
        """Scaled inputs."""
        return (u - self.u_mean) / self.u_sd


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted: Adam along a cosine, the best epoch on validation data is kept.

    Attributes:
        epochs: at most; training ends early after `patience` epochs without a better one.
        batch: trajectories per step.
        rate: largest learning rate.
        patience: epochs.
    """

    epochs: int = 60
    batch: int = 10
    rate: float = 2e-3
    patience: int = 15


def series(schema: Schema, data: Trajectories, where: str) -> Series:
    """The trajectories of a split as a predictor sees them.

    Args:
        schema: the task's schema.
        data: the split.
        where: name of the split, for messages.

    Raises:
        InputError: entries are missing, or there is no step to learn from.
    """
    seen = data.outputs_seen | ~data.exists[..., None]
    if not seen.all():
        trajectory, row, column = (int(i) for i in np.argwhere(~seen)[0])
        text = (
            f"expected every entry of the {where} data to be seen: these predictors have no rule "
            f"for missing ones; {schema.outputs[column].label} of trajectory "
            f"{data.ids[trajectory]} is not seen at t = {row} (and {int((~seen).sum()) - 1} more). "
            f"Choose a task without gaps"
        )
        raise InputError((Problem("missing-entries", text),))
    if not (data.length > 1).any():
        text = f"expected trajectories of two rows or more in the {where} data, to learn steps from"
        raise InputError((Problem("no-steps", text),))
    n, rows = data.outputs.shape[:2]
    given = [np.reshape(value, (n, rows, -1)) for value in data.inputs.values()]
    constant = [np.broadcast_to(v[:, None, None], (n, rows, 1)) for v in data.attributes.values()]
    u = np.concatenate([np.zeros((n, rows, 0)), *given, *constant], -1)
    return Series(data.outputs.astype(np.float32), u.astype(np.float32), data.length)


def splits(task: Task) -> tuple[Series, Series]:
    """What is fitted on, and what fits and residuals are checked on.

    Without validation data the last fifth of the training trajectories takes its place.

    Raises:
        InputError: entries are missing, or there is a single trajectory and no validation data.
    """
    train = series(task.schema, task.train, "training")
    if task.validation is not None:
        return train, series(task.schema, task.validation, "validation")
    held = max(1, round(HELD_OUT * len(task.train)))
    if held >= len(task.train):
        text = "expected validation data, or several training trajectories to hold some out; got 1"
        raise InputError((Problem("no-validation", text, file=str(task.path / "task.toml")),))
    return (
        Series(*(part[:-held] for part in train)),
        Series(*(part[-held:] for part in train)),
    )


def scale_of(schema: Schema, train: Series, *, center: bool = True) -> Scale:
    """Units and limits from the training data.

    Args:
        schema: bounds of the states.
        train: the training data.
        center: whether states and inputs are centred; polynomials stay sparse without.
    """
    exists = np.arange(train.x.shape[1])[None] < train.length[:, None]
    x, u = train.x[exists].astype(np.float64), train.u[exists].astype(np.float64)
    jumps = np.diff(train.x, axis=1)[train.steps].astype(np.float64)
    spread = x.std(0)
    bounds = [_bounds(schema, v, x[:, v]) for v in range(x.shape[1])]
    keep = 1.0 if center else 0.0
    fields = (
        keep * x.mean(0), _unit(spread), jumps.mean(0), jumps.std(0),
        keep * u.mean(0), _unit(u.std(0)),
        x.min(0) - REACH * spread, x.max(0) + REACH * spread,
        [low for low, _ in bounds], [high for _, high in bounds],
    )  # fmt: skip
    whole = (x == np.rint(x)).all(0)
    return Scale._make([*(np.asarray(part, np.float32) for part in fields), whole])


def _unit(sd: np.ndarray) -> np.ndarray:
    return np.where(sd > 0, sd, 1.0)


def _bounds(schema: Schema, v: int, values: np.ndarray) -> tuple[float, float]:
    """Bounds of a state from the schema; of derived values that they are never negative."""
    output = schema.outputs[v]
    state = schema.states.get(output.variable)
    low = None if state is None else state.min
    high = None if state is None else state.max
    if low is None and (output.kind == "count" or (state is None and values.min() >= 0)):
        low = 0
    return -np.inf if low is None else low, np.inf if high is None else high


def pairs(data: Series, scale: Scale) -> Pairs:
    """The steps of a split in scaled units."""
    jump = np.diff(data.x, axis=1) - scale.drift
    target = jump / np.where(scale.step > 0, scale.step, 1.0)
    z, v = scale.state(data.x[:, :-1]), scale.inputs(data.u[:, :-1])
    return Pairs(*(np.asarray(part, np.float32) for part in (z, v, target, data.steps)))


class StepModel(nnx.Module):
    """A predictor of scaled increments, for one trajectory; `jax.vmap` makes many of it.

    Whatever remembers more than the present state overrides `read` and `increments`.
    """

    def read(self, z: jax.Array, v: jax.Array, row: jax.Array, ahead: int) -> Any:
        """What is remembered of the rows before `row`.

        Args:
            z: float32[T, V]; rows from `row` on must not matter.
            v: float32[T, U], likewise.
            row: where the forecast starts.
            ahead: most steps that will be asked for.
        """
        del z, v, row, ahead
        return ()

    def step(self, memory: Any, z: jax.Array, v: jax.Array) -> tuple[jax.Array, Any]:
        """The mean increment after a row, and the memory with that row in it.

        Args:
            memory: of the rows before.
            z: float32[V], the row.
            v: float32[U], its inputs.
        """
        raise NotImplementedError

    def increments(self, z: jax.Array, v: jax.Array) -> jax.Array:
        """The mean increments after each row of a trajectory, float32[T, V], given those before."""
        return jax.vmap(lambda row, given: self.step((), row, given)[0])(z, v)

    @property
    def numbers(self) -> int:
        """Fitted numbers."""
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(self, nnx.Param)))


def mean_square(model: Any, data: Pairs) -> jax.Array:
    """Mean squared error of scaled increments over the steps that exist."""
    error = jax.vmap(model.increments)(data.z, data.v) - data.target
    weight = data.weight[..., None]
    return jnp.sum(weight * error**2) / (jnp.sum(weight) * error.shape[-1])


def fit_network(
    model: nnx.Module,
    train: Any,
    held: Any,
    recipe: Recipe,
    seed: int,
    loss: Callable[[Any, Any], jax.Array] = mean_square,
) -> tuple[Any, float]:
    """Fits a network.

    Args:
        model: the network; its `nnx.Param`s are fitted.
        train: arrays with the sample on the first axis.
        held: the same, held out.
        recipe: how.
        seed: the order of the samples follows from it.
        loss: of (model, batch).

    Returns:
        The network as it was after its best epoch on the held-out data, and its loss there.

    Raises:
        InputError: the error was not finite after any epoch.
    """
    graph, weights, fixed = nnx.split(model, nnx.Param, ...)
    what = (type(model).__qualname__, loss.__qualname__, astuple(recipe), seed)
    name = trained.digest(what, weights, fixed, train, held)

    def train_it() -> tuple[Any, float]:
        return _trained(loss, (graph, weights, fixed), train, held, recipe, seed)

    leaves, best = trained.recalled(name, train_it)
    kept = jax.tree.unflatten(jax.tree.structure(weights), jax.tree.leaves(leaves))
    return nnx.merge(graph, kept, fixed), best


def _trained(
    loss: Callable[[Any, Any], jax.Array],
    network: tuple[Any, Any, Any],
    train: Any,
    held: Any,
    recipe: Recipe,
    seed: int,
) -> tuple[Any, float]:
    """The weights after the best epoch, and their loss on the held-out data."""
    graph, weights, fixed = network
    count = len(jax.tree.leaves(train)[0])
    batch = min(recipe.batch, count)
    steps = count // batch
    schedule = optax.cosine_decay_schedule(recipe.rate, recipe.epochs * steps, alpha=0.01)
    rates = np.asarray(jax.vmap(schedule)(np.arange(recipe.epochs * steps)))
    moments = _adam().init(weights)
    best, kept, since = np.inf, weights, 0
    generator = np.random.default_rng(seed)
    for rate in rates.reshape(recipe.epochs, steps):
        order = generator.permutation(count)[: steps * batch].reshape(steps, batch)
        weights, moments = _epoch(loss, graph, weights, fixed, moments, train, order, rate)
        error = float(_error(loss, graph, weights, fixed, held))
        since += 1
        if error < best:
            best, kept, since = error, weights, 0
        if since >= recipe.patience:
            break
    if not np.isfinite(best):
        text = "the network's error is not finite after any epoch: scale the data, lower the rate"
        raise InputError((Problem("failed-fit", text),))
    return kept, best


def _adam() -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())


@partial(jax.jit, static_argnums=(0, 1))
def _epoch(
    loss: Any, graph: Any, weights: Any, fixed: Any, moments: Any, data: Any, order: Any, rates: Any
) -> tuple[Any, Any]:
    """One epoch; rates are an argument, so that all schedules and seeds share a compilation."""

    def one(carry: tuple[Any, Any], now: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        (weights, moments), (chosen, rate) = carry, now
        part = jax.tree.map(lambda array: array[chosen], data)
        slope = jax.grad(lambda w: loss(nnx.merge(graph, w, fixed), part))(weights)
        change, moments = _adam().update(slope, moments, weights)
        step = jax.tree.map(lambda part: -rate * part, change)
        return (optax.apply_updates(weights, step), moments), None

    return jax.lax.scan(one, (weights, moments), (order, rates))[0]


@partial(jax.jit, static_argnums=(0, 1))
def _error(loss: Any, graph: Any, weights: Any, fixed: Any, data: Any) -> jax.Array:
    return loss(nnx.merge(graph, weights, fixed), data)
