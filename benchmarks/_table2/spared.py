"""What a cell is spared because another has done it: programs it compiled, networks it trained.

Clocks of costs add it, so that a method's cost is its own, whatever ran before it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax

#: What JAX tells of each program that it reads: seconds of compilation less those of reading.
_COMPILED = "/jax/compilation_cache/compile_time_saved_sec"


class _Account:
    """Seconds that this process was spared."""

    def __init__(self) -> None:
        self.seconds = 0.0
        jax.monitoring.register_event_duration_secs_listener(self._hear)

    def _hear(self, event: str, duration: float, **_: Any) -> None:
        if event == _COMPILED:
            self.seconds += duration


@lru_cache(maxsize=1)
def _account() -> _Account:
    return _Account()  # JAX has no way to stop listening: one for the life of the process


def seconds() -> float:
    """All that this process was spared since this was first asked."""
    return _account().seconds


def spare(seconds: float) -> None:
    """Something was read that had taken so many seconds more to make."""
    _account().seconds += seconds
