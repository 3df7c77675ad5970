"""Twelve beds of an intensive care unit, one row of attributes per bed."""

BEDS, MOST_NEW = 12, 6
PARAMS = {
    "arrivals": {"rate": LogUniform(0.1, 6.0, guess=1.5, unit="patients/day")},
    "stay": {
        "mild_days": LogUniform(1.0, 10.0, guess=3.0, unit="days"),
        "severe_days": LogUniform(3.0, 30.0, guess=9.0, unit="days"),
        "severe_share": Beta(2.0, 2.0, guess=0.4),
    },
}
EMPTY = -1


def arrivals(state, inputs, params, key):
    return {"asking": poisson(key, params["rate"])}


def stay(state, inputs, params, key):
    kind_key, day_key = split(key)
    severe = bernoulli(kind_key, params["severe_share"], shape=(MOST_NEW,))
    mean = jnp.where(severe == 1, params["severe_days"], params["mild_days"])
    days = 1 + geometric(day_key, 1.0 / (1.0 + mean))
    return {"kind": severe, "days": days}


def couple(state, inputs, outputs, params, key):
    present = state["kind"] >= 0
    left = age(state["left"], present, by=-1)
    leaving = present & (left <= 0)
    kept = remove({"kind": state["kind"], "left": left}, leaving, empty={"kind": EMPTY, "left": 0})
    free = kept["kind"] < 0
    wants = jnp.arange(MOST_NEW) < outputs["asking"]
    room = jnp.cumsum(wants) <= jnp.sum(free)
    new = {"kind": outputs["kind"], "left": outputs["days"]}
    return place(kept, free, new, wants & room)


SUBMODULES = (arrivals, stay)
