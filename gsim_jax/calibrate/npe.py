"""The neural posterior of a task: whole data sets are simulated, shaped like the training data.

Each simulated data set has the lengths, inputs, first rows and gaps of the observed one, so the
network sees what the data could show and nothing else. Trajectories are exchangeable given their
inputs, which stand beside the outputs as columns. A data set in which any lane fails is left out:
whether it fails is a function of what it shows, and the data did not fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from gsim_jax import words
from gsim_jax.calibrate.calibration import Calibration
from gsim_jax.calibrate.coordinates import Coordinates, coordinates_of, unit_of
from gsim_jax.calibrate.fit import Budget, fit
from gsim_jax.calibrate.objective import Objective
from gsim_jax.calibrate.posterior import Posterior
from gsim_jax.calibrate.train import Recipe
from gsim_jax.simulator.codes import OK, lane_code
from gsim_jax.simulator.lanes import lane_words
from gsim_jax.simulator.panel import TRAJECTORIES, Panel, build_panel, row_inputs
from gsim_jax.simulator.parameters import EDGE, ParameterSpace
from gsim_jax.simulator.predict import first_state, with_reports
from gsim_jax.task import InputError, Problem, Schema, Trajectories, output_vector

#: Counted operations that simulating for one fit may take where every step of the training
#: simulates afresh, and where data sets are stored; of very expensive programs there are fewer.
AFRESH, STORED = 5e10, 1.5e12
#: Fewest data sets of a fit, whatever they cost.
LEAST = 2048


def simulate_like(
    simulator: Any, schema: Schema, params: Any, panel: Panel, key: jax.Array
) -> jax.Array:
    """One data set shaped like another, under one point of the parameters.

    Args:
        simulator: a program or a native simulator.
        schema: the task's schema.
        params: `{group: {name: value}}`.
        panel: n trajectories, whose first rows, inputs, lengths and gaps are taken over.
        key: uint32[2].

    Returns:
        float32[n, rows, V], the scored variables; NaN where the panel shows nothing, and all of
        it where a lane failed.
    """
    windows = np.array([output.window for output in schema.outputs], np.int32)
    lanes = words.lane_keys(key, jnp.arange(panel.length.shape[0], dtype=jnp.uint32))

    def one(trajectory: Panel, lane: jax.Array) -> tuple[jax.Array, jax.Array]:
        start = first_state(simulator, params, trajectory, lane)
        shown = {name: start[name] for name in schema.states}
        first = output_vector(schema, shown, row_inputs(trajectory, jnp.int32(0)))

        def step(carry: tuple[Any, jax.Array], t: jax.Array) -> tuple[Any, jax.Array]:
            state, code = carry
            now, then = row_inputs(trajectory, t), row_inputs(trajectory, t + 1)
            source = lane_words(lane, t)
            following, outputs = simulator.step(state, now, params, source)
            reported = simulator.observe(following, outputs, params, source) or {}
            fresh = lane_code(simulator.states, following, with_reports(outputs, reported))
            shown = {name: following[name] for name in schema.states} | reported
            # What a lane does behind the trajectory's end is no failure.
            code = code | jnp.where(t + 1 < trajectory.length, fresh, OK)
            return (following, code), output_vector(schema, shown, then)

        times = jnp.arange(trajectory.outputs.shape[0] - 1, dtype=jnp.int32)
        (_, code), later = jax.lax.scan(step, (start, jnp.int32(OK)), times)
        values = _window_sums(jnp.concatenate([first[None], later]), windows)
        # The first row is given, so it is what the data say.
        given = jnp.arange(values.shape[0])[:, None] == 0
        values = jnp.where(given, trajectory.outputs, values)
        return jnp.where(trajectory.outputs_seen, values, jnp.nan), code

    values, codes = jax.vmap(one, in_axes=(TRAJECTORIES, 0))(panel, lanes)
    return jnp.where(jnp.all(codes == OK), values, jnp.nan)


def _window_sums(values: jax.Array, windows: np.ndarray) -> jax.Array:
    """Sums over the last rows, as many as each output's window, of values[rows, V]."""
    sums = values
    for back in range(1, int(windows.max(initial=1))):
        earlier = jnp.concatenate([jnp.zeros_like(values[:back]), values[:-back]])
        sums = sums + jnp.where(windows[None] > back, earlier, 0.0)
    return sums


def given_columns(panel: Panel) -> np.ndarray:
    """Inputs and attributes that vary, float32[n, rows, C]: what tells trajectories apart."""
    n, rows = panel.outputs.shape[:2]
    exists = np.arange(rows) < np.asarray(panel.length)[:, None]
    columns = [np.asarray(v, np.float32) for v in panel.inputs.values() if v.ndim == 2]
    columns += [
        np.repeat(np.asarray(v, np.float32)[:, None], rows, axis=1)
        for v in panel.attributes.values()
    ]
    varied = [c for c in columns if exists.any() and np.ptp(c[exists]) > 0]
    stacked = np.stack(varied, axis=-1) if varied else np.zeros((n, rows, 0), np.float32)
    return np.where(exists[..., None], stacked, np.nan)


def data_sets(
    simulator: Any, schema: Schema, data: Trajectories
) -> tuple[Coordinates, Callable[[jax.Array, jax.Array], jax.Array], np.ndarray]:
    """What a neural posterior of a task is trained on.

    Args:
        simulator: a program or a native simulator.
        schema: the task's schema.
        data: n trajectories; gaps are allowed.

    Returns:
        The coordinates y of the parameters; (y, key) -> x float32[n, rows, V + C], a data set
        shaped like the observed one, its scored variables and beside them the inputs that vary
        (n = 1 loses its axis), all NaN where a lane failed; and the observed x.

    Raises:
        InputError: no parameters, or nothing observed behind the first rows.
    """
    space: ParameterSpace = simulator.parameters
    if not space.dimension:
        text = "npe: expected parameters to calibrate; the simulator declares none"
        raise InputError((Problem("no-parameters", text),))
    if not data.outputs_seen[:, 1:].any():
        text = "npe: expected observations behind the first row; the data have none"
        raise InputError((Problem("no-data", text),))
    panel = build_panel(schema, data)
    coordinates, columns = coordinates_of(space), given_columns(panel)

    def simulate(y: jax.Array, key: jax.Array) -> jax.Array:
        params = space.from_unit(unit_of(coordinates.bounded, y))
        bits = jax.random.bits(key, (2,), jnp.uint32)
        values = simulate_like(simulator, schema, params, panel, bits)
        return _dress(values, jnp.asarray(columns))

    outputs = np.where(data.outputs_seen, data.outputs, np.nan)
    observed = np.asarray(_dress(jnp.asarray(outputs), jnp.asarray(columns)))
    return coordinates, simulate, observed


@dataclass(frozen=True)
class NeuralPosterior:
    """A neural posterior as a calibrator of tasks: for programs without a likelihood.

    Attributes:
        simulations: data sets simulated where they are cheap: every step of the training makes
            its own.
        stored: data sets simulated once and stored where `simulations` of them cost more than
            `AFRESH`; fewer of very expensive programs.
        online: whether every step of the training makes its own data sets; by default where they
            are cheap.
        rounds: rounds of truncation; by default two, and three of stored simulations.
        seconds: limit of the wall time; with it results depend on the machine.
        ensemble: networks.
        draws: posterior draws.
        scored: whether the point's score is computed, for which the objective is compiled; NaN
            without.
        recipe: how to train.
    """

    name: str = "npe"
    simulations: int = 400_000
    stored: int = 16_384
    online: bool | None = None
    rounds: int | None = None
    seconds: float | None = None
    ensemble: int = 1
    draws: int = 4000
    scored: bool = True
    recipe: Recipe = field(default_factory=lambda: Recipe(steps=9000))

    def posterior(
        self,
        simulator: Any,
        schema: Schema,
        data: Trajectories,
        seed: int,
        *,
        progress: Callable[[float], None] | None = None,
    ) -> Posterior:
        """The posterior of a simulator's parameters given data.

        Args:
            simulator: a program or a native simulator.
            schema: the task's schema.
            data: n trajectories; gaps are allowed.
            seed: everything random follows from it.
            progress: told the share that is done.

        Returns:
            Its theta are the parameters' flat vector, in the order of `labels`.

        Raises:
            InputError: no parameters, or nothing observed behind the first rows.
        """
        coordinates, simulate, observed = data_sets(simulator, schema, data)
        budget = self._budget(simulator, data)
        rounds = self.rounds or (2 if budget.online else 3)
        return fit(
            simulate, coordinates, observed, jax.random.key(seed),
            budget,
            rounds=rounds, embedding="trajectory", exchangeable=True, ensemble=self.ensemble,
            recipe=self.recipe, progress=progress or (lambda share: None), architecture={},
        )  # fmt: skip

    def _budget(self, simulator: Any, data: Trajectories) -> Budget:
        # Counted cost, not the clock, decides: the same answer on every machine.
        each = float(simulator.cost) * max(len(data), 1) * max(data.rows - 1, 1)
        cheap = self.simulations * each <= AFRESH
        if cheap if self.online is None else self.online:
            return Budget(self.simulations, self.seconds, online=True)
        affordable = int(STORED // max(each, 1.0))
        return Budget(min(self.stored, max(affordable, LEAST)), self.seconds, online=False)

    def calibrate(
        self,
        objective: Objective,
        data: Trajectories,
        seed: int,
        *,
        start: np.ndarray | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Calibration:
        """The posterior of `objective.simulator` given `data`.

        The point is the posterior mean (on x = Phi^-1(u)); integers and choices stand at their
        most probable combination, and the mean is that given it.

        Args:
            objective: the compiled objective of one simulator.
            data: training data; gaps are allowed.
            seed: everything random follows from it.
            start: not needed.
            progress: called with the share of the work that is done.

        Raises:
            InputError: no parameters, or nothing observed.
        """
        del start
        found = self.posterior(objective.simulator, objective.schema, data, seed, progress=progress)
        return _calibration(objective, data, found, self.draws, seed, self.scored)


def _dress(values: jax.Array, columns: jax.Array) -> jax.Array:
    """x of one data set: outputs and given columns; one trajectory loses its axis."""
    failed = jnp.all(jnp.isnan(values))
    x = jnp.concatenate([values, jnp.where(failed, jnp.nan, columns)], axis=-1)
    return x[0] if x.shape[0] == 1 else x


def _unit_draws(
    coordinates: Coordinates, space: ParameterSpace, y: jax.Array
) -> tuple[np.ndarray, np.ndarray]:
    """Draws on the unit cube, discrete ones in the middle of their cell, and in units."""
    u = np.asarray(unit_of(coordinates.bounded, y), float)
    theta = np.asarray(jax.vmap(coordinates.value)(y), float)
    at = 0
    for entry in space.entries:
        if entry.discrete:
            u[:, at : at + entry.size] = entry.position(theta[:, at : at + entry.size])
        at += entry.size
    return np.clip(u, EDGE, 1 - EDGE), theta


def _calibration(
    objective: Objective, data: Trajectories, found: Posterior, draws: int, seed: int, scored: bool
) -> Calibration:
    space = objective.simulator.parameters
    y = found.sample_coordinates(jax.random.fold_in(jax.random.key(seed), 77), draws)
    u, theta = _unit_draws(found.coordinates, space, y)
    discrete, likely = space.discrete, np.ones(len(u), bool)
    if discrete.any():
        cells, which, counts = np.unique(
            u[:, discrete], axis=0, return_inverse=True, return_counts=True
        )
        del cells
        likely = np.ravel(which) == int(counts.argmax())
    x = norm.ppf(u)
    point = np.where(discrete, u[likely][0], norm.cdf(x[likely].mean(axis=0)))
    covariance = np.zeros((len(point), len(point)))
    free = np.flatnonzero(~discrete)
    if len(free):
        covariance[np.ix_(free, free)] = np.atleast_2d(np.cov(x[likely][:, free].T))
    errors = np.where(discrete, 0.0, theta.std(axis=0))
    score, evaluations, cost = np.nan, 0, 0.0
    if scored:
        words = np.random.SeedSequence([seed, 3]).generate_state(2, np.uint32)
        score, evaluations, cost = objective.score_at(point, data, words)
    lanes = len(data) * max(data.rows - 1, 1)
    return Calibration(
        u=point,
        parameters=space.flat(point),
        errors=dict(zip(space.labels, errors.tolist(), strict=True)),
        covariance=covariance,
        score=score,
        evaluations=evaluations + found.info.simulations,
        cost=cost + float(found.info.simulations) * lanes * objective.simulator.cost,
        history=found.info.losses,
        draws=u,
        warnings=(*found.info.warnings, *_probabilities(space, theta)),
    )


def _probabilities(space: ParameterSpace, theta: np.ndarray) -> tuple[str, ...]:
    """Probabilities of integers and choices, in words."""
    found = []
    for k in np.flatnonzero(space.discrete):
        values, counts = np.unique(theta[:, k], return_counts=True)
        shares = counts / len(theta)
        if shares.max() < 0.999:
            parts = ", ".join(
                f"{value:g} with probability {share:.3f}"
                for value, share in zip(values.tolist(), shares.tolist(), strict=True)
                if share > 5e-4
            )
            found.append(f"{space.labels[k]}: {parts}")
    return tuple(found)
