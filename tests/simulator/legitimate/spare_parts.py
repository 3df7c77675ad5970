"""Rare breakdowns, parts that are repaired and come back: a closed loop of twenty parts."""

PARAMS = {
    "breakdowns": {"rate": Beta(1.0, 20.0, guess=0.04), "season": Uniform(0.0, 0.9, guess=0.3)},
    "workshop": {
        "lead": Integer(1, 6, guess=3, unit="weeks"),
        "scrap": Beta(1.0, 12.0, guess=0.05),
    },
    "purchase": {"batch": Integer(1, 10, guess=3), "trigger": Integer(0, 10, guess=2)},
}
LATENT = {"shop": State("count", shape=(8,), min=0)}


def initial(observed, seen, params, key):
    return {**observed, "shop": jnp.zeros_like(jnp.arange(8))}


def breakdowns(state, inputs, params, key):
    wave = 1.0 + params["season"] * jnp.sin(2.0 * jnp.pi * inputs["t"] / 52.0)
    return {"broken": binomial(key, state["fitted"], jnp.clip(params["rate"] * wave, 0.0, 1.0))}


def workshop(state, inputs, params, key):
    sound = binomial(key, inputs["outputs"]["broken"], 1.0 - params["scrap"])
    returned, shop = pipeline_step(state["shop"], sound, params["lead"])
    return {"returned": returned, "shop": shop}


def purchase(state, inputs, params, key):
    return {"bought": jnp.where(state["store"] <= params["trigger"], params["batch"], 0)}


def couple(state, inputs, outputs, params, key):
    have = state["store"] + outputs["returned"] + outputs["bought"]
    put_in = jnp.minimum(have, inputs["machines"] - state["fitted"] + outputs["broken"])
    put_in = jnp.maximum(put_in, 0)
    return {
        "store": have - put_in,
        "fitted": state["fitted"] - outputs["broken"] + put_in,
        "shop": outputs["shop"],
    }


SUBMODULES = (breakdowns, workshop, purchase)
