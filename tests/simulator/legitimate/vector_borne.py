"""Dengue-like: hosts in tables, mosquitoes hidden and driven by temperature."""

PARAMS = {
    "mosquitoes": {
        "capacity": LogUniform(100.0, 1e5, guess=2000.0),
        "growth": Uniform(0.01, 0.4, guess=0.1),
        "best": Normal(28.0, 2.0, guess=28.0, unit="°C"),
        "width": LogNormal(1.5, 0.3, guess=5.0, unit="°C"),
    },
    "biting": {
        "rate": Uniform(0.0, 1.0, guess=0.3, unit="1/day"),
        "to_host": Beta(2.0, 3.0, guess=0.4),
        "to_vector": Beta(2.0, 3.0, guess=0.4),
    },
    "recovery": {"gamma": Uniform(0.05, 0.5, guess=0.14)},
    "initial": {"share": Beta(1.0, 20.0, guess=0.02)},
}
LATENT = {"V": State("count", min=0), "W": State("count", min=0)}
MORTALITY = 0.08


def initial(observed, seen, params, key):
    vectors = jnp.int32(1500)
    carrying = binomial(key, vectors, params["initial"]["share"])
    return {**observed, "V": vectors - carrying, "W": carrying}


def mosquitoes(state, inputs, params, key):
    born, died, died_carrying = split(key, 3)
    fit = jnp.exp(-0.5 * ((inputs["temperature"] - params["best"]) / params["width"]) ** 2)
    total = state["V"] + state["W"]
    room = jnp.maximum(1.0 - total / params["capacity"], 0.0)
    return {
        "hatched": poisson(born, params["growth"] * fit * room * total + 0.1),
        "dead": binomial(died, state["V"], MORTALITY),
        "dead_carrying": binomial(died_carrying, state["W"], MORTALITY),
    }


def biting(state, inputs, params, key):
    host, vector = split(key)
    people = jnp.maximum(state["S"] + state["I"] + state["R"], 1)
    bites = params["rate"] * state["W"] / people
    p = -jnp.expm1(-bites * params["to_host"])
    q = -jnp.expm1(-params["rate"] * params["to_vector"] * state["I"] / people)
    alive = state["V"] - inputs["outputs"]["dead"]
    return {"cases": binomial(host, state["S"], p), "carriers": binomial(vector, alive, q)}


def recovery(state, inputs, params, key):
    return {"well": binomial(key, state["I"], params["gamma"])}


def couple(state, inputs, outputs, params, key):
    o = outputs
    return {
        "S": state["S"] - o["cases"],
        "I": state["I"] + o["cases"] - o["well"],
        "R": state["R"] + o["well"],
        "V": state["V"] + o["hatched"] - o["dead"] - o["carriers"],
        "W": state["W"] + o["carriers"] - o["dead_carrying"],
    }


SUBMODULES = (mosquitoes, biting, recovery)
