"""Two compartments and a gut; doses are an input, the table shows the plasma only."""

PARAMS = {
    "absorption": {
        "ka": LogNormal(0.0, 0.5, guess=1.0, unit="1/h"),
        "available": Beta(6.0, 3.0, guess=0.7),
    },
    "exchange": {"k12": LogUniform(0.01, 2.0, guess=0.2), "k21": LogUniform(0.01, 2.0, guess=0.15)},
    "elimination": {
        "ke": LogNormal(-2.0, 0.5, guess=0.12),
    },
    "observe": {"sd": LogUniform(0.01, 1.0, guess=0.1)},
}
LATENT = {"gut": State("real", min=0.0), "deep": State("real", min=0.0)}


def initial(observed, seen, params, key):
    return {"plasma": observed["plasma"], "gut": 0.0, "deep": 0.0}


def absorption(state, inputs, params, key):
    held = state["gut"] + params["available"] * inputs["dose"] / 30.0
    passed = held * (1.0 - jnp.exp(-params["ka"]))
    return {"gut": held - passed, "passed": passed}


def exchange(state, inputs, params, key):
    to_deep = state["plasma"] * (1.0 - jnp.exp(-params["k12"]))
    back = state["deep"] * (1.0 - jnp.exp(-params["k21"]))
    return {"net": back - to_deep}


def elimination(state, inputs, params, key):
    left = jnp.maximum(state["plasma"] + inputs["outputs"]["net"], 0.0)
    return {"cleared": left * (1.0 - jnp.exp(-params["ke"]))}


def couple(state, inputs, outputs, params, key):
    plasma = state["plasma"] + outputs["net"] - outputs["cleared"] + outputs["passed"]
    return {
        "plasma": jnp.maximum(plasma, 0.0),
        "gut": outputs["gut"],
        "deep": jnp.maximum(state["deep"] - outputs["net"], 0.0),
    }


def observe(state, outputs, params, key):
    return {"plasma": jnp.maximum(state["plasma"] + normal(key, 0.0, params["sd"]), 0.0)}


SUBMODULES = (absorption, exchange, elimination)
