"""Chunks beside one another: the lanes of one thread bit for bit, compiled once, in order."""

from __future__ import annotations

import threading
import time
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax.compilation import lanes_jit
from gsim_jax.simulator import rollout as module
from gsim_jax.simulator import threads
from gsim_jax.simulator.keep import Moments
from gsim_jax.simulator.rollout import rollout
from gsim_jax.task import InputError
from tests.simulator.test_vocabulary import CASES
from tests.simulator.towns import INPUTS, PARAMS, START, town, with_params

STEPS = 20
LANES = 3_000  # enough to be worth a thread


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

    def test_they_share_the_memory(self, monkeypatch: Any) -> None:
        whole = run(1, monkeypatch, memory=400_000, keep="last")
        parts = run(2, monkeypatch, memory=400_000, keep="last")
        assert whole.chunks > 1
        assert parts.chunks >= 2 * whole.chunks - 1
        np.testing.assert_array_equal(whole.kept.outputs, parts.kept.outputs)

    def test_they_compile_once(self, monkeypatch: Any) -> None:
        counted: list[str] = []

        def listen(event: str, duration: float, **_: Any) -> None:
            if event.endswith(("backend_compile_duration", "jaxpr_trace_duration")):
                counted.append(event.rsplit("/", 1)[-1])

        module._kernel.clear_cache()
        module._KERNELS.clear()
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

    def test_few_lanes_stay_in_one(self, monkeypatch: Any) -> None:
        assert run(2, monkeypatch, lanes=100).chunks == 1

    @pytest.mark.parametrize("platform", ["cuda", "tpu"])
    def test_the_kernel_lowers_for_accelerators(self, platform: str, monkeypatch: Any) -> None:
        captured: list[Any] = []
        kernel = module._kernel
        monkeypatch.setattr(module, "_is_kernel", lambda *a: True)
        monkeypatch.setattr(module, "_kernel", lambda *a: captured.append(a) or kernel(*a))
        run(2, monkeypatch)
        static, _, *arguments = captured[0]
        alone = threads.one_kernel(lambda *a: module.simulate(static, *a))
        exported = jax.export.export(jax.jit(alone), platforms=[platform])(*arguments)
        assert exported.platforms == (platform,)

    def test_what_cannot_be_a_kernel_runs_as_before(self, monkeypatch: Any) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(threads, "_LOOPS", frozenset({"add"}))
            patched.setattr(module, "_KERNELS", {})
            found = run(2, monkeypatch, keep="last")
        assert found.chunks == 1
        np.testing.assert_array_equal(
            found.kept.outputs, run(1, monkeypatch, keep="last").kept.outputs
        )

    def test_bad_input_is_told_as_ever(self, monkeypatch: Any) -> None:
        with pytest.raises(InputError, match="lockdown, doctors; missing"):
            run(2, monkeypatch, inputs={})


class TestKernels:
    def test_loops(self) -> None:
        def steps(x: jax.Array) -> jax.Array:
            def body(y: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
                y = jnp.where(y > 2, jnp.cumsum(y) / 9, jax.nn.softplus(y) + t)
                return jax.lax.dynamic_update_slice(y, y[:1] + 1, (1,)), jnp.argmax(y)

            y, at = jax.lax.scan(body, x, jnp.arange(5.0))
            return y + at.sum()

        x = jnp.linspace(-1.0, 3.0, 200)
        assert threads.only_loops(jax.make_jaxpr(steps)(x))
        # Library functions round as they like when they are compiled beside others.
        np.testing.assert_allclose(
            jax.jit(threads.one_kernel(steps))(x), jax.jit(steps)(x), rtol=1e-6
        )

    @pytest.mark.parametrize(
        "function",
        [
            jnp.sort,
            lambda x: jax.lax.top_k(x, 2)[0],
            lambda x: x[:, None] @ x[None, :],
            lambda x: jnp.linalg.cholesky(jnp.diag(x)),
            lambda x: jax.lax.while_loop(lambda y: y.sum() < 9, lambda y: y * 2, x),
            lambda x: jax.lax.scan(lambda y, _: (jnp.sort(y), None), x, None, length=3)[0],
        ],
    )
    def test_what_is_more_than_loops(self, function: Any) -> None:
        assert not threads.only_loops(jax.make_jaxpr(function)(jnp.arange(1.0, 5.0)))

    def test_what_does_not_compile_is_no_kernel(self, monkeypatch: Any) -> None:
        """Whatever the list of primitives says, XLA has the last word."""

        def steps(x: jax.Array) -> jax.Array:
            return jax.lax.scan(lambda y, _: (jnp.sort(y), None), x, None, length=3)[0]

        monkeypatch.setattr(threads, "only_loops", lambda jaxpr: True)
        made = lanes_jit(threads.one_kernel(steps), threads.KERNEL_OPTIONS)
        assert not threads.compiles(made.trace(jnp.ones((4, 300))))

    def test_a_kernel_is_one_call(self) -> None:
        """XLA still knows the attribute: else this machine's cores would meet after every loop."""

        def steps(x: jax.Array) -> jax.Array:
            return jax.lax.fori_loop(0, 20, lambda _, y: jnp.sin(y) + y, x)

        assert threads.kernels_work()
        made = lanes_jit(threads.one_kernel(steps), threads.KERNEL_OPTIONS)
        entry = made.lower(jnp.ones(100_000)).compile().as_text().split("ENTRY")[1]
        assert "call(" in entry
        assert "while(" not in entry

    @pytest.mark.parametrize("lost", ["_KERNEL", "KERNEL_OPTIONS"])
    def test_another_xla_is_noticed(self, lost: str, monkeypatch: Any) -> None:
        monkeypatch.setattr(threads, lost, {"xla_cpu_of_another_version": "true"})
        assert not threads.kernels_work.__wrapped__()


class TestEach:
    def test_results_are_in_order(self) -> None:
        assert threads.each(lambda x: x * x, range(50), 3) == [x * x for x in range(50)]
        assert threads.each(lambda x: x, [], 3) == []

    def test_items_run_at_the_same_time(self) -> None:
        both = threading.Barrier(2, timeout=20)
        assert len(threads.each(lambda _: both.wait(), range(2), 2)) == 2

    def test_one_thread_is_the_callers(self) -> None:
        names = threads.each(lambda _: threading.current_thread().name, range(4), 1)
        assert set(names) == {threading.current_thread().name}

    def test_an_error_is_raised(self) -> None:
        seen: list[int] = []

        def fails(x: int) -> None:
            seen.append(x)
            if x == 7:
                raise ValueError("seven")
            if x > 7:
                time.sleep(0.01)

        with pytest.raises(ValueError, match="seven"):
            threads.each(fails, range(1000), 2)
        assert len(seen) < 1000  # nobody waits for the rest


def test_every_operation_of_a_program_can_be_in_a_kernel() -> None:
    """The cases of the vocabulary, over lanes: what is called a loop compiles, to the same."""
    chosen, given, refused = [], [], set()
    for name, function, arguments in CASES:
        if not arguments:
            continue  # nothing of a lane in it
        lanes = [np.repeat(np.asarray(a)[None], 5, axis=0) for a in arguments]
        if threads.only_loops(jax.make_jaxpr(jax.vmap(function))(*lanes)):
            chosen.append(jax.vmap(function))
            given.append(lanes)
        else:
            refused.add(name)
    assert len(chosen) > len(CASES) / 2
    assert refused >= {"dot", "sort"}

    def every(given: Any) -> Any:
        return [function(*lanes) for function, lanes in zip(chosen, given, strict=True)]

    found = lanes_jit(threads.one_kernel(every), threads.KERNEL_OPTIONS)(given)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(jax.jit(every)(given)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
