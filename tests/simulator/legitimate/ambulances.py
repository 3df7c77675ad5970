"""Five crews and four districts: the nearest free crew goes, and comes back after a while."""

CREWS, CALLS = 5, 4
HOME = (0, 1, 2, 3, 0)
MINUTES = (
    (4.0, 9.0, 14.0, 12.0),
    (9.0, 5.0, 8.0, 15.0),
    (14.0, 8.0, 5.0, 9.0),
    (12.0, 15.0, 9.0, 4.0),
)
PARAMS = {
    "calls": {
        "rate": LogUniform(0.05, 3.0, guess=0.8),
        "share": Gamma(2.0, 2.0, shape=(4,), guess=1.0),
    },
    "dispatch": {"busy": LogUniform(1.0, 20.0, guess=4.0, unit="quarters of an hour")},
}
FAR = 1.0e6


def calls(state, inputs, params, key):
    number, where = split(key)
    asked = jnp.minimum(poisson(number, params["rate"]), CALLS)
    share = params["share"] / jnp.sum(params["share"])
    return {"asked": asked, "district": categorical(where, share, shape=(CALLS,))}


def dispatch(state, inputs, params, key):
    tables = jnp.array(MINUTES)[jnp.array(HOME)]
    lasting = 1 + geometric(key, 1.0 / (1.0 + params["busy"]), shape=(CALLS,))

    def send(busy, call):
        number, district, length = call
        reach = jnp.where(busy == 0, tables[:, district], FAR)
        crew = jnp.argmin(reach)
        goes = (number < inputs["outputs"]["asked"]) & (reach[crew] < FAR)
        return busy.at[crew].add(jnp.where(goes, length, 0)), (
            goes,
            jnp.where(goes, reach[crew], 0.0),
        )

    free = jnp.maximum(state["busy"] - 1, 0)
    row = (jnp.arange(CALLS), inputs["outputs"]["district"], lasting)
    busy, (goes, minutes) = lax.scan(send, free, row)
    return {"busy_next": busy, "sent": jnp.sum(goes), "minutes": jnp.sum(minutes)}


def couple(state, inputs, outputs, params, key):
    mean = outputs["minutes"] / jnp.maximum(outputs["sent"], 1)
    return {
        "busy": outputs["busy_next"],
        "missed": outputs["asked"] - outputs["sent"].astype(jnp.int32),
        "reach": mean,
    }


SUBMODULES = (calls, dispatch)
