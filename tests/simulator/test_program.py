"""Programs against direct evaluation of the same files, and what hostile documents meet."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax import words
from gsim_jax.sampling import LAWS
from gsim_jax.simulator import template
from gsim_jax.simulator._trace import trace_source
from gsim_jax.simulator.lanes import BEFORE, lane_words
from gsim_jax.simulator.program import Program
from gsim_jax.task import SimulatorError
from tests.simulator.running import build, first_row, guess, rollout
from tests.simulator.sources import (
    DECAY,
    DECAY_SIGNATURE,
    FILES,
    SEIR,
    SIR,
    SIR_SIGNATURE,
)

LANES = 6
#: Compiling is most of the time of these tests, and optimising is most of compiling.
FAST = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
#: Functions whose draws stand in a loop over keys.
LOOPED = ("demand",)


@pytest.fixture(scope="module")
def documents() -> dict[str, dict[str, Any]]:
    return {name: trace_source(*file) for name, file in FILES.items()}


@pytest.fixture(scope="module")
def programs(documents: dict[str, dict[str, Any]]) -> dict[str, Program]:
    return {n: Program.from_document(d, FILES[n][1]) for n, d in documents.items()}


# --- the same numbers as the file, evaluated directly ---------------------------------------------


class Direct:
    """A file run as it stands: draws read the same words, by function and order of tracing."""

    def __init__(self, source: str) -> None:
        names = template.namespace()
        names |= {law: self._draw(law) for law in LAWS}
        names["split"] = lambda key, n=2: jnp.stack(
            [jnp.arange(n, dtype=jnp.uint32), jnp.zeros(n, jnp.uint32)], axis=1
        )
        exec(source, names)
        self.names, self.function, self.ordinal, self.words = names, "", 0, None

    def _draw(self, law: str) -> Callable[..., Any]:
        def draw(key: Any, *arguments: Any, shape: Any = None) -> Any:
            law_ = LAWS[law]
            arguments = arguments or (0.0, 1.0)
            shape = law_.batch_shape(*arguments) if shape is None else shape
            loop = key[0] if self.function in LOOPED else jnp.uint32(0)
            count = law_.words_per_draw(*arguments)
            bits = self.words(self.function, self.ordinal, shape, count, loop)
            self.ordinal += 1
            return law_.from_bits(bits, *map(jnp.asarray, arguments))

        return draw

    def call(self, name: str, source: Any, *arguments: Any) -> Any:
        self.function, self.ordinal, self.words = name, 0, source
        return self.names[name](*arguments)

    def step(self, state: Any, inputs: Any, params: Any, source: Any) -> Any:
        key, outputs = jnp.zeros(2, jnp.uint32), {}
        for function in self.names["SUBMODULES"]:
            name = function.__name__
            seen = {**inputs, "outputs": dict(outputs)}
            outputs |= self.call(name, source, dict(state), seen, params.get(name, {}), key)
        seen = {**inputs, "outputs": dict(outputs)}
        group = params.get("couple", {})
        return self.call("couple", source, dict(state), seen, outputs, group, key), outputs


@pytest.mark.parametrize("name", FILES)
def test_same_numbers_as_the_file(programs: dict[str, Program], name: str) -> None:
    program, direct = programs[name], Direct(FILES[name][0])
    keys = words.lane_keys(jnp.array([1, 2], jnp.uint32), jnp.arange(LANES))
    found = jax.jit(jax.vmap(rollout(program, program.step)), compiler_options=FAST)(keys)
    with jax.numpy_rank_promotion("allow"):
        expected = jax.jit(jax.vmap(rollout(program, direct.step)), compiler_options=FAST)(keys)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
    moved = [np.ptp(np.asarray(v), axis=0).any() for v in jax.tree.leaves(found[0])]
    assert any(moved)  # lanes differ, so draws were taken


def test_initial_observe_and_implied_of_a_file_with_hidden_states(
    programs: dict[str, Program],
) -> None:
    program, direct = programs["seir"], Direct(SEIR)
    assert program.latent == ("E", "S")
    assert program.observed == ("I",)
    params, source = guess(program), lane_words(jnp.array([3, 4], jnp.uint32), BEFORE)
    observed = {"I": jnp.int32(0), "R": jnp.int32(2), "population": jnp.int32(50)}
    seen = {"I": jnp.bool_(False), "R": jnp.bool_(True)}
    key = jnp.zeros(2, jnp.uint32)
    found = program.initial(observed, seen, {"population": jnp.int32(7)}, params, source)
    expected = direct.call("initial", source, observed, seen, params, key)
    assert found == {name: expected[name] for name in ("I", "R", "S", "E")}
    assert found["I"] == 3
    assert found["S"] + found["E"] + found["I"] + found["R"] == 50
    shown = program.observe(found, {}, params, source)
    assert shown == direct.call("observe", source, found, {}, params["observe"], key)
    later = {**found, "R": found["R"] + 2}
    assert program.implied(found, later, {}) == {"recoveries": 2}


def test_a_file_without_observe_or_implied_says_none(programs: dict[str, Program]) -> None:
    program = programs["sir"]
    assert program.observed == ()
    assert program.observe({}, {}, {}, lane_words(jnp.zeros(2, jnp.uint32), 0)) is None
    assert program.implied({}, {}, {}) is None


def test_draws_in_a_loop_take_a_word_per_turn(programs: dict[str, Program]) -> None:
    asked: list[tuple[Any, ...]] = []

    def source(function: str, ordinal: int, shape: tuple[int, ...], count: int, loop: Any) -> Any:
        asked.append((function, ordinal, shape, count))
        return jnp.full(shape, loop * np.uint32(1_000_000_000) + np.uint32(7))

    program = programs["stock"]
    state, seen, inputs = first_row(program)
    params = guess(program)
    params["demand"]["rate"] = jnp.float32(90.0)
    start = program.initial(state, seen, inputs, params, source)
    _, outputs = program.step(start, inputs, params, source)
    assert asked == [("demand", 0, (), 1)]
    (site,) = program.draws
    assert (site.function, site.ordinal, site.law, site.loops) == ("demand", 0, "poisson", 3)
    assert np.all(np.diff(outputs["asked"]) > 0)  # words grow with the turn, draws with the word


def test_wrong_values_are_named(programs: dict[str, Program]) -> None:
    program, source = programs["sir"], lane_words(jnp.zeros(2, jnp.uint32), 0)
    params = guess(program)
    with pytest.raises(KeyError, match=r"infection reads state\.R, which is not given"):
        program.step({"S": 1, "I": 1}, {}, params, source)
    state = {"S": np.ones(3, np.int32), "I": 1, "R": 1}
    with pytest.raises(ValueError, match=r"expected state\.S of shape \(\); got \(3,\)"):
        program.step(state, {}, params, source)


# --- saving, differentiating, other devices -------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_round_trip(documents: Any, programs: dict[str, Program], name: str) -> None:
    program = programs[name]
    raw = program.to_bytes()
    again = Program.from_document(raw, FILES[name][1])
    assert again == program
    assert hash(again) == hash(program)
    assert again.to_bytes() == raw
    assert json.loads(raw) == documents[name]
    assert len(raw) < 30_000
    assert again.cost == program.cost
    assert again.draws == program.draws
    assert again != programs["sir" if name != "sir" else "seir"]


def test_gradients_flow(programs: dict[str, Program]) -> None:
    program = programs["decay"]
    state, _, inputs = first_row(program)
    source = lane_words(jnp.array([5, 6], jnp.uint32), 0)

    def total(rate: jax.Array) -> jax.Array:
        params = {"flow": {"rate": rate}, "couple": {"sd": jnp.float32(0.01)}}
        after, _ = program.step(state, inputs, params, source)
        return jnp.sum(after["level"])

    rate = jnp.array([0.3, 0.2, 0.1, 0.4])
    slope = jax.jit(jax.grad(total))(rate)
    for i in range(4):
        up, down = total(rate.at[i].add(1e-2)), total(rate.at[i].add(-1e-2))
        np.testing.assert_allclose(slope[i], (up - down) / 2e-2, rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
@pytest.mark.parametrize("name", ["stock", "ward"])
def test_lowers_for_other_devices(programs: dict[str, Program], name: str, platform: str) -> None:
    program = programs[name]
    run = jax.jit(jax.vmap(rollout(program, program.step)))
    exported = jax.export.export(run, platforms=[platform])(
        jax.ShapeDtypeStruct((LANES, 2), jnp.uint32)
    )
    assert exported.platforms == (platform,)


# --- cost -----------------------------------------------------------------------------------------


def test_cost_counts_elements_loops_and_draws(programs: dict[str, Program]) -> None:
    assert programs["sir"].cost == 2 * 60 + 18
    assert programs["sir"].cost < programs["stock"].cost < programs["ward"].cost
    assert programs["ward"].cost < programs["hospital"].cost / 3


def test_expensive_operations_are_named(programs: dict[str, Program]) -> None:
    (words_, share), *others = programs["hospital"].expensive()
    assert words_ == "sort of float32[36] in allocation"
    assert share > 0.4
    assert share + sum(rest for _, rest in others) <= 1
    words_, _ = programs["stock"].expensive(1)[0]
    assert words_ == "draw from poisson of int32[], 3 times in a loop, in demand"


LIMITS = [
    ({"cost": 100}, "the cost per lane and step", "too-costly"),
    ({"operations": 10}, "at most 10 operations", "too-large"),
    ({"elements": 0}, "at most 0 elements", "too-large"),
    ({"draws": 1}, "at most 1 draws", "too-large"),
    ({"bulk": 50}, "compiling takes too long", "too-large"),
    ({"bytes": 1000}, "at most 1000 bytes", "too-large"),
    ({"fused": 5}, "hang together", "too-large"),
]


@pytest.mark.parametrize(("limits", "text", "code"), LIMITS)
def test_budgets(documents: Any, limits: dict[str, int], text: str, code: str) -> None:
    with pytest.raises(SimulatorError, match=text) as caught:
        build(documents["sir"], **limits)
    assert caught.value.problems[0].code == code


def test_loops_are_limited_in_depth_and_product() -> None:
    def nested(lengths: list[int]) -> str:
        lines = ["    def f0(c, _):\n        return c * 0.5 + 0.1, None"]
        for i, length in enumerate(lengths):
            loop = f"lax.scan(f{i}, c, None, length={length})[0]"
            lines.append(f"    def f{i + 1}(c, _):\n        return {loop}, None")
        body = "\n".join(lines)
        last = f'{{"level": f{len(lengths)}(state["level"], None)[0]}}'
        return DECAY.split("def couple")[0].replace("guess=0.01", "guess=0.01") + (
            f"def couple(state, inputs, outputs, params, key):\n{body}\n    return {last}\n"
            "SUBMODULES = (flow,)\n"
        )

    build(trace_source(nested([3, 4]), DECAY_SIGNATURE), DECAY_SIGNATURE)
    for lengths, text in (([2] * 6, "loops inside another"), ([9999] * 3, "the cost per lane")):
        document = trace_source(nested(lengths), DECAY_SIGNATURE)
        with pytest.raises(SimulatorError, match=text):
            build(document, DECAY_SIGNATURE)


def test_python_loops_are_limited() -> None:
    source = SIR.replace(
        "    p = 1 -", "    for k in range(300):\n        n = n * 0.9 + k\n    p = 1 -"
    )
    with pytest.raises(SimulatorError, match="instead of a Python loop"):
        build(trace_source(source, SIR_SIGNATURE))


# --- programs saved under another version of JAX --------------------------------------------------


# Written under JAX 0.10; JAX 0.12 writes the same bytes.
SAVED = sorted((Path(__file__).parent / "saved").glob("*.json"))


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_saved_programs_run_the_same(programs: dict[str, Program], path: Path) -> None:
    name = path.stem
    saved, traced = Program.from_document(path.read_bytes(), FILES[name][1]), programs[name]
    assert saved.to_bytes() == path.read_bytes()
    assert (saved.draws, saved.cost) == (traced.draws, traced.cost)
    state, seen, inputs = first_row(saved)
    params, source = guess(saved), lane_words(jnp.array([7, 8], jnp.uint32), 0)

    @partial(jax.jit, compiler_options=FAST)
    def steps(state: Any) -> Any:
        after = []
        for program in (saved, traced):
            start = program.initial(state, seen, inputs, params, source)
            after.append(program.step(start, inputs, params, source))
        return after

    found, expected = steps(state)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)
