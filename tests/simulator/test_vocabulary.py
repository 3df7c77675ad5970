"""One table of cases feeds all tests: each is traced, written down, read back and compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gsim_jax.simulator._blocks import merge_equal, prune, write_body
from gsim_jax.simulator._lower import Lowering, LoweringError
from gsim_jax.simulator.code import Reader
from gsim_jax.simulator.cost import Budget
from gsim_jax.simulator.evaluate import Function
from gsim_jax.simulator.vocabulary import BY_PRIMITIVE, TABLE, Shaped, fields

X = np.array([0.3, -1.2, 2.5, 0.0, 0.7, -0.4], np.float32)
Y = np.array([1.5, 0.25, -2.0, 3.0, 0.7, 0.1], np.float32)
U = np.array([0.1, 0.9, 0.5, 0.3, 0.7, 0.2], np.float32)
M = np.arange(12, dtype=np.float32).reshape(3, 4) / 7 - 0.5
N = np.array([3, -7, 0, 12, 5, -1], np.int32)
K = np.array([2, 3, 4, 5, 6, 7], np.int32)
W = np.array([1, 2**31, 7, 2**32 - 1, 12, 0], np.uint32)
B = np.array([True, False, True, True, False, False])
I = np.int32(2)  # noqa: E741 - an index

Case = tuple[str, Callable[..., Any], tuple[Any, ...]]


def named(names: str, *arguments: Any) -> list[Case]:
    """Cases of functions of `lax` that are called like their operation."""
    return [(name, getattr(lax, name), arguments) for name in names.split()]


def turn(carry: Any, row: Any) -> Any:
    """Body of a loop."""
    return carry * 0.5 + row, carry


CASES: list[Case] = [
    # element by element
    *named("abs neg sign floor ceil square sin cos tan sinh cosh tanh asinh atan exp exp2", X),
    *named("expm1 logistic erf erfc is_finite cbrt bessel_i0e bessel_i1e", X),
    *named("log log1p sqrt rsqrt asin acos atanh erf_inv lgamma digamma", U),
    ("acosh", lax.acosh, (1 + U,)),
    ("not", lax.bitwise_not, (B,)),
    ("population_count", lax.population_count, (W,)),
    ("clz", lax.clz, (W,)),
    ("stop_gradient", lax.stop_gradient, (X,)),
    *named("add sub mul div rem max min eq ne lt le gt ge atan2 nextafter", X, Y),
    *named("add mul div rem", N, K),
    ("pow", lax.pow, (U, Y)),
    ("and", lax.bitwise_and, (N, K)),
    ("or", lax.bitwise_or, (B, ~B)),
    ("xor", lax.bitwise_xor, (W, W[::-1].copy())),
    ("shift_left", lax.shift_left, (W, np.uint32([1, 2, 3, 4, 5, 6]))),
    ("shift_right_logical", lax.shift_right_logical, (W, np.uint32([1, 2, 3, 4, 5, 6]))),
    ("shift_right_arithmetic", lax.shift_right_arithmetic, (N, np.int32([1, 2, 1, 2, 1, 2]))),
    ("convert", lambda x: (x.astype(jnp.int32), x.astype(bool), x.astype(jnp.uint32)), (U * 9,)),
    ("bitcast", lambda x: (jnp.signbit(x), jnp.ldexp(x, 3), jnp.copysign(x, -1.0)), (X,)),
    ("round", lambda x: (jnp.round(x), lax.round(x), jnp.round(x, 1)), (X,)),
    ("integer_pow", lambda x: (x**3, x**-2), (Y,)),
    ("reduce_precision", lambda x: lax.reduce_precision(x, 5, 10), (X,)),
    ("clamp", lambda x: lax.clamp(-0.5, x, 0.5), (X,)),
    ("select", lambda b, x, y: jnp.where(b, x, y), (B, X, Y)),
    ("select", lambda i, x, y: lax.switch(i, [jnp.sin, jnp.cos, lambda v: v + y], x), (I, X, Y)),
    ("select", lambda x: lax.cond(x[0] > 0, lambda v: v * 2, lambda v: v - 1, x), (X,)),
    ("copy", lambda x: x + np.arange(30, dtype=np.float32), (np.float32(2),)),
    # jnp functions that are more than one operation
    ("rem", lambda x, y: (jnp.floor_divide(x, y), jnp.mod(x, y), x % 2), (X, Y)),
    ("rem", lambda n, k: (n // k, n % k, divmod(n, k)[1]), (N, K)),
    ("max", lambda x: jnp.clip(x, -0.5, 0.5), (X,)),
    ("exp", lambda x, y: jnp.logaddexp(x, y), (X, Y)),
    ("ne", lambda x: jnp.nan_to_num(x / 0.0), (X,)),
    ("log", lambda u: (jnp.log2(u), jnp.log10(u)), (U,)),
    # making and moving
    ("broadcast", lambda x: jnp.broadcast_to(x[:, None], (6, 2)), (X,)),
    ("broadcast", lambda x: jnp.repeat(x, 3), (X,)),
    ("concatenate", lambda x, y: jnp.concatenate([x, y[:2], x[1:]]), (X, Y)),
    ("iota", lambda x: x + jnp.arange(6), (X,)),
    ("iota", lambda: jnp.tril(jnp.ones((3, 3), jnp.int32)), ()),
    ("pad", lambda x: (jnp.pad(x, 2), lax.pad(x, 1.0, [(-1, 2, 1)])), (X,)),
    ("reshape", lambda m: m.reshape(2, 6), (M,)),
    ("reverse", lambda m: m[::-1, ::-1], (M,)),
    ("slice", lambda m: (m[1:, ::2], m[0], m[:, -1]), (M,)),
    ("split", lambda x: jnp.split(x, [2, 3]), (X,)),
    ("squeeze", lambda m: m[:1].squeeze(), (M,)),
    ("stack", lambda x, y: (jnp.stack([x, y]), jnp.stack([x, y], axis=1)), (X, Y)),
    ("unstack", lambda m: (*jnp.unstack(m), *jnp.unstack(m, axis=1)), (M,)),
    ("tile", lambda m: jnp.tile(m, (2, 1)), (M,)),
    ("transpose", lambda m: m.T, (M,)),
    ("dynamic_slice", lambda x, i: (lax.dynamic_slice(x, (i,), (3,)), x[i]), (X, I)),
    ("dynamic_update", lambda x, i: lax.dynamic_update_slice(x, x[:2], (i,)), (X, I)),
    ("sort", lambda x: (jnp.sort(x), jnp.argsort(-x), jnp.median(x)), (X,)),
    ("sort", lambda x, y, b: lax.sort((b, x, y), num_keys=2), (X, Y, B)),
    ("top_k", lambda m: (*lax.top_k(m, 2), *lax.top_k(m[:, 0], 2)), (M,)),
    ("slice", lambda x: (jnp.roll(x, 2), jnp.diff(x)), (X,)),
    # reductions
    *(
        (f"reduce_{name}", lambda m, f=f: (f(m), f(m, axis=0), f(m, axis=(0, 1))), (M,))
        for name, f in {"sum": jnp.sum, "max": jnp.max, "min": jnp.min, "prod": jnp.prod}.items()
    ),
    ("reduce_and", lambda b: jnp.all(b), (B,)),
    ("reduce_or", lambda b: jnp.any(b), (B,)),
    ("reduce_xor", lambda b: lax.reduce_xor(b, (0,)), (B,)),
    ("reduce_sum", lambda m: (jnp.mean(m, 1), jnp.var(m), jnp.std(m, 0)), (M,)),
    ("cumsum", lambda m: (jnp.cumsum(m, 0), lax.cumsum(m, 1, reverse=True)), (M,)),
    ("cumprod", lambda m: jnp.cumprod(m, 1), (M,)),
    ("cummax", lambda m: lax.cummax(m, 1), (M,)),
    ("cummin", lambda m: lax.cummin(m, 0), (M,)),
    ("cumlogsumexp", lambda m: lax.cumlogsumexp(m, 1), (M,)),
    ("argmax", lambda m: (jnp.argmax(m), jnp.argmax(m, axis=0)), (M,)),
    ("argmin", lambda m: jnp.argmin(m, axis=1), (M,)),
    ("dot", lambda m: (m @ m.T, jnp.einsum("ij,kj->ik", m, m), jnp.dot(m[0], m[1])), (M,)),
    ("dot", lambda m: jnp.einsum("bi,bj->bij", m, m), (M,)),
    ("dot", lambda n: jnp.outer(n, n) @ n, (N,)),
    ("convolve", lambda x: jnp.convolve(x, jnp.array([0.2, 0.5, 0.3]), mode="same"), (X,)),
    # indexing
    ("gather", lambda x, n: (x[n], jnp.take(x, n, mode="clip")), (X, N)),
    ("gather", lambda x, n: x.at[n].get(mode="fill", fill_value=-9.0), (X, K)),
    ("gather", lambda m, n: jnp.take_along_axis(m, n[:3, None] % 4, axis=1), (M, K)),
    ("gather", lambda x, y: jnp.interp(x, jnp.sort(y), y), (X, Y)),
    ("gather", lambda x, y: jnp.searchsorted(jnp.sort(x), y), (X, Y)),
    ("le_total", lambda x, y: jnp.searchsorted(jnp.sort(x), y, side="left"), (X, Y)),
    ("lt_total", lambda x, y: jnp.searchsorted(jnp.sort(x), y, side="right"), (X, Y)),
    ("scatter_set", lambda x, n: x.at[n].set(1.0), (X, K)),
    ("scatter_add", lambda x, n: x.at[n % 6].add(2.0), (X, K)),
    ("scatter_add", lambda n: jnp.bincount(n, length=9), (K,)),
    ("scatter_sub", lambda x, n: x.at[n % 6].subtract(2.0), (X, K)),
    ("scatter_mul", lambda x, n: x.at[n % 6].mul(2.0), (X, K)),
    ("scatter_min", lambda x, n: x.at[n % 6].min(0.1), (X, K)),
    ("scatter_max", lambda m, n: m.at[n[:2] % 3, 1].max(0.1), (M, K)),
    ("scatter_set", lambda m, i: m.at[i, 1].set(0.1), (M, I)),
    # loops
    ("scan", lambda x: lax.scan(turn, 1.0, x), (X,)),
    ("scan", lambda x: lax.scan(turn, 1.0, x, reverse=True), (X,)),
    ("scan", lambda x: lax.fori_loop(0, 5, lambda i, c: c + i * x[i], x), (X,)),
    ("scan", lambda m: lax.map(lambda row: lax.scan(turn, 0.0, row)[1], m), (M,)),
    ("scan", lambda x: lax.scan(lambda c, _: (c * 0.9, None), x, None, length=4)[0], (X,)),
]


def rebuild(function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Function, set[str]]:
    """A function through its document, and the operations in it."""
    closed = jax.make_jaxpr(function)(*arguments)
    block = Lowering("nowhere.py").function(closed)
    merge_equal(block)
    prune(block)
    body = json.loads(json.dumps(write_body(block), allow_nan=False))
    inputs = [Shaped(v["dtype"], tuple(v["shape"])) for v in body["inputs"]]
    code, shapes = Reader(Budget()).code(
        inputs, body["operations"], body["outputs"], "functions.f", 1, 0
    )
    paths = tuple(("x", str(i)) for i in range(len(inputs)))
    names = tuple(map(str, range(len(shapes))))
    return Function("f", paths, code, names, tuple(shapes)), _operations(body)


def _operations(body: dict[str, Any]) -> set[str]:
    inner = [_operations(entry["body"]) for entry in body["operations"] if "body" in entry]
    return {entry["op"] for entry in body["operations"]}.union(*inner)


def no_words(*_: Any) -> Any:
    raise AssertionError("nothing draws here")


@pytest.fixture(autouse=True)
def _jax_as_users_have_it():
    with jax.numpy_rank_promotion("allow"):
        yield


# Named by position: the text of a function holds its address, which no two processes share.
@pytest.mark.parametrize(
    ("name", "function", "arguments"), CASES, ids=[f"{c[0]}-{i}" for i, c in enumerate(CASES)]
)
def test_becomes_the_operation(
    name: str, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    rebuilt, operations = rebuild(function, arguments)
    assert name in operations
    expected = jax.tree.leaves(jax.eval_shape(function, *arguments))
    assert [tuple(leaf) for leaf in rebuilt.shapes] == [(str(e.dtype), e.shape) for e in expected]


def test_same_numbers_through_the_document() -> None:
    # All cases in one compilation each way: compiling takes longer than everything else.
    functions = [rebuild(function, arguments)[0] for _, function, arguments in CASES]

    fast = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}

    @partial(jax.jit, compiler_options=fast)
    def rebuilt(cases: list[Any]) -> list[Any]:
        trees = [{"x": {str(i): v for i, v in enumerate(values)}} for values in cases]
        return [list(f(tree, no_words).values()) for f, tree in zip(functions, trees, strict=True)]

    @partial(jax.jit, compiler_options=fast)
    def direct(cases: list[Any]) -> list[Any]:
        pairs = zip(CASES, cases, strict=True)
        return [jax.tree.leaves(function(*values)) for (_, function, _), values in pairs]

    inputs = [arguments for _, _, arguments in CASES]
    for case, found, expected in zip(CASES, rebuilt(inputs), direct(inputs), strict=True):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=case[0], strict=True)


def test_every_operation_has_a_case() -> None:
    met = set().union(*(rebuild(function, arguments)[1] for _, function, arguments in CASES))
    # No jnp function leads to a total-order equality; the other two come with JAX 0.12.
    assert set(TABLE) - met <= {"eq_total", "log2", "polynomial"}


def test_operations_that_one_version_of_jax_writes_run_under_all() -> None:
    np.testing.assert_allclose(TABLE["log2"].evaluate(U), np.log2(U), rtol=1e-6)
    value = TABLE["polynomial"].evaluate(X, np.float32(1), np.float32(-2), np.float32(3))
    np.testing.assert_allclose(value, 1 - 2 * X + 3 * X**2, rtol=1e-5)


def test_total_order_tells_zeros_and_nans_apart() -> None:
    values = np.array([-np.inf, -1.0, -0.0, 0.0, 1.0, np.inf, np.nan], np.float32)
    le, lt, eq = (TABLE[n].evaluate for n in ("le_total", "lt_total", "eq_total"))
    for i, a in enumerate(values):
        for j, b in enumerate(values):
            assert bool(le(a, b)) == (i <= j)
            assert bool(lt(a, b)) == (i < j)
            assert bool(eq(a, b)) == (i == j)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_rows_are_complete(name: str) -> None:
    operation = TABLE[name]
    assert operation.name == name
    assert operation.bulk >= 1
    assert operation.arity[0] <= operation.arity[1]
    assert operation.results[0] <= operation.results[1]
    for primitive in operation.primitives:
        assert BY_PRIMITIVE[primitive] is operation


@pytest.mark.parametrize("name", sorted(TABLE))
def test_parameters_of_other_types_are_refused(name: str) -> None:
    for check in TABLE[name].parameters.values():
        for bad in ({}, 1.5, "nothing", [[["x"]]], 10**12, [10**12], True, [True], None):
            try:
                value = check(bad)
            except fields.FieldError:
                continue
            # What gets through is a plain value of a small range.
            assert value is None or type(value) in (bool, int, float)
            assert value is None or abs(value) <= 2**33


def test_costs_grow_with_elements() -> None:
    for name, operation in TABLE.items():
        if operation.arity == (1, 1) and not operation.parameters:
            small, large = Shaped("float32", (4,)), Shaped("float32", (400,))
            cost = operation.cost({}, [small], [small])
            assert 0 < cost < operation.cost({}, [large], [large]), name


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: c + 1, x), "lax.scan"),
        (lambda x: lax.fori_loop(0, x[0].astype(int), lambda i, c: c, x), "lax.scan"),
        (lambda x: jnp.linalg.inv(x[:, None] * x), "does not exist"),
        (lambda x: lax.igamma(x, x), "loop until convergence"),
        (lambda x: lax.bitcast_convert_type(x, jnp.int16), "int16"),
        (lambda x: jax.random.uniform(jax.random.key(0)) + x, "key<fry>"),
        (lambda x: jax.pure_callback(np.sin, jax.ShapeDtypeStruct((6,), "float32"), x), "exist"),
        (lambda x: x.astype(jnp.int8), "int8"),
        (lambda x: x.astype(jnp.float16) * 2, "float16"),
        (lambda x: jnp.fft.fft(x), "does not exist|complex"),
    ],
)
def test_what_has_no_row_is_refused(function: Callable[..., Any], words: str) -> None:
    with pytest.raises(LoweringError, match=words):
        Lowering("nowhere.py").function(jax.make_jaxpr(function)(X))


def test_dead_and_repeated_operations_fall_away() -> None:
    def function(x: Any) -> Any:
        jnp.sin(x)
        (kept, _), rows = lax.scan(lambda c, v: ((c[0] + v, c[1] * v), (v, c[1])), (0.0, 1.0), x)
        return kept, jnp.cos(x) + jnp.cos(x), rows[0]

    rebuilt, operations = rebuild(function, (X,))
    assert "sin" not in operations
    steps = [step.operation for step in rebuilt.code.steps]
    assert steps.count("cos") == 1
    (loop,) = [step for step in rebuilt.code.steps if step.body is not None]
    assert [step.operation for step in loop.body.steps] == ["add"]
