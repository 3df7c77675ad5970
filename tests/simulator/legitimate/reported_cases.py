"""Hidden epidemic; the table shows daily reports that are late and incomplete."""

DELAYS = 7
PARAMS = {
    "epidemic": {
        "beta": LogUniform(0.05, 2.0, guess=0.4),
        "gamma": Uniform(0.05, 0.8, guess=0.2),
    },
    "reporting": {
        "share": Beta(3.0, 3.0, guess=0.5, doc="infections that are ever reported"),
        "mean_delay": Uniform(0.5, 5.0, guess=2.0, unit="days"),
    },
    "observe": {"dispersion": LogUniform(0.5, 100.0, guess=10.0)},
    "initial": {"first": Integer(1, 50, guess=10, unit="people")},
}
LATENT = {
    "S": State("count", min=0),
    "I": State("count", min=0),
    "queue": State("count", shape=(7,), min=0),
}


def initial(observed, seen, params, key):
    first = params["initial"]["first"]
    return {
        **observed,
        "S": observed["population"] - first,
        "I": first,
        "queue": jnp.zeros(DELAYS, jnp.int32),
    }


def epidemic(state, inputs, params, key):
    one, two = split(key)
    p = 1.0 - jnp.exp(-params["beta"] * state["I"] / inputs["population"])
    return {
        "infected": binomial(one, state["S"], p),
        "recovered": binomial(two, state["I"], params["gamma"]),
    }


def reporting(state, inputs, params, key):
    told, when = split(key)
    days = jnp.arange(DELAYS)
    weights = jnp.exp(-days / params["mean_delay"])
    weights = weights / weights.sum()
    ever = binomial(told, inputs["outputs"]["infected"], params["share"])
    due = state["queue"] + multinomial(when, ever, weights)
    return {"today": due[0], "later": jnp.append(due[1:], 0)}


def couple(state, inputs, outputs, params, key):
    return {
        "cases": outputs["today"],
        "S": state["S"] - outputs["infected"],
        "I": state["I"] + outputs["infected"] - outputs["recovered"],
        "queue": outputs["later"],
    }


def observe(state, outputs, params, key):
    mean = jnp.maximum(state["cases"], 0.05)
    return {"cases": negative_binomial(key, mean, params["dispersion"])}


SUBMODULES = (epidemic, reporting)
