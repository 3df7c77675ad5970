"""An (s, S) policy: below s, order up to S; the supplier needs some days; no backorders."""

PARAMS = {
    "demand": {"mean": LogUniform(0.5, 50.0, guess=8.0), "cv": Uniform(0.05, 1.5, guess=0.4)},
    "ordering": {
        "reorder": Integer(5, 80, guess=25, unit="pieces"),
        "batch": Integer(10, 150, guess=60, unit="pieces"),
    },
    "supplier": {
        "days": Choice(1, 2, 3, 5, guess=3, unit="days"),
        "fill": Beta(9.0, 1.0, guess=0.95),
    },
}
LATENT = {"pipe": State("count", shape=(6,), min=0)}


def initial(observed, seen, params, key):
    return {**observed, "pipe": jnp.zeros(6, dtype=jnp.int32)}


def demand(state, inputs, params, key):
    spread = jnp.square(params["cv"])
    amount = negative_binomial(key, params["mean"] * inputs["promotion"], 1.0 / spread)
    return {"asked": amount, "sold": jnp.minimum(amount, state["stock"])}


def ordering(state, inputs, params, key):
    position = state["stock"] - inputs["outputs"]["sold"] + jnp.sum(state["pipe"])
    target = params["reorder"] + params["batch"]
    order = jnp.where(position <= params["reorder"], target - position, 0)
    return {"order": order}


def supplier(state, inputs, params, key):
    shipped = binomial(key, inputs["outputs"]["order"], params["fill"])
    arrived, pipe = pipeline_step(state["pipe"], shipped, params["days"])
    return {"arrived": arrived, "pipe": pipe}


def couple(state, inputs, outputs, params, key):
    missed = outputs["asked"] - outputs["sold"]
    return {
        "stock": state["stock"] - outputs["sold"] + outputs["arrived"],
        "lost": missed,
        "pipe": outputs["pipe"],
    }


SUBMODULES = (demand, ordering, supplier)
