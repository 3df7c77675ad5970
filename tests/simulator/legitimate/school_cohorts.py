"""Pupils by year: promoted, repeating or leaving; an intake follows births."""

YEARS = 8
PARAMS = {
    "promotion": {
        "repeat": Beta(1.0, 30.0, shape=(8,), guess=0.03),
        "leave": Beta(1.0, 60.0, guess=0.02),
    },
    "intake": {"share": Beta(20.0, 2.0, guess=0.9), "moves": LogUniform(0.1, 50.0, guess=5.0)},
}


def promotion(state, inputs, params, key):
    stay = params["repeat"]
    leave = jnp.broadcast_to(params["leave"], (YEARS,))
    table = jnp.stack([stay, leave, 1.0 - stay - leave], axis=-1)
    table = jnp.clip(table, 0.0, 1.0) / jnp.sum(jnp.clip(table, 0.0, 1.0), axis=-1, keepdims=True)
    went = multinomial(key, state["pupils"], table)
    return {"repeat": went[:, 0], "up": went[:, 2]}


def intake(state, inputs, params, key):
    born, moved = split(key)
    return {
        "new": binomial(born, inputs["births"], params["share"]) + poisson(moved, params["moves"])
    }


def couple(state, inputs, outputs, params, key):
    up = outputs["up"]
    pupils = outputs["repeat"] + jnp.roll(up, 1).at[0].set(outputs["new"])
    return {"pupils": pupils, "graduates": up[-1]}


SUBMODULES = (promotion, intake)
