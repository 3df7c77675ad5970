"""What a simulator file may use, as tables, and what to write instead of the rest."""

from __future__ import annotations

import ast
import functools

from gsim_jax.simulator import template

#: Attributes of `jnp`: functions, constants and dtypes. None of them names a file, a host
#: function, a device, or another module.
JNP = frozenset(
    """
    abs absolute add all allclose amax amin any append apply_along_axis arange arccos arccosh
    arcsin arcsinh arctan arctan2 arctanh argmax argmin argsort array asarray astype
    atleast_1d atleast_2d average bincount bitwise_and bitwise_not bitwise_or bitwise_xor block
    bool_ broadcast_arrays broadcast_to cbrt ceil choose clip column_stack concatenate convolve
    copy copysign corrcoef cos cosh count_nonzero cov cross cumprod cumsum deg2rad delete diag
    diagonal diff digitize divide divmod dot dstack e einsum empty equal euler_gamma exp exp2
    expand_dims expm1 eye fabs flip fliplr flipud float32 float_power floor floor_divide fmax fmin
    fmod full full_like gradient greater greater_equal heaviside histogram hstack hypot identity inf
    inner insert int32 interp invert isclose isfinite isin isinf isnan kron ldexp less less_equal
    linspace log log10 log1p log2 logaddexp logaddexp2 logical_and logical_not logical_or
    logical_xor logspace matmul max maximum mean median meshgrid min minimum mod moveaxis multiply
    nan nan_to_num nanmax nanmean nanmin nanstd nansum nanvar ndarray ndim negative newaxis
    nextafter not_equal ones ones_like outer pad percentile pi piecewise polyval positive power prod
    ptp quantile rad2deg radians ravel real reciprocal remainder repeat reshape resize rint roll
    rollaxis rot90 round searchsorted select shape sign signbit sin sinc sinh size sort split
    sqrt square squeeze stack std subtract sum swapaxes take take_along_axis tan tanh tensordot
    tile trace transpose trapezoid tri tril triu true_divide trunc uint32 unravel_index vander
    var vdot vectorize vstack where zeros zeros_like
    """.split()  # noqa: SIM905 - as one reads a table
)
#: Attributes of `lax`. Loops have lengths that are known before the program runs.
LAX = frozenset(
    """
    abs acos acosh add argmax argmin asin asinh associative_scan atan atan2 atanh bessel_i0e
    bessel_i1e betainc bitwise_and bitwise_not bitwise_or bitwise_xor broadcast broadcast_in_dim
    cbrt ceil clamp collapse concatenate cond convert_element_type cos cosh cumlogsumexp cummax
    cummin cumprod cumsum digamma div dot dot_general dynamic_index_in_dim dynamic_slice
    dynamic_slice_in_dim dynamic_update_index_in_dim dynamic_update_slice
    dynamic_update_slice_in_dim eq erf erf_inv erfc exp exp2 expand_dims expm1 floor fori_loop full
    full_like ge gt igamma igammac index_in_dim index_take integer_pow iota is_finite le lgamma
    log log1p logistic lt map max min mul ne neg nextafter pad pow reciprocal reduce_and reduce_max
    reduce_min reduce_or reduce_prod reduce_sum rem reshape rev round rsqrt scan select select_n
    shift_left shift_right_arithmetic shift_right_logical sign sin sinh slice slice_in_dim sort sqrt
    square squeeze stop_gradient sub switch tan tanh top_k transpose
    """.split()  # noqa: SIM905
)
#: Methods of arrays, dicts, lists and strings.
METHODS = frozenset(
    """
    all any argmax argmin argsort astype clip copy cumprod cumsum diagonal dot flatten max mean min
    prod ravel repeat reshape round sort squeeze std sum swapaxes take trace transpose var
    get items keys values append extend insert update index count
    """.split()  # noqa: SIM905
)
#: Methods that change their object; they are for lists and dicts made in the same function.
CHANGING = frozenset({"append", "extend", "insert", "update"})
#: What follows `x.at[...]`.
AT_METHODS = frozenset({"set", "add", "subtract", "multiply", "mul", "divide", "min", "max", "get"})
#: Attributes that are read without a call.
PLAIN_ATTRIBUTES = frozenset({"T", "at", "dtype", "mT", "ndim", "shape", "size"})

#: Names that no file may bind anew: checks and messages rely on what they mean.
RESERVED = frozenset({"jnp", "lax", "split", "State", *template.BUILTINS})

#: What to write instead of a name that is not there.
INSTEAD: dict[str, str] = {
    "np": "use jnp, which is there without import",
    "numpy": "use jnp, which is there without import",
    "jax": "jnp, lax, split and the draws are there by themselves: use those",
    "math": "use jnp (jnp.exp, jnp.log, jnp.pi, ...)",
    "random": "use the draws: binomial(key, n, p), poisson(key, rate), normal(key, mean, sd), ...",
    "key": "only functions of the template get a key: pass it on as an argument",
    "print": "remove it: nothing that a program prints is kept",
    "getattr": "write the attribute out",
    "setattr": "make a new dict or array instead",
    "hasattr": "write for the one case that the template gives you",
    "eval": "write the expression out",
    "exec": "write the statements out",
    "compile": "write the statements out",
    "open": "remove it: programs get data through `inputs` and `observed` only",
    "type": "compare shapes or write for the one type that the template gives you",
    "vars": "write the names out",
    "globals": "write the names out",
    "locals": "write the names out",
    "dir": "write the names out",
    "input": "take data from `inputs`",
    "iter": "use a `for` over range(...) with a literal length",
    "next": "use a `for` over range(...) with a literal length",
    "object": "use dicts, tuples and arrays",
    "super": "use functions instead of classes",
    "partial": "use a lambda or a nested function",
    "vmap": "write it with broadcasting, or use jnp.vectorize",
    "jit": "remove it: the whole program is compiled",
    "grad": "remove it: the engine differentiates programs by itself",
    "__import__": "remove it: jnp and lax are there already",
}
#: The same for attributes of jnp and lax.
INSTEAD_OF_ATTRIBUTE: dict[str, str] = {
    "while_loop": "use lax.scan or lax.fori_loop with a literal length and a mask",
    "linalg": "write it with jnp.dot, jnp.matmul and jnp.sum",
    "fft": "write it with jnp.convolve or a sum over a literal range",
    "random": "use the draws: binomial(key, n, p), poisson(key, rate), normal(key, mean, sd), ...",
    "unique": "its shape depends on values: use fixed shapes and a mask",
    "nonzero": "its shape depends on values: use jnp.where(condition, a, b)",
    "argwhere": "its shape depends on values: use jnp.where(condition, a, b)",
    "extract": "its shape depends on values: use jnp.where(condition, a, b)",
    "compress": "its shape depends on values: use jnp.where(condition, a, b)",
    "float64": "use jnp.float32: programs run in single precision",
    "int64": "use jnp.int32: programs run in single precision",
    "load": "programs get data through `inputs` and `observed` only",
    "save": "remove it: a program writes nothing",
    "fromfile": "programs get data through `inputs` and `observed` only",
    "format": "write the text out: formatting is not available",
    "format_map": "write the text out: formatting is not available",
    "pop": "make a new dict without the entry",
    "item": "leave it an array: inside a program there are no plain numbers",
    "tolist": "leave it an array: inside a program there are no plain numbers",
}

#: Statements and expressions that a file may not hold, and what to write instead.
REFUSED: dict[type[ast.AST], tuple[str, str]] = {
    ast.While: ("while loop", "use `for _ in range(N)` with a literal N, or lax.scan with a mask"),
    ast.AsyncFor: ("async for", "use a plain `for` over a literal range"),
    ast.AsyncWith: ("async with", "remove it"),
    ast.AsyncFunctionDef: ("async function", "write `def`"),
    ast.Await: ("await", "remove it: call the function directly"),
    ast.Yield: ("yield", "return a tuple or a list"),
    ast.YieldFrom: ("yield from", "return a tuple or a list"),
    ast.ClassDef: ("class", "use functions, and dicts for what belongs together"),
    ast.Try: ("try", "remove it: write code for which no error can occur (jnp.where, jnp.maximum)"),
    ast.TryStar: ("try", "remove it: write code for which no error can occur"),
    ast.Raise: ("raise", "remove it: return values; jnp.where chooses between them"),
    ast.Assert: ("assert", "remove it: shapes and rules are checked for you"),
    ast.With: ("with", "remove it: nothing needs to be opened or closed"),
    ast.Global: ("global", "pass values as arguments and return them"),
    ast.Nonlocal: ("nonlocal", "pass values as arguments and return them"),
    ast.Delete: ("del", "make a new dict without the entry, or leave the name alone"),
    ast.Match: ("match", "use jnp.where, or `if` on literals"),
    ast.NamedExpr: ("assignment inside an expression", "put the assignment on its own line"),
    ast.JoinedStr: ("f-string", "write the text out: formatting is not available"),
    ast.AnnAssign: ("annotation", "remove the annotation: `name = value`"),
}


@functools.cache
def names() -> frozenset[str]:
    """Every name that a file may use without defining it."""
    return template.names() | {"True", "False", "None"}
