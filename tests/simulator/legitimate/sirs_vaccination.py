"""SIRS with waning and a campaign: doses arrive as an input and go to susceptible people first."""

PARAMS = {
    "infection": {
        "beta": Uniform(0.0, 2.0, guess=0.35),
        "import_rate": LogUniform(1e-3, 5.0, guess=0.2),
    },
    "recovery": {"gamma": Uniform(0.02, 0.6, guess=0.15)},
    "vaccination": {"efficacy": Beta(8.0, 2.0, guess=0.85)},
    "waning": {"years": LogUniform(0.2, 10.0, guess=1.0, unit="years")},
}
YEAR = 365.0


def infection(state, inputs, params, key):
    imported, local = split(key)
    people = jnp.maximum(state["S"] + state["I"] + state["R"], 1)
    force = params["beta"] * state["I"] / people
    new = binomial(local, state["S"], 1.0 - jnp.exp(-force))
    return {"new": jnp.minimum(new + poisson(imported, params["import_rate"]), state["S"])}


def recovery(state, inputs, params, key):
    return {"recovered": binomial(key, state["I"], params["gamma"])}


def vaccination(state, inputs, params, key):
    left = state["S"] - inputs["outputs"]["new"]
    given = jnp.minimum(inputs["doses"], left)
    return {"immune": binomial(key, given, params["efficacy"])}


def waning(state, inputs, params, key):
    return {"lost": binomial(key, state["R"], 1.0 - jnp.exp(-1.0 / (YEAR * params["years"])))}


def couple(state, inputs, outputs, params, key):
    flow = {name: outputs[name] for name in ("new", "recovered", "immune", "lost")}
    return {
        "S": state["S"] - flow["new"] - flow["immune"] + flow["lost"],
        "I": state["I"] + flow["new"] - flow["recovered"],
        "R": state["R"] + flow["recovered"] + flow["immune"] - flow["lost"],
    }


SUBMODULES = (infection, recovery, vaccination, waning)
