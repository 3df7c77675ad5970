"""Seedlings: what is sown grows for some steps, then waits to be planted out."""

PARAMS = {
    "growing": {
        "steps": Integer(1, 6, guess=3, unit="steps", doc="steps from sowing to ready"),
        "survival": Beta(8.0, 2.0, guess=0.8, unit="1", doc="share that becomes a seedling"),
    },
    "planting": {"rate": LogUniform(0.1, 50.0, guess=4.0, unit="plants/step", doc="wanted")},
}


def growing(state, inputs, params, key):
    sown = binomial(key, inputs["sown"], params["survival"])
    ready, trays = pipeline_step(state["trays"], sown, params["steps"])
    return {"ready": ready, "trays_next": trays}


def planting(state, inputs, params, key):
    wanted = poisson(key, params["rate"])
    return {"planted": jnp.minimum(wanted, state["waiting"] + inputs["outputs"]["ready"])}


def couple(state, inputs, outputs, params, key):
    return {
        "trays": outputs["trays_next"],
        "waiting": state["waiting"] + outputs["ready"] - outputs["planted"],
    }


SUBMODULES = (growing, planting)
