"""A small trusted program that the warm process traces once, so that nothing loads later.

What JAX imports on first use is then there before a child is forked: programs trace faster, and
trace at all where a child may open no file. It creates no array, so no backend starts.
"""

from __future__ import annotations

from typing import Any

SIGNATURE: dict[str, Any] = {
    "states": {
        "A": {"kind": "count", "dtype": "int32", "shape": [], "min": 0, "max": None},
        "B": {"kind": "real", "dtype": "float32", "shape": [3], "min": None, "max": None},
    },
    "inputs": {"t": {"dtype": "int32", "shape": []}, "u": {"dtype": "float32", "shape": []}},
}

SOURCE = '''"""A counter and a vector."""
PARAMS = {
    "grow": {"rate": LogUniform(0.1, 10.0, guess=1.0, unit="1/day", doc="rate")},
    "move": {"weights": Normal(0.0, 1.0, shape=(3,), guess=0.0, unit="1", doc="weights")},
}
LATENT = {"E": State("count", min=0)}

def initial(observed, seen, params, key):
    return {"A": observed["A"], "B": observed["B"], "E": jnp.int32(0)}

def grow(state, inputs, params, key):
    first, second = split(key, 2)
    season = 1 + 0.1 * jnp.sin(2 * jnp.pi * inputs["t"] / 7)
    born = poisson(first, params["rate"] * season)
    gone = binomial(second, state["A"], jnp.clip(inputs["u"], 0.0, 1.0))
    return {"born": born, "gone": gone}

def move(state, inputs, params, key):
    def add(total, x):
        return total + x, jnp.where(x > 0, total, x)
    total, steps = lax.scan(add, 0.0, state["B"])
    order = jnp.argsort(state["B"])
    near = state["B"][order] @ jnp.eye(3) + jnp.cumsum(params["weights"])
    return {"shift": near.at[0].set(total), "noise": normal(key, 0.0, 1.0, shape=(3,)) + steps}

def couple(state, inputs, outputs, params, key):
    a = jnp.maximum(state["A"] + outputs["born"] - outputs["gone"], 0)
    b = jnp.concatenate([outputs["shift"][:1], outputs["noise"][1:]]).astype(jnp.float32)
    return {"A": a, "B": b, "E": state["E"] + 1}

SUBMODULES = (grow, move)
'''
