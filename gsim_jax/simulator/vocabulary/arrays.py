"""Making arrays and moving their elements: shapes, slices, joins, sorting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from gsim_jax.simulator.vocabulary import fields
from gsim_jax.simulator.vocabulary.operation import Operation, Shaped, total


def ints(values: Any) -> list[int]:
    """A sequence of integers of any integer type as a list of Python's."""
    return [int(v) for v in values]


def _encode_broadcast(p: Mapping[str, Any]) -> dict[str, Any]:
    return {"shape": ints(p["shape"]), "axes": ints(p["broadcast_dimensions"])}


def _encode_slice(p: Mapping[str, Any]) -> dict[str, Any]:
    strides = p["strides"] or (1,) * len(p["start_indices"])
    return {
        "start": ints(p["start_indices"]),
        "limit": ints(p["limit_indices"]),
        "strides": ints(strides),
    }


def _encode_iota(p: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "dtype": str(np.dtype(p["dtype"])),
        "shape": ints(p["shape"]),
        "axis": int(p["dimension"]),
    }


def _sort_cost(p: Mapping[str, Any], ins: Sequence[Shaped], outs: Sequence[Shaped]) -> int:
    # Comparison sorts do not vectorise: about 250 additions per element at 25 elements.
    return 50 * total(outs) * log_length(ins)


def log_length(values: Sequence[Shaped]) -> int:
    """log2 of the longest axis, rounded up, at least 1."""
    longest = max((max(v.shape, default=1) for v in values), default=1)
    return max(1, math.ceil(math.log2(max(2, longest))))


def _top_k_cost(p: Mapping[str, Any], ins: Sequence[Shaped], outs: Sequence[Shaped]) -> int:
    return 20 * total(ins) * log_length(ins)


def _reshape(x: Any, *, shape: tuple[int, ...]) -> Any:
    # JAX lets an empty array become a scalar, and fails when it compiles.
    if math.prod(shape) != math.prod(x.shape):
        raise ValueError(f"{x.shape} cannot become {shape}")
    return lax.reshape(x, shape)


def _sort(*arrays: Any, axis: int, stable: bool, keys: int) -> Any:
    return list(lax.sort(arrays, dimension=axis, is_stable=stable, num_keys=keys))


def _top_k(x: Any, *, k: int, axis: int) -> Any:
    moved = x if axis == x.ndim - 1 else lax.transpose(x, _swap(x.ndim, axis))
    values, indices = lax.top_k(moved, k)
    if axis == x.ndim - 1:
        return [values, indices]
    return [lax.transpose(y, _swap(x.ndim, axis)) for y in (values, indices)]


def _swap(rank: int, axis: int) -> tuple[int, ...]:
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    return tuple(order)


def _concatenate(*arrays: Any, axis: int) -> Any:
    return lax.concatenate(arrays, axis)


def _dynamic_slice(x: Any, *starts: Any, sizes: tuple[int, ...]) -> Any:
    return lax.dynamic_slice(x, starts, sizes)


def _dynamic_update(x: Any, update: Any, *starts: Any) -> Any:
    return lax.dynamic_update_slice(x, update, starts)


def _stack(*arrays: Any, axis: int) -> Any:
    return lax.concatenate([lax.expand_dims(x, (axis,)) for x in arrays], axis)


def _unstack(x: Any, *, axis: int) -> Any:
    if x.shape[axis] > _MANY:
        raise ValueError(f"at most {_MANY} parts")
    return [lax.index_in_dim(x, i, axis, keepdims=False) for i in range(x.shape[axis])]


_MANY = 4096

OPERATIONS = (
    Operation(
        "broadcast",
        lambda x, *, shape, axes: lax.broadcast_in_dim(x, shape, axes),
        ("broadcast_in_dim",),
        {"shape": fields.shape, "axes": fields.axes},
        _encode_broadcast,
    ),
    Operation(
        "concatenate",
        _concatenate,
        ("concatenate",),
        {"axis": fields.axis},
        lambda p: {"axis": int(p["dimension"])},
        arity=(1, _MANY),
    ),
    Operation(
        "iota",
        lambda *, dtype, shape, axis: lax.broadcasted_iota(np.dtype(dtype), shape, axis),
        ("iota",),
        {"dtype": fields.dtype, "shape": fields.shape, "axis": fields.axis},
        _encode_iota,
        arity=(0, 0),
    ),
    Operation(
        "pad",
        lambda x, value, *, config: lax.pad(x, value, config),
        ("pad",),
        {"config": fields.rows(3)},
        lambda p: {"config": [ints(row) for row in p["padding_config"]]},
        arity=(2, 2),
    ),
    Operation(
        "reshape",
        _reshape,
        ("reshape",),
        {"shape": fields.shape},
        lambda p: {"shape": ints(p["new_sizes"])},
    ),
    Operation(
        "reverse",
        lambda x, *, axes: lax.rev(x, axes),
        ("rev",),
        {"axes": fields.axes},
        lambda p: {"axes": ints(p["dimensions"])},
    ),
    Operation(
        "slice",
        lambda x, *, start, limit, strides: lax.slice(x, start, limit, strides),
        ("slice",),
        {
            "start": fields.integers(0),
            "limit": fields.integers(0),
            "strides": fields.integers(1),
        },
        _encode_slice,
    ),
    Operation(
        "split",
        lambda x, *, sizes, axis: list(lax.split(x, sizes, axis)),
        ("split",),
        {"sizes": fields.integers(0, most=_MANY), "axis": fields.axis},
        lambda p: {"sizes": ints(p["sizes"]), "axis": int(p["axis"])},
        results=(1, _MANY),
    ),
    Operation(
        "squeeze",
        lambda x, *, axes: lax.squeeze(x, axes),
        ("squeeze",),
        {"axes": fields.axes},
        lambda p: {"axes": ints(p["dimensions"])},
    ),
    Operation(
        "stack",
        _stack,
        ("stack",),
        {"axis": fields.axis},
        lambda p: {"axis": int(p["axis"])},
        arity=(1, _MANY),
    ),
    Operation(
        "tile",
        lambda x, *, repeats: jnp.tile(x, repeats),
        ("tile",),
        {"repeats": fields.integers(0)},
        lambda p: {"repeats": ints(p["reps"])},
    ),
    Operation(
        "unstack",
        _unstack,
        ("unstack",),
        {"axis": fields.axis},
        lambda p: {"axis": int(p["axis"])},
        results=(1, _MANY),
    ),
    Operation(
        "transpose",
        lambda x, *, order: lax.transpose(x, order),
        ("transpose",),
        {"order": fields.axes},
        lambda p: {"order": ints(p["permutation"])},
    ),
    Operation(
        "dynamic_slice",
        _dynamic_slice,
        ("dynamic_slice",),
        {"sizes": fields.shape},
        lambda p: {"sizes": ints(p["slice_sizes"])},
        bulk=5,
        arity=(1, 1 + fields.MOST_AXES),
    ),
    Operation(
        "dynamic_update",
        _dynamic_update,
        ("dynamic_update_slice",),
        bulk=10,
        arity=(2, 2 + fields.MOST_AXES),
    ),
    Operation(
        "sort",
        _sort,
        ("sort",),
        {"axis": fields.axis, "stable": fields.boolean, "keys": fields.integer(1, 16)},
        lambda p: {
            "axis": int(p["dimension"]),
            "stable": bool(p["is_stable"]),
            "keys": int(p["num_keys"]),
        },
        _sort_cost,
        arity=(1, 16),
        results=(1, 16),
        bulk=20,
    ),
    Operation(
        "top_k",
        _top_k,
        ("top_k",),
        {"k": fields.integer(0), "axis": fields.axis},
        lambda p: {"k": int(p["k"]), "axis": int(p["axis"])},
        _top_k_cost,
        results=(2, 2),
        bulk=30,
    ),
)
