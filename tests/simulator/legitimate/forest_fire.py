"""A forest on a grid: 0 bare, 1 tree, 2 burning; wind carries fire to the east."""

SIZE = 8
BARE, TREE, FIRE = 0, 1, 2
PARAMS = {
    "fire": {"spread": Beta(3.0, 3.0, guess=0.4), "lightning": LogUniform(1e-5, 0.02, guess=1e-3)},
    "growth": {"seed": LogUniform(1e-4, 0.2, guess=0.02)},
}


def shifted(grid, down, right):
    padded = jnp.pad(grid, 1)
    return padded[1 - down : 1 - down + SIZE, 1 - right : 1 - right + SIZE]


def fire(state, inputs, params, key):
    catch_key, strike_key = split(key)
    burning = (state["cell"] == FIRE).astype(jnp.int32)
    escape = jnp.ones((SIZE, SIZE))
    for down, right in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        wind = 1.0 + inputs["wind"] * right
        p = jnp.clip(params["spread"] * wind, 0.0, 1.0)
        escape = escape * (1.0 - p * shifted(burning, down, right))
    struck = bernoulli(strike_key, params["lightning"], shape=(SIZE, SIZE))
    caught = jnp.maximum(bernoulli(catch_key, 1.0 - escape), struck)
    return {"ignites": (state["cell"] == TREE) & (caught == 1)}


def growth(state, inputs, params, key):
    sprouts = bernoulli(key, params["seed"], shape=(SIZE, SIZE))
    return {"grows": (state["cell"] == BARE) & (sprouts == 1)}


def couple(state, inputs, outputs, params, key):
    cell = jnp.where(state["cell"] == FIRE, BARE, state["cell"])
    cell = jnp.where(outputs["ignites"], FIRE, cell)
    return {"cell": jnp.where(outputs["grows"], TREE, cell)}


SUBMODULES = (fire, growth)
