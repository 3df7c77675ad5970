"""The guard: what it lets through, what it refuses, where, and with which words."""

from __future__ import annotations

import threading

import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax

from gsim_jax.simulator import _allowed, _warm, template
from gsim_jax.simulator.guard import MOST_BYTES, guard
from tests.simulator import sources

SOUND = {
    "constants and helpers": """
'''A queue.'''
N, RATES = 3, (0.1, 0.2, 0.3)
MATRIX = [[1.0 if i == j else 0.0 for j in range(N)] for i in range(N)]
square = lambda x: x * x

def total(values):
    result = 0.0
    for i, value in enumerate(values):
        result += value * RATES[i]
    return result

def arrivals(state, inputs, params, key):
    keys = split(key, 2)
    rates = jnp.array([params["rate_" + str(i)] for i in range(N)])
    new = {name: poisson(keys[0], rates[i]) for i, name in enumerate(("a", "b", "c"))}
    new = {**new, "total": jnp.sum(rates) + total(RATES) + square(2.0)}
    new["more"] = new["total"] if N > 2 else 0.0
    return new
""",
    "loops over what is there": """
TABLE = {"a": 1, "b": 2}

def couple(state, inputs, outputs, params, key):
    after = dict(state)
    rows = []
    for name, value in state.items():
        after[name] = value + TABLE.get(name, 0)
    for row in range(state["los"].shape[0]):
        rows.append(state["los"][row] * 2)
    for a, b in zip(rows, rows[1:]):
        after["last"] = a + b
    return after
""",
    "loops of lax": """
STEPS = 4

def spread(state, inputs, params, key):
    def body(carry, x):
        return carry + x, carry * 2
    total, history = lax.scan(body, 0.0, state["x"])
    ahead = lax.fori_loop(0, STEPS, lambda i, v: v + i, total)
    part = lax.dynamic_slice(state["x"], (1,), (2,)).at[0].set(ahead)
    return {"x": part.astype(jnp.float32), "h": history[..., None].T.sum(axis=0)}
""",
    "names of draws and priors as local names": """
def recovery(state, inputs, params, key):
    beta, gamma = params["beta"], params["gamma"]
    return {"r": binomial(key, state["I"], jnp.clip(beta * gamma, 0.0, 1.0))}
""",
    "warm up": _warm.SOURCE,
    "sir": sources.SIR,
}

#: source, code, line, words of the message.
REFUSED = [
    ("import jax.numpy as jnp", "statement", 1, "remove it: jnp and lax are there already"),
    ("from jax import lax", "statement", 1, "remove it: jnp and lax are there already"),
    ("from os import *", "statement", 1, "import"),
    ("def f(x):\n    while x:\n        x = 1", "statement", 2, "lax.scan with a mask"),
    ("class A:\n    pass", "statement", 1, "use functions"),
    ("def f():\n    try:\n        pass\n    except E:\n        pass", "statement", 2, "jnp.where"),
    ("def f():\n    try:\n        pass\n    except* E:\n        pass", "statement", 2, "try"),
    ("def f():\n    with x:\n        pass", "statement", 2, "nothing needs to be opened"),
    ("async def f():\n    pass", "statement", 1, "write `def`"),
    ("def f():\n    yield 1", "statement", 2, "return a tuple"),
    ("def f():\n    global x\n    x = 1", "statement", 2, "pass values as arguments"),
    ("def f():\n    def g():\n        nonlocal x\n", "statement", 3, "pass values as arguments"),
    ("def f(x):\n    raise ValueError(x)", "statement", 2, "return values"),
    ("def f(x):\n    assert x", "statement", 2, "remove it"),
    ("def f(x):\n    del x", "statement", 2, "make a new dict"),
    ("def f(x):\n    match x:\n        case 1:\n            pass", "statement", 2, "jnp.where"),
    ("def f(x):\n    return (y := x)", "statement", 2, "on its own line"),
    ("x: int = 1", "statement", 1, "remove the annotation"),
    ("def f(x: int):\n    return x", "function", 1, "remove it"),
    ("def f(x) -> int:\n    return x", "function", 1, "annotations are not allowed"),
    ("for i in range(3):\n    x = i", "statement", 1, "move this into a function"),
    ("x = 1\nprint(x)", "statement", 2, "only assignments and functions"),
    ("def f(x):\n    print(x)", "name", 2, "nothing that a program prints is kept"),
    ("def f(x):\n    x + 1", "statement", 2, "this line does nothing"),
    ("def f(x):\n    ...", "statement", 2, "write the function"),
    ("@wraps\ndef f(x):\n    return x", "function", 1, "decorators"),
    ("def f(*x):\n    return x", "function", 1, "name each argument"),
    ("def f(**x):\n    return x", "function", 1, "name each argument"),
    ("def f(*, x):\n    return x", "function", 1, "plain arguments"),
    ("def f(x, /):\n    return x", "function", 1, "plain arguments"),
    ("def f(x=[]):\n    return x", "function", 1, "a default must be a literal"),
    ("def f(x):\n    return 1\ndef f(x):\n    return 2", "function", 3, "defined twice"),
    ("x = f'{1}'", "statement", 1, "formatting is not available"),
    ("x = '%s' % 1", "literal", 1, "formatting"),
    ("x = '{0.__class__}'.format(1)", "attribute", 1, "formatting is not available"),
    ("x = 'a' * 10", "literal", 1, "joined with +"),
    ("x = ().__class__", "attribute", 1, "__class__ is not allowed"),
    ("x = __builtins__", "name", 1, "internal of Python"),
    ("x = {}['__class__']", "name", 1, "internal of Python"),
    ("def __init__(x):\n    return x", "name", 1, "two underscores"),
    ("__all__ = 1", "name", 1, "two underscores"),
    ("def f(x):\n    return x.real", "attribute", 2, ".real is not allowed"),
    ("def f(x):\n    return x.sum", "attribute", 2, "call it, .sum()"),
    ("def f(x):\n    return x.item()", "attribute", 2, "leave it an array"),
    ("x = getattr(1, 'a')", "name", 1, "write the attribute out"),
    ("x = eval('1')", "name", 1, "write the expression out"),
    ("x = open('a')", "name", 1, "`inputs` and `observed`"),
    ("x = type(1)", "name", 1, "compare shapes"),
    ("x = np.zeros(3)", "name", 1, "use jnp"),
    ("x = jax.nn.relu(1)", "name", 1, "use those"),
    ("x = math.exp(1)", "name", 1, "use jnp"),
    ("def f(key):\n    return jax.random.normal(key)", "name", 2, "jnp, lax, split and the draws"),
    ("x = binomal(1)", "name", 1, "did you mean 'binomial'"),
    ("x = jnp.linalg.inv(1)", "attribute", 1, "jnp.linalg is not allowed"),
    ("x = jnp.zeroes(3)", "attribute", 1, "did you mean 'zeros'"),
    ("x = jnp.load('a')", "attribute", 1, "`inputs`"),
    ("x = jnp.float64", "attribute", 1, "jnp.float32"),
    ("def f(x):\n    return lax.while_loop(g, h, x)\n", "attribute", 2, "lax.fori_loop"),
    ("def f(x):\n    return lax.fori_loop(0, x['n'], g, 1)", "loop", 2, "a literal"),
    ("def f(x):\n    return lax.scan(g, 0, None, length=x['n'])", "loop", 2, "a literal"),
    ("def f(x):\n    for i in range(x['n']):\n        pass", "loop", 2, "range(...)"),
    ("def f(x):\n    for i in x['n']:\n        pass", "loop", 2, "range(...)"),
    ("def f(x):\n    for i in jnp.arange(3):\n        pass", "loop", 2, "range(...)"),
    ("def f(x):\n    return [i for i in x['n']]", "loop", 2, "range(...)"),
    ("x = [i for i in range(10**6)]\ny = [i for i in range(99999)]", "loop", 2, "99999 turns"),
    ("def f():\n    x = [1]\n    for i in x:\n        x.append(i)", "loop", 3, "makes it longer"),
    ("def f():\n    x = [1]\n    for i in x:\n        x += [i]", "loop", 3, "makes it longer"),
    ("def f(x):\n    return f(x)", "recursion", 1, "'f' calls itself"),
    ("def f(x):\n    return g(x)\ndef g(x):\n    return f(x)", "recursion", 1, "through others"),
    ("f = lambda x: f(x)", "recursion", 1, "'f' calls itself"),
    ("def f(g):\n    return g(g)", "recursion", 2, "given to itself"),
    ("x = (lambda g: 1)(2)", "call", 1, "call functions by their names"),
    ("x = 99999999999999999999", "literal", 1, "2**63"),
    ("x = 1e999", "literal", 1, "overflows"),
    ("x = 10 ** 100", "literal", 1, "exponent above 64"),
    ("x = 10 ** 10 ** 10", "literal", 1, "exponent above 64"),
    ("x = 1 << 1000", "literal", 1, "exponent above 63"),
    ("x = b'abc'", "literal", 1, "only numbers, text"),
    ("x = 1j", "literal", 1, "only numbers, text"),
    ("x = float('inf')", "literal", 1, "jnp.inf"),
    ("x = '" + "a' \\\n'".join("b" * 300 for _ in range(8)) + "'", "literal", 1, "shorter"),
    ("größe = 1", "name", 1, "plain ASCII"),
    ("def f(x):\n    ℌ = x\n    return ℌ", "name", 2, "plain ASCII"),
    ("x = ().__ｃlass__", "attribute", 1, "__class__ is not allowed"),
    ("x = 'größe'  # größer", None, None, None),
    ("jnp = 1", "name", 1, "choose another name"),
    ("def f(range):\n    return range", "name", 1, "choose another name"),
    ("def f(state):\n    state['S'] = 1\n    return state", "statement", 2, "dict(state)"),
    ("A = []\ndef f(x):\n    A.append(x)", "statement", 3, "make a copy first"),
    ("def f(x):\n    x.y = 1", "statement", 2, "x.at[i].set(value)"),
    ("x = = 1", "syntax", 1, "not valid Python"),
    ("x = 1\x00", "syntax", 1, "U+0000"),
    ("x = '\u202e'", "syntax", 1, "U+202E"),
    ("x = 1" + " " * 500, "size", 1, "characters on a line"),
    ("x = " + "[" * 50 + "]" * 50, "size", 1, "brackets nest"),
    ("#" * 70_000, "size", None, f"at most {MOST_BYTES} bytes"),
    ("\n" * 5000, "size", None, "lines"),
    ("x = 1\n" * 2999, None, None, None),
]


@pytest.mark.parametrize("source", SOUND.values(), ids=SOUND.keys())
def test_sound_programs_pass(source: str) -> None:
    assert [str(problem) for problem in guard(source)] == []


@pytest.mark.parametrize("name", [n for n in dir(sources) if isinstance(getattr(sources, n), str)])
def test_traced_programs_pass(name: str) -> None:
    source = getattr(sources, name)
    if "def " in source:
        assert [str(problem) for problem in guard(source)] == []


@pytest.mark.parametrize(
    ("source", "code", "line", "words"), REFUSED, ids=[repr(case[0])[:40] for case in REFUSED]
)
def test_offences(source: str, code: str | None, line: int | None, words: str | None) -> None:
    problems = guard(source, "mine.py")
    if words is None:
        assert problems == []
        return
    first = next((p for p in problems if p.line == line and words in p.message), None)
    assert first is not None, [str(p) for p in problems]
    assert first.file == "mine.py"
    assert first.code == code
    assert (first.column is None) == (line is None)


def test_all_offences_are_told_at_once_in_order() -> None:
    source = "import os\nx = open('a')\ndef f(x):\n    while x:\n        pass\n    return x.y\n"
    assert [problem.line for problem in guard(source)] == [1, 2, 4, 6]
    assert guard(source)[1].column == "5"


def test_every_listed_name_exists() -> None:
    assert [name for name in _allowed.JNP if not hasattr(jnp, name)] == []
    missing = [name for name in _allowed.LAX if not hasattr(lax, name)]
    assert [name for name in missing if name != "dot_general"] == []
    assert set(template.BUILTINS) <= _allowed.RESERVED
    assert template.names() <= _allowed.names()


def test_nothing_listed_reaches_files_hosts_or_devices() -> None:
    forbidden = ("save", "load", "file", "callback", "debug", "device", "custom", "jit", "while")
    for name in _allowed.JNP | _allowed.LAX | _allowed.METHODS:
        assert not any(part in name for part in forbidden), name
        assert not name.startswith("_")


#: Sources that have brought down Python's parser, or take it long.
DEEP = {
    "not": "x = (" + "not\n" * 2900 + "1)",
    "minus": "x = (" + "- - - - - - - - - - - - - - - -\n" * 1900 + "1)",
    "plus": "x = (1" + "+1+1+1+1+1+1+1+1\n" * 2900 + ")",
    "power": "x = (1" + "**1**1**1**1**1**1\n" * 2900 + ")",
    "attributes": "x = (a" + ".b.b.b.b.b.b.b.b\n" * 2900 + ")",
    "calls": "x = (a" + "()()()()()()()()()\n" * 2900 + ")",
    "lambda": "x = (" + "lambda:lambda:lambda:\n" * 2900 + "1)",
    "choices": "x = (" + "1 if 1 else 1 if 1 else\n" * 2600 + "1)",
    "elif": "def f(x):\n if x:\n  pass\n" + " elif x:\n  pass\n" * 1490,
    "texts": "x = (" + "'a' 'a' 'a' 'a'\n" * 2900 + ")",
    "indents": "".join(" " * i + "if 1:\n" for i in range(99)) + " " * 99 + "pass",
    "formats": "x = " + "f'{" * 30 + "1" + "}'" * 30,
    "stars": "x = (" + "*\n" * 2900 + "1)",
    "surrogate": "x = '\ud800'",
}


@pytest.mark.parametrize("source", DEEP.values(), ids=DEEP.keys())
def test_deep_sources_are_refused_quietly(source: str) -> None:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.extend(guard(source)))
    thread.start()  # threads have smaller stacks
    thread.join(20)
    assert not thread.is_alive()
    assert found


@given(st.data())
def test_edited_programs_never_raise(data: st.DataObject) -> None:
    source = data.draw(st.sampled_from([*SOUND.values(), *(case[0] for case in REFUSED[:80])]))
    start = data.draw(st.integers(0, len(source)))
    stop = data.draw(st.integers(start, min(len(source), start + 20)))
    middle = data.draw(st.one_of(st.text(max_size=8), st.sampled_from(["__", "(", ".", "lambda "])))
    for problem in guard(source[:start] + middle + source[stop:]):
        assert problem.message
        assert problem.code
