"""What the throughput benchmark times: engines that must simulate the same thing."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from benchmarks import _native, _throughput, _worlds, throughput
from gsim_jax import PerLane, Program, load_task, rollout
from gsim_jax.cli import main
from gsim_jax.simulator.sandbox import Sandbox

LANES = 200


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


@pytest.fixture(scope="module", params=["covid19", "supply_chain", "hospital_beds"])
def asked(request: Any, sandbox: Sandbox) -> dict[str, Any]:
    return throughput._asked(request.param, LANES, 3, sandbox)


def test_the_native_functions_draw_what_the_program_draws(asked: dict[str, Any]) -> None:
    task = load_task(_worlds.ENVS / asked["task"])
    assert task.test is not None
    program = Program.from_document(asked["program"].encode(), task.schema.signature())
    native = _native.native_words(task.path / "truth.py", task.schema)
    index = np.arange(32) % len(task.test)
    start = {k: PerLane(v[:, 0], index) for k, v in task.test.states.items()}
    inputs = {k: PerLane(v[:, :21], index) for k, v in task.test.inputs.items()}
    params = program.parameters.values(asked["truth"])
    ends = [
        rollout(
            simulator,
            task.schema,
            params,
            start,
            inputs=inputs,
            steps=20,
            lanes=32,
            key=1,
            keep="last",
        ).kept
        for simulator in (program, native)
    ]
    for name in task.schema.states:
        np.testing.assert_array_equal(ends[0].states[name], ends[1].states[name])


def test_rivals_simulate_the_same_law(asked: dict[str, Any]) -> None:
    rival = importlib.import_module(f"benchmarks._rival_{asked['rival']}")
    runs = [("numpy_run", int)]
    runs += [("python_run", generators) for generators in _throughput.PYTHON_LOOPS.values()]
    if importlib.util.find_spec("numba"):
        runs.append(("numba_run", int))
    task = load_task(_worlds.ENVS / asked["task"])
    assert task.test is not None
    lanes = 400
    index = np.arange(lanes) % len(task.test)
    start = {k: v[index, 0] for k, v in task.test.states.items()}
    inputs = {k: v[index] for k, v in task.test.inputs.items()}
    steps = 8
    ours = _program_ends(asked, task, index, steps, rival.LABELS)
    engines = [_throughput.Engine("program", lanes, lambda seed: ours, ends=ours)]
    for name, chance in runs:
        ends = getattr(rival, name)(start, inputs, asked["truth"], steps, chance(5))
        assert ends.shape == (lanes, len(rival.LABELS))
        engines.append(_throughput.Engine(name, lanes, lambda seed: ours, ends=ends))
    _throughput.check(engines, list(rival.LABELS))
    shifted = ours + 0.6 * ours.std(0)
    engines.append(_throughput.Engine("wrong", lanes, lambda seed: ours, ends=shifted))
    with pytest.raises(AssertionError, match="wrong: mean of"):
        _throughput.check(engines, list(rival.LABELS))


def _program_ends(
    asked: dict[str, Any], task: Any, index: np.ndarray, steps: int, labels: tuple[str, ...]
) -> np.ndarray:
    program = Program.from_document(asked["program"].encode(), task.schema.signature())
    start = {k: PerLane(v[:, 0], index) for k, v in task.test.states.items()}
    inputs = {k: PerLane(v[:, : steps + 1], index) for k, v in task.test.inputs.items()}
    params = program.parameters.values(asked["truth"])
    last = rollout(
        program, task.schema, params, start, inputs=inputs, steps=steps, lanes=len(index), key=8,
        keep="last",
    )  # fmt: skip
    every = [output.label for output in task.schema.outputs]
    return last.kept.outputs[:, [every.index(label) for label in labels]].astype(float)


@pytest.mark.slow
def test_the_whole_benchmark(tmp_path: Any, capsys: Any) -> None:
    pytest.importorskip("numba")
    out = tmp_path / "out.json"
    arguments = ["--tasks", "covid19", "--lanes", "300", "--memory-lanes", "1000"]
    command = ["bench", "throughput", "--json", "--out", str(out), "--", *arguments]
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert {"task", "engine", "lanes", "cores", "steps_per_s", "compile_s"} == set(found["rows"][0])
    ratios = found["ratios"]["covid19"]
    for name in ("vs_numpy", "vs_numba", "vs_jax_random", "vs_python_loop", "program_vs_native"):
        assert ratios[name] > 0
    assert "two_cores_vs_one" in ratios
    assert json.loads(out.read_text())["memory"]["lanes"] == 1000


def test_unknown_tasks_are_named() -> None:
    with pytest.raises(Exception, match="expected tasks out of covid19, "):
        throughput.bench(seed=0, out=None, arguments=["--tasks", "covid"])


def test_the_readme_has_a_place_for_the_table() -> None:
    text = (throughput.ROOT / "README.md").read_text(encoding="utf-8")
    begin, end = (text.index(mark) for mark in throughput.MARKS)
    assert "| covid19 | program, threefry |" in text[begin:end]
