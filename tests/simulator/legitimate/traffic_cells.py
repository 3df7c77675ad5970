"""A motorway in cells: what a cell can send and the next can take, after Daganzo."""

CELLS = 10
PARAMS = {
    "road": {
        "free": Uniform(0.3, 1.0, guess=0.8, doc="cells per step in free flow"),
        "wave": Uniform(0.1, 0.6, guess=0.3),
        "capacity": Integer(5, 40, guess=18, unit="vehicles/step"),
        "jam": Integer(40, 150, guess=80, unit="vehicles/cell"),
    },
    "demand": {"mean": LogUniform(1.0, 40.0, guess=12.0)},
}
INCIDENT_AT = 6


def demand(state, inputs, params, key):
    return {"wants": poisson(key, params["mean"])}


def road(state, inputs, params, key):
    n = state["vehicles"]
    send = jnp.minimum(binomial(key, n, params["free"]), params["capacity"])
    limit = params["capacity"] * jnp.ones(CELLS, dtype=jnp.int32)
    blocked = (inputs["incident"] > 0) & (jnp.arange(CELLS) == INCIDENT_AT)
    room = jnp.floor(params["wave"] * (params["jam"] - n)).astype(jnp.int32)
    take = jnp.maximum(jnp.minimum(jnp.where(blocked, limit // 4, limit), room), 0)
    flow = jnp.minimum(send[:-1], take[1:])
    entered = jnp.minimum(inputs["outputs"]["wants"], take[0])
    return {"flow": flow, "entered": entered, "left": send[-1]}


def couple(state, inputs, outputs, params, key):
    into = jnp.insert(outputs["flow"], 0, outputs["entered"])
    out = jnp.append(outputs["flow"], outputs["left"])
    return {"vehicles": state["vehicles"] + into - out}


SUBMODULES = (demand, road)
