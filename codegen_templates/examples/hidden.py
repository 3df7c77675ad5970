"""Moths: larvae that nobody counts, moths of which traps catch a part."""

PARAMS = {
    "hatching": {
        "eggs": LogUniform(0.1, 20.0, guess=2.0, unit="larvae/moth/step", doc="larvae per moth"),
        "dispersion": LogUniform(0.5, 100.0, guess=10.0, unit="1", doc="large: Poisson scatter"),
        "grown": Uniform(0.0, 1.0, guess=0.2, unit="1/step", doc="chance to become a moth"),
    },
    "dying": {"chance": Uniform(0.0, 1.0, guess=0.2, unit="1/step", doc="chance that a moth dies")},
    "observe": {"caught": Beta(2.0, 5.0, guess=0.3, unit="1", doc="share of moths seen")},
    "initial": {"larvae": LogUniform(1.0, 1000.0, guess=50.0, unit="larvae", doc="at the start")},
}
LATENT = {"larvae": State("count", min=0), "flying": State("count", min=0)}


def initial(observed, seen, params, key):
    larvae, moths = split(key)
    start = observed["moths"] / params["observe"]["caught"]
    return {
        "moths": observed["moths"],
        "larvae": poisson(larvae, params["initial"]["larvae"]),
        "flying": jnp.maximum(observed["moths"], poisson(moths, start)),
    }


def hatching(state, inputs, params, key):
    first, second = split(key)
    mean = params["eggs"] * state["flying"]
    return {
        "hatched": negative_binomial(first, mean, params["dispersion"]),
        "grown": binomial(second, state["larvae"], params["grown"]),
    }


def dying(state, inputs, params, key):
    return {"died": binomial(key, state["flying"], params["chance"])}


def couple(state, inputs, outputs, params, key):
    flying = state["flying"] + outputs["grown"] - outputs["died"]
    return {
        "larvae": state["larvae"] + outputs["hatched"] - outputs["grown"],
        "flying": flying,
        "moths": flying,
    }


def observe(state, outputs, params, key):
    return {"moths": binomial(key, state["flying"], params["caught"])}


SUBMODULES = (hatching, dying)
