"""Linear forms of the state that the rules declare constant along a trajectory."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from gsim_jax.task.grammar import Binary, Compare, Logic, Node
from gsim_jax.task.linear import linear_form
from gsim_jax.task.schema import entries, label

if TYPE_CHECKING:
    from gsim_jax.task.schema import Schema


def invariants_of_rules(schema: Schema) -> tuple[dict[str, float], ...]:
    """The forms declared by equalities in the rules, without repeats.

    An equality counts where the difference of its sides is linear and, beside the state at t,
    holds only what does not change along a trajectory (``initial.X``, constants, attributes,
    numbers), or exactly the same form of ``previous.X``.

    Returns:
        One mapping of labels (``S``, ``los[0]``) to coefficients per form.
    """
    found: list[dict[str, float]] = []
    for rule in schema.rules:
        for left, right in _equalities(rule.holds.node):
            difference = linear_form(Binary("-", left, right), schema.rule_shapes)
            if difference is None:
                continue
            form = _state_form(_expand(difference, schema), schema)
            if form and not any(_proportional(form, other) for other in found):
                found.append(form)
    return tuple(found)


def _equalities(node: Node) -> list[tuple[Node, Node]]:
    """Pairs that an expression requires to be equal, through ``and`` and chains."""
    if isinstance(node, Logic) and node.op == "and":
        return [pair for item in node.items for pair in _equalities(item)]
    if isinstance(node, Compare):
        sides = [node.first, *(other for _, other in node.rest)]
        ops = [op for op, _ in node.rest]
        return [pair for pair, op in zip(pairwise(sides), ops, strict=True) if op == "=="]
    return []


def _expand(form: dict[str, float], schema: Schema) -> dict[str, float]:
    """Replaces derived values that are linear by what they are made of."""
    expanded: dict[str, float] = {}
    for name, coefficient in form.items():
        prefix, _, bare = name.rpartition(".")
        inner = schema.derived[bare].value.linear() if bare in schema.derived else None
        if inner is None:
            expanded[name] = expanded.get(name, 0.0) + coefficient
            continue
        dot = f"{prefix}." if prefix else ""
        for key, value in _expand(inner, schema).items():
            full = dot + key if key.partition("[")[0] in schema.states else key
            expanded[full] = expanded.get(full, 0.0) + coefficient * value
    return {name: value for name, value in expanded.items() if value != 0}


def _state_form(form: dict[str, float], schema: Schema) -> dict[str, float] | None:
    """The part at t, where the rest cannot change along a trajectory; else None."""
    labels = {label(n, i) for n, s in schema.states.items() for i in entries(s.shape)}
    fixed = {""} | set(schema.attributes)
    fixed |= {label(n, i) for n, c in schema.constants.items() for i in entries(c.value.shape)}
    now = {name: value for name, value in form.items() if name in labels}
    before = {
        name.removeprefix("previous."): -value
        for name, value in form.items()
        if name.startswith("previous.")
    }
    rest = [n for n in form if n not in now and not n.startswith(("previous.", "initial."))]
    if any(name not in fixed for name in rest):
        return None
    if before:
        return now if now == before else None
    if now and next(iter(now.values())) < 0:  # A == B and B == A say the same
        now = {name: -value for name, value in now.items()}
    return now or None


def _proportional(a: dict[str, float], b: dict[str, float]) -> bool:
    ratios = {a[name] / b[name] for name in a if name in b}
    return set(a) == set(b) and max(ratios) - min(ratios) < 1e-9
