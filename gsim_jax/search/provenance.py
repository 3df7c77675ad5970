"""What a run rests on: the task's files and the versions of what ran."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from pathlib import Path


def task_digest(folder: Path) -> str:
    """Digest of the files that a task consists of; a benchmark's truth is none of the loop's."""
    digest = hashlib.blake2b(digest_size=16)
    # Runs may lie in the folder; what they write is no change of the task.
    runs = {path.parent for path in folder.rglob("run.json")}
    for path in sorted(folder.rglob("*")):
        if runs & {*path.parents}:
            continue
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(hashlib.blake2b(path.read_bytes()).digest())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on."""
    names = ("gsim_jax", "jax", "jaxlib", "evosax", "flax", "numpy", "openai")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
