"""Bergman's minimal model in five-minute steps, meals as an input."""

PARAMS = {
    "glucose": {"p1": LogUniform(1e-3, 0.1, guess=0.02), "basal": Uniform(60.0, 120.0, guess=90.0)},
    "action": {"p2": LogUniform(1e-3, 0.2, guess=0.03), "p3": LogUniform(1e-7, 1e-3, guess=1e-5)},
    "insulin": {
        "clear": LogUniform(0.01, 1.0, guess=0.2),
        "respond": LogUniform(1e-4, 0.1, guess=5e-3),
    },
    "couple": {"noise": LogUniform(0.01, 5.0, guess=0.5)},
}
LATENT = {"remote": State("real", min=0.0)}
DT = 5.0


def initial(observed, seen, params, key):
    return dict(observed, remote=0.0)


def glucose(state, inputs, params, key):
    out = (params["p1"] + state["remote"]) * state["glucose"]
    return {"dg": params["p1"] * params["basal"] - out + inputs["meal"]}


def action(state, inputs, params, key):
    excess = jnp.maximum(state["insulin"] - 8.0, 0.0)
    return {"dx": -params["p2"] * state["remote"] + params["p3"] * excess}


def insulin(state, inputs, params, key):
    above = jnp.maximum(state["glucose"] - 85.0, 0.0)
    return {"di": params["respond"] * above * DT - params["clear"] * (state["insulin"] - 8.0)}


def couple(state, inputs, outputs, params, key):
    shake = normal(key, 0.0, params["noise"])
    return {
        "glucose": jnp.clip(state["glucose"] + DT * outputs["dg"] + shake, 20.0, 600.0),
        "insulin": jnp.maximum(state["insulin"] + outputs["di"], 0.0),
        "remote": jnp.clip(state["remote"] + DT * outputs["dx"], 0.0, 0.15),
    }


SUBMODULES = (glucose, action, insulin)
