"""Random words: 32 bits from (lane, step, site), without any key state.

A simulation needs one 32-bit word per draw. Carrying and splitting PRNG keys through a scan
costs half of a rollout's speed, so a word is a pure function of four numbers instead: the
key of the lane, the time step, the site of the draw in the program and, inside loops, the
index of the draw. Equal numbers give equal words whatever the chunking, the device or the
parameters, which is what makes common random numbers work across scenarios and structures.

Two generators are offered. ``threefry`` is the default: the 20-round block cipher behind
JAX's own keys, written as plain ``uint32`` operations, because the form in ``jax.random``
lowers to a while loop on some backends and then neither fuses nor spreads over cores.
``counter_hash`` is about a third of the price and passes the statistical tests in
``tests/sampling/test_words.py``, but it is a mixing function, not a cipher.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

__all__ = [
    "antithetic",
    "counter_hash",
    "draw_words",
    "lane_keys",
    "named_words",
    "site_id",
    "sobol",
    "sobol_directions",
    "threefry",
    "threefry_2x32",
]

Generator = Callable[[jax.Array, jax.Array | int, jax.Array], jax.Array]
"""(lane_key, t, counter) -> words: ``threefry`` or ``counter_hash``."""

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_SEPARATE_WORDS = 8  # beyond it, the program would grow by a generator per word
_PARITY = np.uint32(0x1BD11BDA)


def _rotate_left(x: jax.Array, distance: int) -> jax.Array:
    return (x << np.uint32(distance)) | (x >> np.uint32(32 - distance))


def threefry_2x32(
    k0: jax.Array, k1: jax.Array, x0: jax.Array, x1: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """One Threefry-2x32 block of 20 rounds, unrolled (Salmon et al., SC 2011, section 4.2).

    Equals ``jax.extend.random.threefry_2x32`` bit for bit, without its loop.

    Args:
        k0: first key word, uint32.
        k1: second key word, uint32.
        x0: first counter word, uint32.
        x1: second counter word, uint32. All four broadcast.

    Returns:
        The two output words, uint32, of the broadcast shape.
    """
    schedule = (k0, k1, k0 ^ k1 ^ _PARITY)
    x0, x1 = x0 + schedule[0], x1 + schedule[1]
    for group in range(5):
        for distance in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = _rotate_left(x1, distance) ^ x0
        x0 = x0 + schedule[(group + 1) % 3]
        x1 = x1 + (schedule[(group + 2) % 3] + np.uint32(group + 1))
    return x0, x1


def lane_keys(key: jax.Array, lanes: jax.Array) -> jax.Array:
    """Keys of lanes: the threefry block of each lane's number under ``key``.

    Args:
        key: uint32[2], key data of the run (``jax.random.key_data`` of a threefry key).
        lanes: uint32[n], numbers of the lanes. A lane's key depends on its number only, not
            on how lanes are grouped.

    Returns:
        uint32[n, 2].
    """
    lanes = jnp.asarray(lanes).astype(jnp.uint32)
    first, second = threefry_2x32(key[0], key[1], jnp.zeros_like(lanes), lanes)
    return jnp.stack([first, second], axis=-1)


def site_id(function: str, ordinal: int) -> int:
    """The counter at which the words of one draw site start.

    Args:
        function: name of the function that holds the draw, such as a submodule's.
        ordinal: position of the draw among the draws of that function.

    Returns:
        A 32-bit number: the first four bytes of BLAKE2b of ``"{function}/{ordinal}"``. It
        depends on this site alone, so adding a submodule leaves the words of others alone.
    """
    digest = hashlib.blake2b(f"{function}/{ordinal}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


def threefry(lane_key: jax.Array, t: jax.Array | int, counter: jax.Array) -> jax.Array:
    """Words of one lane at one step: the first output of the threefry block (t, counter).

    Args:
        lane_key: uint32[2], the lane's key.
        t: step, int32 scalar.
        counter: uint32[...], site plus the index of the draw.

    Returns:
        uint32 of the shape of ``counter``.
    """
    counter = jnp.asarray(counter).astype(jnp.uint32)
    step = jnp.asarray(t).astype(jnp.uint32)
    return threefry_2x32(lane_key[0], lane_key[1], step, counter)[0]


def _mix(x: jax.Array) -> jax.Array:
    """Two-multiply 32-bit finaliser with low bias (C. Wellons, "lowbias32", 2018)."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def counter_hash(lane_key: jax.Array, t: jax.Array | int, counter: jax.Array) -> jax.Array:
    """The faster words: two rounds of a 32-bit mixing function over key, step and counter.

    Args:
        lane_key: uint32[2], the lane's key.
        t: step, int32 scalar.
        counter: uint32[...], site plus the index of the draw.

    Returns:
        uint32 of the shape of ``counter``.
    """
    counter = jnp.asarray(counter).astype(jnp.uint32)
    step = jnp.asarray(t).astype(jnp.uint32)
    inner = _mix(lane_key[0] ^ (step * np.uint32(0x9E3779B9)))
    return _mix((inner + lane_key[1]) ^ _mix(counter + lane_key[0]))


def draw_words(
    generator: Generator,
    lane_key: jax.Array,
    t: jax.Array | int,
    start: jax.Array | int,
    shape: tuple[int, ...],
    count: int = 1,
) -> jax.Array:
    """Words of one draw site, as the laws of ``gsim_jax.sampling`` take them.

    The words of one draw come from separate calls that are stacked: sliced out of one array
    of counters they would sit at a stride of ``count``, and XLA's CPU backend then gives up
    vectorising the whole draw (ten times slower).

    Args:
        generator: ``threefry`` or ``counter_hash``.
        lane_key: uint32[2].
        t: step.
        start: counter of the first word, ``site_id`` plus the loop's share.
        shape: shape of the draws.
        count: words per draw.

    Returns:
        uint32[*shape] for one word per draw, else uint32[*shape, count]. Word j of draw i has
        counter ``start + i * count + j``.
    """
    start = jnp.asarray(start).astype(jnp.uint32)
    index = np.arange(math.prod(shape) * count, dtype=np.uint32).reshape(*shape, count)
    if count == 1:
        return generator(lane_key, t, start + index[..., 0])
    if count > _SEPARATE_WORDS:
        return generator(lane_key, t, start + index)
    parts = [generator(lane_key, t, start + index[..., j]) for j in range(count)]
    return jnp.stack(parts, axis=-1)


def antithetic(bits: jax.Array) -> jax.Array:
    """The mirrored words: u becomes 1 - u exactly, for antithetic pairs of lanes."""
    return ~bits


def sobol_directions(dimensions: int, points: int = 2**32) -> np.ndarray:
    """Direction numbers of a Sobol sequence (Joe and Kuo 2008, from scipy's table).

    Args:
        dimensions: one per word that a lane takes, such as steps times sites; at most 21201.
        points: how many points (lanes) will be asked for; fewer take a shorter program.

    Returns:
        uint32[dimensions, columns], on the host.

    Raises:
        ValueError: more dimensions than the table has, or no points.
    """
    from scipy.stats import qmc  # half a second that only Sobol words need

    if not 1 <= dimensions <= qmc.Sobol.MAXDIM or not 1 <= points <= 2**32:
        raise ValueError(
            f"sobol_directions: expected 1 to {qmc.Sobol.MAXDIM} dimensions and 1 to 2**32 "
            f"points, got {dimensions} and {points}; use threefry words for longer horizons"
        )
    columns = max((points - 1).bit_length(), 1)
    engine = qmc.Sobol(dimensions, scramble=False, bits=32)
    return np.asarray(engine._sv, dtype=np.uint32)[:, :columns]


def sobol(directions: jax.Array, point: jax.Array | int, shift: jax.Array | int) -> jax.Array:
    """A word of a digitally shifted Sobol sequence: lanes fill the cube of a run's words evenly.

    Averages over lanes of early steps then have far less variance (of I_t of an SIR, 300 times
    at step 5, 6 times at step 60). Each word alone is uniform; the words of one lane are not
    independent of those of others, which is the point.

    Args:
        directions: uint32[..., columns], the rows of ``sobol_directions`` for the dimensions.
        point: number of the lane, uint32 scalar, below 2^columns.
        shift: uint32[...], a random word per dimension that all lanes share, such as
            ``threefry(key of the run, t, site)``. One shift gives one unbiased replicate.

    Returns:
        uint32[...].
    """
    directions = jnp.asarray(directions, jnp.uint32)
    point = jnp.asarray(point).astype(jnp.uint32)
    gray = point ^ (point >> np.uint32(1))
    word = jnp.asarray(shift).astype(jnp.uint32)
    for i in range(directions.shape[-1]):
        chosen = (gray >> np.uint32(i)) & np.uint32(1)
        word = word ^ (directions[..., i] * chosen)
    return word


def named_words(seed: int, stage: str, number: int = 0) -> np.ndarray:
    """The key of a named stage of a run: equal names give equal words, whatever ran before.

    Args:
        seed: the run's seed.
        stage: a name.
        number: counts the calls of a stage.

    Returns:
        uint32[2].
    """
    sequence = np.random.SeedSequence([seed, zlib.crc32(stage.encode()), number])
    return sequence.generate_state(2, np.uint32)
