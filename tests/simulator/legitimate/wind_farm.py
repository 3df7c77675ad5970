"""Turbines and wind: a regime that lasts, Weibull gusts, a power curve, outages and crews."""

TURBINES = 5
CURVE_SPEED = (0.0, 3.0, 6.0, 9.0, 12.0, 25.0)
CURVE_POWER = (0.0, 0.0, 0.4, 1.3, 2.0, 2.0)
PARAMS = {
    "wind": {
        "stay": Beta(9.0, 1.5, guess=0.85),
        "scale": LogUniform(1.0, 20.0, shape=(2,), guess=(5.0, 10.0), unit="m/s"),
        "shape": Uniform(1.2, 4.0, guess=2.0),
    },
    "outage": {"fail": Beta(1.0, 30.0, guess=0.03), "fix": Beta(2.0, 3.0, guess=0.4)},
}
LATENT = {"regime": State("category", min=0, max=1)}


def initial(observed, seen, params, key):
    return {**observed, "regime": categorical(key, jnp.array([0.5, 0.5]))}


def wind(state, inputs, params, key):
    switch, gust = split(key)
    same = bernoulli(switch, params["stay"])
    regime = jnp.where(same == 1, state["regime"], 1 - state["regime"])
    return {"regime": regime, "speed": weibull(gust, params["shape"], params["scale"][regime])}


def outage(state, inputs, params, key):
    up = state["up"]
    fails, fixed = split(key)
    broke = bernoulli(fails, params["fail"], shape=(TURBINES,))
    back = bernoulli(fixed, params["fix"] * inputs["crew"], shape=(TURBINES,))
    return {"up": jnp.where(up == 1, 1 - broke, back)}


def couple(state, inputs, outputs, params, key):
    each = jnp.interp(outputs["speed"], jnp.array(CURVE_SPEED), jnp.array(CURVE_POWER))
    power = jnp.where(outputs["speed"] < 25.0, each, 0.0) * outputs["up"].sum()
    return {"power": power, "up": outputs["up"], "regime": outputs["regime"]}


SUBMODULES = (wind, outage)
