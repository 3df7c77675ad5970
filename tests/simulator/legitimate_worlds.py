"""The tables that the legitimate programs are written for: states, inputs, constants, rules.

One row per file of `legitimate/`; a new program is one more file and one more row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from gsim_jax.task import (
    Attribute,
    Constant,
    Input,
    Rule,
    Schema,
    Task,
    Trajectories,
    Variable,
    parse,
)

FOLDER = Path(__file__).parent / "legitimate"
ROWS, SITES = 12, 3
_RING = np.roll(np.eye(10), 1, 0) + np.roll(np.eye(10), -1, 0)
_FRIENDS = (np.roll(np.eye(8), 1, 0) + np.roll(np.eye(8), 3, 1)).astype(np.float32)


@dataclass(frozen=True)
class World:
    """What one program simulates.

    Attributes:
        states: first row by name: (kind, value, least, most); shapes follow from the value.
        inputs: values by name, one number or one per row; whole numbers are counts.
        constants: numbers or arrays by name.
        attributes: numbers per site by name.
        rules: what has to hold, in words of `task.toml`.
        calendar: whether weekday and day of the year are given.
    """

    states: Mapping[str, tuple[Any, ...]]
    inputs: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    calendar: bool = False

    @property
    def schema(self) -> Schema:
        """As `task.toml` would declare it."""
        states = {
            name: Variable(name, kind, tuple(np.shape(value)), least, most)
            for name, (kind, value, least, most) in self.states.items()
        }
        schema = Schema(
            "world",
            "A world",
            "day",
            ROWS - 1,
            states,
            inputs={name: Input(name, _kind(value)) for name, value in self.inputs.items()},
            constants={
                name: Constant(name, np.asarray(value, _dtype(value)))
                for name, value in self.constants.items()
            },
            attributes={name: Attribute(name, _kind(v)) for name, v in self.attributes.items()},
            calendar=self.calendar,
        )
        rules = tuple(Rule(text, parse(text, schema.rule_shapes)) for text in self.rules)
        return replace(schema, rules=rules)

    @property
    def task(self) -> Task:
        """Three sites of twelve rows; only the first row and the inputs matter to a check."""
        schema = self.schema
        states = {
            name: np.broadcast_to(
                np.asarray(value, schema.states[name].dtype), (SITES, ROWS, *np.shape(value))
            ).copy()
            for name, (_, value, _, _) in self.states.items()
        }
        inputs = {
            name: np.broadcast_to(np.asarray(value, _dtype(value)), (SITES, ROWS)).copy()
            for name, value in self.inputs.items()
        }
        if self.calendar:
            days = np.broadcast_to(np.arange(ROWS, dtype=np.int32), (SITES, ROWS))
            inputs |= {"weekday": days % 7, "day_of_year": days + 1}
        outputs = np.zeros((SITES, ROWS, len(schema.outputs)), np.float32)
        train = Trajectories(
            ids=tuple(f"site {i}" for i in range(SITES)),
            length=np.full(SITES, ROWS, np.int32),
            states=states,
            seen={name: np.ones(value.shape, bool) for name, value in states.items()},
            inputs=inputs,
            attributes={
                name: np.full(SITES, value, _dtype(value))
                for name, value in self.attributes.items()
            },
            outputs=outputs,
            outputs_seen=np.zeros(outputs.shape, bool),
        )
        return Task(Path("."), schema, train)


def _kind(value: Any) -> str:
    return "count" if np.issubdtype(np.asarray(value).dtype, np.integer) else "real"


def _dtype(value: Any) -> str:
    return "int32" if _kind(value) == "count" else "float32"


def _count(value: Any, most: float | None = None) -> tuple[Any, ...]:
    return "count", value, 0, most


def _real(value: Any, least: float | None = None, most: float | None = None) -> tuple[Any, ...]:
    return "real", value, least, most


_SIR = {"S": _count(950), "I": _count(30), "R": _count(20)}
_CLOSED = ("S + I + R == initial.S + initial.I + initial.R",)

WORLDS: dict[str, World] = {
    "ambulances": World(
        {"busy": _count([0, 2, 0, 0, 5]), "missed": _count(0), "reach": _real(0.0, 0.0)}
    ),
    "bike_sharing": World(
        {"bikes": _count([12, 9, 15, 4])},
        {"rain": [0.0, 0.3] * 6},
        rules=("sum(bikes) == sum(initial.bikes)",),
    ),
    "blood_bank": World(
        {"units": _count([14, 12, 9, 6, 3, 2, 1]), "outdated": _count(0), "short": _count(0)}
    ),
    "call_centre": World({"waiting": _count(3), "lost": _count(0)}, {"agents": [3, 5, 8] * 4}),
    "cash_jumps": World({"cash": _real(120.0)}),
    "credit_ratings": World(
        {"firms": _count([40, 80, 30, 0])},
        {"rate_change": [0.0, 0.25, -0.25] * 4},
        rules=("sum(firms) == sum(initial.firms)",),
    ),
    "crop_growth": World(
        {"biomass": _real(0.0, 0.0), "stage": ("category", 0, 0, 4)},
        {"temperature": [8.0, 12.0, 16.0] * 4, "rain": [0.0, 5.0] * 6, "radiation": 12.0},
    ),
    "dam_release": World(
        {
            "volume": _real(600.0, 0.0, 1000.0),
            "delivered": _real(20.0, 0.0),
            "spilled": _real(0.0, 0.0),
        },
        {"demand": 22.0},
    ),
    "drug_compartments": World({"plasma": _real(0.0, 0.0)}, {"dose": [100.0] + [0.0] * 11}),
    "emergency_department": World(
        {"waiting": _count([1, 4, 9]), "treated": _count(0), "unseen": _count(0)},
        {"on_duty": [2, 3, 3] * 4},
        rules=("treated >= previous.treated",),
        calendar=True,
    ),
    "enzyme_reaction": World(
        {"substrate": _real(5.0, 0.0), "product": _real(0.0, 0.0)}, {"feed": [0.0, 0.5] * 6}
    ),
    "epidemic_icu": World(
        {
            **_SIR,
            "icu": _count(3),
            "ward": _count(9),
            "D": _count(0),
        },
        constants={"population": 1012},
        attributes={"icu_beds": 8, "ward_beds": 25},
        rules=(
            "S + I + R + icu + ward + D == initial.S + initial.I + initial.R + initial.icu"
            " + initial.ward + initial.D",
        ),
    ),
    "fishery_ages": World(
        {
            "numbers": _real([900.0, 500.0, 300.0, 150.0, 80.0, 60.0], 0.0),
            "catch": _real(50.0, 0.0),
        },
        {"effort": [1.0, 1.5] * 6},
    ),
    "forest_fire": World(
        {"cell": ("category", (np.add.outer(np.arange(8), np.arange(8)) % 3).tolist(), 0, 2)},
        {"wind": [0.2, 0.5] * 6},
    ),
    "gene_expression": World({"proteins": _count(40)}, {"inducer": [1.0, 0.0, 2.0] * 4}),
    "glucose_insulin": World(
        {"glucose": _real(95.0, 20.0, 600.0), "insulin": _real(8.0, 0.0)},
        {"meal": [0.0, 4.0, 2.0, 0.0] * 3},
    ),
    "hidden_herd": World(
        {"counted": _count(500), "resighted": _count(6)}, {"snow": [0.2, 0.8, 0.5] * 4}
    ),
    "hidden_volatility": World({"r": _real(0.1), "price": _real(100.0, 0.0)}),
    "hot_plate": World({"u": _real(np.full((6, 6), 20.0).tolist())}, {"on": 1.0, "room": 18.0}),
    "icu_slots": World(
        {
            "kind": ("category", [0, 1, 0, 0, 1, 1, -1, -1, -1, -1, -1, -1], -1, 1),
            "left": _count([2, 5, 1, 3, 9, 4, 0, 0, 0, 0, 0, 0]),
        }
    ),
    "insurance_claims": World(
        {"claims": _count(28), "paid": _real(60.0, 0.0)}, {"exposure": [1.0, 1.1] * 6}
    ),
    "inventory_policy": World(
        {"stock": _count(55), "lost": _count(0)}, {"promotion": [1.0, 1.0, 1.5] * 4}
    ),
    "leslie_matrix": World({"n": _count([400, 220, 150, 90, 40])}),
    "machine_failures": World(
        {"down": _count([0, 0, 3, 0, 1, 0]), "age": _count([5, 40, 0, 12, 0, 77])},
        {"load": [1.0, 0.5] * 6},
    ),
    "metapopulation": World(
        {
            "S": _count([90, 190, 300, 120, 60]),
            "I": _count([5, 0, 0, 1, 0]),
            "R": _count([0, 0, 0, 0, 0]),
        },
        rules=("sum(S) + sum(I) + sum(R) == sum(initial.S) + sum(initial.I) + sum(initial.R)",),
    ),
    "museum_visitors": World(
        {"visitors": _count(300, 1500), "year_total": _count(0)},
        {"event": [0.0, 0.0, 1.0] * 4},
        constants={"tickets": 1500},
        rules=("year_total >= previous.year_total",),
        calendar=True,
    ),
    "opinions": World(
        {"opinion": _real(np.linspace(-0.8, 0.9, 8).tolist(), -1.0, 1.0)},
        {"posters": [0.0, 1.0] * 6},
        constants={"friends": _FRIENDS},
    ),
    "power_demand": World(
        {"load": _real(42.0)}, {"temperature": [3.0, 12.0, 27.0] * 4}, calendar=True
    ),
    "predator_prey": World({"prey": _count(800), "predators": _count(60)}),
    "price_demand": World(
        {"sold": _count(60)}, {"price": [1.0, 1.1] * 6, "rival_price": 1.05}, calendar=True
    ),
    "production_line": World(
        {"buffer": _count([12, 8, 15, 4], 30), "finished": _count(7)}, {"staffed": [1.0, 0.5] * 6}
    ),
    "rainfall_runoff": World(
        {"discharge": _real(3.0, 0.0)},
        {"rain": [0.0, 12.0, 3.0] * 4, "temperature": [-2.0, 4.0, 9.0] * 4},
    ),
    "reported_cases": World({"cases": _count(4)}, constants={"population": 5000}),
    "river_pollution": World(
        {"bod": _real([3.0, 2.5, 2.0, 2.0, 1.5, 1.0], 0.0), "oxygen": _real([8.0] * 6, 0.0, 15.0)},
        {"load": [0.0, 2.0] * 6},
    ),
    "rumour": World({"ignorant": _count(900), "spreaders": _count(20)}, attributes={"town": 1000}),
    "school_cohorts": World(
        {"pupils": _count([120, 118, 116, 110, 112, 108, 105, 99]), "graduates": _count(95)},
        {"births": [130, 128, 126] * 4},
    ),
    "seir_age_groups": World(
        {
            "S": _count([800, 1200, 1500, 600]),
            "I": _count([4, 6, 3, 1]),
            "R": _count([0, 0, 0, 0]),
        },
        rules=("S <= initial.S",),
    ),
    "server_queue": World({"queue": _count(4)}, {"servers": [3, 4, 5] * 4}),
    "sewage_signal": World({"signal": _real(2.0)}, {"rain": [0.0, 0.5, 2.0] * 4}),
    "sir_lockdown": World(_SIR, {"lockdown": [0.0, 0.5, 1.0] * 4}, rules=_CLOSED),
    "sirs_vaccination": World(_SIR, {"doses": [0, 20, 40] * 4}, rules=_CLOSED),
    "sis_network": World(
        {"ill": ("flag", [1, 0, 0, 0, 1, 0, 0, 0, 0, 0], 0, 1)},
        constants={"adjacency": _RING.astype(np.float32)},
    ),
    "spare_parts": World({"store": _count(4), "fitted": _count(20)}, attributes={"machines": 22}),
    "spreading_plant": World(
        {"plants": _count([0] * 8 + [5, 20, 8] + [0] * 9)}, {"suitability": 0.9, "mown": [0, 1] * 6}
    ),
    "subscriptions": World(
        {
            "members": _count([90, 70, 60, 55, 50, 44, 40, 37, 33, 30, 28, 200]),
            "lost": _count(40),
        },
        {"spend": [0.0, 1.0, 3.0] * 4, "price_rise": [0.0, 0.0, 0.1] * 4},
    ),
    "traffic_cells": World(
        {"vehicles": _count([10, 12, 15, 9, 20, 25, 30, 8, 5, 4])}, {"incident": [0, 0, 1] * 4}
    ),
    "vector_borne": World(_SIR, {"temperature": [24.0, 28.0, 31.0] * 4}, rules=_CLOSED),
    "warehouse_shops": World(
        {"shops": _count([18, 25, 31]), "warehouse": _count(120)}, {"strike": [0.0, 0.0, 1.0] * 4}
    ),
    "wind_farm": World(
        {"power": _real(4.0, 0.0), "up": ("flag", [1, 1, 0, 1, 1], 0, 1)}, {"crew": 1.0}
    ),
}
