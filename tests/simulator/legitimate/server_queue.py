"""A queue with several servers and batch arrivals, in slots of five minutes."""

PARAMS = {
    "arrivals": {
        "batches": Uniform(0.1, 10.0, guess=2.0, unit="1/slot"),
        "extra": Uniform(0.0, 0.9, guess=0.3, doc="chance that one more comes along"),
    },
    "service": {"done": Beta(2.0, 3.0, guess=0.4, doc="chance to finish within a slot")},
}
MOST_BATCHES = 8


def arrivals(state, inputs, params, key):
    number, size = split(key)
    batches = jnp.minimum(poisson(number, params["batches"]), MOST_BATCHES)
    sizes = 1 + geometric(size, 1.0 - params["extra"], shape=(MOST_BATCHES,))
    here = jnp.arange(MOST_BATCHES) < batches
    return {"came": jnp.sum(jnp.where(here, sizes, 0))}


def service(state, inputs, params, key):
    busy = jnp.minimum(state["queue"], inputs["servers"])
    return {"served": binomial(key, busy, params["done"])}


def couple(state, inputs, outputs, params, key):
    return {"queue": jnp.maximum(state["queue"] + outputs["came"] - outputs["served"], 0)}


SUBMODULES = (arrivals, service)
