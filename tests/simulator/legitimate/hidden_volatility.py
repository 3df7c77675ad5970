"""Returns whose log-variance is a hidden autoregression."""

PARAMS = {
    "volatility": {
        "mean": Normal(-1.0, 1.0, guess=-1.0),
        "keep": Beta(18.0, 2.0, guess=0.92),
        "sd": LogUniform(0.02, 1.0, guess=0.25),
    },
    "returns": {"drift": Normal(0.0, 0.1, guess=0.02)},
}
LATENT = {"h": State("real", min=-20.0, max=20.0)}


def initial(observed, seen, params, key):
    p = params["volatility"]
    sd = p["sd"] / jnp.sqrt(1.0 - p["keep"] ** 2 + 1e-6)
    return {**observed, "h": jnp.clip(normal(key, p["mean"], sd), -20.0, 20.0)}


def volatility(state, inputs, params, key):
    pulled = params["mean"] + params["keep"] * (state["h"] - params["mean"])
    return {"h": jnp.clip(pulled + params["sd"] * normal(key), -20.0, 20.0)}


def returns(state, inputs, params, key):
    return {"r": params["drift"] + jnp.exp(0.5 * inputs["outputs"]["h"]) * normal(key)}


def couple(state, inputs, outputs, params, key):
    return {
        "h": outputs["h"],
        "r": outputs["r"],
        "price": state["price"] * jnp.exp(0.01 * outputs["r"]),
    }


SUBMODULES = (volatility, returns)
