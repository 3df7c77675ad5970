"""P0: where in a program a change of the world is made, found by making it.

Programs name their parameters as they like. What a change does is known from the truth: its effect
on a step or a few from a state that shows it. Every parameter, and every output of a submodule, is
changed in the candidate in the same way; the change is made where the effect is the truth's, and at
two or more places together where none alone has it (one rate per disease). Direction is compared,
and the effect's share of what moves anyway, not its size: a structure may stand at other values
than the truth does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks._table2 import compiled
from gsim_jax.whatif import Change, Model, Scenario, Start, set_to, sweep
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
        state: a state that shows the change within a few steps.
        inputs: inputs of those steps.
        steps: how many.
        silent: of a parameter that is set to a value, what is taken away to see what it does: a
            structure may stand at another value before it is set.
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
    steps: int = 1
    silent: tuple[Change, ...] = ()

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
        # Plenty of stock, and a single order: its arrival can be seen.
        {"inventory": 500, "backlog": 0, "pipeline": np.zeros(8, np.int32), "demanded": 0},
        {"order": np.array([10, 0, 0, 0, 0, 0, 0], np.int32)}, 6, (set_to("order", 0),),
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
    """Some steps of a simulator from the state that shows a change.

    Attributes:
        change: the change.
        wanted: its effect in the truth, float64[V x steps], in units of what moves it there.
        share: how large it is beside what moves each variable anyway.
    """

    def __init__(self, change: Intervention, truth: Model) -> None:
        """Measures the truth."""
        self.change = change
        base, (effect,) = self._effects(truth, [[Place(target) for target in change.targets]])
        moved = np.maximum(np.abs(effect), np.abs(base))
        self._scale = np.maximum(moved, 0.1 * moved.max())
        self.wanted = effect / self._scale
        self.share = _ratio(self.wanted, np.abs(base / self._scale))

    def _effects(
        self, model: Model, sets: Sequence[Sequence[Place]]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """What moves without a change, and what each change does, float64[V x steps] each."""
        change = self.change
        scenarios = [change.scenario(places, whole=False) for places in sets]
        if change.silent:
            scenarios += [
                Scenario(f"{one.name}, silent", (*one.changes, *change.silent)) for one in scenarios
            ]
        start = Start.of(change.state, change.inputs)
        with compiled.quickly():
            found = sweep(
                model, scenarios, start, steps=change.steps, replicates=_LANES, key=_KEY,
                keep="moments", rules=False,
            )  # fmt: skip
        means = found["mean"].sel(variable=list(change.variables))
        means = means.transpose("scenario", "variable", "t").values
        first, rest = means[0], means[1 : 1 + len(sets)]
        against = means[1 + len(sets) :] if change.silent else [first] * len(sets)

        def flat(values: np.ndarray) -> np.ndarray:
            return np.where(np.isfinite(values), values, 0.0).ravel()

        effects = [flat((one - other)[:, 1:]) for one, other in zip(rest, against, strict=True)]
        return flat(first[:, 1:] - first[:, :1]), effects

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

    def find(self, model: Model) -> Found | None:
        """The places where the change has to be made in a program, None where there are none."""
        for kind in ("parameter", "output"):
            places = _places(model, kind, self.change.operation)
            found = self._best(model, places) if places else None
            if found is not None:
                return found
        return None

    def _best(self, model: Model, places: Sequence[Place]) -> Found | None:
        base, effects = self._effects(model, [[place] for place in places])
        scaled = [effect / self._scale for effect in effects]
        chosen = self._chosen(scaled, base)
        if not chosen:
            return None
        picked, together = tuple(places[i] for i in chosen), scaled[chosen[0]]
        if len(chosen) > 1:
            base, (effect,) = self._effects(model, [picked])
            together = effect / self._scale
        direction, share = self._off(together, base)
        alike = direction <= 1 - COSINE and share <= SHARE
        return Found(picked, 1 - direction) if alike else None

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
