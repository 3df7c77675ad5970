"""Tracing simulator files: what the document says, and what is said about files that fail."""

from __future__ import annotations

import json
from typing import Any

import jax
import pytest

from gsim_jax.sampling import LAWS
from gsim_jax.simulator import _draws, priors, template
from gsim_jax.simulator._trace import trace_source
from gsim_jax.task import SimulatorError
from tests.simulator.sources import (
    DECAY,
    DECAY_SIGNATURE,
    FILES,
    SEIR,
    SEIR_SIGNATURE,
    SIR,
    SIR_SIGNATURE,
    signature,
)


def trace(source: str, signature: dict[str, Any] = SIR_SIGNATURE) -> dict[str, Any]:
    return trace_source(source, signature)


def refused(source: str, signature: dict[str, Any] = SIR_SIGNATURE) -> Any:
    """The one problem of a file."""
    with pytest.raises(SimulatorError) as caught:
        trace_source(source, signature)
    (problem,) = caught.value.problems
    assert problem.file == "simulator.py"
    return problem


def swap(old: str, new: str, source: str = SIR) -> str:
    """The file with one piece of text replaced; the piece must be there once."""
    assert source.count(old) == 1, old
    return source.replace(old, new)


def line_of(text: str, source: str) -> int:
    """The line of the only occurrence of a text."""
    (line,) = [i for i, each in enumerate(source.splitlines(), 1) if text in each]
    return line


# --- what the document says ----------------------------------------------------------------------


def test_document_of_sir() -> None:
    document = trace(SIR)
    assert document["format"] == "gsim-program"
    assert document["version"] == 1
    assert document["doc"] == "Chain-binomial SIR."
    assert document["submodules"] == ["infection", "recovery"]
    assert document["parameters"]["infection"]["beta"] == {
        "prior": "Uniform", "arguments": {"low": 0.0, "high": 2.0}, "guess": 0.4, "shape": [],
        "unit": "1/day", "doc": "transmission rate",
    }  # fmt: skip
    recovery = document["functions"]["recovery"]
    assert recovery == {
        "inputs": [
            {"path": ["state", "I"], "dtype": "int32", "shape": []},
            {"path": ["params", "gamma"], "dtype": "float32", "shape": []},
        ],
        "operations": [
            {
                "op": "draw", "law": "binomial", "site": 0, "shape": [], "in": [0, 1],
                "out": [{"dtype": "int32", "shape": []}],
            }
        ],
        "outputs": {"new_recoveries": 2},
    }  # fmt: skip
    paths = [tuple(entry["path"]) for entry in document["functions"]["infection"]["inputs"]]
    assert paths == [("state", "S"), ("state", "I"), ("state", "R"), ("params", "beta")]
    ones = [v for e in document["functions"]["infection"]["operations"] for v in e["in"]]
    assert {"value": 1.0, "dtype": "float32", "shape": []} in ones


def test_tracing_is_repeatable() -> None:
    for source, given in FILES.values():
        first = json.dumps(trace_source(source, given), sort_keys=True)
        assert json.dumps(trace_source(source, given), sort_keys=True) == first


def test_settings_of_the_process_do_not_matter() -> None:
    plain = trace_source(DECAY, DECAY_SIGNATURE)
    with jax.enable_x64(True), jax.numpy_rank_promotion("raise"):
        assert trace_source(DECAY, DECAY_SIGNATURE) == plain


def test_optional_parts_may_be_missing() -> None:
    source = "\n".join(
        [
            "def grow(state, inputs, params, key):",
            '    return {"born": poisson(key, 0.1 * state["herd"])}',
            "def couple(state, inputs, outputs, params, key):",
            '    return {"herd": state["herd"] + outputs["born"]}',
            "SUBMODULES = (grow,)",
        ]
    )
    document = trace_source(source, signature(herd=("count", ())))
    assert document["doc"] == ""
    assert document["parameters"] == document["latent"] == {}
    assert document["functions"]["initial"]["inputs"][0]["path"] == ["observed", "herd"]
    assert set(document["functions"]) == {"initial", "grow", "couple"}


def test_latent_states_and_groups_of_others() -> None:
    document = trace_source(SEIR, SEIR_SIGNATURE)
    assert document["latent"]["E"] == {"kind": "count", "shape": [], "min": 0, "max": None}
    initial = [entry["path"] for entry in document["functions"]["initial"]["inputs"]]
    assert ["seen", "I"] in initial
    assert ["observed", "population"] in initial
    assert ["params", "initial", "share"] in initial
    onset = [entry["path"] for entry in document["functions"]["onset"]["inputs"]]
    assert ["inputs", "outputs", "exposures"] in onset
    observe = [entry["path"] for entry in document["functions"]["observe"]["inputs"]]
    assert observe == [["state", "I"], ["params", "reported"]]


def test_helper_functions_constants_and_repeated_draws() -> None:
    source = swap(
        '    return {"new_recoveries": binomial(key, state["I"], params["gamma"])}',
        "    halves = [share(k, state['I'] // 2, params['gamma']) for k in split(key)]\n"
        "    return {'new_recoveries': sum(halves)}\n"
        "SHIFT = jnp.arange(40.0)\n"
        "def share(key, n, p):\n"
        "    return binomial(key, n, p * SHIFT[30] / SHIFT.max())",
    )
    draws = [e for e in trace(source)["functions"]["recovery"]["operations"] if e["op"] == "draw"]
    assert [entry["site"] for entry in draws] == [0, 1]


def test_one_body_in_two_loops_is_two_sites() -> None:
    source = swap(
        '    return {"new_recoveries": binomial(key, state["I"], params["gamma"])}',
        "    a = lax.scan(turn, state['I'], split(key, 3))[0]\n"
        "    b = lax.scan(turn, a, split(key, 3))[0]\n"
        "    return {'new_recoveries': state['I'] - b}\n"
        "def turn(left, k):\n"
        "    return left - binomial(k, left, 0.1), None",
    )
    loops = [e for e in trace(source)["functions"]["recovery"]["operations"] if e["op"] == "scan"]
    sites = [e["site"] for loop in loops for e in loop["body"]["operations"] if e["op"] == "draw"]
    assert sites == [0, 1]


def test_branches_become_selects() -> None:
    source = swap(
        '    return {"new_recoveries": binomial(key, state["I"], params["gamma"])}',
        "    p = lax.cond(state['I'] > 5, lambda g: g, lambda g: g / 2, params['gamma'])\n"
        "    return {'new_recoveries': binomial(key, state['I'], p)}",
    )
    operations = [e["op"] for e in trace(source)["functions"]["recovery"]["operations"]]
    assert operations == ["gt", "convert", "div", "select", "draw"]


def test_flags_become_whole_numbers_and_whole_numbers_reals() -> None:
    source = "\n".join(
        [
            "def look(state, inputs, params, key):",
            '    return {"high": state["x"] > 1}',
            "def couple(state, inputs, outputs, params, key):",
            '    return {"up": outputs["high"], "x": state["up"] + 3}',
            "SUBMODULES = look",
        ]
    )
    document = trace_source(source, signature(up=("flag", ()), x=("real", ())))
    operations = document["functions"]["couple"]["operations"]
    assert [(e["op"], e["dtype"]) for e in operations if e["op"] == "convert"] == [
        ("convert", "int32"), ("convert", "float32"),
    ]  # fmt: skip


# --- draws ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", sorted(LAWS))
def test_every_law_can_be_drawn(law: str) -> None:
    values = {"probs": "jnp.ones(4) / 4", "n": "5", "good": "3", "bad": "4"}
    arguments = ", ".join(values.get(name, "0.5") for name in LAWS[law].arguments)
    source = swap(
        '    return {"new_recoveries": binomial(key, state["I"], params["gamma"])}',
        f"    x = {law}(key, {arguments}, shape=(3,))\n"
        '    return {"new_recoveries": binomial(key, state["I"], 0.1), "x": x}',
    )
    draws = [e for e in trace(source)["functions"]["recovery"]["operations"] if e["op"] == "draw"]
    (draw,) = [entry for entry in draws if entry["shape"] == [3]]
    assert (draw["law"], draw["shape"]) == (law, [3])
    assert draw["out"][0]["dtype"] == LAWS[law].dtype
    assert draw["out"][0]["shape"] == ([3, 4] if law == "multinomial" else [3])
    assert set(_draws.WHOLE.get(law, ())) <= set(LAWS[law].arguments)


CALLS = [
    ("binomial(key, state['I'] * 0.5, 0.1)", "n must be whole"),
    ("binomial(key, state['I'])", "p is missing"),
    ("binomial(key, state['I'], 0.1, (3,), 4)", "got 4 arguments"),
    ("binomial(key, state['I'], q=0.1)", r"expected binomial\(key, n, p, shape=None\)"),
    ("binomial(key, state['I'], 0.1, n=3)", "n is given twice"),
    ("binomial(state['I'], 3, 0.1)", "the first argument must be one key"),
    ("binomial(split(key, 3), 3, 0.1)", r"got an array of shape \(3, 2\)"),
    ("binomial(0, 3, 0.1)", "the first argument must be one key"),
    ("binomial(key, jnp.ones(3, int), jnp.ones(2))", r"shapes \(3,\), \(2,\) do not broadcast"),
    ("binomial(key, 3, jnp.ones(2), shape=(3,))", r"do not broadcast to shape=\(3,\)"),
    ("categorical(key, 0.3)", "probs needs an axis"),
    ("binomial(split(key, state['I'])[0], 3, 0.1)", "n must be an integer from 1"),
    ("jnp.vectorize(lambda n: binomial(key, n, 0.1))(jnp.arange(3))", "cannot be vectorised"),
    ("key[0].astype(jnp.int32)", "a key is used as a number"),
    ("split(key)[1, 0].astype(jnp.int32)", "a key is used as a number"),
]


@pytest.mark.parametrize(("call", "text"), CALLS)
def test_wrong_draws(call: str, text: str) -> None:
    source = swap('binomial(key, state["I"], params["gamma"])', call)
    problem = refused(source)
    with pytest.raises(AssertionError, match=text):
        raise AssertionError(problem.message)
    number = "def recovery" if problem.code == "key-as-number" else "new_recoveries"
    first = next(i for i, each in enumerate(source.splitlines(), 1) if number in each)
    assert problem.line == first


# --- files that do not work ----------------------------------------------------------------------


BODY = '    n = state["S"] + state["I"] + state["R"]\n'
WRONG: list[tuple[str, str, str, str, str]] = [
    # code, text replaced, replacement, words, text of the line that is named
    ("traced-condition", BODY, "    if state['I'] > 3: n = 1\n", "use jnp.where", "if state"),
    ("traced-condition", BODY, "    n = max(state['S'], 1)\n", "jnp.maximum", "max(state"),
    ("traced-integer", BODY, "    n = [1, 2][state['S']]\n", "fixed sizes with a mask", "[1, 2]"),
    ("traced-integer", BODY, "    for i in range(state['S']): n = i\n", "range", "in range"),
    ("traced-value", BODY, "    n = float(state['S'])\n", "use jnp operations", "float("),
    ("traced-value", BODY, "    n = jnp.zeros(state['S'])\n", "fixed shapes", "jnp.zeros("),
    ("traced-mask", BODY, "    x = jnp.arange(3); n = x[x > state['S']]\n", "jnp.where", "x[x"),
    ("unknown-key", BODY, "    n = state['Q']\n", "did you mean|known", "state['Q']"),
    ("unknown-key", BODY, "    n = inputs['lockdwn']\n", "did you mean 'lockdown'", "lockdwn"),
    ("unknown-name", BODY, "    n = jpn.exp(1.0)\n", "did you mean 'jnp'", "jpn.exp"),
    ("unknown-name", BODY, "    n = open('x')\n", "'open' is not defined", "open("),
    ("trace-error", BODY, "    n = jnp.expp(1.0)\n", "AttributeError", "expp"),
    ("trace-error", BODY, "    n = 1 / 0\n", "ZeroDivisionError", "1 / 0"),
    ("trace-error", BODY, "    n = jnp.ones(3) + jnp.ones(4)\n", "shapes", "jnp.ones(4)"),
    ("trace-error", BODY, "    n = state['S'] + 'x'\n", "TypeError", "+ 'x'"),
    ("recursion", BODY, "    n = infection(state, inputs, params, key)\n", "lax.scan", "n = infec"),
    ("unknown-operation", BODY, "    n = lax.while_loop(lambda n: n < 9, lambda n: n + 1, 0)\n",
     "lax.scan", "while_loop"),
    ("unknown-operation", BODY, "    n = jnp.linalg.inv(jnp.eye(3) * state['S'])[0, 0]\n",
     "does not exist in simulators", "linalg"),
    ("dtype", BODY, "    n = state['S'].astype(jnp.int8)\n", "got int8", "int8"),
    ("bad-prior", "Uniform(0.0, 2.0, guess=0.4, ", "Uniform(0.0, 2.0, ", "add guess=", '"beta": '),
    ("bad-prior", "guess=0.4", "guess=2.4", "outside of the prior's range", "guess=2.4"),
    ("bad-prior", "Uniform(0.0, 2.0,", "Uniform(2.0, 0.0,", "low must be below high", "2.0, 0.0"),
    ("bad-prior", "Uniform(0.0, 2.0,", "LogUniform(0.0, 2.0,", "low must be above 0", "LogUni"),
    ("bad-prior", "Uniform(0.0, 2.0,", "Normal(0.0, -2.0,", "scale must be above 0", "Normal"),
    ("bad-prior", "Uniform(0.0, 2.0, guess=0.4", "Choice(1, 2**40, guess=1", "fit into", "2**40"),
    ("bad-prior", "Uniform(0.0, 2.0,", "Integer(0, 2,", "outside of the prior's range", "Integer"),
    ("bad-prior", "guess=0.4", "guess=[0.4, 0.3], shape=3", "1 or 3 values; got 2", "shape=3"),
    ("trace-error", "Uniform(0.0, 2.0,", "Uniform(0.0, 2.0, mean=3,", "mean", "mean=3"),
    ("bad-params", "Uniform(0.0, 2.0, guess=0.4,", "dict(", "expected a prior", "PARAMS"),
    ("unknown-group", '    "recovery": {"gamma"', '    "recover": {"gamma"',
     "did you mean 'recovery'", "PARAMS"),
    ("bad-state", "LATENT = {}", 'LATENT = {"E": State("number")}', "a kind out of", "LATENT"),
    ("bad-state", "LATENT = {}", 'LATENT = {"E": State("count", (0,))}', "positive", "LATENT"),
    ("bad-latent", "LATENT = {}", 'LATENT = {"E": "count"}', "expected State", "LATENT"),
    ("bad-latent", "LATENT = {}", 'LATENT = {"S": State("count")}', "already", "LATENT"),
    ("missing-state", "LATENT = {}", 'LATENT = {"E": State("count")}', "'E' is missing",
     "def couple"),
    ("no-submodules", "SUBMODULES = (infection, recovery)", "", "expected SUBMODULES", ""),
    ("not-a-function", "(infection, recovery)", '(infection, "recovery")', "functions", "SUBMOD"),
    ("bad-submodule", "(infection, recovery)", "(infection, infection)", "twice", "SUBMOD"),
    ("bad-arguments", "def recovery(state, inputs, params, key)", "def recovery(state, params)",
     r"expected def recovery\(state, inputs, params, key\)", "def recovery"),
    ("output-twice", '{"new_recoveries": bin', '{"new_infections": 1, "new_recoveries": bin',
     "returned by infection already", "def recovery"),
    ("bad-return", 'return {"new_recoveries": binomial(key, state["I"], params["gamma"])}',
     "return 3", "expected a dict of arrays; got int", "def recovery"),
    ("bad-output", '{"new_recoveries": binomial(key, state["I"], params["gamma"])}',
     '{"new_recoveries": [1, 2]}', "must be an array", "def recovery"),
    ("bad-output", '{"new_recoveries": bin', '{"a b": 1, "new_recoveries": bin', "not a name",
     "def recovery"),
    ("bad-dtype", '"S": state["S"] - i', '"S": state["S"] - 0.5 * i',
     r"couple returns float32 for 'S' \(count\): round it, e.g. jnp.floor", "def couple"),
    ("bad-shape", '"S": state["S"] - i', '"S": jnp.stack([i, i])', r"shape \(2,\); expected \(\)",
     "def couple"),
    ("missing-state", ', "R": state["R"] + r', "", "'R' is missing", "def couple"),
    ("unknown-state", '"R": state["R"] + r', '"R": state["R"] + r, "D": r', "'D' is not a state",
     "def couple"),
    ("missing-state", "    return observed", "    return {}", "'S' is missing", "def initial"),
    ("syntax", "LATENT = {}", "LATENT = {", "not valid Python", ""),
    ("trace-error", "LATENT = {}", "LATENT = jnp.zeros(3).nothing", "AttributeError", "LATENT"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "old", "new", "words", "at"), WRONG)
def test_what_is_wrong_is_said(code: str, old: str, new: str, words: str, at: str) -> None:
    source = swap(old, new)
    problem = refused(source)
    assert problem.code == code, problem
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(problem.message)
    if at:
        assert problem.line == line_of(at, source)
    assert "Traceback" not in problem.message


def test_several_mistakes_are_told_at_once() -> None:
    source = swap('"recovery": {"gamma"', '"recover": {"gamma"').replace("def couple", "def pair")
    with pytest.raises(SimulatorError) as caught:
        trace(source)
    assert [p.code for p in caught.value.problems] == ["unknown-group", "missing-function"]


def test_latent_states_need_an_initial() -> None:
    source = SEIR.replace("def initial", "def start")
    assert "def initial(observed, seen, params, key)" in refused(source, SEIR_SIGNATURE).message


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('{"I": binomial', '{"E": binomial', "'E' is not a state that the data shows"),
        ('{"I": binomial', '{"I": 0.5 * binomial', "returns float32 for 'I'"),
        ('{"recoveries": current', '{"recovered": current', "did you mean 'recoveries'"),
    ],
)
def test_observe_and_implied_are_checked(old: str, new: str, words: str) -> None:
    assert words in refused(swap(old, new, SEIR), SEIR_SIGNATURE).message


def test_a_line_inside_a_helper_is_named() -> None:
    source = (
        swap(BODY, "    n = half(state['S'])\n") + "\ndef half(x):\n    return jnp.fft.fft(x)\n"
    )
    assert refused(source).line == line_of("jnp.fft", source)
    source = source.replace("jnp.fft.fft(x)", "x if x > 3 else 0")
    problem = refused(source)
    assert problem.line == line_of("x if x > 3", source)
    assert problem.column is not None


# --- the template --------------------------------------------------------------------------------


def test_names_of_the_template() -> None:
    names = template.names()
    assert {"jnp", "lax", "split", "State", "Uniform", "binomial", "place", "range"} <= names
    assert set(LAWS) <= names
    assert not {"jax", "np", "open", "exec", "eval", "getattr", "__import__", "print"} & names


def test_namespaces_are_fresh() -> None:
    first, second = template.namespace(), template.namespace()
    first["__builtins__"]["len"] = None
    first["jnp"] = None
    assert second["__builtins__"]["len"] is len
    assert second["jnp"] is not None


@pytest.mark.parametrize("name", sorted(priors.PRIORS))
def test_priors_keep_what_they_are_given(name: str) -> None:
    values = {"Choice": (1, 2, 4), "Integer": (1, 4), "Beta": (2.0, 3.0), "Gamma": (2.0, 3.0)}
    guess = 0.5 if name == "Beta" else 2
    prior = priors.PRIORS[name](*values.get(name, (1.0, 3.0)), guess=guess, unit="day", doc="why")
    entry = prior.to_json()
    assert (entry["prior"], entry["guess"], entry["shape"]) == (name, guess, [])
    assert (entry["unit"], entry["doc"]) == ("day", "why")
    assert prior.dtype == ("int32" if name in ("Choice", "Integer") else "float32")
    priors.check_arguments(name, json.loads(json.dumps(entry["arguments"])))


def test_choices_of_reals_are_float32() -> None:
    assert priors.Choice([0.5, 1.0], guess=0.5).dtype == "float32"
    with pytest.raises(priors.PriorError, match="outside of"):
        priors.Choice(1, 2, guess=3)
