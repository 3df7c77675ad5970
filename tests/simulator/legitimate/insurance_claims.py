"""Claims and when they are paid: each month's losses pay out over a year, by a pattern."""

MONTHS = 12
PARAMS = {
    "losses": {
        "number": LogUniform(1.0, 200.0, guess=30.0),
        "mean": LogNormal(1.0, 0.5, guess=3.0),
        "shape": LogUniform(0.3, 10.0, guess=1.2),
    },
    "payment": {"decay": Beta(3.0, 3.0, guess=0.6), "delay": Uniform(0.0, 1.0, guess=0.3)},
}
LATENT = {"open": State("real", shape=(12,), min=0.0)}


def initial(observed, seen, params, key):
    return {**observed, "open": jnp.zeros((MONTHS,), jnp.float32)}


def losses(state, inputs, params, key):
    count_key, size_key = split(key)
    number = poisson(count_key, params["number"] * inputs["exposure"])
    shape = jnp.maximum(number, 1) * params["shape"]
    total = gamma(size_key, shape, params["shape"] / params["mean"])
    return {"number": number, "incurred": jnp.where(number > 0, total, 0.0)}


def payment(state, inputs, params, key):
    months = jnp.arange(MONTHS)
    weight = params["decay"] ** months * jnp.where(months == 0, 1.0 - params["delay"], 1.0)
    pattern = weight / jnp.sum(weight)
    due = state["open"] + inputs["outputs"]["incurred"] * pattern
    return {"paid": due[0], "rest": jnp.append(due[1:], 0.0)}


def couple(state, inputs, outputs, params, key):
    return {"claims": outputs["number"], "paid": outputs["paid"], "open": outputs["rest"]}


SUBMODULES = (losses, payment)
