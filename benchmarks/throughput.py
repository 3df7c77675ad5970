"""``gsim bench throughput``: simulator steps per second, against what others would write.

Every engine simulates the truth of a task from the first rows of its test data, as many lanes as
asked for, and returns their last rows, which must agree. Ours runs as the program rebuilt from its
JSON and as the same functions run natively. Rivals: vectorised NumPy, numba, jax.random in the same
structure, and a Python loop over trajectories, with one generator and, as slow as the paper's code,
with a generator made in every step. Engines take turns in one process per number of cores; for two
cores against one, two processes take turns. Ratios are medians over turns. Compilation is timed
apart: the first call less a later one. numba comes with `make install EXTRAS=dev,bench`; without it
its rows are left out.

    gsim bench throughput [-- --tasks covid19,supply_chain --lanes 10000 --readme]
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console

from benchmarks import _worlds
from benchmarks.readme import README, between
from gsim_jax.report.tables import table
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import load_task

ROOT = Path(__file__).resolve().parents[1]
MARKS = ("<!-- throughput -->", "<!-- end of throughput -->")
#: Module of rivals, lanes by default, lanes of the Python loop.
TASKS: Mapping[str, tuple[str, int, int]] = {
    "covid19": ("covid19", 10_000, 100),
    "covid19_large": ("covid19", 10_000, 100),
    "supply_chain": ("supply_chain", 10_000, 100),
    "hospital_beds": ("hospital_beds", 1_000, 20),
}
OURS = "program, threefry"
RIVALS = {
    "vs_numpy": "NumPy",
    "vs_numba": "numba",
    "vs_jax_random": "jax.random",
    "vs_python_loop": "Python loop, reseeding",
    "vs_python_one_generator": "Python loop",
}
#: Seconds of the comparison of two cores with one, and its turns at least.
SECONDS, TURNS = 25.0, 20
#: Where the results are committed.
RESULTS = Path(__file__).with_name("results") / "throughput.json"


@click.command(
    name="gsim bench throughput", context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--tasks", default=",".join(TASKS), show_default=True, help="With commas between.")
@click.option("--lanes", type=click.IntRange(1), help="Lanes per run, instead of each task's own.")
@click.option("--memory-lanes", type=click.IntRange(0), default=10_000_000, show_default=True,
              help="Lanes of the run whose memory is measured; 0 leaves it out.")  # fmt: skip
@click.option(
    "--readme", is_flag=True, help="Write the table into README.md, and benchmarks/results."
)
def _options(**options: Any) -> dict[str, Any]:
    return options


def bench(*, seed: int, out: Path | None, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Measures all engines.

    Args:
        seed: of all draws.
        out: where the JSON goes.
        arguments: see ``--help``.

    Returns:
        `rows`, `ratios` by task, `memory` and `machine`.
    """
    options = _options(list(arguments), standalone_mode=False)
    if not isinstance(options, dict):  # --help
        return {}
    names = options["tasks"].split(",")
    unknown = sorted(set(names) - set(TASKS))
    if unknown:
        raise click.BadParameter(f"expected tasks out of {', '.join(TASKS)}; got {unknown}")
    rows: list[dict[str, Any]] = []
    ratios, memory = {}, None
    with Sandbox() as sandbox:
        for name in names:
            asked = _asked(name, options["lanes"], seed, sandbox)
            of_task, ratios[name] = _measured(asked)
            rows += of_task
            if name == "covid19" and options["memory_lanes"]:
                lanes = options["memory_lanes"]
                memory = _process({**asked, "mode": "memory", "lanes": lanes, "cores": None})
    for row in rows:
        del row["seconds"]
    found = {"machine": _machine(), "rows": rows, "ratios": ratios, "memory": memory}
    if out is None and options["readme"]:
        out = RESULTS  # the table in README is that of the results that are committed
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    _show(found)
    if options["readme"]:
        _write_readme(found)
    return found


def _asked(name: str, lanes: int | None, seed: int, sandbox: Sandbox) -> dict[str, Any]:
    """What the processes of a task are told; the program travels as its document."""
    rival, own_lanes, python_lanes = TASKS[name]
    task = load_task(_worlds.ENVS / name)
    truth = _worlds.load_truth(task, sandbox)
    return {
        "task": name,
        "rival": rival,
        "lanes": lanes or own_lanes,
        "python_lanes": python_lanes,
        "steps": task.schema.horizon,
        "seed": seed,
        "truth": dict(truth.parameters),
        "program": truth.program.to_bytes().decode(),
    }


def _process(asked: Mapping[str, Any]) -> dict[str, Any]:
    done = subprocess.run(
        _command(asked), cwd=ROOT, env=_environment(), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"benchmark of {asked['task']} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _command(asked: Mapping[str, Any]) -> list[str]:
    return [sys.executable, "-m", "benchmarks._throughput", json.dumps(asked)]


def _environment() -> dict[str, str]:
    return {**os.environ, "JAX_PLATFORMS": "cpu"}


def _measured(asked: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, float | None]]:
    """Rows and ratios of one task."""
    several = hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > 1
    pinned = hasattr(os, "sched_setaffinity")
    one = _process({**asked, "mode": "all", "cores": 1 if pinned else None})["rows"]
    two = _process({**asked, "mode": "all", "cores": 2})["rows"] if several else []
    ratios: dict[str, float | None] = {
        name: _ratio(one, OURS, rival) for name, rival in RIVALS.items()
    }
    ratios["program_vs_native"] = _ratio(one, OURS, "native, threefry")
    ratios["hash_vs_threefry"] = _ratio(one, "program, hash", OURS)
    ratios["two_cores_vs_one"] = _two_cores_vs_one(asked) if several else None
    return one + two, ratios


def _two_cores_vs_one(asked: Mapping[str, Any]) -> float:
    """Speed on two cores over that on one: median over turns of two processes.

    A core's speed on shared machines changes within seconds, by more than what is measured, so
    that runs that are compared must be neighbours, over many such changes.
    """
    ratios: list[float] = []
    with ExitStack() as stack:
        one, two = (stack.enter_context(_Turns({**asked, "cores": cores})) for cores in (1, 2))
        begin = time.monotonic()
        while len(ratios) < TURNS or time.monotonic() - begin < SECONDS:
            ratios.append(one.seconds() / two.seconds())
    return float(np.median(ratios))


class _Turns:
    """A process that simulates when it is asked to; for `with`."""

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self._process = subprocess.Popen(
            _command({**asked, "mode": "turns"}), cwd=ROOT, env=_environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> _Turns:
        self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def seconds(self) -> float:
        """What one run takes."""
        self._process.stdin.write("\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        return float(self._answer())

    def _answer(self) -> str:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise RuntimeError("benchmark failed: a process of the comparison has ended")
        return line


def _ratio(rows: list[dict[str, Any]], engine: str, rival: str) -> float | None:
    """Speed of an engine over that of a rival: median over turns, at equal work."""
    by_name = {row["engine"]: row for row in rows}
    if rival not in by_name:  # not installed
        return None
    a, b = by_name[engine], by_name[rival]
    turns = zip(a["seconds"], b["seconds"], strict=False)
    return float(np.median([(tb / b["lanes"]) / (ta / a["lanes"]) for ta, tb in turns]))


def _machine() -> str:
    """What it ran on, in general terms."""
    model, wide = platform.machine(), ""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    for line in text.splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
        if line.startswith("flags") and "avx512f" in line:
            wide = " with 512-bit vectors"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    import jax

    versions = f"Python {platform.python_version()}, JAX {jax.__version__}, NumPy {np.__version__}"
    return f"{cores} cores of a {model}{wide}, {platform.system()}, {versions}"


def _show(found: Mapping[str, Any]) -> None:
    console = Console(stderr=True)
    shown = table("task", "engine", "lanes", "cores", "M steps/s", "compile s")
    for row in found["rows"]:
        speed, compiled = f"{row['steps_per_s'] / 1e6:.3g}", f"{row['compile_s']:.2f}"
        shown.add_row(
            row["task"], row["engine"], str(row["lanes"]), str(row["cores"]), speed, compiled
        )
    console.print(shown)
    ratios = table("task", *next(iter(found["ratios"].values())))
    for name, values in found["ratios"].items():
        ratios.add_row(name, *("–" if v is None else f"{v:.3g}" for v in values.values()))
    console.print(ratios)
    if found["memory"]:
        memory = found["memory"]
        console.print(
            f"{memory['lanes']} lanes, moments kept: {memory['peak_bytes'] / 2**30:.2f} GiB at the "
            f"peak, {memory['seconds']:.1f} s in {memory['chunks']} chunks"
        )
    console.print(found["machine"])


def _write_readme(found: Mapping[str, Any]) -> None:
    """Replaces what stands between the marks in README.md."""
    text = README.read_text(encoding="utf-8")
    README.write_text(between(text, MARKS, _markdown(found)), "utf-8")


def _markdown(found: Mapping[str, Any]) -> str:
    lines = ["| task | engine | one core | two cores | compile |", "|---|---|---:|---:|---:|"]
    for name in found["ratios"]:
        mine = [row for row in found["rows"] if row["task"] == name]
        for engine in dict.fromkeys(row["engine"] for row in mine):
            rows = {row["cores"]: row for row in mine if row["engine"] == engine}
            speeds = [f"{rows[c]['steps_per_s'] / 1e6:.3g} M" if c in rows else "–" for c in (1, 2)]
            compiled = next(iter(rows.values()))["compile_s"]
            told = f"{compiled:.1f} s" if compiled else "–"
            lines.append(f"| {name} | {engine} | {speeds[0]} | {speeds[1]} | {told} |")
    lines += ["", f"Steps per second, measured by `gsim bench throughput` on {found['machine']}."]
    if found["memory"]:
        memory = found["memory"]
        lines.append(
            f"A rollout of {memory['lanes'] // 1_000_000} million lanes that keeps moments takes "
            f"{memory['peak_bytes'] / 2**30:.1f} GiB and {memory['seconds']:.0f} s."
        )
    return "\n".join(lines) + "\n"
