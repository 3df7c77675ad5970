"""SIS on a contact network: one flag per person, an adjacency matrix from the task."""

PARAMS = {
    "contagion": {"risk": Uniform(0.0, 0.5, guess=0.08, unit="1/day", doc="per infected contact")},
    "cure": {"rate": Uniform(0.0, 1.0, guess=0.2, unit="1/day")},
    "seeding": {"rate": LogUniform(1e-4, 0.05, guess=0.005, unit="1/day")},
}


def contagion(state, inputs, params, key):
    ill = state["ill"].astype(jnp.float32)
    neighbours = inputs["adjacency"] @ ill
    escape = jnp.power(1.0 - params["risk"], neighbours)
    return {"caught": bernoulli(key, 1.0 - escape)}


def seeding(state, inputs, params, key):
    return {"brought": bernoulli(key, params["rate"], shape=state["ill"].shape)}


def cure(state, inputs, params, key):
    return {"cured": bernoulli(key, params["rate"], shape=state["ill"].shape)}


def couple(state, inputs, outputs, params, key):
    ill = state["ill"] == 1
    starts = ~ill & ((outputs["caught"] == 1) | (outputs["brought"] == 1))
    stays = ill & (outputs["cured"] == 0)
    return {"ill": (starts | stays).astype(jnp.int32)}


SUBMODULES = (contagion, seeding, cure)
