"""Sums, extremes and products over axes: reductions, running ones, contractions, convolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jax import lax

from gsim_jax.simulator.vocabulary import fields
from gsim_jax.simulator.vocabulary.arrays import ints, log_length
from gsim_jax.simulator.vocabulary.operation import Operation, Shaped, Unencodable, per_input

_REDUCTIONS = {
    "reduce_sum": lax.reduce_sum,
    "reduce_max": lax.reduce_max,
    "reduce_min": lax.reduce_min,
    "reduce_prod": lax.reduce_prod,
    "reduce_and": lax.reduce_and,
    "reduce_or": lax.reduce_or,
    "reduce_xor": lax.reduce_xor,
}


def _cumlogsumexp(x: Any, axis: int, reverse: bool) -> Any:
    # JAX takes whole numbers here, and fails when it compiles.
    if x.dtype != np.float32:
        raise TypeError("cumlogsumexp takes float32")
    return lax.cumlogsumexp(x, axis=axis, reverse=reverse)


_RUNNING = {
    "cumsum": lax.cumsum,
    "cumprod": lax.cumprod,
    "cummax": lax.cummax,
    "cummin": lax.cummin,
    "cumlogsumexp": _cumlogsumexp,
}
_EXTREMES = {"argmax": lax.argmax, "argmin": lax.argmin}


def _running_cost(p: Mapping[str, Any], ins: Sequence[Shaped], outs: Sequence[Shaped]) -> int:
    # JAX runs these as a tree of log2(length) passes on most devices.
    return 3 * outs[0].size * log_length(ins)


def _reduction(name: str, function: Callable[..., Any]) -> Operation:
    return Operation(
        name,
        lambda x, *, axes: function(x, axes),
        (name,),
        {"axes": fields.axes},
        lambda p: {"axes": ints(p["axes"])},
        per_input(),
        bulk=25,
    )


def _running(name: str, function: Callable[..., Any]) -> Operation:
    return Operation(
        name,
        lambda x, *, axis, reverse: function(x, axis=axis, reverse=reverse),
        (name,),
        {"axis": fields.axis, "reverse": fields.boolean},
        lambda p: {"axis": int(p["axis"]), "reverse": bool(p["reverse"])},
        _running_cost,
        bulk=30,
    )


def _encode_extreme(p: Mapping[str, Any]) -> dict[str, Any]:
    if len(p["axes"]) != 1:
        raise Unencodable("argmax or argmin over several axes")
    return {"axis": int(p["axes"][0])}


def _extreme(name: str, function: Callable[..., Any]) -> Operation:
    return Operation(
        name,
        lambda x, *, axis: function(x, axis, np.dtype("int32")),
        (name,),
        {"axis": fields.axis},
        _encode_extreme,
        per_input(2),
        bulk=25,
    )


_PRECISIONS = {"DEFAULT": "default", "HIGH": "high", "HIGHEST": "highest"}


def _encode_precision(precision: Any) -> str:
    one = precision[0] if isinstance(precision, tuple) else precision
    if one is None:
        return "default"
    name = getattr(one, "name", None)
    if name not in _PRECISIONS:
        raise Unencodable(f"precision {precision}")
    return _PRECISIONS[name]


def _encode_dot(p: Mapping[str, Any]) -> dict[str, Any]:
    (left, right), (left_batch, right_batch) = p["dimension_numbers"]
    preferred = p["preferred_element_type"]
    return {
        "contract": [ints(left), ints(right)],
        "batch": [ints(left_batch), ints(right_batch)],
        "precision": _encode_precision(p["precision"]),
        "result": None if preferred is None else str(np.dtype(preferred)),
    }


def _pair(value: Any) -> tuple[tuple[int, ...], ...]:
    if type(value) is not list or len(value) != 2:
        raise fields.FieldError(f"expected two lists of axes; got {value!r:.60}")
    return tuple(fields.axes(v) for v in value)


def _dot(x: Any, y: Any, *, contract: Any, batch: Any, precision: str, result: Any) -> Any:
    return lax.dot_general(
        x,
        y,
        (contract, batch),
        precision=None if precision == "default" else precision,
        preferred_element_type=None if result is None else np.dtype(result),
    )


def _dot_cost(p: Mapping[str, Any], ins: Sequence[Shaped], outs: Sequence[Shaped]) -> int:
    contracted = math.prod(ins[0].shape[a] for a in p["contract"][0] if a < len(ins[0].shape))
    return 2 * outs[0].size * max(1, contracted) + ins[0].size + ins[1].size


def _encode_convolve(p: Mapping[str, Any]) -> dict[str, Any]:
    if p["batch_group_count"] != 1 or p["preferred_element_type"] not in (None, np.float32):
        raise Unencodable("a convolution with batch groups or another result type")
    numbers = p["dimension_numbers"]
    return {
        "strides": ints(p["window_strides"]),
        "padding": [ints(row) for row in p["padding"]],
        "left_dilation": ints(p["lhs_dilation"]),
        "right_dilation": ints(p["rhs_dilation"]),
        "left": ints(numbers.lhs_spec),
        "right": ints(numbers.rhs_spec),
        "result": ints(numbers.out_spec),
        "groups": int(p["feature_group_count"]),
        "precision": _encode_precision(p["precision"]),
    }


def _convolve(x: Any, kernel: Any, **p: Any) -> Any:
    if x.dtype != np.float32 or kernel.dtype != np.float32:
        raise TypeError("convolutions take float32; use astype(jnp.float32)")
    return lax.conv_general_dilated(
        x,
        kernel,
        p["strides"],
        p["padding"],
        p["left_dilation"],
        p["right_dilation"],
        lax.ConvDimensionNumbers(p["left"], p["right"], p["result"]),
        p["groups"],
        precision=None if p["precision"] == "default" else p["precision"],
    )


def _convolve_cost(p: Mapping[str, Any], ins: Sequence[Shaped], outs: Sequence[Shaped]) -> int:
    return 2 * outs[0].size * max(1, ins[1].size) + ins[0].size


_PRECISION = fields.one_of(*_PRECISIONS.values())

OPERATIONS = (
    *(_reduction(name, f) for name, f in _REDUCTIONS.items()),
    *(_running(name, f) for name, f in _RUNNING.items()),
    *(_extreme(name, f) for name, f in _EXTREMES.items()),
    Operation(
        "dot",
        _dot,
        ("dot_general",),
        {
            "contract": _pair,
            "batch": _pair,
            "precision": _PRECISION,
            "result": fields.optional(fields.dtype),
        },
        _encode_dot,
        _dot_cost,
        arity=(2, 2),
        bulk=40,
    ),
    Operation(
        "convolve",
        _convolve,
        ("conv_general_dilated",),
        {
            "strides": fields.integers(1, 1000),
            "padding": fields.rows(2, -10_000, 10_000),
            "left_dilation": fields.integers(1, 1000),
            "right_dilation": fields.integers(1, 1000),
            "left": fields.axes,
            "right": fields.axes,
            "result": fields.axes,
            "groups": fields.integer(1, 10_000),
            "precision": _PRECISION,
        },
        _encode_convolve,
        _convolve_cost,
        arity=(2, 2),
        bulk=60,
    ),
)
