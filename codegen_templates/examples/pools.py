"""Machines that break and are repaired, harder used on some days."""

PARAMS = {
    "breaking": {
        "rate": LogUniform(
            0.001, 1.0, guess=0.05, unit="1/step", doc="breaks per machine at load 1"
        ),
        "wear": Uniform(0.0, 3.0, guess=1.0, unit="1", doc="how the rate grows with the load"),
    },
    "repair": {
        "bench": Integer(1, 20, guess=5, unit="machines", doc="machines that fit on the bench"),
        "chance": Uniform(0.0, 1.0, guess=0.3, unit="1/step", doc="chance that a repair ends"),
    },
}


def breaking(state, inputs, params, key):
    hazard = params["rate"] * jnp.exp(params["wear"] * (inputs["load"] - 1.0))
    return {"broke": binomial(key, state["working"], 1.0 - jnp.exp(-hazard))}


def repair(state, inputs, params, key):
    on_bench = jnp.minimum(state["broken"], params["bench"])
    return {"mended": binomial(key, on_bench, params["chance"])}


def couple(state, inputs, outputs, params, key):
    change = outputs["broke"] - outputs["mended"]
    return {
        "working": state["working"] - change,
        "broken": state["broken"] + change,
        "repairs": state["repairs"] + outputs["mended"],
    }


def implied(previous, current, inputs):
    mended = current["repairs"] - previous["repairs"]
    return {"mended": mended, "broke": previous["working"] - current["working"] + mended}


SUBMODULES = (breaking, repair)
