"""Reading and writing at computed places: gather and scatter.

What JAX calls `promise_in_bounds` becomes `clip` (reads) or `drop` (writes) here: a promise is
worth nothing in a document that anyone may have written. For the same reason the hints
`indices_are_sorted` and `unique_indices` are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax import lax

from gsim_jax.simulator.vocabulary import fields
from gsim_jax.simulator.vocabulary.arrays import ints
from gsim_jax.simulator.vocabulary.operation import Operation, Shaped, Unencodable, total

_MODES = {"clip": lax.GatherScatterMode.CLIP, "drop": lax.GatherScatterMode.FILL_OR_DROP}
_SCATTERS = {
    "scatter_set": ("scatter", lax.scatter),
    "scatter_add": ("scatter-add", lax.scatter_add),
    "scatter_sub": ("scatter-sub", lax.scatter_sub),
    "scatter_mul": ("scatter-mul", lax.scatter_mul),
    "scatter_min": ("scatter-min", lax.scatter_min),
    "scatter_max": ("scatter-max", lax.scatter_max),
}


def _mode(mode: Any, promised: str) -> str:
    name = lax.GatherScatterMode.from_any(mode).name
    if name == "PROMISE_IN_BOUNDS":
        return promised
    if name not in ("CLIP", "FILL_OR_DROP"):
        raise Unencodable(f"index mode {name}")
    return "clip" if name == "CLIP" else "drop"


def _fill(value: Any) -> Any:
    if value is None:
        return None
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, bool | int):
        return number
    return number if abs(number) <= 3.5e38 else str(float(number))


def _encode_gather(p: Mapping[str, Any]) -> dict[str, Any]:
    numbers = p["dimension_numbers"]
    return {
        "offset": ints(numbers.offset_dims),
        "collapsed": ints(numbers.collapsed_slice_dims),
        "map": ints(numbers.start_index_map),
        "batch": ints(numbers.operand_batching_dims),
        "index_batch": ints(numbers.start_indices_batching_dims),
        "sizes": ints(p["slice_sizes"]),
        "mode": _mode(p["mode"], "clip"),
        "fill": _fill(p["fill_value"]),
    }


def _gather(x: Any, indices: Any, **p: Any) -> Any:
    numbers = lax.GatherDimensionNumbers(
        offset_dims=p["offset"],
        collapsed_slice_dims=p["collapsed"],
        start_index_map=p["map"],
        operand_batching_dims=p["batch"],
        start_indices_batching_dims=p["index_batch"],
    )
    return lax.gather(x, indices, numbers, p["sizes"], mode=_MODES[p["mode"]], fill_value=p["fill"])


def _encode_scatter(p: Mapping[str, Any]) -> dict[str, Any]:
    numbers = p["dimension_numbers"]
    return {
        "window": ints(numbers.update_window_dims),
        "inserted": ints(numbers.inserted_window_dims),
        "map": ints(numbers.scatter_dims_to_operand_dims),
        "batch": ints(numbers.operand_batching_dims),
        "index_batch": ints(numbers.scatter_indices_batching_dims),
        "mode": _mode(p["mode"], "drop"),
    }


def _scatter(function: Callable[..., Any]) -> Callable[..., Any]:
    def evaluate(x: Any, indices: Any, updates: Any, **p: Any) -> Any:
        numbers = lax.ScatterDimensionNumbers(
            update_window_dims=p["window"],
            inserted_window_dims=p["inserted"],
            scatter_dims_to_operand_dims=p["map"],
            operand_batching_dims=p["batch"],
            scatter_indices_batching_dims=p["index_batch"],
        )
        return function(x, indices, updates, numbers, mode=_MODES[p["mode"]])

    return evaluate


def _scatter_cost(p: Mapping[str, Any], ins: Sequence[Shaped], outs: Sequence[Shaped]) -> int:
    # The target is copied, and every update is a dependent read and write.
    return total(outs) + 16 * ins[2].size


_MODE = fields.one_of(*_MODES)
_PLACES = {
    "map": fields.axes,
    "batch": fields.axes,
    "index_batch": fields.axes,
    "mode": _MODE,
}

OPERATIONS = (
    Operation(
        "gather",
        _gather,
        ("gather",),
        {
            "offset": fields.axes,
            "collapsed": fields.axes,
            **_PLACES,
            "sizes": fields.shape,
            "fill": fields.optional(fields.number),
        },
        _encode_gather,
        lambda p, ins, outs: 4 * total(outs),
        arity=(2, 2),
        bulk=25,
    ),
    *(
        Operation(
            name,
            _scatter(function),
            (primitive,),
            {"window": fields.axes, "inserted": fields.axes, **_PLACES},
            _encode_scatter,
            _scatter_cost,
            arity=(3, 3),
            bulk=60,
        )
        for name, (primitive, function) in _SCATTERS.items()
    ),
)
