"""A reservoir with a rule curve: spill above the crest, ration below a level, seasonal inflow."""

CREST, DEAD = 1000.0, 80.0
PARAMS = {
    "inflow": {
        "mean": LogUniform(1.0, 100.0, guess=20.0, unit="hm3/week"),
        "swing": Beta(2.0, 2.0, guess=0.5),
        "peak": Uniform(0.0, 52.0, guess=14.0, unit="weeks"),
        "shape": LogUniform(0.5, 20.0, guess=3.0),
    },
    "release": {
        "ration_below": Uniform(100.0, 800.0, guess=300.0, unit="hm3"),
        "ration": Beta(4.0, 2.0, guess=0.6),
    },
}


def inflow(state, inputs, params, key):
    phase = 2.0 * jnp.pi * (inputs["t"] - params["peak"]) / 52.0
    mean = params["mean"] * (1.0 + params["swing"] * jnp.cos(phase))
    return {"came": gamma(key, params["shape"], params["shape"] / mean)}


def release(state, inputs, params, key):
    usable = jnp.maximum(state["volume"] - DEAD, 0.0)
    share = jnp.where(state["volume"] < params["ration_below"], params["ration"], 1.0)
    return {"released": jnp.minimum(share * inputs["demand"], usable)}


def couple(state, inputs, outputs, params, key):
    volume = state["volume"] + outputs["came"] - outputs["released"]
    spilled = jnp.maximum(volume - CREST, 0.0)
    return {"volume": volume - spilled, "delivered": outputs["released"], "spilled": spilled}


SUBMODULES = (inflow, release)
