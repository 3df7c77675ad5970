"""A task in words: variables, rules, what the data show and what that speaks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gsim_jax.propose.brief import Brief
    from gsim_jax.task import Profile, Schema

#: A flow scatters more, or less, than a Poisson flow beyond these ratios of variance to mean.
SCATTERED, REGULAR = 1.3, 0.7
#: A variable that was not seen in more than this share of rows counts as partly hidden.
HIDDEN = 0.02
#: Lines of one list in a prompt, and characters of the description.
MOST_LINES, MOST_DESCRIPTION = 40, 12_000


@dataclass(frozen=True)
class Features:
    """What of a task and its data decides which hints and examples a prompt shows.

    Attributes:
        counts: Scalar counts.
        reals: Real states.
        slots: Arrays whose entries carry no order.
        pipelines: Arrays in order that are no cumulative counters.
        counters: Variables that only rise.
        scattered: Flows with more scatter than Poisson.
        regular: Flows with less.
        periodic: Variables that repeat themselves, with the period.
        delayed: Inputs that act later.
        hidden: Variables that are not always observed.
        sums: Variables whose column holds sums over several steps.
        invariants: Whether something is constant.
        open: Whether counts add up to nothing constant: they come, go, or are not all shown.
    """

    counts: tuple[str, ...]
    reals: tuple[str, ...]
    slots: tuple[str, ...]
    pipelines: tuple[str, ...]
    counters: tuple[str, ...]
    scattered: tuple[str, ...]
    regular: tuple[str, ...]
    periodic: tuple[str, ...]
    delayed: tuple[str, ...]
    hidden: tuple[str, ...]
    sums: tuple[str, ...]
    invariants: bool
    open: bool

    def present(self) -> frozenset[str]:
        """Names of the features that the task has."""
        return frozenset(name for name, value in vars(self).items() if value)


def features(schema: Schema, profile: Profile) -> Features:
    """Reads the features off the schema and the profile."""
    shown = profile.variables
    rising = {name for name, v in shown.items() if v.monotone == "increasing"}
    states = schema.states.values()
    ordered = [s for s in states if s.exchangeable is None]

    def flows(more: bool) -> tuple[str, ...]:
        found = [(name, v.dispersion) for name, v in shown.items() if v.dispersion is not None]
        return tuple(n for n, d in found if (d > SCATTERED if more else d < REGULAR))

    counts = tuple(s.name for s in ordered if s.kind == "count" and not s.shape)
    return Features(
        counts=counts,
        reals=tuple(s.name for s in states if s.kind == "real"),
        slots=tuple(s.name for s in states if s.exchangeable is not None),
        pipelines=tuple(
            s.name
            for s in ordered
            if len(s.shape) == 1 and not any(n.startswith(f"{s.name}[") for n in rising)
        ),
        counters=_variables(n for n in shown if n in rising and n not in schema.derived),
        scattered=flows(True),
        regular=flows(False),
        periodic=tuple(
            f"{name} repeats every {v.period} steps" for name, v in shown.items() if v.period
        ),
        delayed=tuple(
            f"{source} acts on {target} {lag} step{'s' * (lag > 1)} later"
            for source, target, lag, _ in profile.lags
            if lag > 0
        ),
        hidden=_variables(
            n for n, v in shown.items() if v.missing_fraction > HIDDEN and n not in schema.derived
        ),
        sums=tuple(schema.aggregates),
        invariants=bool(profile.invariants),
        open=not profile.invariants and not profile.balances and bool(counts),
    )


def _variables(labels: Iterable[str]) -> tuple[str, ...]:
    """Names of variables, arrays once."""
    return tuple(dict.fromkeys(label.split("[")[0] for label in labels))


def task_fields(brief: Brief) -> dict[str, Any]:
    """What `task.md.j2` is filled with, but for the hints."""
    schema = brief.schema
    return {
        "title": schema.title,
        "description": _cut(_body(schema.description), MOST_DESCRIPTION),
        "step": schema.step,
        "horizon": schema.horizon,
        "states": _short([_state(schema, name) for name in schema.states]),
        "inputs": _short(_given(schema)),
        "derived": _short(
            [f"{d.name} = {d.value.text}{_about(d.doc, d.unit)}" for d in schema.derived.values()]
        ),
        "rules": _short([f"{rule.name}: `{rule.holds.text}`" for rule in schema.rules]),
        "scored": ", ".join(_short([output.label for output in schema.outputs], 60)),
        "profile": "\n".join(
            f"- {line}" for line in _short(brief.profile.to_text().splitlines(), 2 * MOST_LINES)
        ),
    }


def _body(description: str) -> str:
    """The description without a title of its own: the prompt has one."""
    first, _, rest = description.strip().partition("\n")
    return rest.strip() if first.startswith("# ") else description.strip()


def _state(schema: Schema, name: str) -> str:
    state = schema.states[name]
    kind = f"{state.kind} {state.dtype}{list(state.shape) if state.shape else ''}"
    parts = [f"`{name}`: {kind}", _range(state.min, state.max)]
    if state.exchangeable is not None:
        parts.append("entries carry no order, one individual per slot")
    if not state.observed:
        parts.append("never in the table")
    if name in schema.aggregates:
        parts.append(f"the table holds sums over {schema.aggregates[name]} steps")
    return ", ".join(part for part in parts if part) + _about(state.doc, state.unit)


def _range(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    if high is None:
        return f"at least {low:g}"
    return f"at most {high:g}" if low is None else f"{low:g} to {high:g}"


def _given(schema: Schema) -> list[str]:
    lines = []
    for name, given in schema.inputs.items():
        kind = f"{given.kind} {given.dtype}{list(given.shape) if given.shape else ''}"
        lines.append(f"`{name}`: {kind}, row t acts on t → t + 1{_about(given.doc, given.unit)}")
    for name, given in schema.attributes.items():
        lines.append(
            f"`{name}`: {given.dtype}, fixed per trajectory{_about(given.doc, given.unit)}"
        )
    for name, constant in schema.constants.items():
        value = np.asarray(constant.value)
        shown = f"= {value.item():g}" if value.ndim == 0 else f"array {list(value.shape)}"
        lines.append(f"`{name}`: constant {shown}{_about(constant.doc, constant.unit)}")
    calendar = {"weekday": "int32, 0 is Monday", "day_of_year": "int32, 1 to 366"}
    lines += [f"`{name}`: {calendar[name]}" for name in schema.calendar_inputs]
    return lines


def _about(doc: str, unit: str) -> str:
    words = f"; {doc}" if doc else ""
    return f"{words} [{unit}]" if unit else words


def _short(lines: list[str], most: int = MOST_LINES) -> list[str]:
    if len(lines) <= most:
        return lines
    return [*lines[:most], f"… and {len(lines) - most} more like these"]


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most] + " …"
