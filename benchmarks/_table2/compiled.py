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
def kept(folder: Path, least: float = 0.05) -> Iterator[dict[str, Any]]:
    """What is compiled inside is read from a folder, or written there.

    Args:
        folder: need not exist; processes may share it.
        least: seconds; what compiles faster is not kept.

    Yields:
        The options of JAX that are in force.
    """
    options = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": least,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in options}

    def use(values: dict[str, Any]) -> None:
        for name, value in values.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()  # else the folder of before stays in use

    use(options)
    try:
        yield options
    finally:
        use(before)
