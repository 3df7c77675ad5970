"""Compiled programs kept on disk between cells.

A search compiles a hundred programs, which is most of its time, and those of another seed, or of a
row that starts from the same structure, are largely the same. What a method costs includes its
compilation all the same, see `spared`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache


@contextlib.contextmanager
def quickly() -> Iterator[None]:
    """What is compiled inside takes half the time, and may run slower: for what runs once."""
    with _options(jax_disable_most_optimizations=True):
        yield


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[dict[str, Any]]:
    """What is compiled inside is read from a folder, or written there.

    Args:
        folder: need not exist; processes may share it.

    Yields:
        The options of JAX that are in force.
    """
    options = {
        "jax_compilation_cache_dir": str(folder),
        # Operations outside of any program compile one by one, each longer than it takes to read.
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    try:
        with _options(**options):
            compilation_cache.reset_cache()  # else the folder of before stays in use
            yield options
    finally:
        compilation_cache.reset_cache()


@contextlib.contextmanager
def _options(**options: Any) -> Iterator[None]:
    """Options of JAX that are in force inside."""
    before = {name: jax.config.values[name] for name in options}

    def use(values: dict[str, Any]) -> None:
        for name, value in values.items():
            jax.config.update(name, value)

    use(options)
    try:
        yield
    finally:
        use(before)
