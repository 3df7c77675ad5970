"""Stations in a row with buffers between them: the last one moves first and makes room."""

STATIONS = 4
PARAMS = {
    "line": {
        "speed": Uniform(1.0, 20.0, shape=(4,), guess=(8.0, 7.0, 9.0, 8.0), unit="pieces/hour"),
        "scrap": Beta(1.0, 40.0, guess=0.02),
    },
    "supply": {"mean": LogUniform(1.0, 30.0, guess=8.0)},
}
BUFFER = 30


def supply(state, inputs, params, key):
    return {"fed": poisson(key, params["mean"])}


def line(state, inputs, params, key):
    speed_key, scrap_key = split(key)
    able = poisson(speed_key, params["speed"] * inputs["staffed"])

    def station(room, row):
        stock, can = row
        moved = jnp.minimum(jnp.minimum(stock, can), room)
        return BUFFER - (stock - moved), moved

    rows = (state["buffer"], able)
    room, moved = lax.scan(station, jnp.int32(10_000), rows, reverse=True)
    good = binomial(scrap_key, moved, 1.0 - params["scrap"])
    return {"moved": moved, "good": good, "room": jnp.maximum(room, 0)}


def couple(state, inputs, outputs, params, key):
    first = jnp.minimum(outputs["fed"], outputs["room"])
    into = jnp.concatenate([first[None], outputs["good"][:-1]])
    return {
        "buffer": state["buffer"] - outputs["moved"] + into,
        "finished": outputs["good"][STATIONS - 1],
    }


SUBMODULES = (supply, line)
