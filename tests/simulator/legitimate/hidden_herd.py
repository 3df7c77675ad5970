"""A herd that is never counted in full: aerial counts miss some, marked animals are resighted."""

MARKED = 60
PARAMS = {
    "births": {"rate": Beta(3.0, 8.0, guess=0.25, unit="1/year")},
    "deaths": {"base": Beta(2.0, 15.0, guess=0.1), "snow": Uniform(0.0, 2.0, guess=0.5)},
    "survey": {"effort": Integer(20, 200, guess=80, unit="animals looked at")},
    "observe": {
        "detection": Beta(8.0, 3.0, guess=0.75),
        "spread": LogUniform(2.0, 200.0, guess=40.0),
    },
    "initial": {"size": LogUniform(100.0, 5000.0, guess=600.0)},
}
LATENT = {"herd": State("count", min=0)}


def initial(observed, seen, params, key):
    return {**observed, "herd": jnp.round(params["initial"]["size"]).astype(jnp.int32)}


def births(state, inputs, params, key):
    return {"born": binomial(key, state["herd"] // 2, params["rate"])}


def deaths(state, inputs, params, key):
    odds = params["base"] / (1.0 - params["base"]) * jnp.exp(params["snow"] * inputs["snow"])
    return {"died": binomial(key, state["herd"], odds / (1.0 + odds))}


def survey(state, inputs, params, key):
    marked = jnp.minimum(MARKED, state["herd"])
    looked = jnp.minimum(params["effort"], state["herd"])
    return {"resighted": hypergeometric(key, marked, state["herd"] - marked, looked)}


def couple(state, inputs, outputs, params, key):
    herd = state["herd"] + outputs["born"] - outputs["died"]
    return {"herd": herd, "counted": herd, "resighted": outputs["resighted"]}


def observe(state, outputs, params, key):
    return {"counted": beta_binomial(key, state["counted"], params["detection"], params["spread"])}


SUBMODULES = (births, deaths, survey)
