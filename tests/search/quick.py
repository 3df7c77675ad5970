"""What tests of whole runs share: small settings, one compilation per program, folders compared."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from benchmarks._table2.compiled import kept
from gsim_jax.search import RunResult
from tests.search.town import make_small


@contextlib.contextmanager
def quick(folder: Path) -> Iterator[dict[str, str]]:
    """Small settings, and each program compiled once; gives the environment for other processes.

    Args:
        folder: Where compiled programs are kept.
    """
    with pytest.MonkeyPatch.context() as patch, kept(folder) as options:
        make_small(patch.setattr)
        yield {name.upper(): str(value) for name, value in options.items()}


def events(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def contents(folder: Path) -> dict[str, Any]:
    """Everything in a run folder but times, paths and the run's own settings."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name == "run.json":
            continue
        if path.suffix == ".nc":
            with xr.open_dataset(path) as data:
                found[name] = data.load().to_dict()
        elif path.name == "diagnosis.json":
            diagnosis = json.loads(path.read_text(encoding="utf-8"))
            found[name] = {k: v for k, v in diagnosis.items() if k != "times"}
        else:
            found[name] = path.read_bytes()
    return found


def same(result: RunResult, other: RunResult) -> bool:
    """Whether two runs ended alike, wherever they lie."""
    return (result.best, result.rounds, result.source, result.unexplained) == (
        other.best,
        other.rounds,
        other.source,
        other.unexplained,
    )
