"""``gsim bench whatif``: what-if answers of a fitted simulator against those of the truth.

The structure of each truth is calibrated on its training data by the evolution strategy; then both
are asked what never happened in the data: forty lockdowns, a policy for hospitals, a map of
resources, longer lead times. Beside that: how fast a sweep is, how often it compiles, how much
memory ten million lanes take, what common random numbers save, and whether the stated probability
of being the best policy is the share in which it is.

    gsim bench whatif [-- --only lockdown,speed --seeds 20]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import _whatif_experiments as experiments
from benchmarks import _whatif_pictures as pictures
from benchmarks import _whatif_probability as probability
from benchmarks import _whatif_worlds as worlds
from gsim_jax.cli.reply import dumps, plain
from gsim_jax.report.tables import table
from gsim_jax.simulator.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PARTS = ("lockdown", "coupling", "hospital", "supply", "speed", "probability")


@click.command(name="gsim bench whatif", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", default=",".join(PARTS), show_default=True, help="With commas between.")
@click.option("--seeds", type=click.IntRange(1), default=20, show_default=True,
              help="Worlds over which stated probabilities are checked.")  # fmt: skip
@click.option("--lanes", type=click.IntRange(100_000), default=10_000_000, show_default=True,
              help="Lanes of the sweep whose memory is measured.")  # fmt: skip
def _options(**options: Any) -> dict[str, Any]:
    return options


def bench(*, seed: int, out: Path | None, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Runs the experiments.

    Args:
        seed: of calibrations.
        out: where the JSON goes, by default benchmarks/results/whatif.json; pictures go beside it.
        arguments: see ``--help``.

    Returns:
        The figures by part.
    """
    options = _options(list(arguments), standalone_mode=False)
    if not isinstance(options, dict):  # --help
        return {}
    parts = [part.strip() for part in options["only"].split(",")]
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise click.BadParameter(f"expected parts out of {', '.join(PARTS)}; got {unknown}")
    out = out or RESULTS / "whatif.json"
    found: dict[str, Any] = {}
    if out.is_file() and len(parts) < len(PARTS):  # the other parts stay as they are
        found = json.loads(out.read_text(encoding="utf-8"))
    with Sandbox() as sandbox:
        for part in parts:
            begin = time.process_time()
            found[part] = _PARTS[part](sandbox, seed, options, out.parent)
            found[part]["cpu_s"] = time.process_time() - begin
            _write(out, found)
    _show(found)
    return found


def _write(out: Path, found: Mapping[str, Any]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(dumps(plain(found)) + "\n", encoding="utf-8")


def _fitted(world: worlds.World) -> dict[str, Any]:
    return {"fitted": world.parameters, "calibration_cpu_s": world.seconds}


def _lockdown(sandbox: Sandbox, seed: int, options: Any, folder: Path) -> dict[str, Any]:
    world = worlds.world("covid19", sandbox, seed)
    figures, (truth, fitted) = experiments.lockdown(world)
    pictures.lockdown(truth, fitted, folder / "whatif_lockdown.png")
    return figures | _fitted(world)


def _coupling(sandbox: Sandbox, seed: int, options: Any, folder: Path) -> dict[str, Any]:
    task, truth = worlds.load("covid19", sandbox)
    return experiments.coupling(worlds.World(task, truth, truth, {}, 0.0))


def _hospital(sandbox: Sandbox, seed: int, options: Any, folder: Path) -> dict[str, Any]:
    world = worlds.world("hospital_surge", sandbox, seed, attempts=2)
    figures, choices = experiments.hospital(world)
    pictures.hospital(*choices, folder / "whatif_hospital.png")
    return figures | _fitted(world)


def _supply(sandbox: Sandbox, seed: int, options: Any, folder: Path) -> dict[str, Any]:
    world = worlds.world("supply_chain", sandbox, seed)
    figures, maps = experiments.supply_map(world)
    pictures.supply(maps, figures["extras"], figures["leads"], folder / "whatif_supply.png")
    later, curves = experiments.lead_times(world)
    pictures.backlogs(curves, folder / "whatif_lead_times.png")
    return {"map": figures, "lead_times": later} | _fitted(world)


def _speed(sandbox: Sandbox, seed: int, options: Any, folder: Path) -> dict[str, Any]:
    _, truth = worlds.load("covid19", sandbox)
    simulator: Any = truth.simulator
    asked = {"program": simulator.to_bytes().decode(), "scenarios": 1000, "turns": 3}
    sizes = {"scenarios": 10, "lanes": options["lanes"], "memory": 256 << 20}
    return {
        "sweep": _process({**asked, "mode": "speed"}),
        "memory": [
            _process({**asked, **sizes, "mode": "memory", "keep": keep})
            for keep in ("moments", "quantiles")
        ],
    }


def _process(asked: Mapping[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks._whatif_speed", json.dumps(asked)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the measurement failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _probability(sandbox: Sandbox, seed: int, options: Any, folder: Path) -> dict[str, Any]:
    return {
        "exact_posterior": probability.epidemics(sandbox, options["seeds"]),
        "calibrated": probability.cities(sandbox, options["seeds"]),
    }


_PARTS: Mapping[str, Callable[[Sandbox, int, Any, Path], dict[str, Any]]] = {
    "lockdown": _lockdown,
    "coupling": _coupling,
    "hospital": _hospital,
    "supply": _supply,
    "speed": _speed,
    "probability": _probability,
}


def _show(found: Mapping[str, Any]) -> None:
    shown = table("part", "figure", "value", numeric=("value",))
    for part, names in _SHOWN.items():
        for name in names:
            value: Any = found.get(part)
            for key in name.split("/"):
                value = value.get(key) if isinstance(value, Mapping) else None
            if value is not None:
                shown.add_row(
                    part, name, f"{value:.4g}" if isinstance(value, float) else str(value)
                )
    Console(stderr=True).print(shown)


_SHOWN: Mapping[str, tuple[str, ...]] = {
    "lockdown": ("worst_mean_error", "coverage", "coverage_ties_broken"),
    "coupling": ("least", "most", "little_more_beta"),
    "hospital": ("true_best", "true_cost", "found", "found_true_cost", "probability_best"),
    "supply": ("map/rank_correlation", "map/best_truth", "map/best_fitted",
               "lead_times/worst_time", "lead_times/worst_height"),
    "speed": ("sweep/quantiles/warm_s", "sweep/quantiles/compilations", "sweep/moments/warm_s"),
    "probability": ("exact_posterior/mean_stated", "exact_posterior/share_best",
                    "exact_posterior/z", "calibrated/mean_stated", "calibrated/share_best",
                    "calibrated/z"),
}  # fmt: skip
