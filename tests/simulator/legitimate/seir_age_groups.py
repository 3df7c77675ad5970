"""SEIR in four age groups with a contact matrix; E is not in the tables."""

GROUPS = ("0-17", "18-39", "40-64", "65+")
N = len(GROUPS)
# Contacts per day of a row with a column, as surveys report them.
CONTACTS = [
    [8.1, 3.2, 2.6, 0.5],
    [2.9, 6.4, 4.1, 0.8],
    [2.2, 3.9, 5.0, 1.2],
    [0.7, 1.3, 2.1, 2.3],
]
PARAMS = {
    "exposure": {
        "risk": Beta(1.5, 30.0, guess=0.04, doc="infection per contact"),
        "susceptibility": LogNormal(
            0.0, 0.4, shape=(4,), guess=(0.8, 1.0, 1.1, 1.3), doc="relative, by group"
        ),
    },
    "progression": {
        "latent_days": Uniform(1.0, 7.0, guess=3.0, unit="days"),
        "ill_days": Uniform(2.0, 14.0, guess=6.0, unit="days"),
    },
    "initial": {"ratio": Gamma(2.0, 1.0, guess=1.5, doc="exposed per infectious at the start")},
}
LATENT = {"E": State("count", shape=(4,), min=0)}


def leaving(days):
    return -jnp.expm1(-1.0 / days)


def initial(observed, seen, params, key):
    wanted = jnp.round(params["initial"]["ratio"] * observed["I"]).astype(jnp.int32)
    return {**observed, "E": wanted}


def exposure(state, inputs, params, key):
    sizes = state["S"] + state["E"] + state["I"] + state["R"]
    prevalence = state["I"] / jnp.maximum(sizes, 1)
    force = params["risk"] * params["susceptibility"] * jnp.dot(jnp.array(CONTACTS), prevalence)
    return {"exposed": binomial(key, state["S"], 1.0 - jnp.exp(-force))}


def progression(state, inputs, params, key):
    onset, end = split(key)
    return {
        "onsets": binomial(onset, state["E"], leaving(params["latent_days"])),
        "ends": binomial(end, state["I"], leaving(params["ill_days"])),
    }


def couple(state, inputs, outputs, params, key):
    return {
        "S": state["S"] - outputs["exposed"],
        "E": state["E"] + outputs["exposed"] - outputs["onsets"],
        "I": state["I"] + outputs["onsets"] - outputs["ends"],
        "R": state["R"] + outputs["ends"],
    }


SUBMODULES = (exposure, progression)
