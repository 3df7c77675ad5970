"""One process of the throughput benchmark: all engines of one task on so many cores.

    python -m benchmarks._throughput '{"task": ..., "cores": ..., ...}'

prints one JSON document; with `"mode": "turns"`, a number of seconds for every line that it is
sent. Its cores are set before JAX is imported: XLA makes its threads then.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Runs that take longer than this are repeated less often.
_LONG = 0.5
_ROUNDS, _FEW = 15, 3
_SHORT = 0.1

Run = Callable[[int], np.ndarray]
Generators = Callable[[int, int], np.random.Generator]
"""(lane, step) -> where a Python loop draws from."""


def one_generator(seed: int) -> Generators:
    """The same generator throughout."""
    rng = np.random.default_rng(seed)
    return lambda lane, t: rng


def reseeding(seed: int) -> Generators:
    """A generator made in every step, from its own seed."""
    return lambda lane, t: np.random.default_rng((seed, lane, t))


PYTHON_LOOPS = {"Python loop": one_generator, "Python loop, reseeding": reseeding}


@dataclass
class Engine:
    """One way to simulate.

    Attributes:
        name: as in the table.
        lanes: trajectories per run.
        run: seed -> outputs of the last row, [lanes, V].
        columns: those outputs that all engines have; None for all.
    """

    name: str
    lanes: int
    run: Run
    columns: list[int] | None = None
    first: float = 0.0
    ends: np.ndarray | None = None
    seconds: list[float] | None = None


def main() -> None:
    """Measures what the first argument asks for."""
    asked = json.loads(sys.argv[1])
    if asked["cores"] is not None:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked["cores"]])
        os.environ["NUMBA_NUM_THREADS"] = str(asked["cores"])
        # Threads of numba that wait would else keep a core busy into the next engine's turn.
        os.environ |= {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
    if asked["mode"] == "memory":
        print(json.dumps(measure_memory(asked)))
        return
    found = engines(asked)
    if asked["mode"] == "turns":
        take_turns(found[0], asked["seed"])
        return
    measure(found, asked["seed"])
    check(found, asked["labels"])
    print(json.dumps({"rows": [row(engine, asked) for engine in found]}))


def engines(asked: Mapping[str, Any]) -> list[Engine]:
    """The engines that are asked for."""
    import jax

    from benchmarks import _native, _worlds
    from gsim_jax import PerLane, Program, load_task, rollout

    task = load_task(_worlds.ENVS / asked["task"])
    rival = importlib.import_module(f"benchmarks._rival_{asked['rival']}")
    asked_labels = asked.setdefault("labels", list(rival.LABELS))  # type: ignore[attr-defined]
    labels = [output.label for output in task.schema.outputs]
    columns = [labels.index(label) for label in asked_labels]
    path, test, truth = task.path / "truth.py", task.test, asked["truth"]
    assert test is not None
    program = Program.from_document(asked["program"].encode(), task.schema.signature())
    params = program.parameters.values(truth)
    steps = task.schema.horizon

    def ours(simulator: Any, lanes: int, words: str) -> Run:
        index = np.arange(lanes) % len(test)
        start = {k: PerLane(v[:, 0], index) for k, v in test.states.items()}
        inputs = {k: PerLane(v, index) for k, v in test.inputs.items()}

        def run(seed: int) -> np.ndarray:
            last = rollout(
                simulator, task.schema, params, start, inputs=inputs, steps=steps, lanes=lanes,
                key=seed, words=words, keep="last",
            )  # fmt: skip
            return last.kept.outputs

        return run

    def theirs(
        function: Callable[..., np.ndarray], lanes: int, chance: Callable[[int], Any] = int
    ) -> Run:
        index = np.arange(lanes) % len(test)
        start = {k: v[index, 0] for k, v in test.states.items()}
        inputs = {k: v[index] for k, v in test.inputs.items()}
        return lambda seed: function(start, inputs, truth, steps, chance(seed))

    lanes, native = asked["lanes"], _native.native_words(path, task.schema)
    jax.jit(lambda x: x + 1)(0.0)  # the backend starts before any clock
    found = []
    for words in ("threefry", "hash"):
        found.append(Engine(f"program, {words}", lanes, ours(program, lanes, words), columns))
        found.append(Engine(f"native, {words}", lanes, ours(native, lanes, words), columns))
    if asked["mode"] == "all":
        keyed = _native.native_keys(path, task.schema, rival.jax_random_draws())
        found.append(Engine("jax.random", lanes, ours(keyed, lanes, "threefry"), columns))
        found.append(Engine("NumPy", lanes, theirs(rival.numpy_run, lanes)))
        if importlib.util.find_spec("numba"):  # of the extra `bench`
            found.append(Engine("numba", lanes, theirs(rival.numba_run, lanes)))
        if asked["cores"] == 1:
            few = asked["python_lanes"]
            for name, generators in PYTHON_LOOPS.items():
                found.append(Engine(name, few, theirs(rival.python_run, few, generators)))
    return found


def measure(found: list[Engine], seed: int) -> None:
    """Times the engines in turn, round after round, so that drift meets all of them."""
    for engine in found:
        begin = time.perf_counter()
        ends = engine.run(seed)
        engine.first = time.perf_counter() - begin
        engine.ends = ends[:, engine.columns or slice(None)].astype(float)
        engine.seconds = []
        engine.run(seed)
    for turn in range(_ROUNDS):
        for engine in found:
            assert engine.seconds is not None
            if turn >= _FEW and np.median(engine.seconds) > _LONG:
                continue
            if np.median(engine.seconds or [0.0]) < _SHORT:
                engine.run(seed)  # warm again: the engine before has had the caches, and the cores
            begin = time.perf_counter()
            engine.run(seed + turn)
            engine.seconds.append(time.perf_counter() - begin)


def take_turns(engine: Engine, seed: int) -> None:
    """One run, timed, for every line from the process that compares this one with another."""
    engine.run(seed)
    print("ready", flush=True)
    for turn, _ in enumerate(sys.stdin):
        engine.run(seed)  # warm: the other process has had the caches
        begin = time.perf_counter()
        engine.run(seed + turn)
        print(time.perf_counter() - begin, flush=True)


def check(found: list[Engine], labels: list[str]) -> None:
    """All engines simulate the same thing: means of the last row within five standard errors.

    Raises:
        AssertionError: an engine does not; its time would mean nothing.
    """
    first = found[0].ends
    assert first is not None
    for engine in found[1:]:
        ends = engine.ends
        assert ends is not None
        # Our spread for both: twenty trajectories of a full ward may show none at all.
        error = first.std(0) * np.sqrt(1 / len(first) + 1 / len(ends))
        z = np.abs(ends.mean(0) - first.mean(0)) / np.maximum(error, 1e-9)
        if z.max() > 5:
            worst = labels[int(z.argmax())]
            raise AssertionError(f"{engine.name}: mean of {worst} is {z.max():.1f} SE off")


def row(engine: Engine, asked: Mapping[str, Any]) -> dict[str, Any]:
    """One row of the benchmark's JSON, with the single times behind it."""
    assert engine.seconds is not None
    median = float(np.median(engine.seconds))
    compiled = not engine.name.startswith(("NumPy", "Python"))
    return {
        "task": asked["task"],
        "engine": engine.name,
        "lanes": engine.lanes,
        "cores": asked["cores"],
        "steps_per_s": engine.lanes * asked["steps"] / median,
        "compile_s": max(engine.first - median, 0.0) if compiled else 0.0,
        "seconds": engine.seconds,
    }


def measure_memory(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Peak memory of a rollout of many lanes that keeps moments only."""
    from benchmarks import _worlds
    from gsim_jax import Program, load_task, rollout

    task = load_task(_worlds.ENVS / asked["task"])
    program = Program.from_document(asked["program"].encode(), task.schema.signature())
    assert task.test is not None
    start = {k: v[0, 0] for k, v in task.test.states.items()}
    params, steps = program.parameters.values(asked["truth"]), task.schema.horizon
    begin = time.perf_counter()
    found = rollout(
        program, task.schema, params, start, steps=steps, lanes=asked["lanes"], key=asked["seed"],
        keep="moments",
    )  # fmt: skip
    return {
        "lanes": asked["lanes"],
        "chunks": found.chunks,
        "seconds": time.perf_counter() - begin,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    main()
