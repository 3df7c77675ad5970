"""An invasive plant on a coast: counts per cell, short seed flights and rare long ones."""

CELLS = 20
KERNEL = (0.1, 0.8, 0.1)
PARAMS = {
    "seeds": {
        "fecundity": LogUniform(0.1, 20.0, guess=2.0),
        "room": LogUniform(5.0, 500.0, guess=60.0),
        "far": Beta(1.0, 50.0, guess=0.01, doc="share of seeds that land anywhere"),
    },
    "survival": {"keep": Beta(6.0, 2.0, guess=0.8)},
}


def seeds(state, inputs, params, key):
    made = params["fecundity"] * state["plants"].astype(jnp.float32)
    near = jnp.convolve(made, jnp.array(KERNEL), mode="same")
    mean = (1.0 - params["far"]) * near + params["far"] * jnp.mean(made)
    crowd = jnp.maximum(1.0 - state["plants"] / params["room"], 0.0)
    return {"sprouts": poisson(key, mean * crowd * inputs["suitability"])}


def survival(state, inputs, params, key):
    return {"left": binomial(key, state["plants"], params["keep"] * (1.0 - 0.5 * inputs["mown"]))}


def couple(state, inputs, outputs, params, key):
    return {"plants": outputs["left"] + outputs["sprouts"]}


SUBMODULES = (seeds, survival)
