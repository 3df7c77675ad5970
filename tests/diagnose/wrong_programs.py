"""Programs that are wrong on purpose: a right one of an environment with passages replaced.

Each comes with the edges of the truth that it lacks and those that it has too many, as "source >
target"; several sources or targets stand side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

ENVS = Path(__file__).resolve().parents[2] / "envs"
PATIENTS = "patients_0 patients_1 patients_2"
DAYS = "days_left_0 days_left_1 days_left_2"


@dataclass(frozen=True)
class Wrong:
    """A wrong program.

    Attributes:
        env: folder of the environment.
        name: what is wrong.
        replaced: (passage of the right program, what stands there instead).
        missing: edges of the truth that it lacks.
        extra: edges that the truth has not.
        slots: what stands for exchangeable arrays.
    """

    env: str
    name: str
    replaced: tuple[tuple[str, str], ...]
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    slots: str = "derived"

    @property
    def source(self) -> str:
        """The simulator file."""
        text = right(self.env)
        for old, new in self.replaced:
            assert text.count(old) == 1, f"{self.env}: {old!r} is there {text.count(old)} times"
            text = text.replace(old, new)
        return text


def edges(lines: tuple[str, ...]) -> set[tuple[str, str]]:
    """Pairs from lines such as "a b > c d"."""
    found: set[tuple[str, str]] = set()
    for line in lines:
        sources, _, targets = line.partition(">")
        found |= set(product(sources.split(), targets.split()))
    return found


# Of the hospital's truth in structure, not in its law: short enough to be changed.
HOSPITAL = """
PARAMS = {
    "illness": {"risk": Uniform(0.0, 0.1, shape=(3,), guess=0.01)},
    "arrivals": {"rate": Uniform(0.0, 5.0, shape=(3,), guess=1.5)},
    "admission": {"beds": Integer(10, 30, guess=25)},
}

def initial(observed, seen, params, key):
    names = ("bed", "disease", "remaining", "day", "deaths", "discharges")
    return {name: observed[name] for name in names}

def illness(state, inputs, params, key):
    first, last = split(key)
    taken = state["bed"] < 2
    chance = state["day"] * params["risk"][state["disease"] % 3]
    died = taken & (bernoulli(first, jnp.clip(chance, 0.0, 1.0)) == 1)
    return {"died": died, "left": taken & ~died & (state["remaining"] <= 1)}

def arrivals(state, inputs, params, key):
    return {"asking": poisson(key, params["rate"])}

def admission(state, inputs, params, key):
    taken, gone = state["bed"] < 2, inputs["outputs"]["died"] | inputs["outputs"]["left"]
    stays = taken & ~gone
    free = jnp.maximum(params["beds"] - jnp.sum(stays), 0)
    place = jnp.cumsum(~stays) - 1
    new = ~stays & (place < jnp.minimum(free, jnp.sum(inputs["outputs"]["asking"])))
    who = jnp.sum(place[:, None] >= jnp.cumsum(inputs["outputs"]["asking"])[None, :], axis=1)
    return {"stays": stays, "new": new, "who": jnp.minimum(who, 2)}

def per_disease(disease, where):
    return jnp.stack([jnp.sum(where & (disease == d)) for d in range(3)])

def couple(state, inputs, outputs, params, key):
    new, stays = outputs["new"], outputs["stays"]
    return {
        "bed": jnp.where(new, 1 - outputs["who"] // 2, jnp.where(stays, state["bed"], 2)),
        "disease": jnp.where(new, outputs["who"], jnp.where(stays, state["disease"], 3)),
        "remaining": jnp.where(new, 5, jnp.where(stays, state["remaining"] - 1, 0)),
        "day": jnp.where(new, 1, jnp.where(stays, state["day"] + 1, 0)),
        "deaths": state["deaths"] + per_disease(state["disease"], outputs["died"]),
        "discharges": state["discharges"] + per_disease(state["disease"], outputs["left"]),
    }

SUBMODULES = (illness, arrivals, admission)
"""


def right(env: str) -> str:
    """A simulator file with the causal graph of an environment's truth."""
    if env == "hospital_beds":
        return HOSPITAL
    return (ENVS / env / "truth.py").read_text(encoding="utf-8")


GEOMETRIC = ('state["remaining"] <= 1', "bernoulli(last, 0.2, shape=(40,)) == 1")
WRONG = [
    Wrong(
        "covid19",
        "infection without contact",
        (('jnp.exp(-params["beta"] * state["I"] / n)', 'jnp.exp(-params["beta"] / n)'),),
        missing=("I > S",),
    ),
    Wrong(
        "covid19",
        "recovery backwards",
        (
            (
                'binomial(key, state["I"], params["gamma"])',
                'binomial(key, state["R"], params["gamma"])',
            ),
            ('state["I"] + i - r, "R": state["R"] + r', 'state["I"] + i + r, "R": state["R"] - r'),
        ),
        missing=("I > R",),
        extra=("R > I",),
    ),
    Wrong(
        "covid19",
        "nobody arrives among the recovered",
        (('"R": state["R"] + r', '"R": state["R"]'),),
        missing=("I > R",),
    ),
    Wrong(
        "supply_chain",
        "orders arrive at once",
        (('"arrived": arrived,', '"arrived": inputs["order"],'),),
        missing=("pipeline > inventory backlog",),
        extra=("order > inventory backlog",),
    ),
    Wrong(
        "supply_chain",
        "customers do not wait",
        (
            ('state["backlog"] + outputs["demand"]', 'outputs["demand"]'),
            ('"backlog": owed - served', '"backlog": 0'),
        ),
        missing=("backlog > inventory", "inventory backlog pipeline > backlog"),
    ),
    Wrong(
        "supply_chain",
        "orders never arrive",
        (('state["inventory"] + outputs["arrived"]', 'state["inventory"]'),),
        missing=("pipeline > inventory backlog",),
    ),
    Wrong(
        "hospital_beds",
        "beds are filled anew every day",
        (
            ("stays = taken & ~gone", "stays = jnp.zeros(40, bool)"),
            ('jnp.where(stays, state["bed"], 2)', "2"),
            ('jnp.where(stays, state["disease"], 3)', "3"),
            ('jnp.where(stays, state["remaining"] - 1, 0)', "0"),
        ),
        missing=(f"icu standard {PATIENTS} {DAYS} > icu standard {PATIENTS} {DAYS}",),
    ),
    Wrong(
        "hospital_beds",
        "nobody asks what the dead died of",
        (
            ('* params["risk"][state["disease"] % 3]', '* params["risk"][0]'),
            ('per_disease(state["disease"], outputs["died"])', 'jnp.sum(outputs["died"])'),
        ),
        # Days left are made of remaining stays too, which still end.
        missing=(f"{PATIENTS} > icu standard deaths", f"{DAYS} > deaths"),
    ),
    Wrong(
        "hospital_beds",
        "deaths frighten patients away",
        (('params["rate"])}', 'params["rate"] * jnp.exp(-0.1 * state["deaths"]))}'),),
        extra=(f"deaths > icu standard {PATIENTS} {DAYS}",),
    ),
    # On derived values this program has the truth's graph: see the notes on slots.
    Wrong("hospital_beds", "stays without memory", (GEOMETRIC,)),
    Wrong(
        "hospital_beds",
        "stays without memory",
        (GEOMETRIC,),
        missing=("remaining > bed disease day discharges",),
        slots="arrays",
    ),
]
