"""Tasks that proposals are made for: schema and profile, one row per case."""

from __future__ import annotations

import numpy as np

from gsim_jax.propose import Brief, Finding, Parent, Structure
from gsim_jax.task import Attribute, Constant, Input, Profile, Schema, Variable
from gsim_jax.task.profile import VariableProfile
from gsim_jax.task.profile_invariants import Invariant


def seen(low: float, high: float, course: str | None = None, period: int | None = None):
    """A variable's profile with the fields that proposers read."""
    return VariableProfile(
        low, high, (low + high) / 2, 0.0, True, course, 0.0, (high - low) / 10, None, period
    )


def _profile(variables, invariants=(), transfers=(), lags=()) -> Profile:
    forms = tuple(
        Invariant(dict.fromkeys(names, 1), "trajectory", None, "their sum is constant")
        for names in invariants
    )
    return Profile(variables, forms, transfers, lags, 1, 61)


def _schema(states: dict[str, Variable], **fields) -> Schema:
    return Schema("case", "A case", "day", 60, states, **fields)


def _counts(*names: str) -> dict[str, Variable]:
    return {name: Variable(name, "count", min=0) for name in names}


def _closed():
    profile = _profile(
        {"S": seen(0, 100, "decreasing"), "I": seen(0, 80), "R": seen(0, 100, "increasing")},
        [("S", "I", "R")],
        (("I", "R", 0.7), ("S", "I", 0.7)),
    )
    return _schema(_counts("R", "I", "S")), profile


def _partly_hidden():
    constants = {"everybody": Constant("everybody", np.array(763, np.int32))}
    profile = _profile({"first": seen(3, 298), "second": seen(0, 176)})
    return _schema(_counts("first", "second"), constants=constants), profile


def _goods():
    inputs = {"order": Input("order", "count", default=0)}
    lags = (("order", "goods", 2, 0.5), ("order", "owed", 2, -0.4))
    profile = _profile({"owed": seen(0, 30), "goods": seen(0, 40)}, lags=lags)
    return _schema(_counts("owed", "goods"), inputs=inputs), profile


def _queue():
    fields = {
        "calendar": True,
        "inputs": {"u": Input("u", "real", default=0.0)},
        "attributes": {"beds": Attribute("beds", "count")},
    }
    profile = _profile({"a": seen(0, 40, period=7), "b": seen(0, 30)})
    return _schema(_counts("a", "b"), **fields), profile


def _reals():
    states = {name: Variable(name, "real", min=0.0) for name in ("x", "y")}
    inputs = {"u": Input("u", "real", default=0.0)}
    profile = _profile({"x": seen(1, 40), "y": seen(1, 30)}, lags=(("u", "x", 1, 0.6),))
    return _schema(states, inputs=inputs), profile


def _mixed():
    states = {
        "temperature": Variable("temperature", "real"),
        "on": Variable("on", "flag"),
        "code": Variable("code", "category", shape=(5,), min=0, max=4),
        "ages": Variable("ages", "count", shape=(3,), min=0),
    }
    labels = {"temperature": seen(-4, 30, period=365), "on": seen(0, 1)}
    labels |= {f"code[{i}]": seen(0, 4) for i in range(5)}
    labels |= {f"ages[{i}]": seen(0, 9) for i in range(3)}
    return _schema(states), _profile(labels)


CASES = {
    "closed": _closed,
    "partly hidden": _partly_hidden,
    "goods": _goods,
    "queue": _queue,
    "reals": _reals,
    "mixed": _mixed,
}


def brief(case: str, **fields) -> Brief:
    """A brief of a first round, or of a later one with parents."""
    schema, profile = CASES[case]()
    return Brief(schema, profile, fields.pop("round", 0), fields.pop("seed", 0), **fields)


def parent(
    structure: Structure | None,
    findings: tuple[Finding, ...] = (),
    unit=None,
    number: int = 0,
    adequate: bool = False,
) -> Parent:
    """A calibrated candidate."""
    return Parent(number, "", structure, {}, {}, unit or {}, 1.0, 0.5, 0.1, adequate, findings)
