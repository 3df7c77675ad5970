"""task.toml to a `Schema`, with every mistake in it reported."""

from __future__ import annotations

import keyword
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from gsim_jax.task.constants import read_constant
from gsim_jax.task.expr import Expression, ExpressionError, parse
from gsim_jax.task.grammar import FUNCTIONS, PREFIXES
from gsim_jax.task.problems import near
from gsim_jax.task.schema import (
    CALENDAR_INPUTS,
    KINDS,
    Attribute,
    Constant,
    Derived,
    Input,
    Kind,
    Rule,
    Schema,
    Variable,
)
from gsim_jax.task.section import Section, shown

RESERVED = frozenset(
    {"t", "trajectory", "date", "outputs", *CALENDAR_INPUTS, *FUNCTIONS, *PREFIXES}
)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GROUPS = ("state", "derived", "input", "constant", "attribute")


def read_schema_section(
    top: Section, folder: Path, aggregates: dict[str, int], *, calendar: bool, description: str
) -> Schema:
    """Reads everything in task.toml but ``[data]``.

    Args:
        top: the whole file.
        folder: the task folder, for the files of constants.
        aggregates: variable -> steps that its column sums over, from ``[data]``.
        calendar: whether the tables carry dates.
        description: text of description.md.

    Returns:
        A schema. Where problems were reported it holds stand-ins, good for nothing but going on
        looking for further problems.
    """
    name = top.text("name", folder.name, required=True)
    title = top.text("title", name)
    step = top.text("step", "step")
    horizon = top.integer("horizon", 1, required=True)
    groups = {group: top.sections(group) for group in _GROUPS}
    _check_names(groups, top)
    if not groups["state"]:
        top.wrong("state", "is missing: expected at least one [state.NAME]", "missing-key")
    constants = {n: read_constant(n, s, folder) for n, s in groups["constant"].items()}
    schema = Schema(
        name=name,
        title=title,
        step=step,
        horizon=horizon or 10**7,
        states=_read_states(groups["state"]),
        inputs={n: _read_input(n, s) for n, s in groups["input"].items()},
        constants={n: c or Constant(n, np.zeros((), np.float32)) for n, c in constants.items()},
        attributes={n: _read_attribute(n, s) for n, s in groups["attribute"].items()},
        aggregates=aggregates,
        calendar=calendar,
        description=description,
    )
    # a constant that could not be read has no shape to check expressions against
    shapes_known = all(constant is not None for constant in constants.values())
    schema = replace(schema, derived=_read_derived(groups["derived"], schema, shapes_known))
    schema = replace(schema, rules=_read_rules(top, schema, shapes_known))
    _check_aggregates(schema, top)
    if groups["state"] and not schema.outputs:
        words = "every state is exchangeable, so nothing is scored: add a [derived.NAME]"
        top.wrong("derived", words, "missing-key")
    return schema


def _check_names(groups: dict[str, dict[str, Section]], top: Section) -> None:
    owner: dict[str, str] = {}
    for group, sections in groups.items():
        for name in sections:
            place = f"{group}.{name}"
            if not _IDENTIFIER.fullmatch(name) or keyword.iskeyword(name):
                words = "expected a name of letters, digits and _ that Python does not reserve"
                top.wrong(place, words, "bad-name")
            elif name in RESERVED:
                top.wrong(place, f"the name {name!r} has a meaning of its own", "bad-name")
            elif name in owner:
                top.wrong(place, f"the name is taken by [{owner[name]}.{name}]", "bad-name")
            owner.setdefault(name, group)


def _read_states(sections: dict[str, Section]) -> dict[str, Variable]:
    states = {name: _read_state(name, section) for name, section in sections.items()}
    first: dict[str, Variable] = {}
    for name, state in states.items():
        if state.exchangeable is None or not state.shape:
            continue
        other = first.setdefault(state.exchangeable, state)
        if other.shape[0] != state.shape[0]:
            sections[name].wrong(
                "shape",
                f"arrays of the group {state.exchangeable!r} share their first axis:"
                f" {other.name} has {other.shape[0]} entries, {name} has {state.shape[0]}",
                "exchangeable",
            )
    return states


def _read_state(name: str, section: Section) -> Variable:
    kind = cast(Kind, section.one_of("kind", KINDS, "real"))
    shape = section.shape()
    low, high = (
        section.number("min", whole=kind != "real"),
        section.number("max", whole=kind != "real"),
    )
    if kind == "flag":
        for key in ("min", "max"):
            if section.has(key):
                section.wrong(key, "a flag is 0 or 1 and takes no bounds")
        low, high = 0, 1
    elif kind in ("count", "category") and not section.has("min"):
        low = 0
    if low is not None and high is not None and low > high:
        section.wrong("max", f"expected at least min = {low:g}, got {high:g}")
    exchangeable = section.raw("exchangeable") if section.has("exchangeable") else None
    if exchangeable is not None:
        if not isinstance(exchangeable, str) or not exchangeable.strip():
            words = 'expected the name of a group of arrays, such as "slot", got '
            section.wrong("exchangeable", words + shown(exchangeable), "exchangeable")
            exchangeable = "unknown"
        elif not shape:
            words = "is for arrays: add a shape such as [40], or remove it"
            section.wrong("exchangeable", words, "exchangeable")
    variable = Variable(
        name=name,
        kind=kind,
        shape=shape,
        min=low,
        max=high,
        doc=section.text("doc"),
        unit=section.text("unit"),
        exchangeable=exchangeable,
        observed=section.flag("observed", True),
    )
    section.close()
    return variable


def _read_input(name: str, section: Section) -> Input:
    kind = cast(Kind, section.one_of("kind", KINDS, "real"))
    shape = section.shape()
    default = None
    if section.has("default"):
        default = _default(section, kind, shape)
    doc, unit = section.text("doc"), section.text("unit")
    section.close()
    return Input(name, kind, shape, default, doc, unit)


def _default(section: Section, kind: str, shape: tuple[int, ...]) -> Any:
    """A number, or nested tuples of the input's shape."""
    raw = section.raw("default")
    if not isinstance(raw, list):
        value = section.number("default", whole=kind != "real")
        numbers = np.asarray(0 if value is None else value)
    else:
        try:
            numbers = np.asarray(raw)
        except ValueError:
            numbers = np.asarray(None)
        if numbers.dtype.kind not in "if" or numbers.shape != shape:
            expected = f"expected a number or a list of shape {list(shape)}"
            section.wrong("default", f"{expected}, got {shown(raw)}")
            return 0
        if kind != "real" and numbers.dtype.kind != "i":
            section.wrong("default", f"expected whole numbers for a {kind}, got {shown(raw)}")
    low, high = (0, 1) if kind == "flag" else (0, np.inf)
    if kind != "real" and not np.all((numbers >= low) & (numbers <= high)):
        words = "0 or 1" if kind == "flag" else "no negative number"
        section.wrong("default", f"expected {words} for a {kind}, got {shown(raw)}")
    return _tuples(numbers.tolist())


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _read_attribute(name: str, section: Section) -> Attribute:
    kind = cast(Kind, section.one_of("kind", KINDS, "real"))
    attribute = Attribute(name, kind, section.text("doc"), section.text("unit"))
    section.close()
    return attribute


def _read_derived(
    sections: dict[str, Section], schema: Schema, shapes_known: bool
) -> dict[str, Derived]:
    shapes = schema.shapes | dict.fromkeys(sections, ())
    derived = {}
    for name, section in sections.items():
        value = _expression(section, "value", shapes, shapes_known)
        if value.shape:
            words = f"expected a single number, got an array of shape {list(value.shape)}: use sum"
            section.wrong("value", words, "shape")
        derived[name] = Derived(name, value, section.text("doc"), section.text("unit"))
        section.close()
    for name, section in sections.items():
        if _reaches(name, name, derived):
            section.wrong("value", f"{name!r} is computed from itself", "cycle")
            derived[name] = replace(derived[name], value=parse("0", {}))
    return derived


def _reaches(start: str, goal: str, derived: dict[str, Derived]) -> bool:
    """Whether the value of `start` uses `goal`, directly or through others."""
    seen, front = set(), {start}
    while front:
        used = {n for name in front for n in derived[name].value.names if n in derived}
        if goal in used:
            return True
        front = used - seen
        seen |= used
    return False


def _read_rules(top: Section, schema: Schema, shapes_known: bool) -> tuple[Rule, ...]:
    given = top.raw("rule") if top.has("rule") else []
    if not isinstance(given, list):
        top.wrong("rule", "expected [[rule]] with two brackets, got a table", "wrong-type")
        return ()
    rules: list[Rule] = []
    for i, values in enumerate(given):
        section = Section(values, f"rule[{i}]", top.report)
        name = section.text("name", f"rule {i + 1}", required=True)
        if name in {rule.name for rule in rules}:
            section.wrong("name", f"two rules are called {name!r}")
        rules.append(Rule(name, _expression(section, "holds", schema.rule_shapes, shapes_known)))
        section.close()
    return tuple(rules)


def _expression(
    section: Section, key: str, shapes: dict[str, tuple[int, ...]], shapes_known: bool
) -> Expression:
    """An expression; ``0`` in its place where it cannot be read."""
    text = section.text(key, required=True)
    if text.strip():
        try:
            return parse(text, shapes if shapes_known else list(shapes))
        except ExpressionError as error:
            for message in error.messages:
                section.wrong(key, f"in {error.text!r}: {message}", "expression")
    return parse("0", {})


def _check_aggregates(schema: Schema, top: Section) -> None:
    possible = [n for n, s in schema.states.items() if s.exchangeable is None] + [*schema.derived]
    for name in schema.aggregates:
        key = f"data.aggregate.{name}"
        if name not in possible:
            words = f"{name!r} is neither a state in order nor a derived value"
            top.wrong(key, f"{words}: {near(name, possible)}", "unknown-name")
        elif name in schema.states and schema.states[name].kind not in ("count", "real"):
            top.wrong(key, f"a {schema.states[name].kind} cannot be summed over time")
