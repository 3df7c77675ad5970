"""Bicycles in the racks of a shop: two kinds of rack, one slot per bicycle in the table."""

NONE, NEW = -1, 12
PARAMS = {
    "work": {"ready": Uniform(0.0, 1.0, guess=0.3, unit="1/step", doc="chance to be ready")},
    "bringing": {"rate": LogUniform(0.1, 10.0, guess=2.0, unit="bicycles/step", doc="brought")},
    "racks": {
        "hooks": Integer(1, 10, guess=4, unit="bicycles", doc="hooks"),
        "floor": Integer(1, 20, guess=8, unit="bicycles", doc="places on the floor"),
        "tall": Uniform(0.0, 1.0, guess=0.5, unit="1", doc="share that takes the floor only"),
    },
}


def work(state, inputs, params, key):
    here = state["rack"] != NONE
    return {"leaves": here & (bernoulli(key, params["ready"], shape=state["rack"].shape) == 1)}


def bringing(state, inputs, params, key):
    return {"brought": poisson(key, params["rate"])}


def racks(state, inputs, params, key):
    given = inputs["outputs"]
    stays = (state["rack"] != NONE) & ~given["leaves"]
    taken = tally(state["rack"], 2, stays)
    free = jnp.maximum(jnp.stack([params["hooks"], params["floor"]]) - taken, 0)
    there = jnp.arange(NEW) < given["brought"]
    tall = bernoulli(key, params["tall"], shape=(NEW,)) == 1
    first = jnp.where(there, jnp.where(tall, 1, 0), NONE)
    second = jnp.where(there & ~tall, 1, NONE)
    return {"rack_of": admit(jnp.stack([first, second], axis=1), free)}


def couple(state, inputs, outputs, params, key):
    here = state["rack"] != NONE
    days = age(state["days"], here)
    kept = remove(
        {"rack": state["rack"], "days": days}, outputs["leaves"], empty={"rack": NONE, "days": 0}
    )
    new = {"rack": outputs["rack_of"], "days": 1}
    return place(kept, kept["rack"] == NONE, new, outputs["rack_of"] >= 0)


SUBMODULES = (work, bringing, racks)
