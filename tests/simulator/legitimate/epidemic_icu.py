"""An epidemic that fills wards: the severe are admitted while there are beds, else turned away."""

PARAMS = {
    "infection": {"r0": LogNormal(0.8, 0.4, guess=2.2), "days": Uniform(2.0, 10.0, guess=5.0)},
    "severity": {"icu": Beta(2.0, 40.0, guess=0.05), "ward": Beta(2.0, 12.0, guess=0.12)},
    "care": {
        "ward_days": Uniform(3.0, 14.0, guess=7.0),
        "icu_days": Uniform(5.0, 25.0, guess=11.0),
        "death_icu": Beta(3.0, 7.0, guess=0.3),
    },
}


def rate_to_p(rate):
    return 1.0 - jnp.exp(-rate)


def infection(state, inputs, params, key):
    new_key, end_key = split(key)
    n = jnp.maximum(inputs["population"], 1)
    force = params["r0"] / params["days"] * state["I"] / n
    return {
        "new": binomial(new_key, state["S"], rate_to_p(force)),
        "ended": binomial(end_key, state["I"], rate_to_p(1.0 / params["days"])),
    }


def severity(state, inputs, params, key):
    p = jnp.stack([params["icu"], params["ward"], 1.0 - params["icu"] - params["ward"]])
    p = jnp.clip(p, 0.0, 1.0)
    kinds = multinomial(key, inputs["outputs"]["ended"], p / jnp.sum(p))
    return {"to_icu": kinds[0], "to_ward": kinds[1], "well": kinds[2]}


def care(state, inputs, params, key):
    a, b, c = split(key, 3)
    left_icu = binomial(a, state["icu"], rate_to_p(1.0 / params["icu_days"]))
    died = binomial(b, left_icu, params["death_icu"])
    left_ward = binomial(c, state["ward"], rate_to_p(1.0 / params["ward_days"]))
    beds = jnp.stack(
        [
            inputs["icu_beds"] - state["icu"] + left_icu,
            inputs["ward_beds"] - state["ward"] + left_ward,
        ]
    )
    asked = jnp.stack([inputs["outputs"]["to_icu"], inputs["outputs"]["to_ward"]])
    admitted = jnp.clip(asked, 0, jnp.maximum(beds, 0))
    return {"left_icu": left_icu, "left_ward": left_ward, "died": died, "admitted": admitted}


def couple(state, inputs, outputs, params, key):
    o, admitted = outputs, outputs["admitted"]
    turned = o["to_icu"] + o["to_ward"] - admitted.sum()
    out = o["well"] + o["left_icu"] - o["died"] + o["left_ward"] + turned
    return {
        "S": state["S"] - o["new"],
        "I": state["I"] + o["new"] - o["ended"],
        "icu": state["icu"] + admitted[0] - o["left_icu"],
        "ward": state["ward"] + admitted[1] - o["left_ward"],
        "R": state["R"] + out,
        "D": state["D"] + o["died"],
    }


SUBMODULES = (infection, severity, care)
