"""Calls by the hour: a daily profile, impatient callers, agents on shifts from the roster."""

HOURS = 24
# Share of a day's calls in each hour, from midnight on.
PROFILE = (
    [0.004] * 6
    + [0.012, 0.03, 0.06, 0.08, 0.085, 0.08, 0.07, 0.068, 0.066, 0.062]
    + [0.06, 0.055, 0.05, 0.04, 0.035, 0.03, 0.02, 0.01]
)
PARAMS = {
    "calls": {
        "daily": LogNormal(6.0, 0.5, guess=400.0, unit="calls/day"),
        "dispersion": LogUniform(1.0, 200.0, guess=20.0),
    },
    "agents": {"per_hour": Uniform(2.0, 15.0, guess=6.0, unit="calls per agent and hour")},
    "patience": {"leave": Uniform(0.05, 0.95, guess=0.5, unit="1/hour")},
}


def calls(state, inputs, params, key):
    hour = inputs["t"] % HOURS
    mean = params["daily"] * jnp.take(jnp.array(PROFILE), hour)
    return {"rang": negative_binomial(key, mean, params["dispersion"])}


def agents(state, inputs, params, key):
    capacity = jnp.floor(params["per_hour"] * inputs["agents"]).astype(jnp.int32)
    return {"answered": jnp.minimum(state["waiting"] + inputs["outputs"]["rang"], capacity)}


def patience(state, inputs, params, key):
    rest = state["waiting"] + inputs["outputs"]["rang"] - inputs["outputs"]["answered"]
    return {"hung_up": binomial(key, rest, params["leave"])}


def couple(state, inputs, outputs, params, key):
    waiting = state["waiting"] + outputs["rang"] - outputs["answered"] - outputs["hung_up"]
    return {"waiting": waiting, "lost": outputs["hung_up"]}


SUBMODULES = (calls, agents, patience)
