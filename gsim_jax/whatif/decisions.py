"""A policy file: decisions, what they change, and what the outcome costs.

    cost = "sum(overflow) + bed_price * beds_added + lockdown_price * sum(lockdown)"
    unit = "money"
    [[decision]]
    name = "begin"
    unit = "day"
    values = { from = 0, to = 95, step = 5 }       # or a list; or low, high (and integer = true)
    [[decision]]
    name = "beds_added"
    values = [0, 500, 1000]
    [[change]]
    target = "lockdown"
    set = 1
    from = "begin"                                 # expressions of decisions
    to = "begin + 19"
    [[change]]
    target = "extra_beds"
    set = "beds_added"

In the cost a state, derived value or input is its whole path, rows 0 .. T; `sum`, `mean`, `min`
and `max` reduce it, `I[60]` is its value in row 60.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from gsim_jax.task import InputError, Problem, Schema
from gsim_jax.task.expr import Expression, ExpressionError, parse
from gsim_jax.task.section import Section, shown
from gsim_jax.whatif.scenario import OPERATIONS, Change, Scenario, place_of, read_toml, tables_of

#: Points of a grid at most.
MOST = 100_000


@dataclass(frozen=True)
class Decision:
    """Something that is decided.

    Attributes:
        name: its name in expressions.
        values: the values to choose from; () where it is a range.
        low: smallest value of a range.
        high: largest value of a range.
        integer: whether a range holds whole numbers only.
        unit: its unit, for people.
        doc: what it is.
    """

    name: str
    values: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 0.0
    integer: bool = False
    unit: str = ""
    doc: str = ""


@dataclass(frozen=True, eq=False)
class Rule:
    """A change whose numbers depend on decisions.

    Attributes:
        target: see `Change`.
        operation: `"scale"`, `"add"`, `"set"` or `"clip"`.
        value: number, array or expression; for `"clip"` a pair of them.
        start: first row, number or expression.
        stop: last row, number or expression; None for the last of all.
    """

    target: str
    operation: str
    value: Any
    start: Any = 0
    stop: Any = None
    kind: str | None = None
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, eq=False)
class Policy:
    """What may be decided, what it changes, and what it costs.

    Attributes:
        decisions: in order.
        rules: what the decisions change.
        cost: expression over paths, inputs, constants and decisions; smaller is better.
        unit: unit of the cost, for people.
        file: where it was written.
    """

    decisions: tuple[Decision, ...]
    rules: tuple[Rule, ...]
    cost: str
    unit: str = ""
    file: str | None = field(default=None)

    def grid(self) -> list[dict[str, float]]:
        """All combinations of values, the last decision running fastest.

        Raises:
            InputError: a decision is a range, or there are too many combinations.
        """
        ranges = [d.name for d in self.decisions if not d.values]
        count = int(np.prod([len(d.values) or 1 for d in self.decisions], dtype=float))
        if ranges or count > MOST:
            text = f"expected values for {', '.join(ranges)}" if ranges else f"{count} combinations"
            text += "; a range is searched by an evolution strategy"
            raise InputError(Problem("no-grid", text, file=self.file))
        names = [d.name for d in self.decisions]
        every = product(*(d.values for d in self.decisions))
        return [dict(zip(names, values, strict=True)) for values in every]

    def scenario(self, chosen: Mapping[str, float], steps: int) -> Scenario:
        """The scenario that decisions come to; rows beyond the last one are cut off."""
        changes = []
        for rule in self.rules:
            start = round(_number(rule.start, chosen))
            stop = steps if rule.stop is None else round(_number(rule.stop, chosen))
            if stop < start or start > steps:
                continue
            value = rule.value
            if rule.operation == "clip":
                value = tuple(_number(bound, chosen) for bound in value)
            elif isinstance(value, Expression | str):
                value = _number(value, chosen)
            window = (max(start, 0), min(stop, steps))
            changes.append(
                Change(
                    rule.target, rule.operation, value, *window, rule.kind, {}, rule.file, rule.line
                )
            )
        name = ", ".join(f"{key} = {value:g}" for key, value in chosen.items())
        return Scenario(name, tuple(changes))


def _number(value: Any, chosen: Mapping[str, float]) -> float:
    if isinstance(value, str):
        value = parse(value, list(chosen))
    if not isinstance(value, Expression):
        return float(value)
    given = {name: np.float64(number) for name, number in chosen.items()}
    return float(value.evaluate(given, xp=np)[0])


def read_policy(path: Path | str) -> Policy:
    """Reads a policy file.

    Raises:
        InputError: with every mistake in the file.
    """
    top, report = read_toml(Path(path))
    cost, unit = top.text("cost", "0", required=True), top.text("unit")
    decisions = tuple(_decision(section) for section in tables_of(top, "decision"))
    names = [d.name for d in decisions]
    for name in sorted({n for n in names if names.count(n) > 1}):
        top.wrong("decision", f"two decisions are called {name!r}")
    rules = tuple(_rule(section, names) for section in tables_of(top, "change"))
    top.close()
    if not decisions:
        report.add("no-decision", "", "expected at least one [[decision]]")
    if report.problems:
        raise InputError(tuple(report.problems))
    return Policy(decisions, rules, cost, unit, str(path))


def _decision(section: Section) -> Decision:
    name = section.text("name", required=True)
    if not name.isidentifier():
        section.wrong("name", f"expected a name of letters, digits and _, got {name!r}")
    values: tuple[float, ...] = ()
    low, high = section.number("low", whole=False), section.number("high", whole=False)
    if section.has("values"):
        values = _values(section)
    elif low is None or high is None or low >= high:
        section.wrong("name", "expected values = [...], or low and a larger high")
    integer = section.flag("integer", False)
    unit, doc = section.text("unit"), section.text("doc")
    section.close()
    return Decision(name, values, low or 0.0, high or 0.0, integer, unit, doc)


def _values(section: Section) -> tuple[float, ...]:
    given = section.raw("values")
    if isinstance(given, dict):
        inner = Section(given, section.key("values"), section.report)
        low, high = inner.number("from", whole=False), inner.number("to", whole=False)
        step = inner.number("step", whole=False) if inner.has("step") else 1
        inner.close()
        if low is None or high is None or step is None or step <= 0 or high < low:
            section.wrong("values", "expected { from = .., to = .., step = .. }, to not below from")
            return (0.0,)
        count = int((high - low) / step + 1e-9) + 1
        return tuple(float(low + step * i) for i in range(count))
    numbers = given if isinstance(given, list) else []
    good = all(isinstance(v, int | float) and not isinstance(v, bool) for v in numbers)
    if not numbers or not good or not np.isfinite(numbers).all():
        section.wrong("values", f"expected a list of numbers, got {shown(given)}")
        return (0.0,)
    return tuple(float(v) for v in numbers)


def _rule(section: Section, names: Sequence[str]) -> Rule:
    target = section.text("target", required=True)
    given = [name for name in OPERATIONS[:-1] if section.has(name)]
    operation = given[0] if len(given) == 1 else "set"
    if len(given) != 1:
        expected = f"expected one of {', '.join(OPERATIONS[:-1])}"
        section.wrong("target", f"{expected}; got {' and '.join(given) or 'none'}")
    raw = section.raw(operation)
    if operation == "clip":
        pair = raw if isinstance(raw, list) and len(raw) == 2 else [None, None]
        value: Any = tuple(_expression(section, operation, bound, names) for bound in pair)
    else:
        value = _expression(section, operation, raw, names)
    start = _expression(section, "from", section.raw("from"), names) if section.has("from") else 0
    stop = _expression(section, "to", section.raw("to"), names) if section.has("to") else None
    kind = section.text("kind")
    section.close()
    return Rule(target, operation, value, start, stop, kind or None, *place_of(section))


def _expression(section: Section, key: str, raw: Any, names: Sequence[str]) -> Any:
    """A number, or an expression of decisions."""
    if isinstance(raw, str):
        try:
            return parse(raw, dict.fromkeys(names, ()))
        except ExpressionError as error:
            for message in error.messages:
                section.wrong(key, f"in {error.text!r}: {message}", "expression")
            return 0
    if not isinstance(raw, int | float) or isinstance(raw, bool) or raw != raw:
        section.wrong(key, f"expected a number or an expression of decisions, got {shown(raw)}")
        return 0
    return raw


def cost_of(policy: Policy, schema: Schema, rows: int) -> Expression:
    """The cost expression, checked against what there is to compute it from.

    Args:
        policy: the policy.
        schema: the task's schema; states whose entries carry no order are not known, derived values
            of them are.
        rows: rows T + 1 of a path.

    Raises:
        InputError: unknown names, arrays that do not go together, a cost that is no single number.
    """
    shapes: dict[str, tuple[int, ...]] = {"t": (rows,)}
    for name, state in schema.states.items():
        if state.exchangeable is None:
            shapes[name] = (rows, *state.shape)
    shapes |= dict.fromkeys(schema.derived, (rows,))
    shapes |= {name: (rows, *given.shape) for name, given in schema.inputs.items()}
    shapes |= dict.fromkeys(schema.attributes, ())
    shapes |= {name: constant.value.shape for name, constant in schema.constants.items()}
    clash = sorted({d.name for d in policy.decisions} & set(shapes))
    if clash:
        text = f"decision: the name {clash[0]!r} is one of the task's; choose another"
        raise InputError(Problem("name-taken", text, file=policy.file))
    shapes |= {d.name: () for d in policy.decisions}
    try:
        found = parse(policy.cost, shapes)
    except ExpressionError as error:
        raise InputError(
            tuple(Problem("expression", f"cost: {m}", file=policy.file) for m in error.messages)
        ) from error
    if found.shape:
        text = f"cost: expected a single number, got shape {list(found.shape)}: reduce it with sum"
        raise InputError(Problem("shape", text, file=policy.file))
    return found
