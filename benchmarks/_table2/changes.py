"""P0: where in a program a change of the world is made, found by making it.

Programs name their parameters as they like. What a change does is known from the truth: the effect
of one step from a state that shows it. Every parameter, and every output of a submodule, is changed
in the candidate in the same way; the change is made where the effect is the truth's, and two or
more places together where none alone has it (one rate per disease). Not size but direction is
compared, since a structure may stand at other values than the truth does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gsim_jax.task import Schema
from gsim_jax.whatif import Change, Model, Scenario, Start, sweep
from gsim_jax.whatif.targets import Targets

#: An effect has the truth's direction from this cosine on, and its size within a factor.
COSINE, FACTOR = 0.9, 4.0
#: Places that may be changed together.
_MOST = 6
_LANES = 2_000
_KEY = 23


@dataclass(frozen=True, eq=False)
class Intervention:
    """A change of the world, as it is made in the truth.

    Attributes:
        title: what happens, in words.
        targets: the truth's parameters.
        operation: `"scale"` or `"set"`.
        value: by what, or to what.
        first: first step at which it acts.
        last: last one, None for the end.
        variables: labels whose mean curves tell what it does.
        state: a state that shows the change within a step.
        inputs: inputs of that step.
    """

    title: str
    targets: tuple[str, ...]
    operation: str
    value: float
    first: int
    last: int | None
    variables: tuple[str, ...]
    state: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def scenario(self, places: Sequence[Place], whole: bool = True) -> Scenario:
        """The change made at some places; for the probe in every row."""
        first, last = (self.first, self.last) if whole else (0, None)
        changes = tuple(
            Change(place.target, self.operation, self.value, first, last, place.kind)
            for place in places
        )
        return Scenario(" and ".join(place.target for place in places), changes)


@dataclass(frozen=True)
class Place:
    """Something that a scenario can change.

    Attributes:
        target: its name.
        kind: `"parameter"` or `"output"`.
    """

    target: str
    kind: str = "parameter"


@dataclass(frozen=True)
class Found:
    """Where a program can be changed.

    Attributes:
        places: what is changed together.
        cosine: direction of the effect against the truth's.
    """

    places: tuple[Place, ...]
    cosine: float

    def __str__(self) -> str:
        words = " and ".join(place.target for place in self.places)
        outputs = any(place.kind == "output" for place in self.places)
        return words + (" (an output)" if outputs else "")


_SLOTS = 40
#: By name of the task.
INTERVENTIONS: Mapping[str, Intervention] = {
    "covid19": Intervention(
        "lockdown: transmission × 0.15 on days 5 to 24", ("infection.beta",), "scale", 0.15, 5, 24,
        ("S", "I", "R"), {"S": 80, "I": 20, "R": 0},
    ),
    "supply_chain": Intervention(
        "lead time 4 in place of 2", ("supply.lead_time",), "set", 4, 0, None,
        ("inventory", "backlog"),
        {"inventory": 20, "backlog": 0, "pipeline": np.zeros(8, np.int32), "demanded": 0},
        {"order": np.full(2, 10, np.int32)},
    ),
    "hospital_beds": Intervention(
        "arrivals × 1.5", ("arrivals.rate",), "scale", 1.5, 0, None,
        ("icu", "standard", "patients_0", "patients_1", "patients_2"),
        {
            "bed": np.full(_SLOTS, 2, np.int32), "disease": np.full(_SLOTS, 3, np.int32),
            "remaining": np.zeros(_SLOTS, np.int32), "day": np.zeros(_SLOTS, np.int32),
            "deaths": np.zeros(3, np.int32), "discharges": np.zeros(3, np.int32),
        },
    ),
}  # fmt: skip


class Probe:
    """One step of a simulator from the state that shows a change.

    Attributes:
        change: the change.
        wanted: its effect in the truth, float64[V], each variable in units of what moves it there.
    """

    def __init__(self, change: Intervention, truth: Model) -> None:
        """Measures the truth."""
        self.change = change
        places = [Place(target) for target in change.targets]
        base, (changed,) = self._steps(truth, [places])
        effect = changed - base
        moved = np.maximum(np.abs(effect), np.abs(base - self._before(truth.schema)))
        self._scale = np.maximum(moved, 0.1 * moved.max())
        self.wanted = effect / self._scale

    def _before(self, schema: Schema) -> np.ndarray:
        values = {k: np.asarray(v) for k, v in self.change.state.items()}
        return np.array([_value(schema, values, output) for output in schema.outputs], float)

    def _steps(
        self, model: Model, sets: Sequence[Sequence[Place]]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Means after one step, without a change and with each of them, float64[V] each."""
        start = Start.of(self.change.state, self.change.inputs)
        scenarios = [self.change.scenario(places, whole=False) for places in sets]
        found = sweep(
            model, scenarios, start, steps=1, replicates=_LANES, key=_KEY, keep="moments",
            rules=False,
        )  # fmt: skip
        means = found["mean"].isel(t=1).transpose("scenario", "variable").values
        return means[0], list(means[1:])

    def find(self, model: Model) -> Found | None:
        """The places where the change has to be made in a program, None where there are none."""
        for kind in ("parameter", "output"):
            places = _places(model, kind, self.change.operation)
            found = self._best(model, places) if places else None
            if found is not None:
                return found
        return None

    def _best(self, model: Model, places: Sequence[Place]) -> Found | None:
        base, changed = self._steps(model, [[place] for place in places])
        effects = [(means - base) / self._scale for means in changed]
        effects = [np.where(np.isfinite(e), e, 0.0) for e in effects]
        total, chosen = np.zeros_like(self.wanted), []
        # Effects of places that go together add up, near enough to choose them by.
        while len(chosen) < min(_MOST, len(places)):
            left = [i for i in range(len(places)) if i not in chosen]
            best = max(left, key=lambda i: self._cosine(total + effects[i]))
            if self._cosine(total + effects[best]) <= self._cosine(total) + 0.01:
                break
            chosen.append(best)
            total = total + effects[best]
        if not chosen:
            return None
        picked = tuple(places[i] for i in sorted(chosen))
        base, (together,) = self._steps(model, [picked])
        effect = (together - base) / self._scale
        size = np.linalg.norm(effect) / np.linalg.norm(self.wanted)
        cosine = self._cosine(effect)
        alike = cosine >= COSINE and 1 / FACTOR <= size <= FACTOR
        return Found(picked, cosine) if alike else None

    def _cosine(self, effect: np.ndarray) -> float:
        size = np.linalg.norm(effect) * np.linalg.norm(self.wanted)
        return float(effect @ self.wanted / size) if np.isfinite(size) and size > 0 else 0.0


def _places(model: Model, kind: str, operation: str) -> list[Place]:
    found = [t for t in Targets(model.simulator, model.schema).all if t.kind == kind]
    if operation == "scale":  # a thing in two states has no size
        found = [t for t in found if t.dtype != "bool"]
    elif kind == "output":  # set to a number, an output says nothing any more
        return []
    if operation == "scale" and kind == "parameter":
        found = [t for t in found if t.dtype == "float32"]
    return [Place(t.label, kind) for t in found]


def _value(schema: Schema, states: Mapping[str, np.ndarray], output: Any) -> float:
    if output.variable in states:
        return float(states[output.variable][output.index])
    known = {**states, **{name: c.value for name, c in schema.constants.items()}}
    for name in schema.derived_order:
        expression = schema.derived[name].value
        given = {key: known[key] for key in expression.names}
        known[name] = np.asarray(expression.evaluate(given, xp=np)[0])
    return float(known[output.variable])
