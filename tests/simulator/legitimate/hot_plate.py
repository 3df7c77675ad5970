"""Heat in a plate by explicit steps within each reading, with sensors that are noisy."""

N, SUBSTEPS = 6, 5
PARAMS = {
    "diffusion": {
        "d": LogUniform(1e-3, 0.2, guess=0.05),
        "loss": LogUniform(1e-4, 0.1, guess=0.01),
    },
    "heater": {"power": Uniform(0.0, 10.0, guess=2.0), "row": Integer(0, 5, guess=2)},
    "observe": {"sd": LogUniform(1e-3, 2.0, guess=0.1)},
}


def laplacian(u):
    edge = jnp.pad(u, 1, mode="edge")
    around = edge[:-2, 1:-1] + edge[2:, 1:-1] + edge[1:-1, :-2] + edge[1:-1, 2:]
    return around - 4.0 * u


def heater(state, inputs, params, key):
    rows = jnp.arange(N)[:, None] * jnp.ones((1, N), jnp.int32)
    return {"heat": jnp.where(rows == params["row"], params["power"] * inputs["on"], 0.0)}


def diffusion(state, inputs, params, key):
    heat = inputs["outputs"]["heat"] / SUBSTEPS

    def substep(_, u):
        return (
            u + params["d"] * laplacian(u) - params["loss"] * (u - inputs["room"]) / SUBSTEPS + heat
        )

    return {"u": lax.fori_loop(0, SUBSTEPS, substep, state["u"])}


def couple(state, inputs, outputs, params, key):
    return {"u": outputs["u"]}


def observe(state, outputs, params, key):
    return {"u": state["u"] + normal(key, 0.0, params["sd"], shape=(N, N))}


SUBMODULES = (heater, diffusion)
