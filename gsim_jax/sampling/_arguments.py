"""What every draw does with its arguments first: types, shapes, exact products."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

compiled = partial(jax.jit, inline=True)
"""Decorator of draws and densities: compiled where called outside of jit, and traced once for
many draw sites of one shape. Inlined: inside jit nothing is left of it."""

LARGEST = float(2**31 - 128)
"""The largest float32 below 2^31."""


def real(x: jax.Array | float) -> jax.Array:
    """A parameter as float32."""
    return jnp.asarray(x).astype(jnp.float32)


def count(n: jax.Array | int | float) -> tuple[jax.Array, jax.Array]:
    """A count as int32, and whether it is one: integral, 0 <= n < 2^31.

    Args:
        n: int32, or float32 that holds integers.

    Returns:
        n as int32 (0 where a float is not a count), and bool.
    """
    n = jnp.asarray(n)
    if jnp.issubdtype(n.dtype, jnp.integer) or n.dtype == jnp.bool_:
        n = n.astype(jnp.int32)
        return n, n >= 0
    n = n.astype(jnp.float32)
    valid = (n >= 0) & (n <= LARGEST) & (n == jnp.floor(n))
    return jnp.where(valid, n, 0.0).astype(jnp.int32), valid


def broadcast(*arrays: jax.Array) -> list[jax.Array]:
    """Broadcast explicitly, which also holds where implicit rank promotion is an error."""
    return list(jnp.broadcast_arrays(*arrays))


def exact_product(n: jax.Array, p: jax.Array) -> tuple[jax.Array, jax.Array]:
    """n p for a count n below 2^24 and p in [0, 1], without the rounding of a float32 product.

    Products of 12-bit halves are exact, and stay exact when a compiler contracts them with
    the subtractions that follow.

    Returns:
        whole, part: float32, whole integral, part small, whole + part = n p.
    """
    bits = jax.lax.bitcast_convert_type(p, jnp.uint32) & np.uint32(0xFFFFF000)
    p_high = jax.lax.bitcast_convert_type(bits, jnp.float32)
    a = (n & ~4095).astype(jnp.float32) * p_high
    b = (n & 4095).astype(jnp.float32) * p_high
    whole_a, whole_b = jnp.floor(a), jnp.floor(b)
    part = (a - whole_a) + (b - whole_b) + n.astype(jnp.float32) * (p - p_high)
    return whole_a + whole_b, part
