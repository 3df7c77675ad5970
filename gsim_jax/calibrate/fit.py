"""`fit_posterior`: pilot, rounds, networks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.calibrate import train
from gsim_jax.calibrate.coordinates import FAR, Coordinates, coordinates_of
from gsim_jax.calibrate.network import Architecture, choose_embedding
from gsim_jax.calibrate.posterior import Info, Posterior, split_observed
from gsim_jax.calibrate.train import Estimator, Recipe
from gsim_jax.task import InputError, Problem

#: Data sets that scales are learned from, and from which training starts.
PILOT = 2048
#: Share of a posterior that a truncation may cut off on each side of each coordinate, draws that
#: its quantiles are read from, and how much of its width is added.
_CUT, _DRAWS, _MARGIN = 1e-3, 4000, 0.1
#: Steps per simulation of a fixed budget: few simulations are seen often, many a few times.
_MOST_STEPS, _LEAST_EPOCHS, _MOST_EPOCHS = 4500, 10, 120


@dataclass(frozen=True)
class Budget:
    """How long to simulate and to train.

    Attributes:
        simulations: data sets in all; None for no limit.
        seconds: wall time; None for no limit.
        online: whether simulations are made afresh in every step instead of stored.
    """

    simulations: int | None
    seconds: float | None
    online: bool


def fit_posterior(
    simulate: Callable[[jax.Array, jax.Array], jax.Array],
    prior: Any,
    observed: Any,
    key: jax.Array,
    *,
    simulations: int | None = None,
    seconds: float | None = None,
    online: bool | None = None,
    rounds: int = 1,
    embedding: str | None = None,
    exchangeable: bool = False,
    ensemble: int = 1,
    recipe: Recipe | None = None,
    progress: Callable[[float], None] = lambda share: None,
    **architecture: Any,
) -> Posterior:
    """Estimates a posterior from simulations.

    Args:
        simulate: (theta float32[d], key) -> x, an array of fixed shape; NaN where nothing was
            observed. A JAX function of one theta: it is batched and compiled here.
        prior: a numpyro distribution of a vector or of independent numbers, or a
            `ParameterSpace`.
        observed: x, or several data sets stacked.
        key: all draws follow from it. With a limit in seconds the number of steps, and so the
            result, depends on the machine.
        simulations: how many data sets in all; without `online` they are run once and stored.
        seconds: wall time, compilation included.
        online: simulate afresh in every step; by default where only seconds are given.
        rounds: rounds of truncation; more than one suit one observation and a narrow posterior.
        embedding: `"vector"`, `"set"`, `"trajectory"`, or None to choose by x's shape.
        exchangeable: whether the first axis of x carries no order.
        ensemble: networks whose mixture is the answer.
        recipe: how to train.
        progress: told the share that is done.
        **architecture: sizes, see `Architecture`.

    Returns:
        The posterior.

    Raises:
        InputError: shapes that do not fit, a prior of the wrong kind, no limit at all, or a
            simulator whose results are never finite.
    """
    coordinates = coordinates_of(prior)
    shape = prior_shape(prior, coordinates)

    def at(y: jax.Array, key: jax.Array) -> jax.Array:
        return simulate(jnp.reshape(coordinates.value(y), shape), key)

    return fit(
        at, coordinates, observed, key, budget_of(simulations, seconds, online), rounds=rounds,
        embedding=embedding, exchangeable=exchangeable, ensemble=ensemble,
        recipe=recipe or Recipe(), progress=progress, architecture=architecture,
    )  # fmt: skip


def prior_shape(prior: Any, coordinates: Coordinates) -> tuple[int, ...]:
    """Shape of theta as the user's simulator takes it."""
    if hasattr(prior, "event_shape"):
        return tuple(prior.batch_shape + prior.event_shape) or (1,)
    return (coordinates.dimension,)


def budget_of(simulations: int | None, seconds: float | None, online: bool | None) -> Budget:
    """The budget that is meant.

    Raises:
        InputError: neither limit, or one that is not positive.
    """
    problems = []
    if simulations is None and seconds is None:
        problems.append("expected simulations= or seconds=, got neither: training needs an end")
    if simulations is not None and simulations < 1:
        problems.append(f"simulations: expected 1 or more; got {simulations}")
    if seconds is not None and seconds <= 0:
        problems.append(f"seconds: expected a positive time; got {seconds}")
    if simulations is None and online is False:
        problems.append("online=False: expected simulations=, the number to store")
    if problems:
        raise InputError(tuple(Problem("budget", text) for text in problems))
    return Budget(simulations, seconds, simulations is None if online is None else online)


def fit(
    simulate: Callable[[jax.Array, jax.Array], jax.Array],
    coordinates: Coordinates,
    observed: Any,
    key: jax.Array,
    budget: Budget,
    *,
    rounds: int,
    embedding: str | None,
    exchangeable: bool,
    ensemble: int,
    recipe: Recipe,
    progress: Callable[[float], None],
    architecture: dict[str, Any],
) -> Posterior:
    """`fit_posterior` for a simulator of the coordinates: (y, key) -> x."""
    one = jax.ShapeDtypeStruct((coordinates.dimension,), jnp.float32)
    shape = tuple(jax.eval_shape(simulate, one, key).shape)
    observed = np.asarray(observed, np.float32)
    several, rows = split_observed(observed, shape)
    _check_rounds(rounds, ensemble, several, coordinates)
    run = _Run(simulate, coordinates, key, budget, recipe, rounds, ensemble, progress)
    # All rounds work on shares of a box, so that one program serves them all.
    box = run.everything() if rounds > 1 else None
    gaps = any(bool(np.isnan(np.asarray(row)).any()) for row in rows)
    plan = Architecture(
        run.bounded, shape, choose_embedding(embedding, shape, exchangeable), **architecture
    )
    posterior: Posterior | None = None
    for r in range(rounds):
        posterior = run.round(r, plan, box, observed, gaps, posterior)
        if r + 1 < rounds:
            box = run.truncate(posterior, r)
    assert posterior is not None
    return posterior


def _check_rounds(rounds: int, ensemble: int, several: bool, coordinates: Coordinates) -> None:
    problems = []
    if rounds < 1 or ensemble < 1:
        problems.append(f"rounds, ensemble: expected 1 or more; got {rounds}, {ensemble}")
    if rounds > 1 and several:
        problems.append("rounds: expected 1 for several data sets: a region suits only one")
    if rounds > 1 and not coordinates.uniform:
        kind = type(coordinates.source).__name__
        problems.append(
            f"rounds: expected 1 for a prior without quantile function ({kind}): a region of it "
            "cannot be drawn from"
        )
    if problems:
        raise InputError(tuple(Problem("rounds", text) for text in problems))


class _Run:
    """One fit: what all of its rounds share."""

    def __init__(
        self, simulate: Any, coordinates: Coordinates, key: jax.Array, budget: Budget,
        recipe: Recipe, rounds: int, ensemble: int, progress: Callable[[float], None],
    ) -> None:  # fmt: skip
        self.simulate, self.coordinates, self.key = simulate, coordinates, key
        self.budget, self.recipe = budget, recipe
        self.rounds, self.ensemble, self.progress = rounds, ensemble, progress
        self.begun = time.perf_counter()
        self.trainings, self.pieces = 0, rounds * ensemble
        self.simulations, self.lost = 0, 0.0
        self.bounded = (True,) * coordinates.dimension if rounds > 1 else coordinates.bounded
        self.estimator: Estimator | None = None
        self.stored: tuple[Any, Any] | None = None

    def everything(self) -> np.ndarray:
        """The box that holds all of the prior."""
        bounded = np.asarray(self.coordinates.bounded)
        return np.stack([np.where(bounded, 0.0, -FAR), np.where(bounded, 1.0, FAR)]).astype("f4")

    def _draw(self, key: jax.Array, box: jax.Array) -> jax.Array:
        if self.rounds == 1:
            return self.coordinates.draw(key)
        return jax.random.uniform(key, (len(self.bounded),), minval=1e-7)

    def _simulate(self, y: jax.Array, box: jax.Array, key: jax.Array) -> jax.Array:
        if self.rounds > 1:
            y = self.coordinates.from_box(y, box[0], box[1])
        return jnp.asarray(self.simulate(y, key))

    def _until(self) -> float | None:
        """When the next training has to stop: what is left, shared evenly."""
        if self.budget.seconds is None:
            return None
        now = time.perf_counter()
        left = max(self.begun + self.budget.seconds - now, 0.0)
        return now + left / (self.pieces - self.trainings)

    def _tick(self, share: float) -> None:
        self.progress((self.trainings + share) / self.pieces)

    def _pilot(
        self, plan: Architecture, box: np.ndarray, gaps: bool, number: int
    ) -> tuple[Architecture, np.ndarray, np.ndarray, float]:
        """A sample to learn scales from: the stored simulations, or as many as a pilot takes."""
        budget = self.budget
        count = PILOT
        if not budget.online:
            assert budget.simulations is not None
            count = budget.simulations // self.rounds
            count += budget.simulations % self.rounds if number == self.rounds - 1 else 0
        key = jax.random.fold_in(jax.random.fold_in(self.key, 1), number)
        source = self.estimator or Estimator(plan, None, _same, self.recipe, self._draw,
                                             self._simulate)  # fmt: skip
        y, x = train.simulate_batch(source, jnp.asarray(box), key, count)
        good = np.asarray(train.usable(x))
        if good.sum() < 2:
            text = (
                f"simulate: expected finite results; {count - int(good.sum())} of {count} data "
                "sets from the prior hold none"
            )
            raise InputError((Problem("simulate", text),))
        if self.estimator is None:
            missing = bool(np.isnan(np.asarray(x)[good]).any())
            plan = replace(plan, masked=gaps or missing)
        self.simulations += count
        self.lost += float(count - good.sum())
        if not budget.online:
            self.stored = (y[good], x[good])
        kept = slice(0, PILOT)
        x = np.asarray(x)[good][kept]
        return (
            plan,
            np.asarray(y)[good][kept],
            x,
            float(np.isnan(x).reshape(len(x), -1).any(1).mean()),
        )

    def round(
        self, number: int, plan: Architecture, box: np.ndarray | None, observed: np.ndarray,
        gaps: bool, before: Posterior | None,
    ) -> Posterior:  # fmt: skip
        """One round: simulate in the box, train the networks."""
        region = self.everything() if box is None else box
        plan, y, x, incomplete = self._pilot(plan, region, gaps, number)
        weights, traces, fixed = [], [], None
        for m in range(self.ensemble):
            seed = int(jax.random.bits(jax.random.fold_in(self.key, 1000 * number + m + 2)))
            network = train.build_network(self.estimator.plan if self.estimator else plan, seed)
            network.start(y, x)
            graph, unravel, flat, fixed = train.take_apart(network)
            if self.estimator is None:
                self.estimator = Estimator(
                    plan, graph, unravel, self.recipe, self._draw, self._simulate
                )
            found, trace = self._train(flat, fixed, region, number, m)
            self.trainings += 1
            weights.append(found)
            traces.append(trace)
        assert self.estimator is not None
        self.simulations += sum(t.simulations for t in traces) if self.budget.online else 0
        self.lost += sum(t.lost * t.simulations for t in traces)
        info = self._info(number, region if box is not None else None, traces[0], incomplete)
        return Posterior(
            self.coordinates, self.estimator, np.stack(weights), fixed, box, observed, info
        )

    def _train(
        self, flat: jax.Array, fixed: Any, box: np.ndarray, number: int, member: int
    ) -> tuple[np.ndarray, train.Trace]:
        key = jax.random.fold_in(jax.random.fold_in(self.key, 2 + number), member)
        budget, estimator = self.budget, self.estimator
        assert estimator is not None
        if budget.online:
            steps = None
            if budget.simulations is not None:
                steps = max(budget.simulations // self.pieces // self.recipe.batch, 1)
            return train.train_online(
                estimator, flat, fixed, jnp.asarray(box), key, steps=steps, until=self._until(),
                progress=self._tick,
            )  # fmt: skip
        assert self.stored is not None
        per_epoch = max(len(self.stored[0]) // self.recipe.batch, 1)
        epochs = int(np.clip(_MOST_STEPS // per_epoch, _LEAST_EPOCHS, _MOST_EPOCHS))
        return train.train_stored(
            estimator, flat, fixed, self.stored, key, epochs=epochs, until=self._until(),
            progress=self._tick,
        )  # fmt: skip

    def truncate(self, posterior: Posterior, number: int) -> np.ndarray:
        """The box that holds the posterior's draws but for a small share, with a margin."""
        key = jax.random.fold_in(jax.random.fold_in(self.key, 999), number)
        inside = self._inside(posterior, key)
        low, high = np.quantile(inside, [_CUT, 1 - _CUT], axis=0)
        margin = _MARGIN * (high - low)
        share = np.stack([np.clip(low - margin, 0, 1), np.clip(high + margin, 0, 1)])
        box = jnp.asarray(posterior.box)
        found = self.coordinates.from_box(jnp.asarray(share, jnp.float32), box[0], box[1])
        return np.asarray(found, np.float32)

    def _inside(self, posterior: Posterior, key: jax.Array) -> np.ndarray:
        return np.asarray(replace(posterior, box=None).sample_coordinates(key, _DRAWS))

    def _info(
        self, number: int, box: np.ndarray | None, trace: train.Trace, incomplete: float
    ) -> Info:
        volume = 1.0
        if box is not None:
            whole = jnp.asarray(self.everything())
            share, _ = self.coordinates.to_box(jnp.asarray(box), whole[0], whole[1])
            volume = float(np.prod(np.diff(np.asarray(share, float), axis=0)))
        invalid = self.lost / max(self.simulations, 1)
        warnings = []
        if invalid > 0.5:
            warnings.append(
                f"{invalid:.0%} of the simulations from the prior gave nothing finite; a narrower "
                "prior would train on more of them"
            )
        return Info(
            self.simulations, invalid, incomplete, number + 1, volume,
            time.perf_counter() - self.begun, tuple(trace.losses), tuple(trace.held_out),
            tuple(warnings),
        )  # fmt: skip


def _same(x: Any) -> Any:
    return x
