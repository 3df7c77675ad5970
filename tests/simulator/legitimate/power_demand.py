"""Electric load by the hour: base, cooling and heating, two harmonics, residuals that linger."""

HARMONICS = (1, 2)
PARAMS = {
    "climate": {
        "cool_above": Uniform(15.0, 28.0, guess=22.0, unit="°C"),
        "heat_below": Uniform(5.0, 20.0, guess=14.0, unit="°C"),
        "cooling": LogUniform(0.01, 5.0, guess=0.6),
        "heating": LogUniform(0.01, 5.0, guess=0.4),
    },
    "profile": {
        "base": LogUniform(5.0, 200.0, guess=40.0),
        "sine": Normal(0.0, 5.0, shape=(2,), guess=(1.0, 0.5)),
        "cosine": Normal(0.0, 5.0, shape=(2,), guess=(-3.0, 0.5)),
        "sunday": Uniform(0.5, 1.1, guess=0.85),
    },
    "residual": {"keep": Uniform(0.0, 0.99, guess=0.8), "sd": LogUniform(0.05, 10.0, guess=1.0)},
}
LATENT = {"error": State("real")}


def initial(observed, seen, params, key):
    return {**observed, "error": jnp.float32(0.0)}


def profile(state, inputs, params, key):
    hour = (inputs["t"] % 24).astype(jnp.float32)
    wave = 0.0
    for i, k in enumerate(HARMONICS):
        angle = 2.0 * jnp.pi * k * hour / 24.0
        wave = wave + params["sine"][i] * jnp.sin(angle) + params["cosine"][i] * jnp.cos(angle)
    day = jnp.where(inputs["weekday"] == 6, params["sunday"], 1.0)
    return {"regular": day * (params["base"] + wave)}


def climate(state, inputs, params, key):
    hot = jnp.maximum(inputs["temperature"] - params["cool_above"], 0.0)
    cold = jnp.maximum(params["heat_below"] - inputs["temperature"], 0.0)
    return {"weather": params["cooling"] * hot + params["heating"] * cold}


def residual(state, inputs, params, key):
    return {"error": params["keep"] * state["error"] + normal(key, 0.0, params["sd"])}


def couple(state, inputs, outputs, params, key):
    return {
        "load": outputs["regular"] + outputs["weather"] + outputs["error"],
        "error": outputs["error"],
    }


SUBMODULES = (profile, climate, residual)
