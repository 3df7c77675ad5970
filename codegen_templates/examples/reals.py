"""Water in a reservoir: inflow with a yearly cycle, release with a delay of its own."""

YEAR = 365.25
PARAMS = {
    "inflow": {
        "mean": LogUniform(0.01, 100.0, guess=2.0, unit="hm3/step", doc="mean inflow"),
        "swing": Uniform(0.0, 1.0, guess=0.3, unit="1", doc="size of the yearly cycle"),
        "peak": Uniform(0.0, 365.0, guess=120.0, unit="days", doc="day of the highest inflow"),
        "noise": LogUniform(0.01, 2.0, guess=0.3, unit="1", doc="relative noise"),
    },
    "losing": {"share": Uniform(0.0, 0.1, guess=0.01, unit="1/step", doc="lost to sun and soil")},
}


def inflow(state, inputs, params, key):
    angle = 2.0 * jnp.pi * (inputs["day_of_year"] - params["peak"]) / YEAR
    mean = params["mean"] * (1.0 + params["swing"] * jnp.cos(angle))
    sigma = params["noise"]
    return {"came": mean * lognormal(key, -0.5 * sigma * sigma, sigma)}


def losing(state, inputs, params, key):
    return {"lost": params["share"] * state["volume"]}


def couple(state, inputs, outputs, params, key):
    volume = state["volume"] + outputs["came"] - outputs["lost"] - inputs["release"]
    return {"volume": jnp.maximum(volume, 0.0)}


SUBMODULES = (inflow, losing)
