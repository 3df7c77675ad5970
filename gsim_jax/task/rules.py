"""Rules checked on trajectories, observed or simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gsim_jax.task.environment import over_time, with_derived
from gsim_jax.task.problems import Problem
from gsim_jax.task.schema import Schema

if TYPE_CHECKING:
    from jax import Array

    from gsim_jax.task.trajectories import Task


@dataclass(frozen=True, eq=False)
class RuleReport:
    """What `check_rules` found.

    Attributes:
        names: the rules' names, in the order of the schema.
        violations: bool[rules, n, rows], True where a rule is known not to hold.
        checkable: bool[rules, n, rows], True where it could be decided.
    """

    names: tuple[str, ...]
    violations: np.ndarray
    checkable: np.ndarray

    @property
    def violated(self) -> np.ndarray:
        """int64[rules]: rows in which the rule does not hold."""
        return self.violations.sum(axis=(1, 2))

    @property
    def checked(self) -> np.ndarray:
        """int64[rules]: rows in which the rule could be decided."""
        return self.checkable.sum(axis=(1, 2))

    def lines(self, ids: Sequence[str] | None = None) -> list[str]:
        """One line per violated rule, with the first place where it fails.

        Args:
            ids: names of the trajectories; their positions where left out.
        """
        found = []
        for k, name in enumerate(self.names):
            if not self.violated[k]:
                continue
            trajectory, t = (int(i) for i in np.argwhere(self.violations[k])[0])
            which = ids[trajectory] if ids is not None else trajectory
            found.append(
                f"rule {name!r} does not hold in {self.violated[k]} of {self.checked[k]} rows"
                f" checked, first in trajectory {which} at t = {t}"
            )
        return found


def rule_violations(
    schema: Schema,
    states: Mapping[str, Array],
    inputs: Mapping[str, Array],
    attributes: Mapping[str, Array],
    seen: Mapping[str, Array] | None = None,
) -> Array:
    """Where the rules fail along one trajectory; may be jitted and vmapped.

    Args:
        schema: the task's schema (closed over, not traced).
        states: variable -> [rows, *shape].
        inputs: input and calendar values -> [rows, *shape].
        attributes: attribute -> scalar.
        seen: variable -> bool[rows, *shape]; everything is seen where left out.

    Returns:
        bool[rules, rows], True where a rule is known to be violated. Rules with ``previous``
        start at t = 1; an undecided rule is not violated; an array-valued rule must hold in every
        entry.
    """
    import jax.numpy as jnp

    batch = (next(iter(states.values())).shape[0],)
    given = {**states, **inputs, **attributes}
    violated, _ = _judge(schema, given, seen or {}, batch, jnp)
    return jnp.stack(violated) if violated else jnp.zeros((0, *batch), bool)


def row_violations(
    schema: Schema,
    row: Mapping[str, Array],
    previous: Mapping[str, Array],
    initial: Mapping[str, Array],
) -> Array:
    """Where the rules fail in one row; may be jitted and vmapped.

    The streaming form of `rule_violations`, for rows that are not stored.

    Args:
        schema: the task's schema (closed over, not traced).
        row: states, inputs, calendar, attributes and ``t`` of the row; every state known.
        previous: those of the row before; in row 0 anything, rules with ``previous`` do not apply.
        initial: those of row 0.

    Returns:
        bool[rules], True where a rule is violated.
    """
    import jax.numpy as jnp

    needed = {name for rule in schema.rules for name in rule.holds.names}
    bare = {name.rpartition(".")[2] for name in needed}
    env, known = with_derived(schema, row, {}, bare, jnp)
    rows = {"initial": initial, "previous": previous}
    for prefix, values in rows.items():
        bases = {n.rpartition(".")[2] for n in needed if n.startswith(prefix + ".")}
        if not bases:
            continue
        full, masks = with_derived(schema, values, {}, bases, jnp)
        for base in bases:
            own = tuple(schema.shapes[base])
            env[f"{prefix}.{base}"] = full[base]
            sure = jnp.broadcast_to(masks.get(base, np.True_), own)
            known[f"{prefix}.{base}"] = sure & (row["t"] > 0) if prefix == "previous" else sure
    violated = []
    for rule in schema.rules:
        value, sure = rule.holds.evaluate(env, known, xp=jnp)
        violated.append(jnp.any(_fails(value, sure)))
    return jnp.stack(violated) if violated else jnp.zeros(0, bool)


def check_rules(
    schema: Schema,
    states: Mapping[str, np.ndarray],
    seen: Mapping[str, np.ndarray] | None,
    inputs: Mapping[str, np.ndarray],
    attributes: Mapping[str, np.ndarray],
    length: np.ndarray | None = None,
) -> RuleReport:
    """Checks the rules on many trajectories on the host.

    Args:
        schema: the task's schema.
        states: variable -> [n, rows, *shape].
        seen: variable -> bool like the states; None where everything is seen.
        inputs: input and calendar values -> [n, rows, *shape].
        attributes: attribute -> [n].
        length: int[n], rows per trajectory; all rows where left out.
    """
    batch = next(iter(states.values())).shape[:2]
    per_row = {name: np.asarray(value)[:, None] for name, value in attributes.items()}
    given = {**states, **inputs, **per_row}
    violated, decided = _judge(schema, given, seen or {}, batch, np)
    exists = np.ones(batch, bool)
    if length is not None:
        exists = np.arange(batch[1])[None, :] < np.asarray(length)[:, None]
    shape = (len(schema.rules), *batch)
    return RuleReport(
        tuple(rule.name for rule in schema.rules),
        np.asarray(violated, bool).reshape(shape) & exists,
        np.asarray(decided, bool).reshape(shape) & exists,
    )


def rule_problems(task: Task) -> list[Problem]:
    """Rules that the task's own data violate.

    The data may be noisy, so this is no error of the folder; a rule that real data violate often
    should rather be softened or dropped.
    """
    found = []
    for name, split in task.splits.items():
        report = check_rules(
            task.schema, split.states, split.seen, split.inputs, split.attributes, split.length
        )
        found += [Problem("rule-violated", f"{name}: {line}") for line in report.lines(split.ids)]
    return found


def _fails(value: Any, sure: Any) -> Any:
    """Where a rule's value, a truth or a number, is known not to hold."""
    return sure & ~(value if value.dtype == np.bool_ else value != 0)


def _judge(
    schema: Schema,
    given: Mapping[str, Any],
    seen: Mapping[str, Any],
    batch: tuple[int, ...],
    xp: Any,
) -> tuple[list[Any], list[Any]]:
    """Per rule: where it is known to fail, and where it is decided; arrays of shape `batch`."""
    needed = {name for rule in schema.rules for name in rule.holds.names}
    env, known = over_time(schema, given, seen, needed, batch, xp)
    violated, decided = [], []
    for rule in schema.rules:
        value, sure = rule.holds.evaluate(env, known, xp=xp)
        fails = _fails(value, sure)
        own = rule.holds.shape or ()
        if own:  # one entry known to fail is enough, however many are unknown
            axes = tuple(range(-len(own), 0))
            fails, sure = fails.any(axis=axes), sure.all(axis=axes)
        violated.append(xp.broadcast_to(fails, batch))
        decided.append(xp.broadcast_to(sure | fails, batch))
    return violated, decided
