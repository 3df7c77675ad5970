"""A finished run as a model: its winner's program and posterior, without running its source.

Only `program.json`, data that is checked operation by operation, is read of what a proposer wrote:
a run folder from elsewhere can be asked what-if questions without trusting its `simulator.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gsim_jax.calibrate.around import draws_around
from gsim_jax.simulator.program import Program
from gsim_jax.task import InputError, Problem, Task, load_task
from gsim_jax.whatif.scenario import Change, Scenario
from gsim_jax.whatif.sweep import Model


@dataclass(frozen=True, eq=False)
class LoadedRun:
    """A run that what-if questions can be asked.

    Attributes:
        model: program, schema and draws.
        task: the task with its data.
        candidate: number of the candidate.
        origin: where the draws come from, in words.
    """

    model: Model
    task: Task
    candidate: int
    origin: str


def load_run(
    run: Path | str,
    *,
    task: Path | str | None = None,
    draws: int = 100,
    seed: int = 0,
    candidate: int | None = None,
) -> LoadedRun:
    """Reads a run folder.

    Args:
        run: the folder.
        task: the task folder, where it is not where the run found it.
        draws: draws D from the posterior; 1 is the calibrated point itself.
        seed: for the draws.
        candidate: its number; the winner by default.

    Returns:
        The model at draws from what calibration left: a posterior where the method gave one, else
        the Gaussian of its point and covariance, in x = Phi^-1(u).

    Raises:
        InputError: files missing or damaged, no finished candidate, or a task of another shape.
    """
    root = Path(run)
    configuration = _json(root / "run.json", "a run folder with run.json in it")
    loaded = load_task(_task_folder(root, configuration, task))
    number = _winner(root) if candidate is None else candidate
    folder = root / "candidates" / f"{number:03d}"
    try:
        raw = (folder / "program.json").read_bytes()
    except OSError as error:
        text = f"expected the program of a finished candidate; {error}"
        raise _bad("no-candidate", text, folder / "program.json") from error
    program = Program.from_document(raw, loaded.schema.signature())
    u, origin = _posterior(folder / "calibration.nc", program, draws, seed)
    return LoadedRun(Model.of_unit(program, loaded.schema, u), loaded, number, origin)


def _task_folder(root: Path, configuration: Any, given: Path | str | None) -> Path:
    if given is not None:
        return Path(given)
    told = configuration.get("task", {}).get("path") if isinstance(configuration, dict) else None
    if not isinstance(told, str):
        raise _bad("damaged-record", "expected the task's path in it", root / "run.json")
    if not Path(told).is_dir():
        text = (
            f"the run is of the task in {told}, which is not here, and a record holds no copy of "
            "its data: name the folder with --task DIR"
        )
        raise _bad("no-task", text, root / "run.json")
    return Path(told)


def _winner(root: Path) -> int:
    """Number of the best candidate so far, by the last event that names one."""
    path = root / "events.jsonl"
    best = None
    # A run that was cut short may end in half a line.
    lines = path.read_bytes().rpartition(b"\n")[0].splitlines() if path.is_file() else []
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
            best = event.get("best") if event["event"] in ("round", "end") else best
        except (ValueError, KeyError, AttributeError) as error:
            raise _bad("damaged-record", f"expected an event: {error}", path, number) from error
    if not isinstance(best, int):
        raise _bad("no-candidate", "no candidate has won a round yet", path)
    return best


def _posterior(path: Path, program: Program, count: int, seed: int) -> tuple[np.ndarray, str]:
    """Draws float64[count, d] on the unit cube, and where they come from."""
    try:
        with xr.open_dataset(path, engine="h5netcdf") as data:
            labels = [str(label) for label in data["parameter"].values]
            arrays = {name: np.asarray(data[name].values, float) for name in data.data_vars}
    except (OSError, KeyError, ValueError) as error:
        raise _bad("damaged-record", f"expected a calibration: {error}", path) from error
    space = program.parameters
    if set(labels) != set(space.labels) or not {"u", "covariance"} <= set(arrays):
        text = f"expected u and covariance of {', '.join(space.labels)}; got {', '.join(labels)}"
        raise _bad("damaged-record", text, path)
    order = [labels.index(label) for label in space.labels]
    u = arrays["u"][order]
    if not space.dimension:
        return np.zeros((1, 0)), "no parameters"
    if count == 1:
        return u[None], "the calibrated point"
    rng = np.random.default_rng([seed, 0x5EED])
    if "draws" in arrays:
        everything = arrays["draws"][:, order]
        few = count > len(everything)
        picked = rng.choice(len(everything), count, replace=few)
        return everything[picked], f"{len(everything)} draws from the posterior"
    covariance = arrays["covariance"][np.ix_(order, order)]
    return draws_around(u, covariance, count, rng), "the calibrated point and its covariance"


def load_replacements(
    scenarios: Sequence[Scenario], task: Task, sandbox: Any = None
) -> tuple[Scenario, ...]:
    """Reads the simulator files that `replace` names, each through guard, sandbox and check.

    Args:
        scenarios: as `read_scenarios` gives them.
        task: the task, on whose data the files are tried.
        sandbox: a warm sandbox; without one, one is started where a file is to be read.

    Raises:
        InputError: with everything that is wrong in any of the files.
    """
    from gsim_jax.simulator.check import check_file

    changes = [change for scenario in scenarios for change in scenario.changes]
    asked = [c for c in changes if c.operation == "replace" and isinstance(c.value, str | Path)]
    loaded: dict[Path, Program] = {}
    problems: list[Problem] = []
    for change in asked:
        path = Path(change.value)
        if path in loaded:
            continue
        try:
            report = check_file(path, task, sandbox)
        except InputError as error:
            problems += error.problems
            continue
        problems += report.problems
        if report.program is not None:
            loaded[path] = report.program
    if problems:
        raise InputError(tuple(problems))

    def ready(change: Change) -> Change:
        if change in asked:
            return replace(change, value=loaded[Path(change.value)])
        return change

    return tuple(replace(s, changes=tuple(map(ready, s.changes))) for s in scenarios)


def _json(path: Path, expected: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _bad("not-a-run", f"expected {expected}, found none", path) from error
    except (OSError, ValueError) as error:
        raise _bad("damaged-record", f"expected JSON: {error}", path) from error


def _bad(code: str, message: str, path: Path, line: int | None = None) -> InputError:
    return InputError(Problem(code, message, file=str(path), line=line))
