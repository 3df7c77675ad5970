"""Demand that answers to price and to a competitor's, with a habit that fades."""

PARAMS = {
    "demand": {
        "base": LogUniform(5.0, 500.0, guess=60.0),
        "elasticity": Uniform(0.0, 4.0, guess=1.4),
        "cross": Uniform(0.0, 2.0, guess=0.5),
        "weekday": Normal(0.0, 0.3, shape=(7,), guess=(0.0, 0.0, 0.0, 0.05, 0.2, 0.3, -0.1)),
    },
    "habit": {"keep": Beta(5.0, 2.0, guess=0.7), "pull": Uniform(0.0, 1.0, guess=0.3)},
}
LATENT = {"habit": State("real", min=0.0)}


def initial(observed, seen, params, key):
    return {**observed, "habit": jnp.where(seen["sold"], observed["sold"], 50).astype(jnp.float32)}


def demand(state, inputs, params, key):
    relative = jnp.log(jnp.maximum(inputs["price"], 0.01))
    against = jnp.log(jnp.maximum(inputs["rival_price"], 0.01))
    day = params["weekday"][inputs["weekday"]]
    trend = -params["elasticity"] * relative + params["cross"] * against + day
    mean = params["base"] * jnp.exp(jnp.clip(trend, -6.0, 6.0))
    return {"mean": mean}


def habit(state, inputs, params, key):
    mixed = (1.0 - params["pull"]) * inputs["outputs"]["mean"] + params["pull"] * state["habit"]
    sold = poisson(key, mixed)
    return {"bought": sold, "next": params["keep"] * state["habit"] + (1.0 - params["keep"]) * sold}


def couple(state, inputs, outputs, params, key):
    return {"sold": outputs["bought"], "habit": outputs["next"]}


SUBMODULES = (demand, habit)
