"""Visitors of a museum by weekday and day of the year, capped by a ticket limit."""

PARAMS = {
    "visits": {
        "level": LogUniform(20.0, 5000.0, guess=400.0),
        "week": LogNormal(0.0, 0.3, shape=(7,), guess=(0.6, 0.8, 0.9, 0.9, 1.1, 1.5, 1.4)),
        "summer": Uniform(-1.0, 1.0, guess=0.3),
        "scatter": LogUniform(1.0, 300.0, guess=30.0),
    },
    "events": {"lift": Uniform(0.0, 2.0, guess=0.5)},
}
CLOSED_ON = 0


def visits(state, inputs, params, key):
    angle = 2 * jnp.pi * (inputs["day_of_year"] - 200) / 365.25
    mean = (
        params["level"]
        * params["week"][inputs["weekday"]]
        * jnp.exp(params["summer"] * jnp.cos(angle))
    )
    open_today = inputs["weekday"] != CLOSED_ON
    return {"mean": jnp.where(open_today, mean, 0.0), "scatter": params["scatter"]}


def events(state, inputs, params, key):
    mean = inputs["outputs"]["mean"] * (1.0 + params["lift"] * inputs["event"])
    came = negative_binomial(key, jnp.maximum(mean, 1e-3), inputs["outputs"]["scatter"])
    return {"came": jnp.where(mean > 0.0, jnp.minimum(came, inputs["tickets"]), 0)}


def couple(state, inputs, outputs, params, key):
    return {"visitors": outputs["came"], "year_total": state["year_total"] + outputs["came"]}


SUBMODULES = (visits, events)
