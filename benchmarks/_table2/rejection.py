"""Counts by rejection sampling, as `jax.random` does: what coupled draws are compared with."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.sampling import INVALID, LAWS
from gsim_jax.simulator.program import Program
from gsim_jax.task import Task


def _keys(bits: jax.Array) -> jax.Array:
    """A key per word."""
    words = jnp.stack([bits, jnp.full_like(bits, np.uint32(0x9E3779B9))], axis=-1)
    return jax.random.wrap_key_data(words, impl="threefry2x32")


def binomial(bits: jax.Array, n: jax.Array, p: jax.Array) -> jax.Array:
    """`binomial_from_bits` by rejection; the words are only seeds."""
    n, p = (jnp.broadcast_to(jnp.asarray(x, jnp.float32), bits.shape) for x in (n, p))
    drawn = jnp.vectorize(jax.random.binomial, signature="(),(),()->()")(_keys(bits), n, p)
    return _whole(drawn)


def bernoulli(bits: jax.Array, p: jax.Array) -> jax.Array:
    """`bernoulli_from_bits` as a comparison with a uniform draw."""
    p = jnp.broadcast_to(jnp.asarray(p, jnp.float32), bits.shape)
    drawn = jnp.vectorize(jax.random.bernoulli, signature="(),()->()")(_keys(bits), p)
    return jnp.where((p >= 0) & (p <= 1), drawn.astype(jnp.int32), INVALID)


def poisson(bits: jax.Array, rate: jax.Array) -> jax.Array:
    """`poisson_from_bits` by rejection."""
    rate = jnp.broadcast_to(jnp.asarray(rate, jnp.float32), bits.shape)
    drawn = jnp.vectorize(jax.random.poisson, signature="(),()->()")(_keys(bits), rate)
    return jnp.where(rate >= 0, drawn.astype(jnp.int32), INVALID)


def _whole(drawn: jax.Array) -> jax.Array:
    sound = jnp.isfinite(drawn)
    return jnp.where(sound, jnp.where(sound, drawn, 0).astype(jnp.int32), INVALID)


@contextlib.contextmanager
def by_rejection() -> Iterator[None]:
    """Programs that are traced inside draw their counts by rejection."""
    before = dict(LAWS)
    others = {"binomial": binomial, "bernoulli": bernoulli, "poisson": poisson}
    LAWS.update({name: replace(LAWS[name], from_bits=own) for name, own in others.items()})
    try:
        yield
    finally:
        LAWS.update(before)


def marked(program: Program, task: Task) -> Program:
    """The same program under another doc: what was compiled of it before is not met again."""
    document = json.loads(program.to_bytes())
    document["doc"] = f"{program.doc} Counts by rejection."
    return Program.from_document(document, task.schema.signature())
