"""Firms moving between ratings; a common shock shifts all transitions towards default."""

RATINGS = 4  # A, B, C, default
BASE = (
    (3.0, 0.5, -2.5, -5.0),
    (0.0, 3.0, 0.0, -3.0),
    (-3.0, 0.5, 2.5, 0.2),
    (-20.0, -20.0, -20.0, 20.0),
)
PARAMS = {
    "shock": {"sd": LogUniform(0.01, 2.0, guess=0.3), "keep": Uniform(-0.5, 0.95, guess=0.5)},
    "moves": {"sensitivity": Normal(0.0, 1.0, guess=0.6)},
}
LATENT = {"cycle": State("real")}


def initial(observed, seen, params, key):
    spread = params["shock"]["sd"] / jnp.sqrt(1.0 - params["shock"]["keep"] ** 2)
    return {**observed, "cycle": normal(key, 0.0, spread)}


def softmax(x):
    e = jnp.exp(x - jnp.max(x, axis=-1, keepdims=True))
    return e / jnp.sum(e, axis=-1, keepdims=True)


def shock(state, inputs, params, key):
    return {"next": params["keep"] * state["cycle"] + normal(key, 0.0, params["sd"])}


def moves(state, inputs, params, key):
    worse = jnp.linspace(0.0, 1.0, RATINGS)
    level = params["sensitivity"] * state["cycle"] + inputs["rate_change"]
    table = softmax(jnp.array(BASE) + level * worse[None, :])
    table = table.at[3].set(jnp.array([0.0, 0.0, 0.0, 1.0]))
    return {"went": multinomial(key, state["firms"], table)}


def couple(state, inputs, outputs, params, key):
    return {"firms": outputs["went"].sum(axis=0), "cycle": outputs["next"]}


SUBMODULES = (shock, moves)
