"""Opinions on a fixed network: people drift towards friends who are close enough to be heard."""

PEOPLE = 8
PARAMS = {
    "talk": {"pull": Uniform(0.0, 1.0, guess=0.3), "hearing": LogUniform(0.05, 3.0, guess=0.8)},
    "noise": {"sd": LogUniform(1e-3, 0.5, guess=0.05)},
    "campaign": {"weight": Normal(0.0, 0.5, guess=0.1)},
}


def talk(state, inputs, params, key):
    x = state["opinion"]
    gap = x[None, :] - x[:, None]
    heard = inputs["friends"] * (jnp.abs(gap) < params["hearing"])
    count = jnp.maximum(jnp.sum(heard, axis=1), 1.0)
    return {"moved": params["pull"] * jnp.sum(heard * gap, axis=1) / count}


def campaign(state, inputs, params, key):
    return {"lift": params["weight"] * inputs["posters"] * (1.0 - jnp.square(state["opinion"]))}


def noise(state, inputs, params, key):
    return {"shake": normal(key, 0.0, params["sd"], shape=(PEOPLE,))}


def couple(state, inputs, outputs, params, key):
    total = state["opinion"] + outputs["moved"] + outputs["lift"] + outputs["shake"]
    return {"opinion": jnp.clip(total, -1.0, 1.0)}


SUBMODULES = (talk, campaign, noise)
