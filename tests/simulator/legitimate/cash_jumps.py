"""A till: steady drift, noise, and rare large payments in either direction."""

PARAMS = {
    "flow": {"drift": Normal(0.0, 5.0, guess=0.5), "sd": LogUniform(0.1, 50.0, guess=4.0)},
    "jumps": {
        "chance": Beta(1.0, 9.0, guess=0.1),
        "mean": LogUniform(1.0, 500.0, guess=40.0),
        "out": Beta(2.0, 2.0, guess=0.5),
    },
}


def flow(state, inputs, params, key):
    return {"net": normal(key, params["drift"], params["sd"])}


def jumps(state, inputs, params, key):
    when, size, sign = split(key, 3)
    happens = bernoulli(when, params["chance"])
    amount = exponential(size, 1.0 / params["mean"])
    direction = 1.0 - 2.0 * bernoulli(sign, params["out"]).astype(jnp.float32)
    return {"jump": happens * amount * direction}


def couple(state, inputs, outputs, params, key):
    return {"cash": state["cash"] + outputs["net"] + outputs["jump"]}


SUBMODULES = (flow, jumps)
