"""The trial run: what is refused, what is only told, and what is remembered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gsim_jax.simulator.check import CheckReport, check_source
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import Task
from tests.simulator.legitimate_worlds import FOLDER, WORLDS
from tests.simulator.worlds import data_of, schema_of

WORLD = WORLDS["sir_lockdown"]
SIR = (FOLDER / "sir_lockdown.py").read_text()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


def checked(sandbox: Sandbox, source: str, world=WORLD) -> CheckReport:
    return check_source(source, world.task, sandbox)


def test_a_rule_that_breaks_is_told_by_name(sandbox: Sandbox) -> None:
    leaking = SIR.replace('state["R"] + gone', 'state["R"] + gone // 2')
    warning, other = checked(sandbox, leaking).warnings
    assert other.startswith("implied: 'recovered' read off two states is not what")
    assert warning.startswith("rule 'S + I + R == initial.S + initial.I + initial.R' held")
    assert warning.endswith("in 8 of 8 trajectories: make the flows add up")


def test_the_end_of_a_range_is_told_with_its_value(sandbox: Sandbox) -> None:
    rooted = SIR.replace('* state["I"] /', '* jnp.sqrt(state["I"] - 1.0) /')
    (warning,) = checked(sandbox, rooted).warnings
    assert warning.startswith("from I = 0, its least value: a draw had arguments outside its law")


def test_later_rows_count_too(sandbox: Sandbox) -> None:
    # Sound as long as few have recovered; the data's later rows say that many do.
    picky = SIR.replace('state["R"] + gone', 'state["R"] + gone - 9000 * (state["R"] > 400)')
    assert not checked(sandbox, picky).problems
    task = WORLD.task
    task.train.states["R"][:, 1:] = 500
    (problem,) = check_source(picky, task, sandbox).problems
    assert problem.message.startswith("at the guesses, from most later rows of the data: a state")


def test_a_second_check_answers_from_memory(sandbox: Sandbox) -> None:
    task = WORLD.task
    first = check_source(SIR, task, sandbox)
    start = time.perf_counter()
    assert check_source(SIR, task, sandbox) is first
    assert time.perf_counter() - start < 0.02
    # Another rule, another name, another value of the data: another check.
    other = replace(WORLD, rules=())
    assert check_source(SIR, other.task, sandbox) is not first
    assert check_source(SIR, task, sandbox, "mine.py") is not first


def test_implied_that_is_not_what_happened_is_told_by_name(sandbox: Sandbox) -> None:
    assert not checked(sandbox, SIR).warnings
    turned = SIR.replace('current["R"] - previous["R"]', 'previous["R"] - current["R"]')
    (warning,) = checked(sandbox, turned).warnings
    assert warning.startswith("implied: 'recovered' read off two states is not what the")


def test_implied_of_real_states_may_round(sandbox: Sandbox) -> None:
    source = """
PARAMS = {"grow": {"sd": Uniform(0.0, 0.1, guess=0.01)}}
def grow(state, inputs, params, key):
    return {"gained": params["sd"] * normal(key)}
def couple(state, inputs, outputs, params, key):
    return {"x": state["x"] + outputs["gained"]}
def implied(previous, current, inputs):
    return {"gained": %scurrent["x"] - previous["x"]}
SUBMODULES = (grow,)
"""
    schema = schema_of("x")
    task = Task(Path("."), schema, data_of(schema, {"x": np.full((2, 9), 300.0)}))
    assert not check_source(source % "", task, sandbox).warnings
    (warning,) = check_source(source % "0.1 + ", task, sandbox).warnings
    assert warning.startswith("implied: 'gained'")
