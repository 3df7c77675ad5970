"""Run as a process of its own: how fast sweeps are, how often they compile, what memory they take.

python -m benchmarks._whatif_speed '{"program": ..., "mode": "speed" | "memory", ...}'
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

import numpy as np

from benchmarks import _worlds
from gsim_jax.cli.app import tune


def main() -> None:
    """Reads what is asked, prints one JSON object."""
    asked = json.loads(sys.argv[1])
    tune(os.environ)  # as the command line does, before JAX is imported
    print(json.dumps(speed(asked) if asked["mode"] == "speed" else memory(asked)))


def _model(asked: dict[str, Any], draws: int) -> tuple[Any, Any, Any]:
    from gsim_jax.simulator.program import Program
    from gsim_jax.task import load_task
    from gsim_jax.whatif import Model, start_from

    task = load_task(_worlds.ENVS / "covid19")
    program = Program.from_document(asked["program"].encode(), task.schema.signature())
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((2, draws)).astype(np.float32)
    values = {
        "infection": {"beta": 0.5 + 0.006 * noise[0]},
        "recovery": {"gamma": 0.1 + 0.0011 * noise[1]},
    }
    start = start_from("trajectory:0", task, program, None, 60)
    return Model(program, task.schema, values), start, rng


def _scenarios(count: int, rng: np.random.Generator) -> list[Any]:
    from gsim_jax.whatif import Scenario, scale

    found = []
    for k in range(count - 1):  # the baseline is one more
        first = int(rng.integers(0, 40))
        change = scale("infection.beta", float(rng.uniform(0.05, 1)), first, first + 19)
        found.append(Scenario(f"{k}", (change,)))
    return found


def speed(asked: dict[str, Any]) -> dict[str, Any]:
    """1,000 scenarios x 100 draws x 10 replicates x 60 steps, several times over."""
    from gsim_jax.whatif import engine, sweep

    model, start, rng = _model(asked, 100)
    rows = {}
    for keep in ("quantiles", "moments"):
        engine._alone._jitted.clear_cache()
        seconds, cpu = [], []
        for _ in range(asked["turns"] + 1):
            scenarios = _scenarios(asked["scenarios"], rng)  # others in every turn
            wall, own = time.perf_counter(), time.process_time()
            sweep(model, scenarios, start, steps=60, replicates=10, key=1, keep=keep)
            seconds.append(time.perf_counter() - wall)
            cpu.append(time.process_time() - own)
        rows[keep] = {
            "first_s": seconds[0],
            "warm_s": min(seconds[1:]),
            "warm_cpu_s": min(cpu[1:]),
            "compilations": engine._alone._jitted._cache_size(),
        }
    steps = asked["scenarios"] * 100 * 10 * 60
    return {"steps": steps, "cores": len(os.sched_getaffinity(0)), **rows}


def memory(asked: dict[str, Any]) -> dict[str, Any]:
    """Ten million lanes of which moments or quantiles are kept."""
    from gsim_jax.whatif import sweep

    model, start, rng = _model(asked, 100)
    scenarios = _scenarios(asked["scenarios"], rng)
    replicates = asked["lanes"] // 100 // asked["scenarios"]
    wall, own = time.perf_counter(), time.process_time()
    found = sweep(
        model, scenarios, start, steps=60, replicates=replicates, key=1, keep=asked["keep"],
        memory=asked["memory"],
    )  # fmt: skip
    return {
        "lanes": int(found.attrs["lanes"]) * asked["scenarios"],
        "keep": asked["keep"],
        "seconds": time.perf_counter() - wall,
        "cpu_s": time.process_time() - own,
        "memory_asked": asked["memory"],
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


if __name__ == "__main__":
    main()
