"""Six machines that wear: hazard grows with age, two fitters repair the longest waiting first."""

MACHINES, FITTERS = 6, 2
PARAMS = {
    "failure": {
        "scale": LogUniform(5.0, 200.0, guess=40.0, unit="days"),
        "shape": Uniform(0.8, 4.0, guess=1.8),
    },
    "repair": {"finish": Beta(2.0, 2.0, guess=0.5, doc="chance that a repair ends today")},
}


def failure(state, inputs, params, key):
    days = state["age"].astype(jnp.float32)
    power = params["shape"]
    hazard = jnp.power((days + 1.0) / params["scale"], power) - jnp.power(
        days / params["scale"], power
    )
    breaks = bernoulli(key, 1.0 - jnp.exp(-hazard * inputs["load"]))
    return {"fails": (breaks == 1) & (state["down"] == 0)}


def repair(state, inputs, params, key):
    waiting = state["down"] > 0
    order = jnp.argsort(jnp.where(waiting, -state["down"], 1000))
    rank = jnp.argsort(order)
    served = waiting & (rank < FITTERS)
    done = bernoulli(key, params["finish"], shape=(MACHINES,))
    return {"mended": served & (done == 1)}


def couple(state, inputs, outputs, params, key):
    up = state["down"] == 0
    down = jnp.where(up, outputs["fails"].astype(jnp.int32), state["down"] + 1)
    down = jnp.where(outputs["mended"], 0, down)
    grown = jnp.where(up & ~outputs["fails"], state["age"] + 1, state["age"])
    return {"down": down, "age": jnp.where(outputs["mended"], 0, grown)}


SUBMODULES = (failure, repair)
