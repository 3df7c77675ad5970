"""Lotka-Volterra with demographic noise: births, meals and deaths are drawn one by one."""

PARAMS = {
    "prey": {
        "birth": Uniform(0.0, 1.0, guess=0.25),
        "capacity": LogUniform(100.0, 1e5, guess=2000.0),
    },
    "meals": {
        "attack": LogUniform(1e-5, 1e-2, guess=6e-4),
        "handling": Uniform(0.0, 0.1, guess=0.01),
    },
    "predators": {"convert": Uniform(0.0, 1.0, guess=0.3), "death": Uniform(0.0, 1.0, guess=0.15)},
}


def prey(state, inputs, params, key):
    crowding = jnp.clip(1.0 - state["prey"] / params["capacity"], 0.0, 1.0)
    return {"born": poisson(key, params["birth"] * crowding * state["prey"])}


def meals(state, inputs, params, key):
    rate = params["attack"] / (1.0 + params["attack"] * params["handling"] * state["prey"])
    return {"eaten": binomial(key, state["prey"], 1.0 - jnp.exp(-rate * state["predators"]))}


def predators(state, inputs, params, key):
    young, old = split(key)
    return {
        "young": binomial(young, inputs["outputs"]["eaten"], params["convert"]),
        "died": binomial(old, state["predators"], params["death"]),
    }


def couple(state, inputs, outputs, params, key):
    return {
        "prey": state["prey"] + outputs["born"] - outputs["eaten"],
        "predators": state["predators"] + outputs["young"] - outputs["died"],
    }


SUBMODULES = (prey, meals, predators)
