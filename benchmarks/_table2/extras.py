"""Libraries that only benchmarks use, the extra `bench`."""

from __future__ import annotations

import importlib.util

from gsim_jax.task import InputError, Problem


def need(module: str) -> None:
    """Makes sure that a library of the extra `bench` is there.

    Args:
        module: its import name.

    Raises:
        InputError: it is not installed.
    """
    if importlib.util.find_spec(module) is None:
        text = f"expected {module} to be installed: pip install 'gsim_jax[bench]'"
        raise InputError((Problem("missing-library", text),))
