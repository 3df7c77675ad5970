"""Chunks beside one another: the lanes of one core bit for bit, compiled once, in order."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax.cli.app import XLA_FLAG
from gsim_jax.compilation import CPU_OPTIONS, lanes_jit
from gsim_jax.simulator import cores as module
from gsim_jax.simulator import rollout as rollouts
from gsim_jax.simulator.keep import Moments
from gsim_jax.simulator.rollout import rollout
from gsim_jax.task import InputError
from tests.simulator.towns import INPUTS, PARAMS, START, town, with_params

STEPS = 20
LANES = 3_000  # enough to be worth three cores


def run(cores: int, monkeypatch: Any, params: Any = PARAMS, **options: Any) -> Any:
    schema, program = town()
    options = {"steps": STEPS, "lanes": LANES, "key": 3, "inputs": INPUTS, **options}
    with monkeypatch.context() as patched:
        patched.setattr(module, "cores", lambda: cores)
        return rollout(program, schema, params, START, **options)


class TestRollouts:
    @pytest.mark.parametrize(
        ("words", "keep"), [("threefry", "last"), ("hash", "paths"), ("sobol", "moments")]
    )
    def test_cores_change_nothing(self, words: str, keep: str, monkeypatch: Any) -> None:
        beta = np.linspace(0.1, 1.2, LANES).astype(np.float32)
        gamma = np.where(np.arange(LANES) % 97 == 5, 1.5, 0.1).astype(np.float32)
        params = with_params(beta=beta, gamma=gamma)
        one, three = (run(n, monkeypatch, params, words=words, keep=keep) for n in (1, 3))
        assert (one.chunks, three.chunks) == (1, 3)
        assert 0 < one.failed < 0.1
        np.testing.assert_array_equal(one.codes, three.codes)
        for a, b in zip(jax.tree.leaves(one.kept), jax.tree.leaves(three.kept), strict=True):
            if isinstance(one.kept, Moments):  # sums over other groups of lanes
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
            else:
                np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize("cores", [1, 2])
    def test_chunks_stay_in_a_cache(self, cores: int, monkeypatch: Any) -> None:
        whole = run(cores, monkeypatch, keep="last")
        with monkeypatch.context() as patched:
            patched.setattr(rollouts, "CACHED", 80_000)
            parts = run(cores, monkeypatch, keep="last")
        assert whole.chunks == cores
        assert parts.chunks > 4 * cores  # more than are under way at a time
        np.testing.assert_array_equal(whole.kept.outputs, parts.kept.outputs)

    def test_they_share_the_memory(self, monkeypatch: Any) -> None:
        whole = run(1, monkeypatch, memory=400_000, keep="last")
        parts = run(2, monkeypatch, memory=400_000, keep="last")
        assert whole.chunks > 1
        assert parts.chunks >= 4 * whole.chunks - 3  # two for each core are under way
        np.testing.assert_array_equal(whole.kept.outputs, parts.kept.outputs)

    def test_they_compile_once(self, monkeypatch: Any) -> None:
        counted: list[str] = []

        def listen(event: str, duration: float, **_: Any) -> None:
            if event.endswith(("backend_compile_duration", "jaxpr_trace_duration")):
                counted.append(event.rsplit("/", 1)[-1])

        rollouts._whole_loops.clear_cache()
        # Small things that JAX compiles on the way are there already.
        run(2, monkeypatch, lanes=LANES - 40)
        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            run(2, monkeypatch)
            assert counted.count("backend_compile_duration") == 1
            counted.clear()
            run(2, monkeypatch, with_params(beta=np.float32(0.9)), key=7)
            assert not counted
        finally:
            jax.monitoring.clear_event_listeners()

    def test_little_work_stays_in_one(self, monkeypatch: Any) -> None:
        assert run(2, monkeypatch, lanes=100).chunks == 1
        assert run(2, monkeypatch, steps=1).chunks == 1
        assert run(64, monkeypatch).chunks == 3  # not one for each of so many

    @pytest.mark.parametrize("platform", ["cuda", "tpu"])
    def test_they_lower_for_accelerators(self, platform: str, monkeypatch: Any) -> None:
        captured: list[Any] = []
        compiled = rollouts._whole_loops
        with monkeypatch.context() as patched:
            patched.setattr(rollouts, "_whole_loops", lambda *a: captured.append(a) or compiled(*a))
            run(2, monkeypatch)
        static, _, *arguments = captured[0]
        function = jax.jit(lambda *a: rollouts.simulate(static, *a))
        exported = jax.export.export(function, platforms=[platform])(*arguments)
        assert exported.platforms == (platform,)

    def test_bad_input_is_told_as_ever(self, monkeypatch: Any) -> None:
        with pytest.raises(InputError, match="lockdown, doctors; missing"):
            run(2, monkeypatch, inputs={})


class TestCores:
    def test_as_many_as_the_process_has(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
        assert module.cores() == 3

    def test_one_where_jax_has_no_streams(self, monkeypatch: Any) -> None:
        monkeypatch.setattr(module, "execution_stream_id", None)
        assert module.cores() == 1

    def test_one_where_jax_computes_in_the_callers_thread(self) -> None:
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        try:
            assert module.cores() == 1
        finally:
            jax.config.update("jax_cpu_enable_async_dispatch", True)

    @pytest.mark.skipif(module.cores() < 2, reason="XLA cuts no loops for a single core")
    def test_loops_are_whole(self) -> None:
        """XLA still has the passes that are left out."""

        def cuts(options: Any) -> int:
            made = lanes_jit(lambda x: jnp.sin(jnp.sin(x) + 1), options)
            return made.lower(jnp.ones(1 << 20)).compile().as_text().count("dimension_partitions")

        assert cuts(CPU_OPTIONS) > 0
        assert cuts(module.WHOLE_LOOPS) == 0

    def test_loops_have_one_result(self) -> None:
        """The command line asks for several, by a flag that XLA still has."""
        found = subprocess.run(
            [sys.executable, "-c", FUSIONS], capture_output=True, text=True, check=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": XLA_FLAG},
        )  # fmt: skip
        assert found.stdout.split() == ["1", "0", "0"]  # fusions of tuples


FUSIONS = """
import jax
import jax.numpy as jnp
from gsim_jax.compilation import CPU_OPTIONS, lanes_jit
from gsim_jax.simulator.cores import PLAIN_LOOPS, WHOLE_LOOPS

def both(x, y):
    return jnp.sin(x) * y, jnp.sin(x) + y

x = jnp.ones(1 << 10)
for options in (CPU_OPTIONS, PLAIN_LOOPS, WHOLE_LOOPS):
    print(lanes_jit(both, options).lower(x, x).compile().as_text().count(") fusion("))
"""


class TestSideBySide:
    @pytest.mark.parametrize("most", [1, 3, 100])
    def test_results_are_in_order(self, most: int) -> None:
        square = jax.jit(lambda x: x * x)
        found = module.side_by_side(square, lambda x, y: (x, int(y)), range(50), most)
        assert found == [(x, x * x) for x in range(50)]
        assert module.side_by_side(square, lambda x, y: y, [], most) == []

    @pytest.mark.skipif(module.cores() < 2, reason="one thread of JAX computes")
    def test_they_run_at_the_same_time(self) -> None:
        @jax.jit
        def turns(n: jax.Array) -> jax.Array:
            return jax.lax.fori_loop(0, n, lambda _, x: jnp.sin(x) + 1, jnp.zeros(4096))

        begun: list[jax.Array] = []

        def begin(n: jax.Array) -> jax.Array:
            begun.append(turns(n))
            return begun[-1]

        def finish(n: jax.Array, _: jax.Array) -> bool:
            long, short = begun
            short.block_until_ready()
            return not long.is_ready()

        jax.block_until_ready(turns(jnp.int32(1)))
        still_running, _ = module.side_by_side(begin, finish, [jnp.int32(50_000), jnp.int32(1)], 2)
        jax.block_until_ready(begun)
        assert still_running

    def test_so_many_are_under_way(self) -> None:
        log: list[int] = []

        def begin(x: int) -> int:
            log.append(1)
            return x

        def finish(x: int, y: int) -> int:
            log.append(-1)
            return y

        module.side_by_side(begin, finish, range(9), 4)
        assert max(np.cumsum(log)) == 4
        assert sum(log) == 0

    def test_an_error_is_raised(self) -> None:
        seen: list[int] = []

        def fails(x: int) -> int:
            seen.append(x)
            if x == 7:
                raise ValueError("seven")
            return x

        with pytest.raises(ValueError, match="seven"):
            module.side_by_side(fails, lambda x, y: y, range(1000), 2)
        assert seen == list(range(8))
