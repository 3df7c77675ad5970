"""What the training data of a task show, in numbers and in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gsim_jax.task.profile_fit import (
    dispersion,
    dispersion_between_neighbours,
    dispersion_of_changes,
    one_step_fit,
)
from gsim_jax.task.profile_invariants import Balance, Invariant, find_balances, find_invariants
from gsim_jax.task.profile_links import find_lags, find_transfers
from gsim_jax.task.profile_series import Course, monotone, period
from gsim_jax.task.schema import CALENDAR_INPUTS, Schema, entries, label
from gsim_jax.task.trajectories import Task, Trajectories

FITTED_ROWS = 20_000


@dataclass(frozen=True)
class VariableProfile:
    """One scored variable.

    Attributes:
        minimum: smallest value seen (NaN where nothing was).
        maximum: largest value seen.
        mean: mean of the values seen.
        missing_fraction: share of the existing rows in which it was not seen.
        integer: whether all values are whole numbers.
        monotone: whether it only rises, only falls, or never changes.
        increment_mean: mean change from one row to the next; 0 where none was seen.
        increment_sd: standard deviation of those changes.
        dispersion: variance of a monotone count's increments around a smooth one-step fit,
            divided by their mean: 1 for a Poisson law, below 1 for a binomial, above 1 for more
            scatter. None where the variable is no monotone count (what flows in and out of it is
            not seen apart) or there is too little data. An upper estimate, for the fit has errors.
        period: number of rows after which it (a monotone variable: its increments) repeats itself.
    """

    minimum: float
    maximum: float
    mean: float
    missing_fraction: float
    integer: bool
    monotone: Course | None
    increment_mean: float
    increment_sd: float
    dispersion: float | None
    period: int | None


@dataclass(frozen=True)
class Profile:
    """What the training data show; see `profile`.

    Attributes:
        variables: label -> its profile, in the order of ``schema.outputs``.
        invariants: linear forms that never change along a trajectory.
        transfers: (source, target, strength): what one loses the other gains.
        lags: (input, label, lag, partial correlation): the change of the label in the step after t
            depends on the input at t - lag.
        trajectories: number of training trajectories.
        rows: rows of all of them together.
        balances: linear forms that change by the inputs of the step and by nothing else.
    """

    variables: dict[str, VariableProfile]
    invariants: tuple[Invariant, ...]
    transfers: tuple[tuple[str, str, float], ...]
    lags: tuple[tuple[str, str, int, float], ...]
    trajectories: int
    rows: int
    balances: tuple[Balance, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object; numbers that do not exist are null."""
        document = asdict(self)
        for values in document["variables"].values():
            for key, value in values.items():
                if isinstance(value, float) and not np.isfinite(value):
                    values[key] = None
        document["invariants"] = [asdict(invariant) for invariant in self.invariants]
        document["balances"] = [asdict(balance) for balance in self.balances]
        document["transfers"] = [list(link) for link in self.transfers]
        document["lags"] = [list(link) for link in self.lags]
        return document

    def to_text(self) -> str:
        """The same for people and language models, one fact a line."""
        lines = [f"{self.trajectories} trajectories, {self.rows} rows."]
        lines += [_variable_line(name, values) for name, values in self.variables.items()]
        lines += [f"Invariant: {invariant.words}." for invariant in self.invariants]
        lines += [f"Balance: {balance.words}." for balance in self.balances]
        lines += [
            f"Transfer: what {a} loses {b} gains (surprises correlate at -{r:.2f})."
            for a, b, r in self.transfers
        ]
        for name, target, lag, r in self.lags:
            when = "at once" if lag == 0 else f"{lag} step{'s' * (lag > 1)} later"
            lines.append(f"Input: {name} acts on {target} {when} (partial correlation {r:+.2f}).")
        return "\n".join(lines)


def profile(task: Task) -> Profile:
    """Describes the training data: nothing is taken from validation or test.

    Args:
        task: a task.

    Returns:
        Ranges, missing entries, monotone variables, linear invariants (null space of the
        increments), dispersion, periods, transfers and delayed dependence on inputs. The last
        four, which need fits, look at about `FITTED_ROWS` rows of a larger table; the rest looks
        at all of it.
    """
    schema, data = task.schema, task.train
    part = _sample(data)
    labels = tuple(output.label for output in schema.outputs)
    values = data.outputs.astype(np.float64)
    courses: list[Course | None] = [
        monotone(values[..., v], data.outputs_seen[..., v]) for v in range(len(labels))
    ]
    plain = [v for v, output in enumerate(schema.outputs) if output.window == 1]
    fits = _fits(schema, part, plain)
    variables = {
        name: _variable(data, part, v, courses[v], fits.get(v)) for v, name in enumerate(labels)
    }
    own = [v for v in plain if labels[v] not in _restatements(schema)]
    names = tuple(labels[v] for v in own)
    own_courses: list[Course | None] = [courses[v] for v in own]
    means = np.asarray([variables[name].increment_mean for name in names])
    residuals = np.stack([_surprises(fits[v]) for v in own], axis=1) if own else np.zeros((0, 0))
    shown, seen = part.outputs[..., own].astype(np.float64), part.outputs_seen[..., own]
    return Profile(
        variables=variables,
        invariants=find_invariants(names, values[..., own], data.outputs_seen[..., own]),
        transfers=find_transfers(names, residuals, means, own_courses),
        lags=find_lags(_decisions(schema, part), names, shown, seen, part.exists),
        trajectories=len(data),
        rows=int(data.length.sum()),
        balances=find_balances(
            names,
            values[..., own],
            data.outputs_seen[..., own],
            _decisions(schema, data),
            data.exists,
        ),
    )


def _sample(data: Trajectories) -> Trajectories:
    """Evenly spaced trajectories with about `FITTED_ROWS` rows: more would tell fits little."""
    most = max(1, FITTED_ROWS // max(1, data.rows))
    if len(data) <= most:
        return data
    return data.take(np.linspace(0, len(data) - 1, most).round().astype(int))


@dataclass(frozen=True, eq=False)
class _Fit:
    """Increments of one variable and their one-step fit, both [n, rows - 1], NaN if unknown."""

    increments: np.ndarray
    predicted: np.ndarray


def _surprises(fit: _Fit) -> np.ndarray:
    return (fit.increments - fit.predicted).reshape(-1)


def _fits(schema: Schema, data: Trajectories, plain: list[int]) -> dict[int, _Fit]:
    """A one-step fit of every variable on all variables, inputs and attributes of the row."""
    values, seen = data.outputs.astype(np.float64), data.outputs_seen
    usable = [v for v in plain if seen[..., v][data.exists].mean() > 0.5]
    columns = [values[..., v] for v in usable] + list(_decisions(schema, data).values())
    columns += [
        np.broadcast_to(value[:, None].astype(np.float64), values.shape[:2])
        for value in data.attributes.values()
    ]
    features = np.stack(columns, axis=-1) if columns else np.zeros((*values.shape[:2], 0))
    complete = np.asarray(seen[..., usable].all(axis=-1))
    who = np.broadcast_to(np.arange(len(data))[:, None], complete.shape)
    fits = {}
    for v in plain:
        both = seen[:, 1:, v] & seen[:, :-1, v]
        increments = np.where(both, np.diff(values[..., v], axis=1), np.nan)
        predicted = np.full(increments.shape, np.nan)
        fitted = both & complete[:, :-1]
        predicted[fitted] = one_step_fit(
            features[:, :-1][fitted], increments[fitted], who[:, :-1][fitted]
        )
        fits[v] = _Fit(increments, predicted)
    return fits


def _variable(
    data: Trajectories, part: Trajectories, v: int, course: Course | None, fit: _Fit | None
) -> VariableProfile:
    values, seen = data.outputs[..., v].astype(np.float64), data.outputs_seen[..., v]
    shown = values[seen]
    if shown.size == 0:
        nan = float("nan")
        return VariableProfile(nan, nan, nan, 1.0, False, None, 0.0, 0.0, None, None)
    # of a column that holds sums, neighbouring rows are no single steps
    known = np.diff(values, axis=1)[seen[:, 1:] & seen[:, :-1]] if fit is not None else shown[:0]
    integer = bool(np.all(shown == np.floor(shown)))
    moving = course in ("increasing", "decreasing")
    scatter = _dispersion(fit) if fit is not None and integer and moving else None
    cycle = None
    if fit is not None and course != "constant":
        steps = np.isfinite(fit.increments)
        series = np.where(steps, fit.increments, 0.0), steps
        if not moving:
            series = part.outputs[..., v].astype(np.float64), part.outputs_seen[..., v]
        cycle = period(*series)
    return VariableProfile(
        minimum=float(shown.min()),
        maximum=float(shown.max()),
        mean=float(shown.mean()),
        missing_fraction=float(1 - seen[data.exists].mean()),
        integer=integer,
        monotone=course,
        increment_mean=float(known.mean()) if known.size else 0.0,
        increment_sd=float(known.std()) if known.size else 0.0,
        dispersion=None if scatter is None else round(scatter, 3),
        period=cycle,
    )


def _dispersion(fit: _Fit) -> float | None:
    """The smallest of three estimates: each errs upward by what its fit misses."""
    flow, steps = np.abs(fit.increments), np.isfinite(fit.increments)
    both = steps & np.isfinite(fit.predicted)
    sign = np.sign(np.nansum(fit.increments))
    found = [
        dispersion(flow[both], sign * fit.predicted[both]) if both.any() else None,
        dispersion_between_neighbours(np.where(steps, flow, 0.0), steps),
        dispersion_of_changes(flow, sign * fit.predicted),
    ]
    return min((value for value in found if value is not None), default=None)


def _decisions(schema: Schema, data: Trajectories) -> dict[str, np.ndarray]:
    """Label -> float64[n, rows] of every entry of every input that is not the calendar's."""
    return {
        label(name, index): data.inputs[name][:, :, *index].astype(np.float64)
        for name, given in schema.inputs.items()
        if name not in CALENDAR_INPUTS
        for index in entries(given.shape)
    }


def _restatements(schema: Schema) -> set[str]:
    """Derived values that follow from scored states: what they say is said already."""
    hidden = {name for name, state in schema.states.items() if state.exchangeable is not None}
    found: set[str] = set()
    for name in schema.derived_order:
        used = schema.derived[name].value.names
        if not used & (hidden | (set(schema.derived) - found)):
            found.add(name)
    return found


def _variable_line(name: str, values: VariableProfile) -> str:
    if values.missing_fraction == 1:
        return f"{name}: never observed."
    kind = "whole numbers" if values.integer else "reals"
    parts = [f"{kind} {values.minimum:.6g} to {values.maximum:.6g}, mean {values.mean:.4g}"]
    if values.missing_fraction > 0:
        parts.append(f"{values.missing_fraction:.1%} missing")
    if values.monotone is not None:
        words = {"increasing": "never falls", "decreasing": "never rises"}
        parts.append(words.get(values.monotone, "never changes"))
    if values.increment_sd > 0:
        parts.append(f"step {values.increment_mean:+.3g} ± {values.increment_sd:.3g}")
    if values.dispersion is not None:
        parts.append(f"variance of its flow / mean {values.dispersion:.2f} (1 = Poisson)")
    if values.period is not None:
        parts.append(f"repeats every {values.period} steps")
    return f"{name}: {'; '.join(parts)}."
