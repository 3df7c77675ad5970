"""Cutting lanes into chunks that fit into memory, and spreading a chunk over devices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

#: Lanes of a chunk per device at most: more gain nothing, and what is computed meanwhile grows.
MOST = 1 << 17
#: Lanes of a chunk per device are an odd multiple of this. XLA's CPU backend cuts loops into one
#: part per core and gives up vector units where a length does not divide: 10,001 lanes ran eight
#: times slower than 10,008. A large power of two is bad in another way: the values of a lane, so
#: many lanes apart, then compete for the same cache lines (1,024 lanes of a hospital ran at three
#: quarters of the speed of 1,040).
GRAIN = 16


def plan_chunks(lanes: int, bytes_per_lane: int, memory: int, devices: int) -> int:
    """Lanes per chunk: as few chunks as memory allows, all of one size.

    Args:
        lanes: how many lanes there are.
        bytes_per_lane: memory that one takes on its device.
        memory: bytes that a chunk may take, over all devices.
        devices: number of devices.

    Returns:
        A multiple of `devices`; per device an odd multiple of `GRAIN`, but for few lanes; at least
        one lane per device, whatever the memory.
    """
    fit = max(min(memory // max(bytes_per_lane, 1), MOST * devices), 1)
    chunks = -(-lanes // fit)
    size = -(-lanes // (chunks * devices))  # per device
    if size < 4 * GRAIN:  # few lanes are cheap whatever their number
        return size * devices
    parts = -(-size // GRAIN)
    return (parts + 1 - parts % 2) * GRAIN * devices


@dataclass(frozen=True, eq=False)
class Chunk:
    """Lanes start .. stop - 1, filled up to `size` by repeating the last one."""

    start: int
    stop: int
    size: int

    @classmethod
    def all(cls, lanes: int, size: int) -> Iterator[Chunk]:
        """The chunks of all lanes, in order."""
        for start in range(0, lanes, size):
            yield cls(start, min(start + size, lanes), size)

    @property
    def exists(self) -> np.ndarray:
        """Which of the lanes are asked for, bool[size]."""
        return np.arange(self.size) < self.stop - self.start

    def cut(self, values: Any) -> Any:
        """These lanes' values [size, ...] of values [lanes, ...]."""
        part = values[self.start : self.stop]
        missing = self.size - len(part)
        if not missing:
            return part
        repeated = np.broadcast_to(np.asarray(part[-1:]), (missing, *part.shape[1:]))
        return np.concatenate([np.asarray(part), repeated])

    def trim(self, values: np.ndarray, axis: int | None) -> np.ndarray:
        """Without the lanes that only filled up; `axis` is that of lanes, None if there is none."""
        if axis is None or self.stop - self.start == self.size:
            return values
        return values[(slice(None),) * axis + (slice(0, self.stop - self.start),)]


@dataclass(frozen=True)
class Spread:
    """Where the lanes of a chunk live.

    Attributes:
        mesh: devices, all axes of which share the lanes; None leaves it to JAX.
    """

    mesh: Mesh | None

    @property
    def devices(self) -> int:
        """Number of devices that share the lanes."""
        return 1 if self.mesh is None else self.mesh.size

    def put(self, values: Any) -> Any:
        """Values [lanes, ...] on the devices, lanes apart; in several processes, each its own.

        Without a mesh they stay where they are: a compiled function takes arrays of the host faster
        than one call per array would hand them over.
        """
        if self.mesh is None:
            return values
        sharding = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))
        host = np.asarray(values)
        return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])

    def get(self, values: jax.Array) -> np.ndarray:
        """The whole array on the host, in every process."""
        if self.mesh is not None and not values.is_fully_addressable:
            from jax.experimental import multihost_utils

            return np.asarray(multihost_utils.process_allgather(values, tiled=True))
        return np.asarray(values)
