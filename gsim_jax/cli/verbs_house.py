"""Verbs about what is there: ``gsim report``, ``gsim doctor``, ``gsim bench``."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import os
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from gsim_jax.cli.reply import Options, Reply, verb

PACKAGES = ("gsim_jax", "jax", "jaxlib", "flax", "evosax", "optax", "numpyro", "numpy", "pandas")


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), metavar="RUN")
@verb
def report(options: Options, directory: Path) -> Reply:
    """Write the HTML page of a RUN.

    --out is the page, RUN/report.html by default.
    """
    from gsim_jax.report import read_run, write_report
    from gsim_jax.report.words import split_words, verdict

    page = write_report(directory, options.out)
    record = read_run(directory)
    winner = record.winner
    fields = {
        "page": page,
        "split": record.split,
        "best": winner.id if winner else None,
        "adequate": winner.adequate if winner else None,
    }

    def show(console: Console) -> None:
        console.print(Text(str(page)), soft_wrap=True)
        console.print(Text(verdict(winner) if winner else "No candidate was ranked yet."))
        console.print(Text(split_words(record.split), style="dim"))

    return Reply(fields, show)


@click.command()
@verb
def doctor(options: Options) -> Reply:
    """Say what this machine offers.

    Versions, devices, and which layers of the sandbox are active.
    """
    import jax

    from gsim_jax.report.tables import table

    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    devices = [{"platform": d.platform, "kind": d.device_kind, "id": d.id} for d in jax.devices()]
    layers, level, isolation = _isolation()
    fields = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": versions,
        "devices": devices,
        "sandbox": layers,
        "isolation": level,
    }

    def show(console: Console) -> None:
        words = table("", "")
        words.show_header = False
        words.add_row("Python", f"{fields['python']} on {fields['platform']}")
        words.add_row("cores", str(fields["cores"]))
        for device in devices:
            words.add_row("device", f"{device['platform']} {device['id']}: {device['kind']}")
        for name, version in versions.items():
            words.add_row(name, version)
        console.print(words)
        shown = table("layer", "active", "detail", title="Sandbox for model-written code")
        for layer in layers:
            active = Text("yes", style="green") if layer["active"] else Text("no", style="yellow")
            shown.add_row(layer["name"], active, Text(layer["detail"]))
        console.print(shown)
        console.print(Text(isolation))

    return Reply(fields, show)


def _isolation() -> tuple[list[dict[str, Any]], str | None, str]:
    """The layers of the sandbox, the level they amount to, and the same in a sentence."""
    from gsim_jax.simulator.sandbox import LEVELS, Sandbox, isolation_level
    from gsim_jax.task import SimulatorError

    with Sandbox() as sandbox:
        try:
            found = sandbox.status()
        except SimulatorError as error:
            words = f"Isolation: none; model-written files cannot run here ({error})"
            return [], None, words
    layers = [{"name": x.name, "active": x.active, "detail": x.detail} for x in found]
    level = isolation_level(found)
    missing = [layer.name for layer in found if not layer.active]
    words = f"Isolation: {level}, of {', '.join(LEVELS)} (strongest first)"
    words += f"; missing: {', '.join(missing)}" if missing else "; no layer is missing"
    return layers, level, words


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--names", is_flag=True, help="Only list the benchmarks, one a line.")
@verb
def bench(options: Options, name: str | None, arguments: tuple[str, ...], names: bool) -> Reply:
    """Run benchmark NAME, or list them.

    Benchmarks come with a checkout, not with the wheel. --out is where one writes its JSON. What
    ARGUMENTS one takes says: gsim bench NAME -- --help
    """
    found = _benchmarks()
    if names or name is None:
        words = "\n".join(found) if names else f"Benchmarks: {', '.join(found) or 'none here'}"
        return Reply(
            {"names": sorted(found)},
            lambda console: console.print(words, markup=False) if words else None,
        )
    if name not in found:
        known = f"one of {', '.join(found)}" if found else "a checkout with benchmarks/ in it"
        raise click.BadParameter(f"expected {known}, got {name!r}", param_hint="NAME")
    function = _benchmark(found[name])
    own: dict[str, Any] = {}
    if "arguments" in inspect.signature(function).parameters:
        own["arguments"] = arguments
    elif arguments:
        raise click.UsageError(f"benchmark {name} takes no arguments; got {' '.join(arguments)}")
    fields = function(seed=options.seed, out=options.out, **own)
    return Reply({"name": name, **fields})


def _benchmarks() -> dict[str, Path]:
    """Benchmarks by name: ``benchmarks/*.py`` beside the package, but for those with a _."""
    root = Path(__file__).resolve().parents[2]
    # In site-packages a folder of this name would be somebody else's.
    paths = sorted((root / "benchmarks").glob("*.py")) if (root / "Makefile").is_file() else []
    return {path.stem: path for path in paths if not path.stem.startswith("_")}


def _benchmark(path: Path) -> Callable[..., Mapping[str, Any]]:
    """``bench(*, seed, out[, arguments]) -> fields`` of a benchmark; it prints its own table."""
    root = str(path.parents[1])
    if root not in sys.path:  # helpers are imported as benchmarks._name
        sys.path.insert(0, root)
    module = importlib.import_module(f"benchmarks.{path.stem}")
    if module.__file__ is None or not path.samefile(module.__file__):
        raise ImportError(f"expected the package benchmarks of {root}, got {module.__file__}")
    return module.bench
