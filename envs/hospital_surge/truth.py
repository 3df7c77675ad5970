"""An epidemic and the beds that it takes: the law of this environment's data."""

PARAMS = {
    "infection": {
        "beta": Uniform(0.0, 2.0, guess=0.4, unit="1/day", doc="transmission rate"),
        "effect": Uniform(
            0.0, 1.0, guess=0.5, unit="1", doc="share of it that a lockdown prevents"
        ),
    },
    "course": {
        "gamma": Uniform(0.0, 1.0, guess=0.2, unit="1", doc="daily probability that it is over"),
        "share": Uniform(0.0, 1.0, guess=0.1, unit="1", doc="share who need a bed then"),
    },
    "hospital": {
        "leave": Uniform(0.0, 1.0, guess=0.2, unit="1", doc="daily probability of getting well"),
    },
}
LATENT = {}
TRUTH = {
    "infection.beta": 0.5,
    "infection.effect": 0.7,
    "course.gamma": 0.1,
    "course.share": 0.05,
    "hospital.leave": 0.1,
}


def initial(observed, seen, params, key):
    return {"S": observed["S"], "I": observed["I"], "H": observed["H"], "R": observed["R"]}


def infection(state, inputs, params, key):
    n = state["S"] + state["I"] + state["H"] + state["R"]
    force = params["beta"] * (1.0 - params["effect"] * inputs["lockdown"]) * state["I"] / n
    return {"infected": binomial(key, state["S"], 1.0 - jnp.exp(-force))}


def course(state, inputs, params, key):
    first, second = split(key)
    over = binomial(first, state["I"], params["gamma"])
    return {"over": over, "admitted": binomial(second, over, params["share"])}


def hospital(state, inputs, params, key):
    return {"well": binomial(key, state["H"], params["leave"])}


def couple(state, inputs, outputs, params, key):
    infected, over = outputs["infected"], outputs["over"]
    admitted, well = outputs["admitted"], outputs["well"]
    return {
        "S": state["S"] - infected,
        "I": state["I"] + infected - over,
        "H": state["H"] + admitted - well,
        "R": state["R"] + over - admitted + well,
    }


SUBMODULES = (infection, course, hospital)
