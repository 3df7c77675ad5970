"""One warehouse and three shops: the warehouse shares what it has, shop by shop."""

SHOPS = 3
PARAMS = {
    "customers": {"mean": Gamma(3.0, 0.3, shape=(3,), guess=[6.0, 9.0, 12.0])},
    "transfer": {"target": Integer(5, 60, shape=(3,), guess=[20, 30, 40])},
    "factory": {"daily": LogUniform(5.0, 80.0, guess=28.0), "yield_": Beta(20.0, 1.5, guess=0.95)},
}


def customers(state, inputs, params, key):
    keys = split(key, SHOPS)
    sold = []
    for shop in range(SHOPS):
        wanted = poisson(keys[shop], params["mean"][shop])
        sold.append(jnp.minimum(wanted, state["shops"][shop]))
    return {"sold": jnp.stack(sold)}


def transfer(state, inputs, params, key):
    left = state["shops"] - inputs["outputs"]["sold"]
    need = jnp.maximum(params["target"] - left, 0)
    return {"sent": serve(need, state["warehouse"])}


def factory(state, inputs, params, key):
    planned, good = split(key)
    made = poisson(planned, params["daily"] * (1.0 - inputs["strike"]))
    return {"made": binomial(good, made, params["yield_"])}


def couple(state, inputs, outputs, params, key):
    return {
        "shops": state["shops"] - outputs["sold"] + outputs["sent"],
        "warehouse": state["warehouse"] - outputs["sent"].sum() + outputs["made"],
    }


SUBMODULES = (customers, transfer, factory)
