"""One cell: a method is fitted to a task and held against its truth."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks import _worlds
from benchmarks._table2 import cells, compiled, ours, trained
from benchmarks._table2.changes import INTERVENTIONS
from benchmarks._table2.context import RECORDINGS, Context, has_arrays
from benchmarks._table2.fitted import Effort, Fitted
from benchmarks._table2.methods import Method, all_methods
from benchmarks._table2.modality import modality
from benchmarks._table2.properties import Judge
from benchmarks._table2.recovery import recovery
from gsim_jax.diagnose.next_state import Yardstick, yardstick
from gsim_jax.search.provenance import task_digest
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import Task, load_task

#: Why searches of the library are not repeated on some tasks.
TOO_LONG = "not tried: minutes per candidate of the library"
SLOTS = "not tried: entries of slots cannot be hidden one by one"


def specs(
    methods: Mapping[str, Method], tasks: list[Path], seeds: int, effort: Effort, folder: Path,
    recordings: Path = RECORDINGS,
) -> tuple[list[cells.Spec], list[dict[str, Any]]]:  # fmt: skip
    """What is to be computed, and what cannot be.

    Args:
        methods: the rows.
        tasks: the task folders.
        seeds: seeds 0, 1, ... of each.
        effort: how much may be spent.
        folder: where everything is kept.
        recordings: folder of recorded conversations.

    Returns:
        Specifications, and cells of those that are left out.
    """
    found, left_out = [], []
    about = {task: _about(task) for task in tasks}
    places = {"folder": folder, "recordings": recordings}
    # Those that take longest first, so that at the end no worker waits long for the other.
    ordered = sorted(tasks, key=lambda task: not about[task][1])
    for seed, task in itertools.product(range(seeds), ordered):
        digest, arrays, slots = about[task]
        heard = _conversation(recordings / task.name / f"seed-{seed}")
        for method in methods.values():
            cause = ours.NO_RECORDING if method.conversation and not heard else ""
            cause = TOO_LONG if method.scalars and arrays else cause
            cause = SLOTS if method.no_slots and slots else cause
            if cause:
                place = {"method": method.name, "task": task.name, "seed": seed}
                left_out.append({**place, "status": "left out", "cause": cause})
                continue
            told = method.conversation or method.takes_program
            settings = {
                "data": digest,
                "effort": asdict(effort),
                "conversation": heard if told else "",
            }
            after = method.after if method.after in methods else ""
            found.append(cells.Spec(method.name, task, seed, settings, after, places))
    return found, left_out


def _about(task: Path) -> tuple[str, bool, bool]:
    """Digest of a task's data, whether it has states that are arrays, and entities in slots."""
    loaded = load_task(task)
    slots = any(state.exchangeable for state in loaded.schema.states.values())
    return task_digest(task), has_arrays(loaded), slots


def _conversation(folder: Path) -> str:
    """What tells conversations apart before they are played: a digest, or the live model."""
    replies = sorted((folder / "chat").glob("r*.reply.json"))
    if not replies:
        return ours.live_model()
    digest = hashlib.blake2b(digest_size=8)
    for path in replies:
        digest.update(path.name.encode() + path.read_bytes())
    return f"{len(replies)} replies, {digest.hexdigest()}"


def perform(spec: cells.Spec) -> dict[str, Any]:
    """The content of a cell; see `cells.run`."""
    begin, cpu = time.perf_counter(), time.process_time()
    effort = Effort(**{**spec.settings["effort"], "horizons": tuple(
        spec.settings["effort"]["horizons"])})  # fmt: skip
    method = all_methods()[spec.method]
    task, truth = _world(spec.task)
    runs = spec.places["folder"] / "runs" / _run_name(spec, effort)
    recordings = spec.places["recordings"]
    context = Context(task, truth, spec.seed, effort, runs, recordings)
    kept = spec.places["folder"]
    with compiled.kept(kept / "compiled"), trained.kept(kept / "trained"):
        fitted = method.fit(context)
        made = time.perf_counter()
        found = judged(fitted, context, _yardstick(spec.task, spec.seed, effort))
    return {
        "status": cells.DONE,
        **found,
        "code": code(),
        "recovers": method.recovers,
        "seconds": {
            "fit": made - begin,
            "measure": time.perf_counter() - made,
            "all": time.perf_counter() - begin,
            "cpu": time.process_time() - cpu,
        },
    }


@lru_cache(maxsize=1)
def code() -> str:
    """Digest of the sources that cells come from: the package, its templates, and this."""
    import codegen_templates
    import gsim_jax

    digest = hashlib.blake2b(digest_size=6)
    folders = [Path(module.__file__ or "").parent for module in (gsim_jax, codegen_templates)]
    for folder in (*folders, Path(__file__).parent):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


def _run_name(spec: cells.Spec, effort: Effort) -> str:
    """Runs of searches are shared by the methods that build on them."""
    shared = cells.Spec("runs", spec.task, spec.seed, {
        "data": spec.settings["data"], "effort": asdict(effort),
        "conversation": spec.settings["conversation"],
    })  # fmt: skip
    return f"{spec.task.name}/seed-{spec.seed}-{shared.digest}"


def judged(fitted: Fitted, context: Context, against: Yardstick) -> dict[str, Any]:
    """Everything that is measured of a fitted method."""
    task, seed = context.task, context.seed
    drawn = fitted.draw(against.request, seed)
    clipped = dict(fitted.forecaster.failed) if fitted.forecaster is not None else {}
    metrics = [metric.to_json() for metric in against.measure_clouds(drawn)]
    for metric in metrics:  # a forecast that had to be cut off or replaced has failed too
        metric["failed"] += clipped.get(metric["horizon"], 0.0)
    change = INTERVENTIONS.get(task.schema.name)
    answer = None
    if change is not None:
        answer = _judge(task.path, context.effort.lanes).judge(fitted, seed)
    return {
        "metrics": metrics,
        "variables": list(against.labels),
        "integers": modality(drawn, against.request),
        "change": answer,
        "recovery": recovery(fitted, context.truth.program, task.schema),
        "cost": asdict(fitted.cost),
        "title": fitted.title,
        "parameters": dict(fitted.values),
        "source": fitted.source,
        "details": dict(fitted.details),
    }


@lru_cache(maxsize=4)
def _world(folder: Path) -> tuple[Task, _worlds.Simulator]:
    task = load_task(folder)
    with Sandbox() as sandbox:
        return task, _worlds.load_truth(task, sandbox)


@lru_cache(maxsize=2)
def _yardstick(folder: Path, seed: int, effort: Effort) -> Yardstick:
    task, truth = _world(folder)
    return yardstick(
        truth.program, truth.params, task.schema, _worlds.held_out(task),
        values=_worlds.values_for(task), horizons=effort.horizons, states=effort.states,
        draws=effort.draws, seed=seed,
    )  # fmt: skip


@lru_cache(maxsize=4)
def _judge(folder: Path, lanes: int) -> Judge:
    task, truth = _world(folder)
    return Judge(task, truth, INTERVENTIONS[task.schema.name], lanes)
