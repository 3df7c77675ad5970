"""Cells of the table: one method on one task under one seed, each a JSON file of its own.

A cell is named by a digest of everything that it depends on. What is there is never computed again;
what is missing or has failed is, so that a table that was cut short goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures import ThreadPoolExecutor as Threads
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from gsim_jax.cli.reply import plain

#: Changes when cells of before mean something else.
VERSION = 2
DONE, FAILED = "done", "failed"
#: Cells that one process computes: what is compiled stays in memory, 75 MB a cell.
LIFE = 50


@dataclass(frozen=True, eq=False)
class Spec:
    """What a cell is asked to be.

    Attributes:
        method: name of the method.
        task: the task folder.
        seed: everything random follows from it.
        settings: all else that the result depends on, plain data.
        after: method whose cell of the same task and seed has to be tried before, "" for none.
        places: folders by name, on which nothing depends.
    """

    method: str
    task: Path
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    after: str = ""
    places: Mapping[str, Path] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Twelve digits by which equal specifications are known."""
        words = {
            "version": VERSION,
            "method": self.method,
            "task": self.task.name,
            "seed": self.seed,
            "settings": dict(self.settings),
        }
        text = json.dumps(plain(words), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()

    @property
    def name(self) -> str:
        """Name of its file."""
        method = self.method.replace(" ", "-")
        return f"{self.task.name}/{method}/seed-{self.seed}-{self.digest}.json"


Perform = Callable[[Spec], Mapping[str, Any]]
Told = Callable[[Spec, Mapping[str, Any], int, int], None]


class Store:
    """The folder of cells.

    Attributes:
        folder: where it lies.
    """

    def __init__(self, folder: Path) -> None:
        """Opens a folder, which need not exist."""
        self.folder = folder

    def read(self, spec: Spec) -> dict[str, Any] | None:
        """The cell of a specification, None where it was never tried."""
        path = self.folder / spec.name
        if not path.is_file():
            return None
        return json.loads(path.read_text(encoding="utf-8"))

    def write(self, spec: Spec, content: Mapping[str, Any]) -> dict[str, Any]:
        """Keeps a cell, through a temporary name; returns it as it will be read."""
        path = self.folder / spec.name
        path.parent.mkdir(parents=True, exist_ok=True)
        cell = {
            "schema": 1,
            "method": spec.method,
            "task": spec.task.name,
            "seed": spec.seed,
            "settings": dict(spec.settings),
            **content,
        }
        text = json.dumps(plain(cell), indent=1, ensure_ascii=False) + "\n"
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)  # a reader never meets half a cell
        return json.loads(text)


def failure(error: BaseException) -> dict[str, Any]:
    """The cell of something that failed: its cause in a line, and where it came about."""
    words = str(error).strip() or "no message"
    lines = traceback.format_exception(error)
    return {
        "status": FAILED,
        "cause": f"{type(error).__name__}: {words.splitlines()[0]}",
        "trace": "".join(lines)[-4000:],
    }


def run(
    specs: Sequence[Spec],
    perform: Perform,
    store: Store,
    *,
    workers: int = 1,
    told: Told = lambda spec, cell, done, total: None,
    repeat: bool = False,
) -> list[dict[str, Any]]:
    """Computes what is missing, and keeps every cell as soon as it is there.

    Args:
        specs: the cells that are wanted, the most important first.
        perform: makes the content of a cell; for several workers it must be importable by name.
        store: where cells are kept.
        workers: 1 computes in this process; more are processes of their own, each on one core.
        told: told of each cell that was computed: how many are done, of how many.
        repeat: whether cells that are there are computed anew.

    Returns:
        The cells, in the order of `specs`.
    """
    found = {} if repeat else {spec: store.read(spec) for spec in specs}
    kept = {spec: cell for spec, cell in found.items() if cell and cell["status"] == DONE}
    waiting = [spec for spec in specs if spec not in kept]
    total, suspects = len(waiting), list[Spec]()
    while waiting:
        batch = suspects[:1] or list(waiting)
        with _executor(workers, len(batch)) as pool:
            for spec, future in _in_order(pool, perform, batch, workers):
                error = future.exception()
                if isinstance(error, BrokenProcessPool) and spec not in suspects:
                    suspects.append(spec)  # it, or its neighbour: what happens when it is alone?
                    continue
                content = failure(error) if error is not None else future.result()
                kept[spec] = store.write(spec, content)
                waiting.remove(spec)
                if spec in suspects:
                    suspects.remove(spec)
                told(spec, kept[spec], total - len(waiting), total)
    return [kept[spec] for spec in specs]


def _executor(workers: int, jobs: int) -> Executor:
    if workers == 1:
        # A thread rather than this one: what fails, whatever it is, is then a result like others.
        return Threads(1)
    count = min(workers, jobs)
    context = multiprocessing.get_context("spawn")  # JAX has threads: forks of it hang
    cores = context.SimpleQueue()
    for core in _spread(sorted(os.sched_getaffinity(0)), count):
        cores.put(core)
    return ProcessPoolExecutor(
        count, mp_context=context, initializer=_pin, initargs=(cores,), max_tasks_per_child=LIFE
    )


def _spread(cores: Sequence[int], count: int) -> Iterable[int]:
    return (cores[i % len(cores)] for i in range(count))


def _pin(cores: Any) -> None:
    """A worker keeps to one core: two that share two cores get in each other's way."""
    core = cores.get()
    os.sched_setaffinity(0, {core})
    Finalize(None, cores.put, args=(core,), exitpriority=0)  # for the one that comes after it


def _in_order(
    pool: Executor, perform: Perform, specs: Sequence[Spec], workers: int
) -> Iterable[tuple[Spec, Future[Mapping[str, Any]]]]:
    """Cells as they end; one that builds on another begins when that one has ended.

    After the death of a process there are those that were under way, and no more.
    """
    pending, broken = list(specs), False
    running: dict[Future[Mapping[str, Any]], Spec] = {}
    while running or (pending and not broken):
        blocked = {_place(spec) for spec in (*pending, *running.values())}
        while len(running) < workers and (spec := _next(pending, blocked)) and not broken:
            try:
                running[pool.submit(perform, spec)] = spec
            except BrokenProcessPool:  # a neighbour has died in this moment
                broken = True
            else:
                pending.remove(spec)
        if not running:
            return
        ended, _ = wait(running, return_when=FIRST_COMPLETED)
        broken |= any(isinstance(future.exception(), BrokenProcessPool) for future in ended)
        for future in ended:
            yield running.pop(future), future


def _place(spec: Spec) -> tuple[Path, int, str]:
    return spec.task, spec.seed, spec.method


def _next(pending: Sequence[Spec], blocked: Collection[tuple[Path, int, str]]) -> Spec | None:
    for spec in pending:
        if not spec.after or (spec.task, spec.seed, spec.after) not in blocked:
            return spec
    return None
