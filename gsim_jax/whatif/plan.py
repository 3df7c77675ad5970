"""From scenarios to arrays: one plan, hence one compilation, per distinct program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gsim_jax.simulator.contract import Simulator
from gsim_jax.task import InputError, Problem, Schema
from gsim_jax.whatif.effects import (
    REPLACED,
    Effects,
    Replaced,
    Slot,
    compose,
    identity,
    is_fractional,
)
from gsim_jax.whatif.scenario import Change, Scenario
from gsim_jax.whatif.targets import Target, Targets, blank_step, no_words, submodule_outputs


@dataclass(frozen=True, eq=False)
class Plan:
    """Scenarios that run as one compiled program.

    Attributes:
        effects: what any of them changes.
        positions: int[S], where they stand among all scenarios.
        arrays: key -> float32[S, rows, 4, ...], the numbers of each slot; flags [S, rows, 1] of
            each replaced submodule.
        parameters: submodule -> name -> value, given for replacing submodules.
    """

    effects: Effects
    positions: np.ndarray
    arrays: dict[str, np.ndarray]
    parameters: dict[str, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class _Found:
    change: Change
    target: Target
    index: tuple[int, ...]


def plan(
    simulator: Simulator, schema: Schema, scenarios: Sequence[Scenario], steps: int
) -> tuple[Plan, ...]:
    """Checks all scenarios and turns them into arrays.

    Args:
        simulator: what runs.
        schema: the task's schema.
        scenarios: the scenarios; those that replace the same submodules by the same ones share a
            plan.
        steps: number of steps T; windows count rows 0 .. T.

    Raises:
        InputError: everything that is wrong in any scenario, with near names for unknown ones.
    """
    targets = Targets(simulator, schema)
    problems: list[Problem] = []
    groups: dict[Any, list[tuple[int, list[_Found]]]] = {}
    for position, scenario in enumerate(scenarios):
        found = []
        for given in scenario.changes:
            resolved = _resolve(targets, given, steps)
            if isinstance(resolved, Problem):
                problems.append(resolved)
            else:
                found.append(resolved)
                problems += _fit(simulator, schema, resolved)
        problems += _twice_replaced(scenario, found)
        groups.setdefault(_program(found), []).append((position, found))
    if problems:
        raise InputError(tuple(problems))
    return tuple(_plan(members, steps + 1) for members in groups.values())


def _resolve(targets: Targets, given: Change, steps: int) -> _Found | Problem:
    found = targets.find(given)
    if isinstance(found, Problem):
        return found
    if not 0 <= given.start <= steps or (given.stop is not None and given.stop < given.start):
        text = f"expected rows from 0 to {steps}, the first not after the last; got {given.start}"
        return given.problem("window", f"{text} to {given.stop}")
    target, index = found
    shape = target.shape[len(index) :]
    values = given.value if given.operation == "clip" else (given.value,)
    for value in () if given.operation == "replace" else values:
        if value is not None and np.shape(value) not in ((), shape):
            text = f"expected a number or an array of shape {list(shape)}"
            return given.problem("shape", f"{text}; got {list(np.shape(value))}")
    return _Found(given, target, index)


def _fit(simulator: Simulator, schema: Schema, found: _Found) -> list[Problem]:
    """Whether a replacing submodule can stand in the other's place."""
    change, name = found.change, found.target.name
    if change.operation != "replace":
        return []
    other: Any = change.value
    if isinstance(other, str | Path):
        text = f"expected a simulator; {other} is a file: read it with `load_replacements`"
        return [change.problem("not-loaded", text)]
    if name not in other.submodules:
        known = ", ".join(other.submodules)
        text = f"expected a simulator with a submodule {name!r}; it has {known}"
        return [change.problem("no-submodule", text)]
    state, inputs, _ = blank_step(simulator, schema)
    own = {name: blank_step(other, schema)[2].get(name, {})}
    unknown = sorted(set(change.parameters) - set(own[name]))
    if unknown:
        known = ", ".join(own[name]) or "none"
        text = f"expected parameters out of {known}; got {', '.join(unknown)}"
        return [change.problem("unknown-parameter", text)]
    outputs = submodule_outputs(simulator, schema)
    earlier = simulator.submodules[: simulator.submodules.index(name)]
    before = {
        k: np.zeros(v.shape, v.dtype) for module in earlier for k, v in outputs[module].items()
    }
    try:
        new = jax.eval_shape(
            lambda *a: other.submodule(name, *a, own, no_words), state, inputs, before
        )
    except KeyError as error:
        return [change.problem("misfit", f"it reads what this simulator lacks: {error.args[0]}")]
    wanted = {k: (v.shape, v.dtype) for k, v in outputs[name].items()}
    got = {k: (v.shape, v.dtype) for k, v in new.items() if k in wanted}
    if got != wanted:
        text = f"expected a submodule that returns {_words(wanted)}; it returns {_words(got)}"
        return [change.problem("misfit", text)]
    return []


def _words(outputs: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} ({d}{list(s)})" for k, (s, d) in outputs.items()) or "none of them"


def _twice_replaced(scenario: Scenario, found: list[_Found]) -> list[Problem]:
    replaces = [f for f in found if f.change.operation == "replace"]
    names = [f.target.name for f in replaces]
    return [
        f.change.problem("twice", f"scenario {scenario.name!r} replaces it twice")
        for i, f in enumerate(replaces)
        if f.target.name in names[:i]
    ]


def _program(found: list[_Found]) -> Any:
    """What tells programs apart: the submodules that are replaced, by what, with what."""
    return frozenset(
        (f.target.name, f.change.value, tuple(sorted(f.change.parameters.items())))
        for f in found
        if f.change.operation == "replace"
    )


def _plan(members: list[tuple[int, list[_Found]]], rows: int) -> Plan:
    positions = np.asarray([position for position, _ in members])
    slots: dict[str, Target] = {}
    whole: dict[str, bool] = {}
    replaced: dict[str, Replaced] = {}
    parameters: dict[str, dict[str, Any]] = {}
    for _, found in members:
        for f in found:
            if f.change.operation == "replace":
                replaced[f.target.name] = Replaced(f.target.name, f.change.value)
                parameters[f.target.name] = dict(f.change.parameters)
                continue
            slots[f.target.key] = f.target
            single = not f.index and not any(map(np.ndim, _values(f.change)))
            whole[f.target.key] = whole.get(f.target.key, True) and single
    arrays: dict[str, np.ndarray] = {}
    for key, target in slots.items():
        shape = () if whole[key] else target.shape
        arrays[key] = np.stack([_numbers(found, key, rows, shape) for _, found in members])
    for name in replaced:
        arrays[REPLACED + name] = np.stack([_flags(found, name, rows) for _, found in members])
    made = tuple(Slot(target, is_fractional(arrays[key])) for key, target in slots.items())
    single32 = {key: value.astype(np.float32) for key, value in arrays.items()}
    return Plan(Effects(made, tuple(replaced.values())), positions, single32, parameters)


def _values(change: Change) -> tuple[Any, ...]:
    return tuple(change.value) if change.operation == "clip" else (change.value,)


def _window(change: Change, rows: int) -> slice:
    return slice(change.start, rows if change.stop is None else min(change.stop + 1, rows))


def _numbers(found: list[_Found], key: str, rows: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of one target in one scenario, float64[rows, 4, *shape]."""
    numbers = identity(rows, shape)
    for f in found:
        if f.target.key == key and f.change.operation != "replace":
            at = (_window(f.change, rows), slice(None), *f.index)
            numbers[at] = compose(numbers[at], f.change.operation, f.change.value)
    return numbers


def _flags(found: list[_Found], name: str, rows: int) -> np.ndarray:
    flags = np.zeros((rows, 1))
    for f in found:
        if f.change.operation == "replace" and f.target.name == name:
            flags[_window(f.change, rows)] = 1
    return flags
