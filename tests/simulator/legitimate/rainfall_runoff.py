"""A catchment in three buckets: snow, soil and ground; rain and temperature drive it."""

PARAMS = {
    "snow": {
        "melt": Uniform(0.5, 10.0, guess=3.0, unit="mm/°C/day"),
        "zero": Normal(0.0, 1.0, guess=0.5),
    },
    "soil": {
        "field": Uniform(50.0, 500.0, guess=200.0, unit="mm"),
        "shape": Uniform(0.5, 6.0, guess=2.0),
        "evaporation": Uniform(0.0, 6.0, guess=2.0, unit="mm/day"),
    },
    "ground": {"slow": LogUniform(0.001, 0.2, guess=0.03), "fast": Uniform(0.05, 0.9, guess=0.4)},
    "observe": {"error": LogUniform(0.01, 1.0, guess=0.1)},
}
LATENT = {
    "pack": State("real", min=0.0),
    "moisture": State("real", min=0.0),
    "deep": State("real", min=0.0),
}


def initial(observed, seen, params, key):
    wet = 0.5 * params["soil"]["field"]
    return {**observed, "pack": 0.0, "moisture": wet, "deep": 20.0}


def snow(state, inputs, params, key):
    warm = jnp.maximum(inputs["temperature"] - params["zero"], 0.0)
    frozen = inputs["temperature"] < params["zero"]
    falls = jnp.where(frozen, inputs["rain"], 0.0)
    melt = jnp.minimum(params["melt"] * warm, state["pack"])
    return {"pack": state["pack"] + falls - melt, "water": inputs["rain"] - falls + melt}


def soil(state, inputs, params, key):
    water = inputs["outputs"]["water"]
    fill = jnp.clip(state["moisture"] / params["field"], 0.0, 1.0)
    through = water * fill ** params["shape"]
    dry = jnp.minimum(params["evaporation"] * fill, state["moisture"])
    return {
        "through": through,
        "moisture": jnp.maximum(state["moisture"] + water - through - dry, 0.0),
    }


def ground(state, inputs, params, key):
    through = inputs["outputs"]["through"]
    quick = params["fast"] * through
    base = params["slow"] * state["deep"]
    return {"flow": quick + base, "deep": state["deep"] + through - quick - base}


def couple(state, inputs, outputs, params, key):
    return {
        "discharge": outputs["flow"],
        "pack": outputs["pack"],
        "moisture": outputs["moisture"],
        "deep": outputs["deep"],
    }


def observe(state, outputs, params, key):
    return {"discharge": state["discharge"] * lognormal(key, 0.0, params["error"])}


SUBMODULES = (snow, soil, ground)
