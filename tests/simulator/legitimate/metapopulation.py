"""SIR in five towns joined by travel: who travels is drawn before who is infected."""

TOWNS = 5
STAY = jnp.eye(TOWNS)
PARAMS = {
    "travel": {"leave": Uniform(0.0, 0.3, guess=0.05, unit="1/day", doc="daily share that moves")},
    "epidemic": {
        "beta": Uniform(0.0, 2.0, guess=0.5),
        "gamma": Uniform(0.05, 1.0, guess=0.2),
    },
}


def spread(people, key, routes):
    moved = multinomial(key, people, routes)
    return jnp.sum(moved, axis=0)


def travel(state, inputs, params, key):
    far = (1.0 - STAY) / (TOWNS - 1)
    routes = (1.0 - params["leave"]) * STAY + params["leave"] * far
    first, second, third = split(key, 3)
    return {
        "S_here": spread(state["S"], first, routes),
        "I_here": spread(state["I"], second, routes),
        "R_here": spread(state["R"], third, routes),
    }


def epidemic(state, inputs, params, key):
    out = inputs["outputs"]
    caught, ended = split(key)
    present = jnp.maximum(out["S_here"] + out["I_here"] + out["R_here"], 1)
    p = 1.0 - jnp.exp(-params["beta"] * out["I_here"] / present)
    return {
        "infected": binomial(caught, out["S_here"], p),
        "recovered": binomial(ended, out["I_here"], params["gamma"]),
    }


def couple(state, inputs, outputs, params, key):
    return {
        "S": outputs["S_here"] - outputs["infected"],
        "I": outputs["I_here"] + outputs["infected"] - outputs["recovered"],
        "R": outputs["R_here"] + outputs["recovered"],
    }


SUBMODULES = (travel, epidemic)
