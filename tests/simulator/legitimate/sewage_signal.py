"""A hidden epidemic seen in sewage: shedding over days, rain dilutes, samples scatter."""

DAYS = 8
SHED = (0.02, 0.2, 0.3, 0.2, 0.12, 0.08, 0.05, 0.03)
PARAMS = {
    "epidemic": {
        "growth": LogNormal(0.1, 0.3, guess=1.1),
        "keep": Beta(20.0, 2.0, guess=0.9),
        "sd": LogUniform(0.01, 0.5, guess=0.1),
    },
    "observe": {"error": LogUniform(0.05, 1.5, guess=0.4)},
    "initial": {"first": LogUniform(1.0, 1000.0, guess=50.0)},
}
LATENT = {"r": State("real"), "recent": State("real", shape=(8,), min=0.0)}


def initial(observed, seen, params, key):
    return {**observed, "r": 0.0, "recent": params["initial"]["first"] * jnp.ones(DAYS)}


def epidemic(state, inputs, params, key):
    r = params["keep"] * state["r"] + normal(key, 0.0, params["sd"])
    weights = jnp.array((*SHED[1:], 0.0))
    force = jnp.dot(weights, state["recent"]) / jnp.sum(weights)
    new = params["growth"] * jnp.exp(jnp.clip(r, -3.0, 3.0)) * force
    return {"r": r, "new": jnp.clip(new, 0.0, 1e7)}


def couple(state, inputs, outputs, params, key):
    recent = jnp.concatenate([jnp.reshape(outputs["new"], (1,)), state["recent"][:-1]])
    load = jnp.sum(recent * jnp.array(SHED)) / (1.0 + inputs["rain"])
    return {"signal": jnp.log1p(load), "r": outputs["r"], "recent": recent}


def observe(state, outputs, params, key):
    return {"signal": state["signal"] + normal(key, 0.0, params["error"])}


SUBMODULES = (epidemic,)
