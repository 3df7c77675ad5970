"""One-stage beer game that the data of this environment were drawn from (arXiv 2506.09272)."""

PARAMS = {
    "demand": {"rate": Uniform(0.0, 20.0, guess=8.0, unit="units/step", doc="mean demand")},
    "supply": {
        "lead_time": Integer(1, 8, guess=4, unit="steps", doc="steps from an order to its arrival")
    },
}
LATENT = {}
TRUTH = {"demand.rate": 5.0, "supply.lead_time": 2}


def initial(observed, seen, params, key):
    return {name: observed[name] for name in ("inventory", "backlog", "pipeline", "demanded")}


def demand(state, inputs, params, key):
    return {"demand": poisson(key, params["rate"])}


def supply(state, inputs, params, key):
    arrived, underway = pipeline_step(state["pipeline"], inputs["order"], params["lead_time"])
    return {"arrived": arrived, "underway": underway}


def couple(state, inputs, outputs, params, key):
    # With everything owed served as far as the stock goes, who is served first makes no difference.
    stock = state["inventory"] + outputs["arrived"]
    owed = state["backlog"] + outputs["demand"]
    served = jnp.minimum(stock, owed)
    return {
        "inventory": stock - served,
        "backlog": owed - served,
        "pipeline": outputs["underway"],
        "demanded": state["demanded"] + outputs["demand"],
    }


SUBMODULES = (demand, supply)


def implied(previous, current, inputs):
    return {
        "demand": current["demanded"] - previous["demanded"],
        "arrived": previous["pipeline"][0],
        "underway": current["pipeline"],
    }
