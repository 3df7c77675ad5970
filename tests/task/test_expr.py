"""Expressions: what is read, what is refused, and values against Python's own."""

from __future__ import annotations

import itertools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsim_jax.task import ExpressionError, parse

NAMES = {"S": (), "I": (), "x": (), "y": (), "los": (3,), "net": (2, 3)}
VALUES = {
    "S": np.int32(7),
    "I": np.int32(3),
    "x": np.float32(1.5),
    "y": np.float32(-0.25),
    "los": np.asarray([4, 0, 2], np.int32),
    "net": np.arange(6, dtype=np.float32).reshape(2, 3),
}

SCALARS = {"S": 7, "I": 3, "x": 1.5, "y": -0.25}


def value(text: str, env: dict | None = None, known: dict | None = None) -> tuple:
    """Value and mask with NumPy, as Python objects."""
    shapes = {name: np.shape(v) for name, v in (env or VALUES).items()}
    result, sure = parse(text, shapes).evaluate(env or VALUES, known, xp=np)
    return result.tolist(), sure.tolist()


def arithmetic() -> st.SearchStrategy[str]:
    """Texts of expressions over the scalar names."""
    leaf = st.sampled_from(["S", "I", "x", "y", "2", "3", "0.5", "1.25"])

    def extend(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        binary = st.tuples(inner, st.sampled_from("+-*"), inner).map(
            "({0[0]} {0[1]} {0[2]})".format
        )
        unary = inner.map("(-{})".format) | inner.map("abs({})".format)
        several = st.tuples(st.sampled_from(["min", "max"]), inner, inner)
        return binary | unary | several.map("{0[0]}({0[1]}, {0[2]})".format)

    return st.recursive(leaf, extend, max_leaves=6)


@given(arithmetic())
def test_arithmetic_is_pythons(text: str) -> None:
    python = eval(text, {"abs": abs, "min": min, "max": max}, SCALARS)
    got, known = value(text)
    assert known is True
    assert got == pytest.approx(python, rel=1e-5, abs=1e-4)


@given(
    st.lists(st.integers(-20, 20), min_size=2, max_size=4),
    st.lists(st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), min_size=3, max_size=3),
)
def test_chained_comparisons_of_integers_are_pythons(numbers: list[int], ops: list[str]) -> None:
    names = ["a", "b", "c", "d"][: len(numbers)]
    text = names[0] + "".join(f" {op} {n}" for op, n in zip(ops, names[1:], strict=False))
    env = dict(zip(names, numbers, strict=True))
    assert value(text, env) == (eval(text, {}, env), True)


@given(st.integers(-9, 9), st.integers(-9, 9))
def test_integer_division_and_remainder_follow_python(a: int, b: int) -> None:
    env = {"a": a, "b": b}
    for op in ("//", "%", "/"):
        got, known = value(f"a {op} b", env)
        assert known is (b != 0)
        if b != 0:
            assert got == pytest.approx(eval(f"a {op} b", {}, env))


TRUTHS = {"T": (True, True), "F": (False, True), "U": (True, False), "V": (False, False)}
"""Known true, known false, and unknown with either value lying underneath."""


def kleene(op: str, operands: tuple[str, ...]) -> str:
    """Kleene's strong logic, from its definition: what every completion agrees on."""
    options = [[True, False] if o in "UV" else [o == "T"] for o in operands]
    fold = {"and": all, "or": any, "not": lambda v: not v[0]}[op]
    results = {fold(list(choice)) for choice in itertools.product(*options)}
    return "U" if len(results) > 1 else "T" if results.pop() else "F"


@pytest.mark.parametrize("op", ["and", "or", "not"])
@pytest.mark.parametrize("xp", [np, jnp], ids=["numpy", "jax"])
def test_logic_is_kleenes(op: str, xp) -> None:
    sizes = [1] if op == "not" else [2, 3]
    for operands in itertools.chain(*(itertools.product(TRUTHS, repeat=n) for n in sizes)):
        names = ["p", "q", "r"][: len(operands)]
        text = f"not {names[0]}" if op == "not" else f" {op} ".join(names)
        env = {n: xp.asarray(TRUTHS[o][0]) for n, o in zip(names, operands, strict=True)}
        known = {n: xp.asarray(TRUTHS[o][1]) for n, o in zip(names, operands, strict=True)}
        got, sure = parse(text, dict.fromkeys(names, ())).evaluate(env, known, xp=xp)
        expected = kleene(op, operands)
        assert bool(sure) is (expected != "U"), (text, operands)
        if expected != "U":
            assert bool(got) is (expected == "T"), (text, operands)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum(los)", 6),
        ("mean(los)", 2.0),
        ("min(los)", 0),
        ("max(los)", 4),
        ("min(S, I, x)", 1.5),
        ("max(los, 1)", [4, 1, 2]),
        ("los[0] + los[2]", 6),
        ("net[1, 2]", 5.0),
        ("net[1]", [3.0, 4.0, 5.0]),
        ("sum(net)", 15.0),
        ("sum(los * net[0])", 4.0),
        ("sum(net * los)", 26.0),
        ("sum(los == 0)", 1),
        ("sum(los > 0) == 2", True),
        ("mean(los > 0)", 2 / 3),
        ("(S > 3) * I + (S <= 3)", 3),
        ("S / I", 7 / 3),
        ("S // 2 + S % 2", 4),
        ("x // 1", 1.0),
        ("I ** 2", 9),
        ("2 ** -1", 0.5),
        ("x ** 0.5", 1.5**0.5),
        ("0 <= I < S", True),
        ("not I", False),
        ("sum(S)", 7),
        ("1e3", 1000.0),
    ],
)
def test_values(text: str, expected) -> None:
    got, known = value(text)
    assert got == pytest.approx(expected, rel=1e-6)
    assert np.all(known)
    traced, _ = jax.jit(lambda env: parse(text, NAMES).evaluate(env))(VALUES)
    np.testing.assert_allclose(traced, expected, rtol=1e-6)
    assert traced.dtype in (np.int32, np.float32, np.bool_)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r == 100", True),
        ("r != 100", False),
        ("r <= 100", True),
        ("r < 100.0", False),
        ("r > 100", False),
        ("r < 100.1", True),
        ("r - 100 == 0", True),  # measured against the terms, not against the difference
        ("r - 99.9 == 0", False),
        ("r - 50 - 50 <= 0", True),
        ("small == 0", False),  # nothing else in sight: 1e-9 is not 0
        ("small > 0", True),
        ("n == 100000", False),  # whole numbers are compared exactly
        ("n > 100000", True),
    ],
)
def test_reals_are_compared_with_a_relative_tolerance(text: str, expected: bool) -> None:
    env = {"r": np.float32(100.0004), "small": np.float32(1e-9), "n": np.int32(100001)}
    assert value(text, env) == (expected, True)


@given(st.floats(-1e6, 1e6, width=32), st.floats(-1e-4, 1e-4))
def test_exactly_one_of_less_equal_greater_holds(a: float, change: float) -> None:
    env = {"a": np.float32(a), "b": np.float32(a + a * change)}
    assert sum(value(f"a {op} b", env)[0] for op in ("<", "==", ">")) == 1
    assert value("a <= b", env)[0] is not value("a > b", env)[0]


def test_infinities_equal_themselves() -> None:
    env = {"a": np.float32(np.inf), "b": np.float32(-np.inf), "n": np.float32(np.nan)}
    assert value("a == a", env)[0] is True
    assert value("a == b", env)[0] is False
    assert value("b < a", env)[0] is True
    assert value("n == n", env)[0] is False


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("S + I", False),
        ("sum(los)", False),
        ("los[0]", True),
        ("los[1]", False),
        ("min(los[0], los[2])", True),
        ("I > 0 and S > 100", True),  # the known half decides
        ("I > 0 and S > 0", False),
        ("I > 0 or S > 0", True),
        ("S > 0 and x / (S - 7) > 0", False),  # a ratio over zero says nothing
        ("0.0 ** (x - 2.5)", False),
        ("y ** 0.5", False),
    ],
)
def test_what_is_known(text: str, known: bool) -> None:
    masks = {"I": np.False_, "los": np.asarray([True, False, True])}
    assert value(text, VALUES, masks)[1] is known


def test_batch_axes_come_first() -> None:
    shapes = {"los": (3,), "S": (), "net": (3,), "beds": ()}
    expression = parse("sum(los * net) + S + beds", shapes)
    rng = np.random.default_rng(0)
    los, s = rng.integers(0, 9, (4, 5, 3)), rng.integers(0, 9, (4, 5))
    beds, net = rng.integers(0, 9, (4, 1)), np.asarray([1, 2, 3], np.int32)
    env = {"los": los, "S": s, "beds": beds, "net": net}
    known = {"los": rng.random((4, 5, 3)) > 0.2, "S": rng.random((4, 5)) > 0.2}
    got, sure = expression.evaluate(env, known, xp=np)
    np.testing.assert_array_equal(got, (los * net).sum(-1) + s + beds)
    np.testing.assert_array_equal(sure, known["los"].all(-1) & known["S"])


def test_numpy_and_jax_agree_on_a_batch() -> None:
    shapes = {"los": (3,), "S": (), "initial.S": ()}
    text = "S / max(los) <= initial.S and not sum(los == 0) > 1 or S % 2 == 0"
    rng = np.random.default_rng(1)
    env = {"los": rng.integers(0, 3, (6, 3)), "S": rng.integers(0, 9, 6), "initial.S": np.ones(1)}
    known = {"los": rng.random((6, 3)) > 0.3, "S": rng.random(6) > 0.3}
    host = parse(text, shapes).evaluate(env, known, xp=np)
    device = parse(text, shapes).evaluate(jax.tree.map(jnp.asarray, env), known)
    np.testing.assert_array_equal(host[1], device[1])
    np.testing.assert_array_equal(host[0][host[1]], np.asarray(device[0])[host[1]])


REFUSED = [
    ("", "empty text"),
    ("S +", "not an expression"),
    ("S = I", "write == to compare"),
    ("S & I", "write 'and'"),
    ("S ^ 2", "write ** for a power"),
    ("~S", "write 'not'"),
    ("S if I else x", "'if ... else' is not used"),
    ("S in los", "'in' is not used"),
    ("[S, I]", "List is not allowed"),
    ("lambda: S", "Lambda is not allowed"),
    ("(S := 3)", "NamedExpr is not allowed"),
    ("'text'", "expected a number or a name, got 'text'"),
    ("True", "write 1"),
    ("3j", "expected a number or a name"),
    ("9999999999", "does not fit in 32 bits"),
    ("__import__('os')", "unknown function '__import__'"),
    ("S.__class__", "unknown name 'S.__class__'"),
    ("(S + I).real", "a dot is used for initial.X and previous.X only"),
    ("sqrt(S)", "unknown function 'sqrt': known: abs, max, mean, min, sum"),
    ("summ(los)", "did you mean 'sum'?"),
    ("sum(S, I)", "sum takes one argument, got 2"),
    ("sum()", "sum takes one argument, got 0"),
    ("sum(*los)", "plain arguments"),
    ("sum(los, axis=0)", "plain arguments"),
    ("sum + 1", "'sum' is a function"),
    ("s", "did you mean 'S'?"),
    ("initial.S", "looks beyond one row"),
    ("los[3]", "'los' has entries 0..2 along this axis, got 3"),
    ("los[-1]", "an index is a whole number from 0"),
    ("los[S]", "an index is a whole number from 0"),
    ("los[0:2]", "an index is a whole number from 0"),
    ("S[0]", "'S' is a single number and has no entries"),
    ("net[0, 1, 2]", "'net' has 2 axes, got 3 indices"),
    ("(S + I)[0]", "only a variable can be indexed"),
    ("los + net[0] + net[0, 0] > pair", "arrays of shapes [3] and [2] do not go together"),
    ("-" * 3000 + "S", "nested"),
    ("(" * 300 + "S" + ")" * 300, "nested"),
    ("S\0", "not an expression"),
    ("S" + " + S" * 2000, "at most 4000 characters"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED, ids=[t[:25] or "empty" for t, _ in REFUSED])
def test_what_is_refused(text: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text, {**NAMES, "pair": (2,)})
    assert words in str(caught.value)


def test_all_mistakes_of_an_expression_come_at_once() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("foo + bar & S", NAMES)
    assert len(caught.value.messages) == 1  # the outermost construct hides what is in it
    with pytest.raises(ExpressionError) as caught:
        parse("foo + bar + foo", NAMES)
    assert len(caught.value.messages) == 2


def test_a_constant_that_never_varies_takes_no_prefix() -> None:
    with pytest.raises(ExpressionError, match="the same in every row"):
        parse("initial.N", ["N", "S", "initial.S"])


def test_line_breaks_count_as_spaces() -> None:
    assert value("S +\n   I\n")[0] == 10


def test_names_and_pickling() -> None:
    expression = parse("S + initial.S * los[0]", ["S", "initial.S", "los"])
    assert expression.names == {"S", "initial.S", "los"}
    assert pickle.loads(pickle.dumps(expression)) == expression
    with pytest.raises(KeyError, match=r"no 'initial\.S'"):
        expression.evaluate({"S": 1, "los": [1]}, xp=np)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("S + 2 * I - 3", {"S": 1, "I": 2, "": -3}),
        ("(S - I) / 4", {"S": 0.25, "I": -0.25}),
        ("-(S - 1)", {"S": -1, "": 1}),
        ("S - S", {}),
        ("sum(los)", {"los[0]": 1, "los[1]": 1, "los[2]": 1}),
        ("mean(2 * los + S)", {"los[0]": 2 / 3, "los[1]": 2 / 3, "los[2]": 2 / 3, "S": 1}),
        ("net[1, 2] * 2 ** 3", {"net[1,2]": 8}),
        ("S * I", None),
        ("S / I", None),
        ("S ** 2", None),
        ("abs(S)", None),
        ("max(S, I)", None),
        ("S == I", None),
        ("los + S", None),
        ("S / 0", None),
    ],
)
def test_linear_forms(text: str, form: dict | None) -> None:
    got = parse(text, NAMES).linear()
    assert got == (form if form is None else pytest.approx(form))
