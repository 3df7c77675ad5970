"""`fit_posterior`: pilot, rounds, networks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.calibrate import train
from gsim_jax.calibrate.coordinates import FAR, Coordinates, coordinates_of
from gsim_jax.calibrate.network import Architecture, Network, choose_embedding
from gsim_jax.calibrate.posterior import Info, Posterior, split_observed
from gsim_jax.calibrate.simulations import PIECE, Source, simulate_many
from gsim_jax.calibrate.train import Estimator, Recipe
from gsim_jax.task import InputError, Problem

#: Data sets that scales are learned from, and from which training starts.
PILOT = 2048
#: Numbers that a pilot may hold in all.
_PILOT_NUMBERS = 1 << 25
#: Share of a posterior that a truncation may cut off on each side of each coordinate, draws that
#: its quantiles are read from, and how much of its width is added.
_CUT, _DRAWS, _MARGIN = 1e-3, 4000, 0.1
#: Epochs over stored simulations: few simulations are seen often, many a few times.
_LEAST_EPOCHS, _MOST_EPOCHS = 10, 120


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
        run.bounded,
        shape,
        choose_embedding(embedding, shape, exchangeable),
        cells=coordinates.cells,
        **architecture,
    )
    posterior = run.round(0, plan, box, observed, gaps)
    for r in range(1, rounds):
        box = run.truncate(posterior, r)
        posterior = run.round(r, plan, box, observed, gaps)
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


class _Pilot(NamedTuple):
    """Usable simulations y[N, d], x[N, ...] of `count`; share with gaps; whether masks matter."""

    y: np.ndarray
    x: np.ndarray
    count: int
    incomplete: float
    masked: bool


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
        self.source = Source(self._draw, self._simulate)

    def everything(self) -> np.ndarray:
        """The box that holds all of the prior."""
        bounded = np.asarray(self.coordinates.bounded)
        return np.stack([np.where(bounded, 0.0, -FAR), np.where(bounded, 1.0, FAR)]).astype("f4")

    def _draw(self, key: jax.Array, box: jax.Array) -> jax.Array:
        if self.rounds == 1:
            return self.coordinates.draw(key)
        return self.coordinates.shares(key, box)

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

    def _count(self, number: int) -> int | None:
        """Simulations to store in this round; None online."""
        if self.budget.online:
            return None
        assert self.budget.simulations is not None
        each, rest = divmod(self.budget.simulations, self.rounds)
        return each + (rest if number == self.rounds - 1 else 0)

    def _simulations(
        self, plan: Architecture, box: jax.Array, count: int, stream: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Usable y and x, in pieces; counts the others."""
        key = jax.random.fold_in(self.key, stream)
        for y, x, good in simulate_many(self.source, count, box, key):
            asked = min(count, len(good))
            count -= asked
            self.simulations += asked
            self.lost += float(asked - good.sum())
            yield y[good], np.asarray(x)[good]

    def _pilot(self, plan: Architecture, box: jax.Array, gaps: bool, number: int) -> _Pilot:
        """A sample to learn scales from; a fixed budget counts it."""
        # Large data sets: fewer of them, so that the sample fits into memory.
        count = max(min(PILOT, _PILOT_NUMBERS // max(math.prod(plan.x), 1)), PIECE)
        count = min(count, self._count(number) or count)
        pieces = list(self._simulations(plan, box, count, 10 * number + 1))
        y, x = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
        if len(y) < 2:
            text = (
                f"simulate: expected finite results; {count - len(y)} of {count} data sets from "
                "the prior hold none"
            )
            raise InputError((Problem("simulate", text),))
        incomplete = np.isnan(x).reshape(len(x), -1).any(axis=1)
        return _Pilot(y, x, count, float(incomplete.mean()), gaps or bool(incomplete.any()))

    def _prepare(self, x: np.ndarray, weights: jax.Array, fixed: Any) -> Any:
        """Data sets as prepared, by pieces of one size: one program for all."""
        assert self.estimator is not None
        pieces = []
        for at in range(0, len(x), PIECE):
            piece = x[at : at + PIECE]
            padded = np.concatenate([piece, np.repeat(piece[:1], PIECE - len(piece), axis=0)])
            ready = train.prepare(self.estimator, weights, fixed, padded)
            pieces.append(jax.tree.map(lambda leaf: np.asarray(leaf)[: len(piece)], ready))  # noqa: B023
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)

    def round(
        self, number: int, plan: Architecture, box: np.ndarray | None, observed: np.ndarray,
        gaps: bool,
    ) -> Posterior:  # fmt: skip
        """One round: simulate in the box, train the networks."""
        region = jnp.asarray(self.everything() if box is None else box)
        pilot = self._pilot(plan, region, gaps, number)
        plan = self.estimator.plan if self.estimator else replace(plan, masked=pilot.masked)
        weights, traces, ready, stored = [], [], None, None
        fixed: Any = None
        for m in range(self.ensemble):
            seed = _seed(self.key, 10 * number + 2, m)
            network = Network(plan, seed)
            network.fit(pilot.x)
            if ready is None:
                estimator, flat, fixed = Estimator.of(plan, network)
                self.estimator = self.estimator or estimator
                ready = self._prepare(pilot.x, flat, fixed)
            network.start(pilot.y, ready[0])
            _, flat, fixed = Estimator.of(plan, network)
            assert self.estimator is not None
            if stored is None and not self.budget.online:
                stored = self._store(pilot, ready, flat, fixed, region, number)
            found, trace = self._train(flat, fixed, region, stored, number, m)
            self.trainings += 1
            weights.append(found)
            traces.append(trace)
        assert self.estimator is not None
        self.simulations += sum(t.simulations for t in traces) if self.budget.online else 0
        self.lost += sum(t.lost * t.simulations for t in traces)
        info = self._info(number, box, traces[0], pilot.incomplete)
        return Posterior(
            self.coordinates, self.estimator, np.stack(weights), fixed, box, observed, info
        )

    def _store(
        self, pilot: _Pilot, ready: Any, weights: jax.Array, fixed: Any, box: jax.Array, number: int
    ) -> tuple[Any, Any]:
        """The simulations of a fixed budget, the pilot's among them, prepared and usable."""
        assert self.estimator is not None
        y, pieces = [pilot.y], [ready]
        more = (self._count(number) or 0) - pilot.count
        for fresh, x in self._simulations(self.estimator.plan, box, max(more, 0), 10 * number + 3):
            if len(fresh):
                y.append(fresh)
                pieces.append(self._prepare(x, weights, fixed))
        joined = jax.tree.map(lambda *leaves: jnp.asarray(np.concatenate(leaves)), *pieces)
        return jnp.asarray(np.concatenate(y)), joined

    def _train(
        self, flat: jax.Array, fixed: Any, box: jax.Array, stored: Any, number: int, member: int
    ) -> tuple[np.ndarray, train.Trace]:
        budget, recipe, estimator = self.budget, self.recipe, self.estimator
        assert estimator is not None
        if budget.online:
            steps = None
            if budget.simulations is not None:
                steps = max(budget.simulations // self.pieces // recipe.batch, 1)
            key = jax.random.fold_in(jax.random.fold_in(self.key, 10 * number + 4), member)
            limits = train.Limits(steps, self._until(), self._tick)
            return train.train_online(estimator, recipe, self.source, flat, fixed, box, key, limits)
        per_epoch = max(len(stored[0]) // recipe.batch, 1)
        epochs = int(np.clip(recipe.steps // per_epoch, _LEAST_EPOCHS, _MOST_EPOCHS))
        limits = train.Limits(epochs, self._until(), self._tick)
        seed = _seed(self.key, 10 * number + 5, member)
        return train.train_stored(estimator, recipe, flat, fixed, stored, seed, limits)

    def truncate(self, posterior: Posterior, number: int) -> np.ndarray:
        """The box that holds the posterior's draws but for a small share, with a margin."""
        key = jax.random.fold_in(jax.random.fold_in(self.key, 999), number)
        inside = self._inside(posterior, key)
        low, high = np.quantile(inside, [_CUT, 1 - _CUT], axis=0)
        margin = _MARGIN * (high - low)
        share = np.stack([np.clip(low - margin, 0, 1), np.clip(high + margin, 0, 1)])
        box = jnp.asarray(posterior.box)
        found = self.coordinates.from_box(jnp.asarray(share, jnp.float32), box[0], box[1])
        drawn = self.coordinates.from_box(jnp.asarray(inside, jnp.float32), box[0], box[1])
        return self.coordinates.whole_cells(np.asarray(drawn), np.asarray(found, "f4"), _CUT)

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


def _seed(key: jax.Array, *numbers: int) -> int:
    """A seed for the host that follows from a key."""
    words = [int(word) for word in np.ravel(jax.random.key_data(key))]
    return int(np.random.SeedSequence([*words, *numbers]).generate_state(1, np.uint64)[0])
