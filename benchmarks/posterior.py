"""``gsim bench posterior``: neural posteriors against reference posteriors, by C2ST and time.

Tasks are those of the simulation-based inference benchmark (Lueckmann et al. 2021), written in
JAX. References are not part of the checkout: ``--reference DIR`` is a folder as the benchmark
ships them, ``DIR/TASK/OBSERVATION/observation.csv`` and
``reference_posterior_samples.csv.bz2``.

    gsim bench posterior -- --reference DIR --simulations 10000 --seeds 0,1,2
    gsim bench posterior -- --reference DIR --task slcp --seconds 300 --ensemble 2
    gsim bench posterior -- --reference DIR --task two_moons --rival nsf --rival-python PYTHON
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np
import pandas as pd
from rich.console import Console

from benchmarks import _posterior_c2st, _posterior_tasks
from benchmarks._arguments import Numbers
from gsim_jax.calibrate.fit import fit_posterior
from gsim_jax.calibrate.store import describe
from gsim_jax.cli.reply import dumps, plain
from gsim_jax.report.tables import table
from gsim_jax.task import InputError, Problem

PATH = click.Path(path_type=Path)
DRAWS = 10_000
RIVAL = Path(__file__).resolve().with_name("_sbi_rival.py")
NUMBERS = Numbers("whole numbers such as 1,2,3", bool)


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    task: tuple[str, ...]
    observation: tuple[int, ...]
    simulations: int | None
    seconds: float | None
    reference: Path
    seeds: tuple[int, ...] | None
    ensemble: int
    rounds: int
    classifier: str
    rival: tuple[str, ...]
    rival_python: Path


@click.command(
    name="gsim bench posterior", context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--task", multiple=True, type=click.Choice(list(_posterior_tasks.TASKS)),
              help="Tasks; all that DIR has references of by default.")  # fmt: skip
@click.option("--observation", type=NUMBERS, default="1,2,3", show_default=True)
@click.option("--simulations", type=click.IntRange(1), help="A fixed budget, run once and stored.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True),
              help="Train online, on fresh simulations, so long.")  # fmt: skip
@click.option("--reference", type=PATH, required=True, metavar="DIR")
@click.option("--seeds", type=NUMBERS, help="Seeds; by default that of gsim.")
@click.option("--ensemble", type=click.IntRange(1), default=1, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=1, show_default=True,
              help="Rounds of truncation; above 1 each observation is fitted alone.")  # fmt: skip
@click.option("--classifier", type=click.Choice(["auto", "sklearn", "jax"]), default="auto",
              show_default=True)  # fmt: skip
@click.option("--rival", multiple=True, type=click.Choice(["nsf", "maf"]),
              help="Also sbi's NPE with this flow, on the same simulations.")  # fmt: skip
@click.option("--rival-python", type=PATH, default=Path(sys.executable), metavar="PYTHON",
              help="The interpreter that has sbi; this one by default.")  # fmt: skip
def options(**asked: Any) -> Asked:
    """C2ST against reference posteriors, training and sampling time."""
    if asked["simulations"] is None and asked["seconds"] is None:
        asked["simulations"] = 10_000
    return Asked(**asked)


def bench(*, seed: int, out: Path | None, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Measures what the arguments ask for, and prints a table.

    Args:
        seed: where ``--seeds`` are not given.
        out: where the results go as JSON.
        arguments: the words after ``gsim bench posterior``.

    Returns:
        ``c2st``, ``train_s`` and ``sample_s``, means over everything, and ``results`` with one
        entry per task, method and seed.

    Raises:
        InputError: a reference is missing, or the rival does not run.
    """
    asked = options.main(
        args=list(arguments), prog_name="gsim bench posterior", standalone_mode=False
    )
    if not isinstance(asked, Asked):  # --help has been printed
        return {}
    results = []
    for name in asked.task or _tasks_of(asked.reference):
        for one in asked.seeds or (seed,):
            results += _measure(name, asked, one)
    ours = [r for r in results if r["method"] == "gsim_jax"]
    fields = {
        **{key: float(np.mean([r[key] for r in ours])) for key in ("c2st", "train_s", "sample_s")},
        "classifier": _classifier(asked),
        "results": results,
    }
    _show(results)
    if out is not None:
        out.write_text(dumps(plain(fields)) + "\n", encoding="utf-8")
    return fields


def _classifier(asked: Asked) -> str:
    return _posterior_c2st.available() if asked.classifier == "auto" else asked.classifier


def _tasks_of(reference: Path) -> list[str]:
    found = [name for name in _posterior_tasks.TASKS if (reference / name).is_dir()]
    if not found:
        text = f"expected folders of {', '.join(_posterior_tasks.TASKS)}"
        raise InputError((Problem("reference", text, file=str(reference)),))
    return found


def read_reference(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """One observation and its reference draws.

    Args:
        folder: ``DIR/TASK/OBSERVATION``.

    Returns:
        x float64[k], flat, and draws float64[n, d].

    Raises:
        InputError: a file is missing or is no table of numbers.
    """
    found = []
    for name in ("observation.csv", "reference_posterior_samples.csv.bz2"):
        try:
            found.append(pd.read_csv(folder / name).to_numpy(float))
        except (OSError, ValueError) as error:
            text = f"expected a table of numbers; {error}"
            raise InputError((Problem("reference", text, file=str(folder / name)),)) from error
    return found[0][0], found[1]


def _measure(name: str, asked: Asked, seed: int) -> list[dict[str, Any]]:
    """Entries of one task and seed: ours, and the rivals'."""
    task = _posterior_tasks.TASKS[name]()
    pairs = [read_reference(asked.reference / name / str(k)) for k in asked.observation]
    observed = np.stack([x.reshape(task.shape) for x, _ in pairs]).astype(np.float32)
    fields = {"task": name, "seed": seed, "observations": list(asked.observation)}
    runs = [("gsim_jax", *_ours(task, observed, asked, seed))]
    runs += [(f"sbi {model}", *_rival(task, observed, asked, seed, model)) for model in asked.rival]
    found = []
    for method, draws, train_s, sample_s, simulations in runs:
        scores = [
            _posterior_c2st.c2st(drawn, reference, classifier=_classifier(asked))
            for drawn, (_, reference) in zip(draws, pairs, strict=True)
        ]
        found.append(
            {
                **fields, "method": method, "c2st": float(np.mean(scores)), "each": scores,
                "train_s": train_s, "sample_s": sample_s, "simulations": simulations,
            }
        )  # fmt: skip
    return found


def _ours(
    task: _posterior_tasks.Task, observed: np.ndarray, asked: Asked, seed: int
) -> tuple[np.ndarray, float, float, int]:
    """Draws [K, n, d], seconds of training and of one observation's draws, simulations."""
    key, drawing = jax.random.key(seed), jax.random.key(seed + 1)
    # Truncation suits one observation at a time.
    groups = [observed] if asked.rounds == 1 else list(observed)
    parts, train_s, sample_s, simulations = [], 0.0, 0.0, 0
    for group in groups:
        begun = time.perf_counter()
        posterior = fit_posterior(
            task.simulate, task.prior, group, key, simulations=asked.simulations,
            seconds=asked.seconds, rounds=asked.rounds, exchangeable=task.exchangeable,
            ensemble=asked.ensemble,
        )  # fmt: skip
        train_s += time.perf_counter() - begun
        simulations += posterior.info.simulations
        posterior.sample(drawing, DRAWS).block_until_ready()  # compiles
        begun = time.perf_counter()
        drawn = np.asarray(posterior.sample(drawing, DRAWS))
        sample_s += time.perf_counter() - begun
        parts.append(drawn if drawn.ndim == 3 else drawn[None])
    return np.concatenate(parts), train_s, sample_s / len(observed), simulations


def _rival(
    task: _posterior_tasks.Task, observed: np.ndarray, asked: Asked, seed: int, model: str
) -> tuple[np.ndarray, float, float, int]:
    """The same by sbi, in a process of its own, on as many simulations from the same law."""
    count = asked.simulations or 10_000
    first, second = jax.random.split(jax.random.key(seed))
    theta = task.prior.sample(first, (count,))
    x = jax.jit(jax.vmap(task.simulate))(theta, jax.random.split(second, count))
    flat = np.asarray(x, np.float32).reshape(count, -1)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(
            source, theta=np.asarray(theta, np.float32), x=flat, model=model, seed=seed,
            observed=observed.reshape(len(observed), -1), draws=DRAWS, **_plain_prior(task),
        )  # fmt: skip
        done = subprocess.run(
            [str(asked.rival_python.absolute()), str(RIVAL), str(source), str(target)],
            capture_output=True, text=True, check=False, cwd=folder,  # where it leaves its logs
        )  # fmt: skip
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            text = f"sbi did not run: {last[0]}; name an interpreter that has it: --rival-python"
            raise InputError((Problem("rival", text, file=str(asked.rival_python)),))
        found = np.load(target)
        return found["draws"], float(found["train_s"]), float(found["sample_s"]), count


def _plain_prior(task: _posterior_tasks.Task) -> dict[str, Any]:
    found = describe(task.prior)
    assert found is not None
    base = found.get("independent", found)
    numbers = {k: np.asarray(v, np.float32) for k, v in base["arguments"].items()}
    return {"kind": base["name"], **numbers}


def _show(results: list[dict[str, Any]]) -> None:
    shown = table("task", "method", "seed", "C2ST", "of each", "train [s]", "10,000 draws [s]")
    for row in results:
        each = " ".join(f"{score:.3f}" for score in row["each"])
        shown.add_row(
            row["task"], row["method"], str(row["seed"]), f"{row['c2st']:.3f}", each,
            f"{row['train_s']:.1f}", f"{row['sample_s']:.3f}",
        )  # fmt: skip
    Console(stderr=True).print(shown)
