"""Units of blood by age in days: the oldest go out first, what is too old is discarded."""

SHELF = 7
PARAMS = {
    "donations": {
        "mean": LogUniform(1.0, 60.0, guess=14.0),
        "dispersion": LogUniform(1.0, 50.0, guess=8.0),
    },
    "requests": {"mean": LogUniform(1.0, 60.0, guess=12.0)},
}


def donations(state, inputs, params, key):
    return {"donated": negative_binomial(key, params["mean"], params["dispersion"])}


def requests(state, inputs, params, key):
    asked = poisson(key, params["mean"])

    def issue(open_requests, units):
        given = jnp.minimum(units, open_requests)
        return open_requests - given, units - given

    missing, left = lax.scan(issue, asked, state["units"][::-1], length=SHELF)
    return {"short": missing, "left": left[::-1]}


def couple(state, inputs, outputs, params, key):
    left = outputs["left"]
    return {
        "units": jnp.concatenate([outputs["donated"][None], left[:-1]]),
        "outdated": left[SHELF - 1],
        "short": outputs["short"],
    }


SUBMODULES = (donations, requests)
