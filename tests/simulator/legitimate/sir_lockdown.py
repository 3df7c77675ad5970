"""Chain-binomial SIR whose contacts fall under a lockdown, with the flows that two rows imply."""

PARAMS = {
    "infection": {
        "beta": LogUniform(0.05, 3.0, guess=0.5, unit="1/day", doc="transmission rate"),
        "effect": Beta(4.0, 2.0, guess=0.6, doc="share of contacts that a full lockdown ends"),
    },
    "recovery": {"days": LogNormal(1.6, 0.5, guess=5.0, unit="days", doc="infectious period")},
}
LATENT = {}


def total(state):
    return state["S"] + state["I"] + state["R"]


def infection(state, inputs, params, key):
    contact = 1.0 - params["effect"] * jnp.clip(inputs["lockdown"], 0.0, 1.0)
    force = params["beta"] * contact * state["I"] / jnp.maximum(total(state), 1)
    return {"infected": binomial(key, state["S"], -jnp.expm1(-force))}


def recovery(state, inputs, params, key):
    return {"recovered": binomial(key, state["I"], -jnp.expm1(-1.0 / params["days"]))}


def couple(state, inputs, outputs, params, key):
    new, gone = outputs["infected"], outputs["recovered"]
    return {"S": state["S"] - new, "I": state["I"] + new - gone, "R": state["R"] + gone}


def implied(previous, current, inputs):
    return {
        "infected": previous["S"] - current["S"],
        "recovered": current["R"] - previous["R"],
    }


SUBMODULES = (infection, recovery)
