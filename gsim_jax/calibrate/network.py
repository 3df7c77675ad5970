"""The network of a neural posterior: an embedding and a flow, and its start from a pilot sample."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx

from gsim_jax.calibrate.cells import settled
from gsim_jax.calibrate.embedding import Prepared, SetEmbedding, VectorEmbedding
from gsim_jax.calibrate.flow import Flow, FlowShape
from gsim_jax.calibrate.trajectory import TrajectoryEmbedding
from gsim_jax.task import InputError, Problem

EMBEDDINGS = {
    "vector": VectorEmbedding,
    "set": SetEmbedding,
    "trajectory": TrajectoryEmbedding,
}
"""Embeddings by name."""


@dataclass(frozen=True)
class Architecture:
    """Everything that a network is built from, as plain values.

    Attributes:
        bounded: for each variable, whether it lives on [0, 1] instead of the real line.
        x: shape of one data set.
        embedding: name of the embedding.
        masked: whether entries of x may be missing.
        context: length of the learned context.
        features: hidden units of the embedding.
        layers: layers of the flow.
        bins: bins of each spline.
        width: hidden units of the flow's networks.
        blocks: residual blocks of the flow's networks.
        groups: groups of variables, see `FlowShape`.
        cells: number of values of integers and choices, see `FlowShape`.
    """

    bounded: tuple[bool, ...]
    x: tuple[int, ...]
    embedding: str
    masked: bool = False
    context: int = 32
    features: int = 64
    layers: int = 3
    bins: int = 10
    width: int = 64
    blocks: int = 2
    groups: int = 0
    cells: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Architecture:
        """From what `to_json` gave."""
        fields: dict[str, Any] = {}
        for name, value in found.items():
            fields[name] = tuple(value) if isinstance(value, list) else value
        return cls(**fields)


def choose_embedding(name: str | None, shape: tuple[int, ...], exchangeable: bool) -> str:
    """The embedding that suits a shape.

    Args:
        name: a name that is wanted, or None or "auto".
        shape: of one x.
        exchangeable: whether the first axis of x carries no order.

    Raises:
        InputError: no such embedding, or not for this shape.
    """
    if name in (None, "auto"):
        if len(shape) == 2:
            return "set" if exchangeable else "trajectory"
        return "trajectory" if len(shape) == 3 and exchangeable else "vector"
    if name not in EMBEDDINGS:
        known = ", ".join(("auto", *EMBEDDINGS))
        text = f"embedding: expected one of {known}; got {name!r}"
        raise InputError((Problem("embedding", text),))
    axes = {"set": (2,), "trajectory": (2, 3)}.get(name)
    if axes is not None and len(shape) not in axes:
        text = f"embedding {name!r}: expected x with {axes} axes; got shape {list(shape)}"
        raise InputError((Problem("embedding", text),))
    return name


class Network(nnx.Module):
    """A density of coordinates y given a data set x."""

    def __init__(self, plan: Architecture, seed: int) -> None:
        """`plan`: what it is built from; every weight follows from the seed."""
        random = np.random.default_rng(seed)
        build = EMBEDDINGS[plan.embedding]
        self.embedding = build(plan.x, plan.masked, plan.context, plan.features, random)
        shape = FlowShape(
            plan.bounded, self.embedding.size, self.embedding.summary, plan.layers, plan.bins,
            plan.width, plan.blocks, plan.groups, plan.cells,
        )  # fmt: skip
        self.flow = Flow(shape, random)

    def prepare(self, x: jax.Array) -> Prepared:
        """What can be made of x[B, ...] without learning."""
        return self.embedding.prepare(x)

    def log_prob(self, y: jax.Array, ready: Prepared) -> jax.Array:
        """Log density float32[B] of y[B, d] given data sets as prepared (B or 1), in nats."""
        return self.flow.log_prob(y, self.embedding.learn(ready), ready[0])

    def draw(self, base: jax.Array, ready: Prepared) -> jax.Array:
        """Draws y[B, d] from uniform numbers base[B, d] given data sets as prepared (B or 1)."""
        return self.flow.transform(base, self.embedding.learn(ready), ready[0])

    def fit(self, x: np.ndarray) -> None:
        """Learns the scales of x from a pilot sample x[N, ...], NaN where missing."""
        self.embedding.fit(x)

    def start(self, y: np.ndarray, summary: np.ndarray) -> None:
        """Starts at the linear regression of y on the summary.

        Args:
            y: float[N, d].
            summary: float[N, summary], of the same data sets.
        """
        columns = np.asarray(summary, float), np.asarray(y, float)
        self.flow.start_at(*_regression(*columns, self.flow.shape))


def _regression(
    summary: np.ndarray, y: np.ndarray, shape: FlowShape
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ridge regression of each variable on the summary and the variables of earlier groups."""
    count, d = y.shape
    known = np.asarray(settled(y, shape.cells), float)
    weights, before = np.zeros((summary.shape[1], d)), np.zeros((d, d))
    centre, spread = np.zeros(d), np.zeros(d)
    degrees = shape.degrees(0)
    mean = summary.mean(0)
    for i in range(d):
        earlier = np.flatnonzero(degrees < degrees[i])
        columns = np.concatenate(
            [summary - mean, known[:, earlier] - known[:, earlier].mean(0)], axis=1
        )
        gram = columns.T @ columns + 1e-3 * count * np.eye(columns.shape[1])
        found = np.linalg.solve(gram, columns.T @ (y[:, i] - y[:, i].mean()))
        weights[:, i], before[earlier, i] = np.split(found, [summary.shape[1]])
        centre[i] = (
            y[:, i].mean() - mean @ weights[:, i] - known[:, earlier].mean(0) @ before[earlier, i]
        )
        residual = y[:, i] - y[:, i].mean() - columns @ found
        spread[i] = max(residual.std(), 1e-4)
    return weights, before, centre, spread
