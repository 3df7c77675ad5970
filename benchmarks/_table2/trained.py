"""Trained networks kept on disk: a row with noise has the very network of the row without."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._table2 import spared

_folder: ContextVar[Path | None] = ContextVar("_folder", default=None)


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[None]:
    """What is trained inside is kept in a folder, which need not exist; processes may share it."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def digest(*things: Any) -> str:
    """Digits by which equal pytrees of arrays and other plain things are known."""
    found = hashlib.blake2b(digest_size=12)
    for leaf in jax.tree.leaves(things):
        key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        array = np.asarray(jax.random.key_data(leaf) if key else leaf)
        found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
    return found.hexdigest()


def recalled(name: str, train: Callable[[], tuple[Any, float]]) -> tuple[Any, float]:
    """Trained weights and their loss: read where they are kept, made and kept where they are not.

    Args:
        name: which; see `digest`.
        train: makes them, a pytree of arrays.
    """
    folder = _folder.get()
    if folder is None:
        return train()
    path = folder / f"{name}.npz"
    begin = time.perf_counter()
    if path.is_file():
        with np.load(path) as file:
            leaves = [file[f"leaf{i}"] for i in range(len(file.files) - 2)]
            loss, took = float(file["loss"]), float(file["seconds"])
        spared.spare(took - (time.perf_counter() - begin))
        return leaves, loss
    before = spared.seconds()
    weights, loss = train()
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(weights)]
    took = time.perf_counter() - begin + spared.seconds() - before
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        named = {f"leaf{i}": leaf for i, leaf in enumerate(leaves)}
        np.savez(file, loss=loss, seconds=took, **named)
    os.replace(temporary, path)
    return leaves, loss
