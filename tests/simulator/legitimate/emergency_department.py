"""Waiting rooms of three urgencies; doctors see the most urgent first, some leave unseen."""

CLASSES = 3
PATIENCE = (0.0, 0.02, 0.08)
PARAMS = {
    "arrivals": {
        "mean": LogUniform(0.5, 40.0, shape=(3,), guess=(2.0, 8.0, 12.0), unit="patients/shift"),
        "weekend": Normal(0.0, 0.3, guess=0.1, doc="log factor on Saturday and Sunday"),
    },
    "doctors": {"pace": Uniform(1.0, 20.0, guess=6.0, unit="patients per doctor and shift")},
}


def arrivals(state, inputs, params, key):
    weekend = inputs["weekday"] >= 5
    factor = jnp.where(weekend, jnp.exp(params["weekend"]), 1.0)
    return {"came": poisson(key, factor * params["mean"])}


def doctors(state, inputs, params, key):
    leave_key, pace_key = split(key)
    waiting = state["waiting"] + inputs["outputs"]["came"]
    capacity = poisson(pace_key, params["pace"] * inputs["on_duty"])
    seen = serve(waiting, capacity)
    gone = binomial(leave_key, waiting - seen, jnp.array(PATIENCE))
    return {"seen": seen, "gone": gone}


def couple(state, inputs, outputs, params, key):
    waiting = state["waiting"] + outputs["came"] - outputs["seen"] - outputs["gone"]
    return {
        "waiting": waiting,
        "treated": state["treated"] + jnp.sum(outputs["seen"]),
        "unseen": state["unseen"] + jnp.sum(outputs["gone"]),
    }


SUBMODULES = (arrivals, doctors)
