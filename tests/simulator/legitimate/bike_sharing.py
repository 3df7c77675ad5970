"""Bikes at four stations: trips by hour and weather, docks that fill up, a van at night."""

STATIONS = 4
PARAMS = {
    "departures": {
        "rate": LogUniform(0.2, 30.0, shape=(4,), guess=(4.0, 3.0, 5.0, 2.0), unit="1/hour"),
        "rain": Uniform(0.0, 3.0, guess=1.0),
        "commute": Uniform(0.0, 2.0, guess=0.8),
    },
    "destinations": {"appeal": LogNormal(0.0, 0.7, shape=(4, 4), guess=1.0)},
}
ROAD = {"docks": 20}


def departures(state, inputs, params, key):
    hour = inputs["t"] % 24
    rush = ((hour >= 7) & (hour <= 9)) | ((hour >= 16) & (hour <= 18))
    level = jnp.exp(params["commute"] * rush - params["rain"] * inputs["rain"])
    wanted = poisson(key, params["rate"] * level)
    return {"left": jnp.minimum(wanted, state["bikes"])}


def destinations(state, inputs, params, key):
    appeal = params["appeal"] * (1.0 - jnp.eye(STATIONS))
    shares = appeal / jnp.sum(appeal, axis=1, keepdims=True)
    trips = multinomial(key, inputs["outputs"]["left"], shares)
    return {"arrived": jnp.sum(trips, axis=0)}


def couple(state, inputs, outputs, params, key):
    parked = state["bikes"] - outputs["left"] + outputs["arrived"]
    over = jnp.maximum(parked - ROAD["docks"], 0)
    bikes = parked - over
    # What does not fit goes to the emptiest station, as riders do.
    emptiest = jnp.argmin(bikes)
    return {"bikes": bikes.at[emptiest].add(jnp.sum(over))}


SUBMODULES = (departures, destinations)
