"""Checks that need all rows of a split in place: inputs, horizon, observed derived values."""

from __future__ import annotations

import numpy as np

from gsim_jax.task.dense import Dense
from gsim_jax.task.evaluate import TOLERANCE
from gsim_jax.task.merge import Merger
from gsim_jax.task.schema import entries, label


def check_dense(dense: Dense, merger: Merger, spans: dict[str, tuple[int, int | None]]) -> None:
    """Reports to `merger` what is wrong with the laid-out rows.

    Args:
        dense: the rows.
        merger: knows which file and line each came from.
        spans: split -> first row and the row after the last, where one table is divided by time.
    """
    _check_inputs(dense, merger)
    _check_horizon(dense, merger, spans)
    _check_derived(dense, merger)


def _check_inputs(dense: Dense, merger: Merger) -> None:
    for name, given in merger.schema.inputs.items():
        columns = [label(name, index) for index in entries(given.shape)]
        for column in columns if given.default is None else ():
            if column not in dense.columns:
                continue  # reported once, as a missing column
            who, t = np.nonzero(dense.exists & ~dense.columns[column][1])
            for row in merger.rows_at(who, t):
                words = f"the input has no value here: give one, or a default in [input.{name}]"
                merger.report("missing-input", row, column, words)


def _check_horizon(dense: Dense, merger: Merger, spans: dict[str, tuple[int, int | None]]) -> None:
    limit = merger.schema.horizon + 1
    for start, stop in spans.values():
        end = dense.length if stop is None else np.minimum(dense.length, stop)
        who = np.flatnonzero(end - start > limit)
        for i, row in zip(who, merger.rows_at(who, np.full(who.size, start + limit)), strict=True):
            words = (
                f"trajectory {dense.ids[i]!r} has {end[i] - start} rows, and horizon ="
                f" {limit - 1} steps allow {limit}: raise the horizon or cut the trajectory"
            )
            merger.report("too-long", row, None, words)


def _check_derived(dense: Dense, merger: Merger) -> None:
    """An observed derived value has to agree with what the row's states give."""
    schema = merger.schema
    observed = [n for n in schema.derived if n in dense.columns and n not in schema.aggregates]
    if not observed:
        return
    bare = Dense(
        dense.ids,
        dense.length,
        {name: pair for name, pair in dense.columns.items() if name not in observed},
        dense.attributes,
        dense.dates,
    ).trajectories(schema)
    for name in observed:
        v = [output.label for output in schema.outputs].index(name)
        values, mask = dense.columns[name]
        computed, known = bare.outputs[..., v].astype(np.float64), bare.outputs_seen[..., v]
        size = np.maximum(np.abs(values), np.abs(computed))
        who, t = np.nonzero(mask & known & (np.abs(values - computed) > TOLERANCE * size))
        for i, k, row in zip(who, t, merger.rows_at(who, t), strict=True):
            words = (
                f"got {values[i, k]:.9g}, and {schema.derived[name].value} gives"
                f" {computed[i, k]:.9g} from the states observed in the same row"
            )
            merger.report("conflict", row, name, words)
