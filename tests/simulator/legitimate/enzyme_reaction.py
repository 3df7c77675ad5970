"""Michaelis-Menten in a stirred tank: midpoint steps inside each sample, noisy assays."""

STEPS = 8
PARAMS = {
    "reaction": {
        "vmax": LogUniform(0.01, 10.0, guess=1.0),
        "km": LogUniform(0.01, 10.0, guess=0.6),
        "order": Choice(1, 2, guess=1),
    },
    "observe": {"cv": LogUniform(1e-3, 0.3, guess=0.03)},
}


def reaction(state, inputs, params, key):
    h = 1.0 / STEPS

    def speed(s):
        powered = jnp.where(params["order"] == 2, s * s, s)
        return -params["vmax"] * powered / (params["km"] + powered)

    def step(s, _):
        half = jnp.maximum(s + 0.5 * h * speed(s), 0.0)
        return jnp.maximum(s + h * speed(half), 0.0), None

    left, _ = lax.scan(step, state["substrate"] + inputs["feed"], None, length=STEPS)
    return {"left": left, "made": state["substrate"] + inputs["feed"] - left}


def couple(state, inputs, outputs, params, key):
    return {"substrate": outputs["left"], "product": state["product"] + outputs["made"]}


def observe(state, outputs, params, key):
    one, two = split(key)
    return {
        "substrate": state["substrate"] * jnp.exp(normal(one, 0.0, params["cv"])),
        "product": state["product"] * jnp.exp(normal(two, 0.0, params["cv"])),
    }


SUBMODULES = (reaction,)
