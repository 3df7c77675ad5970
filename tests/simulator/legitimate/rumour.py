"""Daley-Kendall rumours: spreaders tire when they meet people who have heard it."""

PARAMS = {
    "telling": {"meets": LogUniform(0.1, 20.0, guess=3.0), "believe": Beta(3.0, 2.0, guess=0.6)},
    "tiring": {"stifle": Beta(2.0, 3.0, guess=0.4)},
    "observe": {"asked": Integer(50, 500, guess=200, unit="people in the poll")},
}
LATENT = {"stiflers": State("count", min=0)}


def initial(observed, seen, params, key):
    rest = observed["town"] - observed["ignorant"] - observed["spreaders"]
    return {**observed, "stiflers": jnp.maximum(rest, 0)}


def telling(state, inputs, params, key):
    contacts = params["meets"] * state["spreaders"] / inputs["town"]
    return {"told": binomial(key, state["ignorant"], 1.0 - jnp.exp(-contacts * params["believe"]))}


def tiring(state, inputs, params, key):
    knowing = (inputs["town"] - state["ignorant"]) / inputs["town"]
    return {
        "tired": binomial(key, state["spreaders"], params["stifle"] * jnp.clip(knowing, 0.0, 1.0))
    }


def couple(state, inputs, outputs, params, key):
    told, tired = outputs["told"], outputs["tired"]
    return {
        "ignorant": state["ignorant"] - told,
        "spreaders": state["spreaders"] + told - tired,
        "stiflers": state["stiflers"] + tired,
    }


def observe(state, outputs, params, key):
    total = state["ignorant"] + state["spreaders"] + state["stiflers"]
    share = jnp.clip(state["spreaders"] / jnp.maximum(total, 1), 0.0, 1.0)
    polled = binomial(key, params["asked"], share)
    return {"spreaders": polled * total // params["asked"]}


SUBMODULES = (telling, tiring)
