"""Simulator files that the tests of this room trace, with the signatures of their tasks."""

from __future__ import annotations

from typing import Any


def states(**shapes: tuple[str, tuple[int, ...]]) -> dict[str, Any]:
    """Entries of a signature's `states` from kinds and shapes."""
    return {
        name: {
            "kind": kind,
            "dtype": "float32" if kind == "real" else "int32",
            "shape": list(shape),
            "min": None,
            "max": None,
        }
        for name, (kind, shape) in shapes.items()
    }


def signature(inputs: dict[str, str] | None = None, **shapes: Any) -> dict[str, Any]:
    """A signature from inputs (`{name: dtype}`) and states (`S=("count", ())`)."""
    given = {"t": "int32", **(inputs or {})}
    leaves = {name: {"dtype": dtype, "shape": []} for name, dtype in given.items()}
    return {"states": states(**shapes), "inputs": leaves}


SIR_SIGNATURE = signature(
    {"lockdown": "float32", "population": "int32"},
    S=("count", ()),
    I=("count", ()),
    R=("count", ()),
)
SIR = '''"""Chain-binomial SIR."""
PARAMS = {
    "infection": {"beta": Uniform(0.0, 2.0, guess=0.4, unit="1/day", doc="transmission rate")},
    "recovery": {"gamma": Uniform(0.0, 1.0, guess=0.2, unit="1/day", doc="recovery probability")},
}
LATENT = {}

def initial(observed, seen, params, key):
    return observed

def infection(state, inputs, params, key):
    n = state["S"] + state["I"] + state["R"]
    p = 1 - jnp.exp(-params["beta"] * state["I"] / n)
    return {"new_infections": binomial(key, state["S"], p)}

def recovery(state, inputs, params, key):
    return {"new_recoveries": binomial(key, state["I"], params["gamma"])}

def couple(state, inputs, outputs, params, key):
    i, r = outputs["new_infections"], outputs["new_recoveries"]
    return {"S": state["S"] - i, "I": state["I"] + i - r, "R": state["R"] + r}

SUBMODULES = (infection, recovery)
'''

SEIR_SIGNATURE = signature(
    {"lockdown": "float32", "population": "int32"}, I=("count", ()), R=("count", ())
)
SEIR = '''"""SEIR with hidden S and E, under-reporting, and groups of cases that arrive together."""
PARAMS = {
    "initial": {"share": Beta(2.0, 5.0, guess=0.3)},
    "infection": {"beta": LogUniform(0.01, 3.0, guess=0.5), "effect": Uniform(guess=0.5)},
    "onset": {"sigma": Uniform(0.0, 1.0, guess=0.25)},
    "observe": {"reported": Beta(4.0, 2.0, guess=0.7)},
}
LATENT = {"S": State("count", min=0), "E": State("count", min=0)}

def initial(observed, seen, params, key):
    infectious = jnp.where(seen["I"], observed["I"], 3)
    exposed = binomial(key, infectious, params["initial"]["share"])
    susceptible = observed["population"] - infectious - exposed - observed["R"]
    return {**observed, "I": infectious, "S": susceptible, "E": exposed}

def infection(state, inputs, params, key):
    held = 1.0 - params["effect"] * inputs["lockdown"]
    force = params["beta"] * held * state["I"] / inputs["population"]
    return {"exposures": binomial(key, state["S"], 1.0 - jnp.exp(-force))}

def onset(state, inputs, params, key):
    first, second = split(key)
    left = state["E"] + inputs["outputs"]["exposures"] // 2
    return {
        "onsets": binomial(first, jnp.minimum(left, state["E"]), params["sigma"]),
        "recoveries": binomial(second, state["I"], 0.2),
    }

def couple(state, inputs, outputs, params, key):
    return {
        "S": state["S"] - outputs["exposures"],
        "E": state["E"] + outputs["exposures"] - outputs["onsets"],
        "I": state["I"] + outputs["onsets"] - inputs["outputs"]["recoveries"],
        "R": state["R"] + outputs["recoveries"],
    }

def observe(state, outputs, params, key):
    return {"I": binomial(key, state["I"], params["reported"])}

def implied(previous, current, inputs):
    return {"recoveries": current["R"] - previous["R"]}

SUBMODULES = (infection, onset)
'''

HOSPITAL_SIGNATURE = signature(
    disease=("category", (25,)),
    bed=("category", (25,)),
    los_remaining=("count", (25,)),
    day_in_hospital=("count", (25,)),
)
# As a language model wrote it: argsort, a scan over candidates, a match of slots and candidates.
HOSPITAL = '''"""Three diseases, ICU and standard beds, one step is one day."""
N_SLOTS, N_DISEASES, K_ARR = 25, 3, 12
M_ARR = N_DISEASES * K_ARR

PARAMS = {
    "stay": {
        "death_base": LogUniform(1e-4, 0.1, shape=(3,), guess=[0.005, 0.01, 0.003], unit="1/day"),
        "death_slope": LogUniform(1e-5, 0.05, shape=3, guess=0.001, unit="1/day^2"),
        "linger": Uniform(-0.5, 1.5, guess=1.0, doc="probability to keep the bed one day more"),
    },
    "arrivals": {
        "rate": LogUniform(0.2, 6.0, shape=(3,), guess=(1.0, 2.0, 1.5), unit="patients/day"),
        "los_mean": Uniform(1.5, 9.0, shape=(3,), guess=(4.5, 5.5, 3.5), unit="days"),
        "los_sd": Uniform(0.3, 2.5, guess=1.0, unit="days"),
    },
    "allocation": {
        "icu_capacity": Integer(1, 10, guess=5, unit="beds"),
        "standard_capacity": Integer(10, 25, guess=20, unit="beds"),
        "overflow": Uniform(-0.5, 1.5, shape=(3,), guess=0.5),
        "order_strength": Uniform(-1.5, 1.5, guess=0.0),
    },
}
LATENT = {}


def initial(observed, seen, params, key):
    return {name: jnp.asarray(observed[name]).astype(jnp.int32) for name in observed}


def stay(state, inputs, params, key):
    keys = split(key, 2)
    disease = state["disease"]
    occupied = disease >= 0
    d = jnp.clip(disease, 0, N_DISEASES - 1)
    days_before = jnp.maximum(state["day_in_hospital"] - 1, 0).astype(jnp.float32)
    p_death = jnp.clip(params["death_base"][d] + params["death_slope"][d] * days_before, 0.0, 1.0)
    p_death = jnp.where(occupied, p_death, 0.0)
    died = bernoulli(keys[0], p_death).astype(bool) & occupied
    new_los = state["los_remaining"] - 1
    p_linger = jnp.clip(params["linger"], 0.0, 1.0) * jnp.ones((N_SLOTS,))
    lingers = bernoulli(keys[1], p_linger).astype(bool)
    finished = (new_los < 0) | ((new_los == 0) & ~lingers)
    discharged = occupied & finished & ~died
    return {"died": died, "discharged": discharged, "stays": occupied & ~died & ~discharged}


def arrivals(state, inputs, params, key):
    keys = split(key, 2)
    counts = jnp.clip(poisson(keys[0], params["rate"]).astype(jnp.int32), 0, K_ARR)
    cand_disease = jnp.repeat(jnp.arange(N_DISEASES, dtype=jnp.int32), K_ARR)
    cand_number = jnp.tile(jnp.arange(K_ARR, dtype=jnp.int32), N_DISEASES)
    valid = cand_number < counts[cand_disease]
    sd = params["los_sd"] * jnp.ones((M_ARR,))
    los = normal(keys[1], params["los_mean"][cand_disease], sd)
    los = jnp.maximum(jnp.round(los).astype(jnp.int32), 1)
    return {"arr_valid": valid, "arr_disease": cand_disease, "arr_los": los}


def allocation(state, inputs, params, key):
    keys = split(key, 2)
    outs = inputs["outputs"]
    stays, valid = outs["stays"], outs["arr_valid"]
    disease, los = outs["arr_disease"], outs["arr_los"]
    score = params["order_strength"] * disease.astype(jnp.float32)
    score = jnp.where(valid, score + uniform(keys[0], shape=(M_ARR,)), 1.0e3)
    order = jnp.argsort(score)
    valid, disease, los = valid[order], disease[order], los[order]
    wants_icu = disease <= 1
    overflow = jnp.clip(params["overflow"], 0.0, 1.0)
    accepts_other = bernoulli(keys[1], overflow[disease]).astype(bool)
    used_icu = jnp.sum((stays & (state["bed"] == 0)).astype(jnp.int32))
    used_std = jnp.sum((stays & (state["bed"] == 1)).astype(jnp.int32))
    free = (
        params["icu_capacity"] - used_icu,
        params["standard_capacity"] - used_std,
        N_SLOTS - used_icu - used_std,
    )

    def take(carry, x):
        icu, std, slots = carry
        is_patient, icu_first, other_ok = x
        has_icu, has_std = icu > 0, std > 0
        first = jnp.where(icu_first, has_icu, has_std)
        second = jnp.where(icu_first, has_std, has_icu) & other_ok & ~first
        ok = is_patient & (slots > 0) & (first | second)
        to_icu = ok & jnp.where(icu_first, first, ~first)
        to_std = ok & ~to_icu
        carry = (
            icu - to_icu.astype(jnp.int32),
            std - to_std.astype(jnp.int32),
            slots - ok.astype(jnp.int32),
        )
        return carry, (ok, to_icu)

    _, (admitted, to_icu) = lax.scan(take, free, (valid, wants_icu, accepts_other))
    return {
        "adm_ok": admitted,
        "adm_bed": jnp.where(to_icu, 0, 1).astype(jnp.int32),
        "adm_disease": disease.astype(jnp.int32),
        "adm_los": los.astype(jnp.int32),
    }


def couple(state, inputs, outputs, params, key):
    stays = outputs["stays"]
    disease = jnp.where(stays, state["disease"], -1)
    bed = jnp.where(stays, state["bed"], -1)
    los = jnp.where(stays, state["los_remaining"] - 1, 0)
    day = jnp.where(stays, state["day_in_hospital"] + 1, 0)
    free = ~stays
    slot_rank = jnp.cumsum(free.astype(jnp.int32)) - 1
    ok = outputs["adm_ok"]
    adm_rank = jnp.cumsum(ok.astype(jnp.int32)) - 1
    match = free[:, None] & ok[None, :] & (slot_rank[:, None] == adm_rank[None, :])
    filled = jnp.any(match, axis=1)
    m = match.astype(jnp.int32)
    new_disease = jnp.sum(m * outputs["adm_disease"][None, :], axis=1)
    new_bed = jnp.sum(m * outputs["adm_bed"][None, :], axis=1)
    new_los = jnp.sum(m * outputs["adm_los"][None, :], axis=1)
    return {
        "disease": jnp.where(filled, new_disease, disease),
        "bed": jnp.where(filled, new_bed, bed),
        "los_remaining": jnp.where(filled, new_los, los),
        "day_in_hospital": jnp.where(filled, 1, day),
    }


SUBMODULES = (stay, arrivals, allocation)
'''
# The same ward with the helpers: whoever comes first is served first, diseases in turn.
WARD = '''"""Three diseases, ICU and standard beds, with the helpers for slots."""
PARAMS = {
    "stay": {
        "death_base": LogUniform(1e-4, 0.1, shape=(3,), guess=[0.005, 0.01, 0.003], unit="1/day"),
        "death_slope": LogUniform(1e-5, 0.05, shape=3, guess=0.001, unit="1/day^2"),
    },
    "arrivals": {"rate": LogUniform(0.2, 6.0, shape=(3,), guess=(1.0, 2.0, 1.5))},
    "allocation": {
        "icu": Integer(1, 10, guess=5, unit="beds"),
        "standard": Integer(10, 25, guess=20, unit="beds"),
        "overflow": Uniform(guess=0.5),
        "los_mean": Uniform(1.5, 9.0, shape=(3,), guess=(4.5, 5.5, 3.5), unit="days"),
        "los_sd": Uniform(0.3, 2.5, guess=1.0, unit="days"),
    },
}
LATENT = {}
ARRIVALS = 12


def stay(state, inputs, params, key):
    present = state["disease"] >= 0
    d = jnp.maximum(state["disease"], 0)
    days = jnp.maximum(state["day_in_hospital"] - 1, 0)
    p = jnp.clip(params["death_base"][d] + params["death_slope"][d] * days, 0.0, 1.0)
    died = present & (bernoulli(key, p) == 1)
    return {"stays": present & ~died & (state["los_remaining"] > 0)}


def arrivals(state, inputs, params, key):
    return {"counts": poisson(key, params["rate"])}


def allocation(state, inputs, params, key):
    first, second = split(key)
    counts, stays = inputs["outputs"]["counts"], inputs["outputs"]["stays"]
    upto = jnp.cumsum(counts)
    turn = jnp.arange(ARRIVALS)
    kind = jnp.sum(turn[:, None] >= upto[None, :], axis=1)
    here = turn < jnp.minimum(upto[2], jnp.sum(~stays))
    own = jnp.where(kind <= 1, 0, 1)
    other = jnp.where(bernoulli(first, params["overflow"], shape=(ARRIVALS,)) == 1, 1 - own, -1)
    prefer = jnp.where(here[:, None], jnp.stack([own, other], axis=1), -1)
    used = tally(state["bed"], 2, where=stays)
    free = jnp.stack([params["icu"], params["standard"]]) - used
    kind = jnp.minimum(kind, 2)
    los = jnp.round(normal(second, params["los_mean"][kind], params["los_sd"])).astype(jnp.int32)
    return {"got": admit(prefer, free), "kind": kind, "los": jnp.maximum(los, 1)}


def couple(state, inputs, outputs, params, key):
    stays = outputs["stays"]
    kept = remove(state, ~stays, empty={
        "disease": -1, "bed": -1, "los_remaining": 0, "day_in_hospital": 0,
    })
    kept["los_remaining"] = age(kept["los_remaining"], stays, by=-1)
    kept["day_in_hospital"] = age(kept["day_in_hospital"], stays)
    new = {
        "disease": outputs["kind"],
        "bed": outputs["got"],
        "los_remaining": outputs["los"],
        "day_in_hospital": 1,
    }
    return place(kept, ~stays, new, outputs["got"] >= 0)


SUBMODULES = (stay, arrivals, allocation)
'''

STOCK_SIGNATURE = signature({"price": "float32"}, stock=("count", ()), sold=("count", ()))
STOCK = '''"""An order-up-to policy with lead times, demand in a loop over three shops."""
PARAMS = {
    "demand": {"rate": Gamma(2.0, 0.5, guess=4.0), "slope": Normal(0.0, 1.0, guess=0.1)},
    "orders": {"level": Integer(5, 60, guess=30), "lead": Choice(1, 2, 4, guess=2)},
}
LATENT = {"pipe": State("count", shape=(5,), min=0)}

def initial(observed, seen, params, key):
    return dict(observed, pipe=jnp.zeros(5, jnp.int32))

def demand(state, inputs, params, key):
    rate = params["rate"] * jnp.exp(-params["slope"] * inputs["price"])

    def shop(left, k):
        asked = poisson(k, rate / 3)
        got = jnp.minimum(asked, left)
        return left - got, (asked, got)

    left, (asked, got) = lax.scan(shop, state["stock"], split(key, 3))
    return {"asked": asked, "sales": jnp.sum(got), "left": left}

def orders(state, inputs, params, key):
    coming = jnp.sum(state["pipe"])
    need = params["level"] - inputs["outputs"]["left"] - coming
    arrived, pipe = pipeline_step(state["pipe"], jnp.maximum(need, 0), params["lead"])
    return {"arrived": arrived, "pipe": pipe}

def couple(state, inputs, outputs, params, key):
    stock = outputs["left"] + outputs["arrived"]
    return {"stock": stock, "sold": outputs["sales"], "pipe": outputs["pipe"]}

SUBMODULES = (demand, orders)
'''

DECAY_SIGNATURE = signature({"dose": "float32"}, level=("real", (4,)))
DECAY = '''"""Four compartments in a chain: smooth in its parameters, with noise."""
PARAMS = {
    "flow": {"rate": LogNormal(-1.0, 0.5, shape=(4,), guess=[0.3, 0.2, 0.1, 0.4])},
    "couple": {"sd": Uniform(0.0, 0.1, guess=0.01)},
}

def flow(state, inputs, params, key):
    return {"out": state["level"] * (1.0 - jnp.exp(-params["rate"]))}

def couple(state, inputs, outputs, params, key):
    out = outputs["out"]
    came = jnp.concatenate([jnp.reshape(inputs["dose"], 1), out[:-1]])
    noise = normal(key, 0.0, params["sd"], shape=(4,))
    return {"level": (state["level"] - out + came) * jnp.exp(noise)}

SUBMODULES = (flow,)
'''

FILES = {
    "sir": (SIR, SIR_SIGNATURE),
    "seir": (SEIR, SEIR_SIGNATURE),
    "hospital": (HOSPITAL, HOSPITAL_SIGNATURE),
    "ward": (WARD, HOSPITAL_SIGNATURE),
    "stock": (STOCK, STOCK_SIGNATURE),
    "decay": (DECAY, DECAY_SIGNATURE),
}
