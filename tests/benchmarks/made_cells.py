"""Cells that are quick to compute, in a module that other processes can import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks._table2.cells import Spec


def note(spec: Spec) -> Mapping[str, Any]:
    """Notes the call in a file; one method fails until a file says that it may not."""
    folder = Path(spec.settings["folder"])
    with (folder / "calls").open("a", encoding="utf-8") as file:
        file.write(f"{spec.method}-{spec.seed}\n")
    if spec.method == "fragile" and not (folder / "mended").exists():
        raise ArithmeticError("expected a number; got none\nsecond line")
    return {"status": "done", "value": spec.seed, "cores": len(os.sched_getaffinity(0))}


def note_or_die(spec: Spec) -> Mapping[str, Any]:
    """One method is the end of its process."""
    return die(spec) if spec.method == "deadly" else {**note(spec), "pid": os.getpid()}


def die(spec: Spec) -> Mapping[str, Any]:
    """Ends the process, as too little memory does."""
    os._exit(3)
