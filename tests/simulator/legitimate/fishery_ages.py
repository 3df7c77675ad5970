"""An age-structured stock: lognormal recruitment after Ricker, fishing by effort, a plus group."""

AGES = 6
WEIGHTS = [0.1, 0.4, 0.9, 1.4, 1.8, 2.1]
MATURE = [0.0, 0.1, 0.6, 1.0, 1.0, 1.0]
PARAMS = {
    "recruitment": {
        "alpha": LogNormal(1.0, 0.5, guess=3.0),
        "beta": LogUniform(1e-5, 1e-1, guess=1e-3),
        "sigma": Uniform(0.05, 1.0, guess=0.4),
    },
    "mortality": {
        "natural": LogNormal(-1.6, 0.3, guess=0.2, unit="1/year"),
        "catchability": LogUniform(1e-3, 1.0, guess=0.1),
        "half": Uniform(1.0, 4.0, guess=2.0, unit="years", doc="age of half selection"),
    },
}


def recruitment(state, inputs, params, key):
    spawners = jnp.sum(state["numbers"] * jnp.array(WEIGHTS) * jnp.array(MATURE))
    mean = params["alpha"] * spawners * jnp.exp(-params["beta"] * spawners)
    noise = lognormal(key, -0.5 * params["sigma"] ** 2, params["sigma"])
    return {"recruits": mean * noise}


def mortality(state, inputs, params, key):
    ages = jnp.arange(AGES).astype(jnp.float32)
    selected = 1.0 / (1.0 + jnp.exp(-(ages - params["half"])))
    fishing = params["catchability"] * inputs["effort"] * selected
    total = fishing + params["natural"]
    dead = state["numbers"] * (1.0 - jnp.exp(-total))
    return {"left": state["numbers"] - dead, "caught": dead * fishing / total}


def couple(state, inputs, outputs, params, key):
    left = outputs["left"]
    older = jnp.concatenate([jnp.reshape(outputs["recruits"], (1,)), left[:-1]])
    older = older.at[AGES - 1].add(left[AGES - 1])
    return {"numbers": older, "catch": jnp.dot(outputs["caught"], jnp.array(WEIGHTS))}


SUBMODULES = (recruitment, mortality)
