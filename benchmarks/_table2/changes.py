"""P0: where in a program a change of the world is made, found by making it.

Programs name their parameters as they like. What a change does is known from the truth: the effect
of one step from a state that shows it. Every parameter, and every output of a submodule, is changed
in the candidate in the same way; the change is made where the effect is the truth's, and two or
more places together where none alone has it (one rate per disease). Direction is compared, and the
effect's share of what moves anyway, not its size: a structure may stand at other values than the
truth does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gsim_jax.task import Schema
from gsim_jax.whatif import Change, Model, Scenario, Start, sweep
from gsim_jax.whatif.targets import Targets

#: An effect is the truth's from this cosine on, and with a share of the movement that is near.
COSINE, SHARE = 0.9, 0.4
#: Places that may be changed together, and what each has to contribute.
_MOST, _GAIN = 6, 0.15
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
        wanted: its effect in the truth, float64[V], each variable in units of what moves it there;
            of a parameter that is set to a value, where the truth then goes.
        share: how large it is beside what moves each variable anyway.
    """

    def __init__(self, change: Intervention, truth: Model) -> None:
        """Measures the truth."""
        self.change = change
        base, (changed,) = self._steps(truth, [[Place(target) for target in change.targets]])
        moved = np.maximum(np.abs(changed - base), np.abs(base))
        self._scale = np.maximum(moved, 0.1 * moved.max())
        self.wanted = self._effect(base, changed)
        self.share = _ratio(self.wanted, np.abs(base / self._scale))

    def _effect(self, base: np.ndarray, changed: np.ndarray) -> np.ndarray:
        """What is compared: a structure may stand at another value before it is set to one."""
        relative = changed if self.change.operation == "set" else changed - base
        return np.where(np.isfinite(relative), relative / self._scale, 0.0)

    def _off(self, effect: np.ndarray, base: np.ndarray) -> tuple[float, float]:
        """How far an effect is from the wanted one: in direction (1 - cosine), and in share.

        A variable that several things move has no share to go by, where they stand at other
        values than in the truth; that which only the changed thing moves has: the nearest counts.
        """
        size = np.linalg.norm(effect) * np.linalg.norm(self.wanted)
        cosine = float(effect @ self.wanted / size) if np.isfinite(size) and size > 0 else 0.0
        if self.change.operation == "set":
            return 1 - cosine, 0.0
        moved = np.abs(self.wanted) > 0.1
        shares = _ratio(effect, np.abs(base / self._scale))[moved] / self.share[moved]
        return 1 - cosine, float(np.abs(1 - shares).min())

    def _before(self, schema: Schema) -> np.ndarray:
        values = {k: np.asarray(v) for k, v in self.change.state.items()}
        return np.array([_value(schema, values, output) for output in schema.outputs], float)

    def _steps(
        self, model: Model, sets: Sequence[Sequence[Place]]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Mean movement in a step, without a change and with each of them, float64[V] each."""
        start = Start.of(self.change.state, self.change.inputs)
        scenarios = [self.change.scenario(places, whole=False) for places in sets]
        found = sweep(
            model, scenarios, start, steps=1, replicates=_LANES, key=_KEY, keep="moments",
            rules=False,
        )  # fmt: skip
        means = found["mean"].isel(t=1).transpose("scenario", "variable").values
        moved = means - self._before(model.schema)[None]
        return moved[0], list(moved[1:])

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
        effects = [self._effect(base, moved) for moved in changed]
        picked = tuple(places[i] for i in self._chosen(effects, base))
        if not picked:
            return None
        base, (together,) = self._steps(model, [picked])
        direction, share = self._off(self._effect(base, together), base)
        differs = bool(np.abs(together - base).max() > 0)
        alike = direction <= 1 - COSINE and share <= SHARE
        return Found(picked, 1 - direction) if alike and differs else None

    def _chosen(self, effects: Sequence[np.ndarray], base: np.ndarray) -> list[int]:
        """Places whose effects have the wanted direction together, and the wanted share.

        Effects of places that go together add up, near enough to choose them by.
        """
        total, chosen = np.zeros_like(self.wanted), list[int]()

        def off(effect: np.ndarray) -> float:
            return sum(self._off(effect, base))

        most = 1 if self.change.operation == "set" else _MOST
        while len(chosen) < min(most, len(effects)):
            left = [i for i in range(len(effects)) if i not in chosen]
            best = min(left, key=lambda i: off(total + effects[i]))
            if off(total + effects[best]) >= off(total) - _GAIN:
                break
            chosen.append(best)
            total = total + effects[best]
        return sorted(chosen)


def _ratio(effect: np.ndarray, movement: np.ndarray) -> np.ndarray:
    return effect / np.maximum(movement, 1e-9)


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
