"""Element by element: arithmetic, comparisons, logic, elementary functions, conversions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from gsim_jax.simulator.vocabulary import fields
from gsim_jax.simulator.vocabulary.operation import Operation, Shaped, Unencodable, per_output

# Weights are counted operations per element, 1 being a fused addition. They were measured on one
# CPU core with 25 elements a lane, and order programs; they do not predict times.
_CHEAP_UNARY = {
    "abs": lax.abs,
    "ceil": lax.ceil,
    "clz": lax.clz,
    "floor": lax.floor,
    "is_finite": lax.is_finite,
    "neg": lax.neg,
    "not": lax.bitwise_not,
    "population_count": lax.population_count,
    "sign": lax.sign,
    "square": lax.square,
    "stop_gradient": lax.stop_gradient,
}
_DEAR_UNARY = {
    "acos": (lax.acos, 10),
    "acosh": (lax.acosh, 15),
    "asin": (lax.asin, 10),
    "asinh": (lax.asinh, 15),
    "atan": (lax.atan, 10),
    "atanh": (lax.atanh, 15),
    "bessel_i0e": (lax.bessel_i0e, 20),
    "bessel_i1e": (lax.bessel_i1e, 20),
    "cbrt": (lax.cbrt, 10),
    "cos": (lax.cos, 8),
    "cosh": (lax.cosh, 10),
    "digamma": (lax.digamma, 30),
    "erf": (lax.erf, 8),
    "erf_inv": (lax.erf_inv, 20),
    "erfc": (lax.erfc, 20),
    "exp": (lax.exp, 6),
    "exp2": (lax.exp2, 6),
    "expm1": (lax.expm1, 8),
    "lgamma": (lax.lgamma, 30),
    "log": (lax.log, 6),
    "log1p": (lax.log1p, 8),
    "log2": (jnp.log2, 6),  # a primitive since JAX 0.12
    "logistic": (lax.logistic, 8),
    "rsqrt": (lax.rsqrt, 2),
    "sin": (lax.sin, 8),
    "sinh": (lax.sinh, 10),
    "sqrt": (lax.sqrt, 2),
    "tan": (lax.tan, 10),
    "tanh": (lax.tanh, 8),
}
_CHEAP_BINARY = {
    "add": lax.add,
    "and": lax.bitwise_and,
    "div": lax.div,
    "eq": lax.eq,
    "ge": lax.ge,
    "gt": lax.gt,
    "le": lax.le,
    "lt": lax.lt,
    "max": lax.max,
    "min": lax.min,
    "mul": lax.mul,
    "ne": lax.ne,
    "nextafter": lax.nextafter,
    "or": lax.bitwise_or,
    "rem": lax.rem,
    "shift_left": lax.shift_left,
    "shift_right_arithmetic": lax.shift_right_arithmetic,
    "shift_right_logical": lax.shift_right_logical,
    "sub": lax.sub,
    "xor": lax.bitwise_xor,
}
_DEAR_BINARY = {"atan2": (lax.atan2, 15), "pow": (lax.pow, 40)}
# Other primitives of the same meaning.
_ALIASES = {"add_any": "add"}


def _ordered(x: Any) -> Any:
    # Bits of a float32 as an integer that sorts as IEEE's total order does.
    bits = lax.bitcast_convert_type(x, jnp.int32)
    flipped = lax.bitwise_xor(bits, np.int32(2**31 - 1))
    return lax.select(lax.lt(bits, lax.full_like(bits, 0)), flipped, bits)


def _le_total(x: Any, y: Any) -> Any:
    return lax.le(_ordered(x), _ordered(y))


def _lt_total(x: Any, y: Any) -> Any:
    return lax.lt(_ordered(x), _ordered(y))


def _eq_total(x: Any, y: Any) -> Any:
    return lax.eq(_ordered(x), _ordered(y))


def _convert(x: Any, *, dtype: str) -> Any:
    return lax.convert_element_type(x, np.dtype(dtype))


def _bitcast(x: Any, *, dtype: str) -> Any:
    if x.dtype == np.bool_:
        raise TypeError("bool has no bits to read; use astype")
    return lax.bitcast_convert_type(x, np.dtype(dtype))


def _encode_convert(parameters: Any) -> dict[str, Any]:
    return {"dtype": str(np.dtype(parameters["new_dtype"]))}


def _polynomial(x: Any, *coefficients: Any) -> Any:
    # Horner's rule, from the highest degree down; a primitive since JAX 0.12.
    *lower, value = coefficients
    for coefficient in reversed(lower):
        value = value * x + coefficient
    return jnp.broadcast_to(value, x.shape)


_ROUNDING = {
    "away": lax.RoundingMethod.AWAY_FROM_ZERO,
    "even": lax.RoundingMethod.TO_NEAREST_EVEN,
}


def _encode_round(parameters: Any) -> dict[str, Any]:
    method = lax.RoundingMethod(parameters["rounding_method"])
    return {"method": "away" if method is _ROUNDING["away"] else "even"}


def _encode_power(parameters: Any) -> dict[str, Any]:
    if abs(int(parameters["y"])) > 1000:
        raise Unencodable("an integer power above 1000")
    return {"power": int(parameters["y"])}


def _per_argument(p: Mapping[str, Any], ins: Sequence[Shaped], outs: Sequence[Shaped]) -> int:
    return 2 * len(ins) * outs[0].size


def _unary(name: str, function: Any, weight: int) -> Operation:
    return Operation(
        name,
        lambda x: function(x),
        (name,),
        cost=per_output(weight),
        bulk=weight,
        elementwise=True,
    )


def _binary(name: str, function: Any, weight: int) -> Operation:
    names = (name, *(old for old, new in _ALIASES.items() if new == name))
    return Operation(
        name,
        function,
        names,
        cost=per_output(weight),
        arity=(2, 2),
        bulk=weight,
        elementwise=True,
    )


OPERATIONS = (
    *(_unary(name, f, 1) for name, f in _CHEAP_UNARY.items()),
    *(_unary(name, f, weight) for name, (f, weight) in _DEAR_UNARY.items()),
    *(_binary(name, f, 1) for name, f in _CHEAP_BINARY.items()),
    *(_binary(name, f, weight) for name, (f, weight) in _DEAR_BINARY.items()),
    Operation("le_total", _le_total, ("le_to",), cost=per_output(6), arity=(2, 2), bulk=6),
    Operation("lt_total", _lt_total, ("lt_to",), cost=per_output(6), arity=(2, 2)),
    Operation("eq_total", _eq_total, ("eq_to",), cost=per_output(6), arity=(2, 2)),
    Operation(
        "polynomial", _polynomial, ("polynomial",), cost=_per_argument, arity=(2, 65), bulk=8
    ),
    Operation("copy", lambda x: jnp.asarray(x), ("copy",)),
    Operation(
        "reduce_precision",
        lambda x, *, exponent, mantissa: lax.reduce_precision(x, exponent, mantissa),
        ("reduce_precision",),
        {"exponent": fields.integer(1, 8), "mantissa": fields.integer(0, 23)},
        lambda p: {"exponent": int(p["exponent_bits"]), "mantissa": int(p["mantissa_bits"])},
    ),
    Operation(
        "convert",
        _convert,
        ("convert_element_type",),
        {"dtype": fields.dtype},
        _encode_convert,
        elementwise=True,
    ),
    Operation(
        "bitcast",
        _bitcast,
        ("bitcast_convert_type",),
        {"dtype": fields.one_of("int32", "uint32", "float32")},
        _encode_convert,
        elementwise=True,
    ),
    Operation(
        "round",
        lambda x, *, method: lax.round(x, _ROUNDING[method]),
        ("round",),
        {"method": fields.one_of("away", "even")},
        _encode_round,
        elementwise=True,
    ),
    Operation(
        "integer_pow",
        lambda x, *, power: lax.integer_pow(x, power),
        ("integer_pow",),
        {"power": fields.integer(-1000, 1000)},
        _encode_power,
        per_output(3),
        elementwise=True,
    ),
    Operation("clamp", lax.clamp, ("clamp",), cost=per_output(2), arity=(3, 3), elementwise=True),
    Operation("select", lax.select_n, ("select_n",), arity=(2, 65), elementwise=True),
)
