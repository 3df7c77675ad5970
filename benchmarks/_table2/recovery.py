"""Structure: how much of the truth's causal graph a method has found."""

from __future__ import annotations

from typing import Any

from benchmarks._table2.fitted import Fitted
from gsim_jax.diagnose.graph_scores import graph_score
from gsim_jax.simulator.contract import Simulator
from gsim_jax.task import Schema


def recovery(fitted: Fitted, truth: Simulator, schema: Schema) -> dict[str, Any] | None:
    """Structural Hamming distance and F1, see `gsim_jax.diagnose.graph_scores`.

    Args:
        fitted: what a method found.
        truth: the simulator that made the data.
        schema: the task's schema.

    Returns:
        Scores on derived values, and on whole arrays where the task has slots; None for methods
        that have no causal graph.
    """
    if fitted.simulator is None or fitted.simulator.graph is None:
        return None
    found = {"derived": graph_score(fitted.simulator, truth, schema).to_json()}
    if any(state.exchangeable is not None for state in schema.states.values()):
        arrays = graph_score(fitted.simulator, truth, schema, slots="arrays")
        found["arrays"] = arrays.to_json()
    return found
