"""Streams of words for rollouts: pseudo-random, antithetic or Sobol, all functions of numbers.

A stream answers the same question for every lane: which word does this draw get at this step? The
answer depends on the key of the run, the number of the lane, the step and the draw, and on nothing
else, so that lanes come out the same however they are cut into chunks or spread over devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax import words
from gsim_jax.simulator.lanes import BEFORE, Site, WordSource, lane_words
from gsim_jax.task import InputError, Problem

_GENERATORS = {"threefry": words.threefry, "hash": words.counter_hash}


class Lane(NamedTuple):
    """What tells a lane's words apart: scalars here, under `vmap`; [lanes] outside.

    Attributes:
        k0: first word of the lane's key, uint32.
        k1: second word of the lane's key, uint32. Two arrays and not one of pairs: pairs would be
            read at a stride of two, without vector units.
        mirror: all ones where the lane is an antithetic twin, else 0; uint32.
        point: number of the lane's point in a Sobol sequence, uint32.
    """

    k0: jax.Array
    k1: jax.Array
    mirror: jax.Array
    point: jax.Array

    def seeming_new(self, t: jax.Array) -> Lane:
        """The same, for one step of a loop: a compiler must think that keys differ between steps.

        It would else take what the generator makes of keys alone out of the loop, as an array for
        each of a dozen subkeys, every one of them by a kernel of its own that starts from the
        lanes' numbers: a third of what a small rollout takes to compile.

        Args:
            t: step, int32, at least 0.
        """
        nothing = (t >> 31).astype(jnp.uint32)
        return self._replace(k0=self.k0 ^ nothing, k1=self.k1 ^ nothing)


@dataclass(frozen=True)
class Stream:
    """Which words the lanes of a rollout get.

    Attributes:
        kind: ``"threefry"`` (the default generator), ``"hash"`` (a third of the price, not a
            cipher) or ``"sobol"`` (a randomly shifted Sobol sequence over lanes: averages over
            lanes of one call converge faster; lanes are not independent of one another).
        antithetic: lanes 2k and 2k + 1 share their words, mirrored: u in the one is 1 - u in the
            other. Averages of what is monotone in the draws converge faster; pairs, not lanes, are
            independent.
    """

    kind: str = "threefry"
    antithetic: bool = False

    def __post_init__(self) -> None:
        if self.kind not in (*_GENERATORS, "sobol"):
            text = f"words: expected 'threefry', 'hash' or 'sobol'; got {self.kind!r}"
            raise InputError((Problem("words", text),))

    def lanes(self, key: jax.Array, numbers: jax.Array) -> Lane:
        """The lanes' keys.

        Args:
            key: uint32[2], key of the run.
            numbers: uint32[lanes].
        """
        numbers = jnp.asarray(numbers).astype(jnp.uint32)
        mirror = jnp.zeros_like(numbers)
        if self.antithetic:
            mirror = jnp.uint32(0) - (numbers & np.uint32(1))
            numbers = numbers >> np.uint32(1)
        k0, k1 = words.threefry_2x32(key[0], key[1], jnp.zeros_like(numbers), numbers)
        return Lane(k0, k1, mirror, numbers)

    def rows(
        self,
        key: jax.Array,
        before: tuple[Site, ...],
        sites: tuple[Site, ...],
        steps: int,
        points: int,
    ) -> tuple[Any, Any]:
        """What the words of `initial` and of every step share among lanes: Sobol directions.

        Args:
            key: uint32[2], key of the run.
            before: draws of `initial`.
            sites: draws of one step.
            steps: number of steps.
            points: lanes are numbered below this.

        Returns:
            For `initial`, and for the steps with a leading axis of `steps`; () without Sobol words.

        Raises:
            InputError: the sequence has fewer dimensions than a lane takes words.
        """
        if self.kind != "sobol":
            return (), ()
        first, each = sum(s.size for s in before), sum(s.size for s in sites)
        wanted = first + steps * each
        try:
            directions = words.sobol_directions(max(wanted, 1), points)
        except ValueError as error:
            text = (
                f"words: a lane takes {wanted} words ({first} at its start, {each} in each of "
                f"{steps} steps); {error}"
            )
            raise InputError((Problem("words", text),)) from error
        start = _Row(jnp.asarray(directions[:first]), _shifts(key, before, jnp.int32(BEFORE)))
        tables = jnp.asarray(directions[first:wanted].reshape(steps, each, directions.shape[1]))
        shifts = jax.vmap(lambda t: _shifts(key, sites, t))(jnp.arange(steps, dtype=jnp.int32))
        return start, _Row(tables, shifts)

    def source(
        self, lane: Lane, t: jax.Array | int, sites: tuple[Site, ...], row: Any
    ) -> WordSource:
        """The words of one lane at one step.

        Args:
            lane: scalars, from `lanes`.
            t: step, int32 scalar.
            sites: the draws that will be made (read for Sobol words only).
            row: of `rows`, this step's.
        """
        if self.kind == "sobol":
            plain = _sobol_source(lane.point, sites, row)
        else:
            plain = lane_words((lane.k0, lane.k1), t, _GENERATORS[self.kind])  # type: ignore[arg-type]
        return _mirrored(plain, lane.mirror) if self.antithetic else plain


class _Row(NamedTuple):
    """Sobol words of one step: uint32[size, columns] and uint32[size]."""

    directions: jax.Array
    shifts: jax.Array


def _shifts(key: jax.Array, sites: tuple[Site, ...], t: jax.Array) -> jax.Array:
    """One random word per dimension, shared by all lanes, uint32[size]."""
    parts = [np.zeros(0, np.uint32)]
    for site in sites:
        start = np.uint32(words.site_id(site.function, site.ordinal))
        parts.append(start + np.arange(site.size, dtype=np.uint32))
    # The key itself is that of no lane.
    return words.threefry(key, t, jnp.asarray(np.concatenate(parts)))


def _sobol_source(point: jax.Array, sites: tuple[Site, ...], row: _Row) -> WordSource:
    starts, at = {}, 0
    for site in sites:
        starts[site.function, site.ordinal] = (at, site.loops)
        at += site.size

    def source(
        function: str, ordinal: int, shape: tuple[int, ...], words_per_draw: int, loop: Any
    ) -> jax.Array:
        full = shape if words_per_draw == 1 else (*shape, words_per_draw)
        size = int(np.prod(full, dtype=int))
        start, loops = starts[function, ordinal]
        if loops == 1:
            directions, shift = (
                row.directions[start : start + size],
                row.shifts[start : start + size],
            )
        else:
            begin = start + jnp.asarray(loop, jnp.int32) * size
            directions = jax.lax.dynamic_slice_in_dim(row.directions, begin, size)
            shift = jax.lax.dynamic_slice_in_dim(row.shifts, begin, size)
        return words.sobol(directions, point, shift).reshape(full)

    return source


def _mirrored(source: WordSource, mirror: jax.Array) -> WordSource:
    def mirrored(*arguments: Any) -> jax.Array:
        return source(*arguments) ^ mirror

    return mirrored
