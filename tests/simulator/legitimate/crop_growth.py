"""Wheat by degree days: stages, leaf area, water stress, biomass."""

STAGES = (0.0, 150.0, 700.0, 1100.0, 1700.0)
PARAMS = {
    "phenology": {"base": Uniform(-2.0, 6.0, guess=1.0, unit="°C")},
    "water": {"capacity": Uniform(60.0, 300.0, guess=140.0), "use": Uniform(0.3, 1.5, guess=0.9)},
    "growth": {"rue": Uniform(0.5, 4.0, guess=2.2, unit="g/MJ"), "k": Beta(5.0, 5.0, guess=0.5)},
    "couple": {"noise": LogUniform(1e-3, 0.3, guess=0.03)},
}
LATENT = {"degrees": State("real", min=0.0), "soil": State("real", min=0.0)}


def initial(observed, seen, params, key):
    return {**observed, "degrees": 0.0, "soil": params["water"]["capacity"]}


def phenology(state, inputs, params, key):
    gained = jnp.maximum(inputs["temperature"] - params["base"], 0.0)
    total = state["degrees"] + gained
    stage = jnp.searchsorted(jnp.array(STAGES), total) - 1
    return {"degrees": total, "stage": jnp.clip(stage, 0, len(STAGES) - 1)}


def water(state, inputs, params, key):
    filled = jnp.minimum(state["soil"] + inputs["rain"], params["capacity"])
    want = params["use"] * jnp.maximum(inputs["temperature"], 0.0) / 5.0
    used = jnp.minimum(want, filled)
    return {
        "soil": filled - used,
        "stress": jnp.where(want > 0.0, used / jnp.maximum(want, 1e-6), 1.0),
    }


def growth(state, inputs, params, key):
    leaves = jnp.take(jnp.array([0.0, 1.0, 4.0, 3.0, 0.5]), inputs["outputs"]["stage"])
    caught = inputs["radiation"] * (1.0 - jnp.exp(-params["k"] * leaves))
    return {"made": params["rue"] * caught * inputs["outputs"]["stress"]}


def couple(state, inputs, outputs, params, key):
    grown = outputs["made"] * lognormal(key, 0.0, params["noise"])
    return {
        "biomass": state["biomass"] + grown,
        "stage": outputs["stage"],
        "degrees": outputs["degrees"],
        "soil": outputs["soil"],
    }


SUBMODULES = (phenology, water, growth)
