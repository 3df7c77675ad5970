"""Chain-binomial SIR that the data of this environment were drawn from (arXiv 2506.09272)."""

PARAMS = {
    "infection": {"beta": Uniform(0.0, 2.0, guess=0.4, unit="1/day", doc="transmission rate")},
    "recovery": {
        "gamma": Uniform(0.0, 1.0, guess=0.2, unit="1", doc="daily probability of recovery")
    },
}
LATENT = {}
TRUTH = {"infection.beta": 0.5, "recovery.gamma": 0.1}


def initial(observed, seen, params, key):
    # Nobody has recovered yet when a trajectory begins.
    recovered = jnp.where(seen["R"], observed["R"], 0)
    return {"S": observed["S"], "I": observed["I"], "R": recovered}


def infection(state, inputs, params, key):
    n = state["S"] + state["I"] + state["R"]
    p = 1 - jnp.exp(-params["beta"] * state["I"] / n)
    return {"new_infections": binomial(key, state["S"], p)}


def recovery(state, inputs, params, key):
    return {"new_recoveries": binomial(key, state["I"], params["gamma"])}


def couple(state, inputs, outputs, params, key):
    i, r = outputs["new_infections"], outputs["new_recoveries"]
    return {"S": state["S"] - i, "I": state["I"] + i - r, "R": state["R"] + r}


SUBMODULES = (infection, recovery)


def implied(previous, current, inputs):
    return {
        "new_infections": previous["S"] - current["S"],
        "new_recoveries": current["R"] - previous["R"],
    }
