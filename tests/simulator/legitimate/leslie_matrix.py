"""A Leslie population of five age classes with poisson births and a harsh winter now and then."""

K = 5
PARAMS = {
    "births": {"fertility": Gamma(2.0, 2.0, shape=(5,), guess=[0.0001, 0.4, 1.1, 0.9, 0.3])},
    "survival": {"rate": Beta(4.0, 2.0, shape=(5,), guess=(0.5, 0.8, 0.8, 0.7, 0.4))},
    "winter": {"chance": Beta(1.0, 6.0, guess=0.1), "loss": Beta(2.0, 3.0, guess=0.4)},
}


def winter(state, inputs, params, key):
    harsh = bernoulli(key, params["chance"])
    return {"factor": 1.0 - params["loss"] * harsh}


def survival(state, inputs, params, key):
    return {"lives": binomial(key, state["n"], params["rate"] * inputs["outputs"]["factor"])}


def births(state, inputs, params, key):
    mean = jnp.sum(params["fertility"] * inputs["outputs"]["lives"])
    return {"born": poisson(key, mean)}


def couple(state, inputs, outputs, params, key):
    lives = outputs["lives"]
    moved = [outputs["born"]]
    for i in range(K - 1):
        moved.append(lives[i] + (lives[K - 1] if i == K - 2 else 0))
    return {"n": jnp.stack(moved)}


SUBMODULES = (winter, survival, births)
