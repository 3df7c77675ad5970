"""Programs against direct evaluation of the same files, and what hostile documents meet."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsim_jax import words
from gsim_jax.sampling import LAWS
from gsim_jax.simulator import template
from gsim_jax.simulator._trace import trace_source
from gsim_jax.simulator.cost import Budget
from gsim_jax.simulator.lanes import BEFORE, lane_words
from gsim_jax.simulator.program import Program
from gsim_jax.task import SimulatorError
from tests.simulator.sources import (
    DECAY,
    DECAY_SIGNATURE,
    FILES,
    SEIR,
    SEIR_SIGNATURE,
    SIR,
    SIR_SIGNATURE,
    STOCK_SIGNATURE,
)

STEPS, LANES = 5, 6
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


def build(document: Any, signature: Any = SIR_SIGNATURE, **limits: int) -> Program:
    """A program under a budget."""
    return Program.from_document(document, signature, Budget(**limits))


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


def first_row(program: Program) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """States, masks and inputs of a plausible first row."""
    start = {"S": 90, "I": 10, "stock": 30, "disease": -1, "bed": -1, "level": 2.0}
    shown = {n: spec for n, spec in program.states.items() if n not in program.latent}
    state = {n: jnp.full(s.shape, start.get(n, 0), s.dtype) for n, s in shown.items()}
    seen = {n: jnp.full(s.shape, True) for n, s in shown.items()}
    inputs = {"lockdown": jnp.float32(0.2), "population": jnp.int32(100)}
    return state, seen, {**inputs, "price": jnp.float32(0.1), "dose": jnp.float32(1.0)}


def guess(program: Program) -> dict[str, dict[str, jax.Array]]:
    """Parameters at their guesses."""
    return program.parameters.from_unit(jnp.asarray(program.parameters.guess(), jnp.float32))


def rollout(program: Program, step: Callable[..., Any]) -> Callable[[jax.Array], Any]:
    """States and outputs of a few steps of one lane."""
    state, seen, inputs = first_row(program)
    params = guess(program)

    def run(key: jax.Array) -> Any:
        start = program.initial(state, seen, inputs, params, lane_words(key, BEFORE))

        def body(now: Any, t: jax.Array) -> Any:
            now, outputs = step(now, {**inputs, "t": t}, params, lane_words(key, t))
            now = {n: jnp.asarray(now[n]).astype(s.dtype) for n, s in program.states.items()}
            return now, (now, outputs)

        return jax.lax.scan(body, start, jnp.arange(STEPS))[1]

    return run


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


# --- documents that lie ---------------------------------------------------------------------------


def edit(document: Any, path: str, value: Any) -> Any:
    """A copy of a document with one place changed; a last part of `-` deletes."""
    document = copy.deepcopy(document)
    *parts, last = path.split("/")
    place = document
    for part in parts:
        place = place[int(part) if part.lstrip("-").isdigit() and isinstance(place, list) else part]
    if value is ...:
        del place[last]
    elif isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return document


DRAW = "functions/recovery/operations/0"
FIRST = "functions/couple/operations/0"
LIES: list[tuple[str, Any, str]] = [
    ("format", "pickle", "expected format 'gsim-program'"),
    ("version", 2, "version 1"),
    ("version", True, "version 1"),
    ("doc", 3, "a text"),
    ("more", 1, "expected the keys"),
    ("doc", ..., "expected the keys"),
    ("submodules", [], "1 to 64 names"),
    ("submodules", ["infection", "infection"], "different names"),
    ("submodules", ["infection", "couple"], "none of them reserved"),
    ("submodules", ["infection"], "groups out of"),
    ("submodules", [["infection"]], "expected a name"),
    ("latent", {"S": {"kind": "count", "shape": [], "min": 0, "max": None}}, "is a state or input"),
    ("latent", {"E": {"kind": "text", "shape": [], "min": 0, "max": None}}, "a kind out of"),
    ("latent", {"E": {"kind": "count", "shape": [10**9], "min": 0, "max": None}}, "from 0 to"),
    ("latent", {"E": {"kind": "count", "shape": [], "min": 0, "max": None}}, "wrong or missing"),
    ("parameters/infection/beta/prior", "Cauchy", "a prior out of"),
    ("parameters/infection/beta/arguments", {"low": 2.0, "high": 1.0}, "low must be below"),
    ("parameters/infection/beta/arguments", {"low": "0", "high": 1.0}, "finite number"),
    ("parameters/infection/beta/guess", 9.0, "outside of the prior's range"),
    ("parameters/infection/beta/guess", None, "finite number"),
    ("parameters/infection/beta/shape", [5000], "more than 4096"),
    ("parameters/infection/beta/shape", [3], "wrong|expected|declared"),
    ("parameters/nowhere", {}, "groups out of"),
    ("functions/couple", ..., "expected functions"),
    ("functions/extra", {}, "expected functions"),
    ("functions/couple/outputs/S", ..., "wrong or missing: S"),
    ("functions/couple/outputs/E", 5, "wrong or missing: E"),
    ("functions/couple/outputs/S", 99, "no value 99 yet"),
    ("functions/couple/outputs/S", -1, "no value -1 yet"),
    ("functions/couple/outputs/S", True, "expected the keys"),
    ("functions/couple/outputs/S", {"value": 1.5, "dtype": "int32", "shape": []}, "not a value of"),
    ("functions/couple/outputs/S", {"value": 1.0, "dtype": "float32", "shape": []}, "wrong or"),
    ("functions/couple/outputs/S", {"value": [1], "dtype": "int32", "shape": [2]}, "2 numbers"),
    ("functions/couple/outputs/S", {"value": 1, "dtype": "int64", "shape": []}, "expected one of"),
    ("functions/couple/inputs/0/path", ["state", "Q"], "paths that couple may read"),
    ("functions/couple/inputs/0/path", ["state", "I"], "different paths"),
    ("functions/couple/inputs/0/path", "state", "paths that couple may read"),
    ("functions/couple/inputs/0/dtype", "float32", r"state\.S: expected"),
    ("functions/infection/inputs/0/path", ["outputs", "new_recoveries"], "may read"),
    ("functions/infection/inputs/0/path", ["inputs", "outputs", "new_recoveries"], "may read"),
    ("functions/infection/outputs/new_recoveries", 1, "none twice"),
    ("functions/infection/outputs/a b", 1, "names of outputs"),
    (f"{FIRST}/op", "while", "no operation 'while'"),
    (f"{FIRST}/op", "custom_call", "no operation 'custom_call'"),
    (f"{FIRST}/op", ["add"], "an object with 'op'"),
    (f"{FIRST}/op", "dot", "expected the keys"),
    (f"{FIRST}/in", [0], "2 to 2 arguments"),
    (f"{FIRST}/in", [0, 9], "no value 9 yet"),
    (f"{FIRST}/out", [], "1 to 1 results"),
    (f"{FIRST}/out", [{"dtype": "float32", "shape": []}], "declared float32.., inferred int32"),
    (f"{FIRST}/out", [{"dtype": "int32", "shape": [3]}], r"declared int32\[3\]"),
    (f"{FIRST}/out", [{"dtype": "int32", "shape": [1000, 1000]}], "at most 100000 elements"),
    (f"{FIRST}/out", [{"dtype": "int32", "shape": [-1]}], "from 0 to"),
    (f"{FIRST}/axis", 0, "expected the keys"),
    (f"{DRAW}/law", "cauchy", "expected one of"),
    (f"{DRAW}/law", "poisson", "expected arguments rate"),
    (f"{DRAW}/site", -1, "from 0 to"),
    (f"{DRAW}/shape", [4], r"inferred int32\[4\]"),
    (f"{DRAW}/shape", [10**6], "from 0 to"),
    (f"{DRAW}/out/0/dtype", "float32", "declared float32"),
]


@pytest.mark.parametrize(("path", "value", "text"), LIES)
def test_lies_are_refused(documents: Any, path: str, value: Any, text: str) -> None:
    with pytest.raises(SimulatorError, match=text) as caught:
        build(edit(documents["sir"], path, value))
    (problem,) = caught.value.problems
    assert problem.file == "program.json"


LOOP = "functions/demand/operations"
LOOP_LIES = [
    ("length", 4, "arrays of 4 rows|declared"),
    ("length", 10**9, "from 0 to"),
    ("length", -1, "from 0 to"),
    ("carry", 2, "from 0 to 1"),
    ("carry", 10**6, "from 0 to"),
    ("consts", 5, "from 0 to"),
    ("reverse", 0, "true or false"),
    ("body/outputs", [], "declared"),
    ("body/inputs", [], "declared nothing"),
]


@pytest.mark.parametrize(("path", "value", "text"), LOOP_LIES)
def test_lies_about_loops_are_refused(documents: Any, path: str, value: Any, text: str) -> None:
    names = [entry["op"] for entry in documents["stock"]["functions"]["demand"]["operations"]]
    edited = edit(documents["stock"], f"{LOOP}/{names.index('scan')}/{path}", value)
    with pytest.raises(SimulatorError, match=text):
        build(edited, STOCK_SIGNATURE)


def test_two_draws_of_one_site_are_refused(documents: Any) -> None:
    document = copy.deepcopy(documents["seir"])
    for entry in document["functions"]["onset"]["operations"]:
        if entry["op"] == "draw":
            entry["site"] = 0
    with pytest.raises(SimulatorError, match="site 0 stands twice in onset"):
        build(document, SEIR_SIGNATURE)


def test_implied_must_not_draw(documents: Any) -> None:
    document = copy.deepcopy(documents["seir"])
    shape = {"dtype": "int32", "shape": []}
    half = {"value": 0.5, "dtype": "float32", "shape": []}
    draw = {"op": "draw", "law": "bernoulli", "in": [half], "out": [shape], "site": 0, "shape": []}
    document["functions"]["implied"] = {
        "inputs": [], "operations": [draw], "outputs": {"recoveries": 0},
    }  # fmt: skip
    with pytest.raises(SimulatorError, match="implied must not draw"):
        build(document, SEIR_SIGNATURE)


RAW = [
    (b"", "expected JSON"),
    (b"[]", "one JSON object"),
    (b"\xff\xfe", "UTF-8"),
    (b'{"a": 1, "a": 2}', "twice"),
    (b'{"a": NaN}', "NaN"),
    (b'{"a": -Infinity}', "Infinity"),
    (b'{"a": 1e999}', "out of range"),
    (b'{"a": 1' + b"0" * 5000 + b"}", "out of range"),
    (b'{"a": 0.' + b"1" * 5000 + b"}", "out of range"),
    (b"[" * 100_000, "brackets inside one another"),
    (b'{"a":' * 100_000, "brackets inside one another"),
    (b'"' + b'\\"' * 400_000, "expected JSON"),
    (b'"' * 900_001, "expected JSON"),
    (b" " * (1 << 21), "at most"),
    (b"\x80\x04K\x01.", "UTF-8|expected JSON"),
]


@pytest.mark.parametrize(("raw", "text"), RAW, ids=range(len(RAW)))
def test_bytes_that_are_no_document(raw: bytes, text: str) -> None:
    with pytest.raises(SimulatorError, match=text):
        Program.from_document(raw, SIR_SIGNATURE)


def test_dicts_that_are_no_json() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    for wrong in (loop, {"a": object()}, {"a": float("nan")}):
        with pytest.raises(SimulatorError, match="plain JSON"):
            Program.from_document(wrong, SIR_SIGNATURE)


# --- random edits ---------------------------------------------------------------------------------


SCRAPS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.integers(),
    st.floats(allow_nan=False),
    st.sampled_from(
        ["nan", "int32", "float32", "bool", "add", "scan", "draw", "binomial", "S", ""]
    ),
    st.lists(st.integers(-2, 30), max_size=4),
    st.just({}),
    st.just({"value": 1, "dtype": "int32", "shape": []}),
)


def places(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything inside a document."""
    items: list[tuple[Any, Any]] = []
    if isinstance(document, dict):
        items = list(document.items())
    elif isinstance(document, list):
        items = list(enumerate(document))
    found = [(*path, key) for key, _ in items]
    return found + [deep for key, value in items for deep in places(value, (*path, key))]


def scramble(document: Any, data: st.DataObject, edits: int) -> Any:
    """A copy with a few random places replaced, removed, doubled or swapped."""
    document = copy.deepcopy(document)
    for _ in range(edits):
        path = data.draw(st.sampled_from(places(document)))
        place = document
        for part in path[:-1]:
            place = place[part]
        action = data.draw(st.sampled_from(["replace", "remove", "double", "graft"]))
        if action == "remove":
            del place[path[-1]]
        elif action == "double" and isinstance(place, list):
            place.append(copy.deepcopy(place[path[-1]]))
        elif action == "graft":
            other = data.draw(st.sampled_from(places(document)))
            piece = document
            for part in other:
                piece = piece[part]
            place[path[-1]] = copy.deepcopy(piece)
        else:
            place[path[-1]] = data.draw(SCRAPS)
    return document


def check_edited(name: str, document: Any) -> None:
    """Whatever was edited, the document is refused with words or is a program that can be run."""
    signature = FILES[name][1]
    try:
        program = Program.from_document(document, signature)
    except SimulatorError:
        return
    state, seen, inputs = first_row(program)
    states = {n: jax.ShapeDtypeStruct(s.shape, s.dtype) for n, s in program.states.items()}
    given = {**inputs, **{n: jnp.zeros(e["shape"], e["dtype"]) for n, e in
                          signature["inputs"].items()}}  # fmt: skip
    params = jax.eval_shape(lambda: guess(program))
    source = lane_words(jnp.zeros(2, jnp.uint32), 0)
    jax.eval_shape(lambda s, p: program.step(s, given, p, source), states, params)
    jax.eval_shape(lambda p: program.initial(state, seen, given, p, source), params)
    assert program.graph.edges is not None


@given(data=st.data(), edits=st.integers(1, 3))
@settings(max_examples=60)
def test_random_edits_are_refused_or_run(documents_once: Any, data: Any, edits: int) -> None:
    name = data.draw(st.sampled_from(["sir", "seir", "stock"]))
    check_edited(name, scramble(documents_once[name], data, edits))


@pytest.mark.slow
@given(data=st.data(), edits=st.integers(1, 4))
@settings(max_examples=3000)
def test_many_random_edits(documents_once: Any, data: Any, edits: int) -> None:
    name = data.draw(st.sampled_from(sorted(FILES)))
    check_edited(name, scramble(documents_once[name], data, edits))


@given(st.binary(max_size=60), st.data())
@settings(max_examples=60)
def test_random_bytes_are_refused(documents_once: Any, noise: bytes, data: Any) -> None:
    raw = json.dumps(documents_once["sir"]).encode()
    at = data.draw(st.integers(0, len(raw)))
    edited = raw[:at] + noise + raw[at + len(noise) :]
    try:
        program = Program.from_document(edited, SIR_SIGNATURE)
    except SimulatorError:
        return
    assert json.loads(program.to_bytes()) == json.loads(edited)


@pytest.fixture(scope="session")
def documents_once() -> dict[str, Any]:
    return {name: trace_source(*file) for name, file in FILES.items()}
