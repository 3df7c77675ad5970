"""Subscribers by months of tenure; churn falls with tenure, a price rise drives some away."""

TENURE = 12
PARAMS = {
    "acquisition": {
        "base": LogUniform(10.0, 1e4, guess=300.0),
        "ads": Uniform(0.0, 2.0, guess=0.4),
    },
    "churn": {
        "first": Beta(2.0, 8.0, guess=0.2),
        "halving": Uniform(0.5, 12.0, guess=4.0, unit="months"),
        "price": Uniform(0.0, 3.0, guess=0.8),
    },
}


def acquisition(state, inputs, params, key):
    mean = params["base"] * jnp.power(1.0 + inputs["spend"], params["ads"])
    return {"joined": poisson(key, mean)}


def churn(state, inputs, params, key):
    month = jnp.arange(TENURE, dtype=jnp.float32)
    hazard = params["first"] * jnp.exp2(-month / params["halving"])
    odds = hazard / (1.0 - hazard) * jnp.exp(params["price"] * inputs["price_rise"])
    return {"cancelled": binomial(key, state["members"], odds / (1.0 + odds))}


def couple(state, inputs, outputs, params, key):
    left = state["members"] - outputs["cancelled"]
    shifted = jnp.concatenate([jnp.reshape(outputs["joined"], 1), left[: TENURE - 1]])
    members = shifted.at[-1].add(left[-1])
    return {"members": members, "lost": jnp.sum(outputs["cancelled"])}


SUBMODULES = (acquisition, churn)
