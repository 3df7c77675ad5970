"""Benchmarks that are made of experiments: which ones are asked for, and where results go."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from gsim_jax.cli.reply import dumps, plain

Fields = dict[str, Any]


def chosen(asked: str | None, known: Collection[str]) -> list[str]:
    """The names asked for, with commas between; all that are known for None.

    Raises:
        click.BadParameter: a name is unknown.
    """
    names = list(known) if asked is None else asked.split(",")
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise click.BadParameter(f"expected some of {', '.join(known)}; got {unknown}")
    return names


def run_each(names: list[str], run: Callable[[str], Fields], out: Path | None) -> Fields:
    """Runs experiments one after the other; prints and writes each as soon as it is done.

    Args:
        names: of the experiments.
        run: gives the results of one.
        out: where the JSON goes; what is there from other experiments is kept.

    Returns:
        `experiments`, results by name, each with its `wall_s`.
    """
    console = Console(stderr=True)
    results = json.loads(out.read_text(encoding="utf-8")) if out and out.is_file() else {}
    for name in names:
        begin = time.perf_counter()
        found = run(name)
        results[name] = plain(found | {"wall_s": time.perf_counter() - begin})
        console.print(f"{name}: {dumps(results[name])}", markup=False, highlight=False)
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return {"experiments": results}
