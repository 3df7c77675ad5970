"""What hostile documents meet: lies, other bytes, random edits."""

from __future__ import annotations

import copy
import itertools
import json
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsim_jax.simulator._trace import trace_source
from gsim_jax.simulator.code import MISFITS, Reader
from gsim_jax.simulator.cost import Budget
from gsim_jax.simulator.lanes import lane_words
from gsim_jax.simulator.program import Program
from gsim_jax.simulator.vocabulary import TABLE, Shaped, fields
from gsim_jax.task import SimulatorError
from tests.simulator.running import build, first_row, guess
from tests.simulator.sources import (
    FILES,
    SEIR_SIGNATURE,
    SIR_SIGNATURE,
    STOCK_SIGNATURE,
)


@pytest.fixture(scope="session")
def documents() -> dict[str, dict[str, Any]]:
    return {name: trace_source(*file) for name, file in FILES.items()}


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
    ("parameters/infection/beta/shape", 1, "a list of at most"),
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
def test_random_edits_are_refused_or_run(documents: Any, data: Any, edits: int) -> None:
    name = data.draw(st.sampled_from(["sir", "seir", "stock"]))
    check_edited(name, scramble(documents[name], data, edits))


@pytest.mark.slow
@given(data=st.data(), edits=st.integers(1, 4))
@settings(max_examples=3000)
def test_many_random_edits(documents: Any, data: Any, edits: int) -> None:
    name = data.draw(st.sampled_from(sorted(FILES)))
    check_edited(name, scramble(documents[name], data, edits))


@given(st.binary(max_size=60), st.data())
@settings(max_examples=60)
def test_random_bytes_are_refused(documents: Any, noise: bytes, data: Any) -> None:
    raw = json.dumps(documents["sir"]).encode()
    at = data.draw(st.integers(0, len(raw)))
    edited = raw[:at] + noise + raw[at + len(noise) :]
    try:
        program = Program.from_document(edited, SIR_SIGNATURE)
    except SimulatorError:
        return
    assert json.loads(program.to_bytes()) == json.loads(edited)


# --- random operations ----------------------------------------------------------------------------


LENGTHS = st.lists(st.integers(0, 4), max_size=3)
PIECES = [
    *[None, True, False, "int32", "float32", "bool", "uint32", "clip", "drop", 0.5, "nan"],
    *["default", "highest", "even", "away", [[], []], [[0], [0]], [[1], [0]], [[0], [1]]],
    *range(-2, 6),
    *[list(row) for n in range(4) for row in itertools.product(range(3), repeat=n)],
    *[[list(row)] * n for n in range(3) for row in itertools.product([-1, 0, 1, 2], repeat=2)],
    *[[list(row)] * n for n in range(3) for row in itertools.product([-1, 0, 1, 2], repeat=3)],
]


def fits(check: Any, value: Any) -> bool:
    """Whether a field takes a value."""
    try:
        check(value)
    except fields.FieldError:
        return False
    return True


PARAMETERS = {
    name: {key: [v for v in PIECES if fits(check, v)] for key, check in row.parameters.items()}
    for name, row in TABLE.items()
}


def draw_operation(data: st.DataObject) -> tuple[dict[str, Any], list[Shaped]]:
    """One operation with parameters of the right types, and arguments of any shape."""
    operation = TABLE[data.draw(st.sampled_from(sorted(TABLE)))]
    least, most = operation.arity
    count = data.draw(st.integers(least, min(most, least + 2)))
    shape = data.draw(LENGTHS)
    leaves = [
        Shaped(
            data.draw(st.sampled_from(["float32", "float32", "int32", "bool", "uint32"])),
            tuple(data.draw(st.one_of(st.just(shape), LENGTHS))),
        )
        for _ in range(count)
    ]
    fitting = PARAMETERS[operation.name].items()
    own = {name: data.draw(st.sampled_from(values)) for name, values in fitting}
    return {"op": operation.name, "in": list(range(count)), "out": [], **own}, leaves


def try_operation(data: st.DataObject, run: bool) -> None:
    """The operation is refused, or does what was inferred of it."""
    entry, leaves = draw_operation(data)
    where = "functions.f"
    for _ in range(2):
        # The first refusal of a fitting operation tells what it should have declared.
        try:
            code, _ = Reader(Budget()).code(leaves, [entry], [], where, 1, 0)
        except SimulatorError as error:
            text = error.problems[0].message
            if "declared nothing, inferred" not in text and "results; got 0" not in text:
                return
            entry["out"] = declare(entry, leaves)
        else:
            break
    else:
        return
    if run:
        values = [jnp.ones(leaf.shape, leaf.dtype) for leaf in leaves]
        out = TABLE[entry["op"]].evaluate(*values, **code.steps[0].parameters)
        outs = out if isinstance(out, list) else [out]
        found = [Shaped(str(o.dtype), o.shape) for o in jax.block_until_ready(outs)]
        assert found == list(code.steps[0].outs)


def declare(entry: dict[str, Any], leaves: list[Shaped]) -> list[dict[str, Any]]:
    """What an operation puts out, if its arguments fit."""
    operation = TABLE[entry["op"]]
    parameters = {name: check(entry[name]) for name, check in operation.parameters.items()}
    try:
        outs = operation.infer(parameters, leaves)
    except MISFITS:
        return []
    return [{"dtype": o.dtype, "shape": list(o.shape)} for o in outs]


@given(data=st.data())
@settings(max_examples=150)
def test_random_operations_are_refused_or_fit(data: Any) -> None:
    try_operation(data, run=False)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=4000)
def test_random_operations_run(data: Any) -> None:
    try_operation(data, run=True)
