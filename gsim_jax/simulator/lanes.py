"""The words of one lane: which 32 random bits each draw of a program receives.

word = f(lane key, t, site of the draw + index of the element): no key state is carried, so that
the same lane at two parameter values, scenarios or structures meets the same words (common random
numbers), and adding a submodule leaves the words of the others alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax import words

#: (function, ordinal, shape, words per draw, loop index) -> uint32[*shape] or [*shape, words]
WordSource = Callable[[str, int, tuple[int, ...], int, Any], jax.Array]

#: Step index of the draws that `initial` makes, apart from every t of a trajectory.
BEFORE = -1


def lane_words(
    lane_key: jax.Array,
    t: jax.Array | int,
    generator: Callable[..., jax.Array] = words.threefry,
) -> WordSource:
    """The words of one lane at one step.

    Args:
        lane_key: uint32[2], from `words.lane_keys`.
        t: step index, int32 scalar; `BEFORE` for the initial state.
        generator: `words.threefry` or `words.counter_hash`.

    Returns:
        `source(function, ordinal, shape, words_per_draw, loop)` giving uint32[*shape] or
        uint32[*shape, words_per_draw] for the draw number `ordinal` of `function` in iteration
        `loop` of the loops around it.
    """

    def source(
        function: str, ordinal: int, shape: tuple[int, ...], words_per_draw: int, loop: Any
    ) -> jax.Array:
        full = shape if words_per_draw == 1 else (*shape, words_per_draw)
        size = math.prod(full)
        element = np.arange(size, dtype=np.uint32).reshape(full)
        start = np.uint32(words.site_id(function, ordinal)) + jnp.asarray(
            loop, jnp.uint32
        ) * np.uint32(size)
        return generator(lane_key, jnp.asarray(t, jnp.int32), start + element)

    return source


@dataclass(frozen=True)
class Site:
    """A place where a simulator asks for words: a draw of a function, in `loops` turns of loops."""

    function: str
    ordinal: int
    shape: tuple[int, ...]
    words: int
    loops: int

    @property
    def size(self) -> int:
        """Words per lane and step."""
        return self.loops * math.prod(self.shape) * self.words


def step_sites(simulator: Any, run: Callable[[WordSource], Any]) -> tuple[Site, ...]:
    """The sites that one call of a simulator meets, found by tracing it with abstract words.

    Args:
        simulator: a simulator; a program's `draws` tell how often a site in a loop is met.
        run: calls the simulator with a word source.
    """
    turns = {(d.function, d.ordinal): d.loops for d in getattr(simulator, "draws", ())}
    found: dict[tuple[str, int], Site] = {}

    def source(
        function: str, ordinal: int, shape: tuple[int, ...], words_per_draw: int, loop: Any
    ) -> jax.Array:
        del loop
        key = (function, ordinal)
        found[key] = Site(function, ordinal, shape, words_per_draw, turns.get(key, 1))
        return jnp.zeros(shape if words_per_draw == 1 else (*shape, words_per_draw), jnp.uint32)

    jax.eval_shape(lambda: run(source))
    return tuple(found.values())


def draw_words(
    sites: Sequence[Site],
    lane_key: jax.Array,
    t: jax.Array,
    generator: Callable[..., jax.Array] = words.threefry,
) -> tuple[jax.Array, ...]:
    """All words of one lane at one step, one array per site (vmap over lanes and steps).

    Made ahead of a rollout, they are shared by all parameter values that run on the same lanes. One
    array per site: sites interleaved in one array would be read at a stride, without vector units.

    Returns:
        Per site uint32[loops, *shape(, words)]; without the first axis where loops is 1.
    """
    arrays = []
    for site in sites:
        full = site.shape if site.words == 1 else (*site.shape, site.words)
        full = full if site.loops == 1 else (site.loops, *full)
        counter = np.arange(site.size, dtype=np.uint32).reshape(full)
        start = np.uint32(words.site_id(site.function, site.ordinal))
        arrays.append(generator(lane_key, jnp.asarray(t, jnp.int32), start + counter))
    return tuple(arrays)


def given_words(sites: Sequence[Site], arrays: Sequence[jax.Array]) -> WordSource:
    """A word source that reads what `draw_words` made."""
    table = {
        (site.function, site.ordinal): (site, array)
        for site, array in zip(sites, arrays, strict=True)
    }

    def source(
        function: str, ordinal: int, shape: tuple[int, ...], words_per_draw: int, loop: Any
    ) -> jax.Array:
        del shape, words_per_draw
        site, array = table[function, ordinal]
        return array if site.loops == 1 else array[jnp.asarray(loop, jnp.int32)]

    return source
