"""Oxygen along a river after Streeter and Phelps: reaches in a row, loads as an input per reach."""

REACHES = 6
PARAMS = {
    "decay": {"rate": LogUniform(0.02, 2.0, guess=0.3, unit="1/day")},
    "air": {
        "rate": LogUniform(0.05, 3.0, guess=0.6, unit="1/day"),
        "saturation": Uniform(7.0, 12.0, guess=9.5),
    },
    "transport": {"share": Uniform(0.05, 0.95, guess=0.4, doc="water that moves on per step")},
    "couple": {"noise": LogUniform(1e-3, 0.5, guess=0.05)},
}


def decay(state, inputs, params, key):
    return {"used": state["bod"] * (1.0 - jnp.exp(-params["rate"]))}


def air(state, inputs, params, key):
    return {
        "dissolved": (params["saturation"] - state["oxygen"]) * (1.0 - jnp.exp(-params["rate"]))
    }


def transport(state, inputs, params, key):
    def downstream(values, upstream):
        above = jnp.concatenate([jnp.array([upstream]), values[: REACHES - 1]])
        return params["share"] * (above - values)

    return {"bod_in": downstream(state["bod"], 1.0), "oxygen_in": downstream(state["oxygen"], 9.0)}


def couple(state, inputs, outputs, params, key):
    shake = normal(key, 0.0, params["noise"], shape=(2, REACHES))
    bod = state["bod"] - outputs["used"] + outputs["bod_in"] + inputs["load"] + shake[0]
    oxygen = (
        state["oxygen"] - outputs["used"] + outputs["dissolved"] + outputs["oxygen_in"] + shake[1]
    )
    return {"bod": jnp.maximum(bod, 0.0), "oxygen": jnp.clip(oxygen, 0.0, 15.0)}


SUBMODULES = (decay, air, transport)
