"""One gene by tau-leaping: a promoter that flips, messages, proteins; ten leaps per frame."""

LEAPS = 10
DT = 1.0 / LEAPS
PARAMS = {
    "cell": {
        "on": LogUniform(0.01, 5.0, guess=0.3, unit="1/min"),
        "off": LogUniform(0.01, 5.0, guess=0.5, unit="1/min"),
        "transcribe": LogUniform(0.1, 50.0, guess=6.0, unit="1/min"),
        "translate": LogUniform(0.1, 20.0, guess=2.0, unit="1/min"),
        "decay_m": LogUniform(0.01, 2.0, guess=0.2, unit="1/min"),
        "decay_p": LogUniform(0.001, 1.0, guess=0.05, unit="1/min"),
    }
}
LATENT = {"active": State("flag", min=0, max=1), "messages": State("count", min=0)}


def initial(observed, seen, params, key):
    return {**observed, "active": 1, "messages": 5}


def cell(state, inputs, params, key):
    def leap(now, k):
        active, messages, proteins = now
        keys = split(k, 5)
        flip = jnp.where(active == 1, params["off"], params["on"] * inputs["inducer"])
        flipped = bernoulli(keys[0], 1.0 - jnp.exp(-flip * DT))
        made = poisson(keys[1], params["transcribe"] * active * DT)
        lost = binomial(keys[2], messages, 1.0 - jnp.exp(-params["decay_m"] * DT))
        built = poisson(keys[3], params["translate"] * messages * DT)
        gone = binomial(keys[4], proteins, 1.0 - jnp.exp(-params["decay_p"] * DT))
        active = jnp.where(flipped == 1, 1 - active, active)
        return (active, messages + made - lost, proteins + built - gone), None

    start = (state["active"], state["messages"], state["proteins"])
    (active, messages, proteins), _ = lax.scan(leap, start, split(key, LEAPS))
    return {"active": active, "messages": messages, "proteins": proteins}


def couple(state, inputs, outputs, params, key):
    return {name: outputs[name] for name in ("active", "messages", "proteins")}


SUBMODULES = (cell,)
