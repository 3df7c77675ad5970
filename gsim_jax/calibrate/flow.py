"""A conditional normalizing flow: masked autoregressive rational-quadratic splines.

Each layer maps the variables onto the unit interval one by one, by a spline whose knots depend on
the context and on the variables before (Durkan et al. 2019; Papamakarios et al. 2017). The first
layer standardises: a normal law cut to the support, with a location and a scale that start at a
linear regression. Layers that follow see what that one has centred, in alternating order.

Variables stand in groups, and a group sees the groups before it. One variable per group is the
autoregressive flow, whose sampling takes as many passes as there are variables; two groups are a
coupling flow with two passes. One mask makes both.

Integers and choices come first, in the first layer, with a table of probabilities each (`cells`);
later layers leave them alone, and everything else is conditional on their values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gsim_jax.calibrate.cells import Table, cells_forward, cells_inverse, settled, table
from gsim_jax.calibrate.splines import (
    Bell,
    Bins,
    bell,
    bell_forward,
    bell_inverse,
    bell_parameter,
    spline,
    spline_bins,
    spline_inverse,
    spline_size,
)

#: Above so many variables groups hold several, and sampling still takes this many passes.
MOST_GROUPS = 10


class Fixed(nnx.Variable):
    """A number that data set once and training leaves alone."""


def zeros(*shape: int) -> jax.Array:
    """float32 zeros; made on the host, where nothing is compiled for each shape."""
    return jnp.asarray(np.zeros(shape, np.float32))


def lecun(random: np.random.Generator, shape: tuple[int, ...]) -> jax.Array:
    """Normal weights of variance 1 / inputs (LeCun et al. 1998), the inputs on the axis before."""
    return jnp.asarray((random.normal(size=shape) / np.sqrt(shape[-2])).astype(np.float32))


@dataclass(frozen=True)
class FlowShape:
    """Sizes of a flow.

    Attributes:
        bounded: for each variable, whether it lives on [0, 1] instead of the real line.
        context: length of the context.
        summary: length of the part of the input that enters linearly.
        layers: number of layers.
        bins: bins of each spline.
        width: hidden units of a conditioner.
        blocks: residual blocks of a conditioner.
        groups: groups of variables; 0 for one each, up to `MOST_GROUPS`.
        cells: number of values of integers and choices, 0 for continuous variables; empty where
            all are continuous.
    """

    bounded: tuple[bool, ...]
    context: int
    summary: int
    layers: int = 3
    bins: int = 10
    width: int = 64
    blocks: int = 2
    groups: int = 0
    cells: tuple[int, ...] = ()

    @property
    def discrete(self) -> np.ndarray:
        """bool[d]: which variables are integers or choices."""
        return np.asarray(self.cells or (0,) * len(self.bounded)) > 0

    def degrees(self, layer: int) -> np.ndarray:
        """Group of each variable in a layer, int[d] from 1 on; order turns from layer to layer."""
        d = len(self.bounded)
        groups = min(self.groups or MOST_GROUPS, d)
        group = np.empty(d, int)
        group[np.argsort(~self.discrete, kind="stable")] = np.arange(d) * groups // d + 1
        return group if layer % 2 == 0 else groups + 1 - group


class Conditioner(nnx.Module):
    """A masked residual network: parameters of every variable from the groups before it.

    Masks are those of MADE (Germain et al. 2015); the context enters every block unmasked.
    """

    def __init__(
        self,
        degrees: np.ndarray,
        context: int,
        size: int,
        width: int,
        blocks: int,
        random: np.random.Generator,
    ) -> None:
        """`size`: parameters per variable. They start at 0, where the layer is the identity."""
        d = len(degrees)
        self.degrees = tuple(int(g) for g in degrees)
        self.width, self.blocks = width, blocks
        self.enter = nnx.Param(lecun(random, (d, width)))
        self.context = nnx.Param(lecun(random, (context, (blocks + 1) * width)))
        self.bias = nnx.Param(zeros((blocks + 1) * width))
        self.first = nnx.Param(lecun(random, (blocks, width, width)))
        # Blocks start near the identity.
        self.second = nnx.Param(0.1 * lecun(random, (blocks, width, width)))
        self.leave = nnx.Param(zeros(width, size, d))
        self.free = nnx.Param(zeros(size, d))

    def _masks(self) -> list[np.ndarray]:
        degrees = np.asarray(self.degrees)
        hidden = np.arange(self.width) * int(degrees.max()) // self.width
        enter = degrees[:, None] <= hidden
        within = hidden[:, None] <= hidden
        leave = hidden[:, None] < degrees
        return [m.astype(np.float32) for m in (enter, within, leave)]

    def project(self, context: jax.Array) -> jax.Array:
        """What the context adds to every block, float32[B, (blocks + 1) width]."""
        return context @ self.context[...] + self.bias[...][None]

    def __call__(
        self, values: jax.Array, projected: jax.Array, only: jax.Array | None = None
    ) -> jax.Array:
        """Parameters of every variable.

        Args:
            values: float32[B, d], centred.
            projected: of `project`, float32[B or 1, (blocks + 1) width].
            only: the one variable whose parameters are wanted, int32 scalar.

        Returns:
            float32[size, d, B]; [size, 1, B] of one variable.
        """
        enter, within, leave = self._masks()
        added = jnp.split(projected, self.blocks + 1, axis=-1)
        hidden = values @ (self.enter[...] * enter) + added[0]
        for b in range(self.blocks):
            inner = jax.nn.silu(hidden) @ (self.first[...][b] * within) + added[b + 1]
            hidden = hidden + jax.nn.silu(inner) @ (self.second[...][b] * within)
        weights, free = self.leave[...] * leave[:, None, :], self.free[...]
        if only is not None:
            weights = jax.lax.dynamic_index_in_dim(weights, only, axis=2)
            free = jax.lax.dynamic_index_in_dim(free, only, axis=1)
        size, d = free.shape
        flat = jnp.einsum("hp,bh->pb", jnp.reshape(weights, (-1, size * d)), jax.nn.silu(hidden))
        return jnp.reshape(flat, (size, d, -1)) + free[:, :, None]


class Layer(nnx.Module):
    """One map of all variables onto the unit cube."""

    def __init__(self, shape: FlowShape, number: int, random: np.random.Generator) -> None:
        """The layer `number` of a flow; number 0 takes the variables as they are."""
        d = len(shape.bounded)
        self.shape, self.number = shape, number
        self.rows = max(shape.cells, default=0) if number == 0 else 0
        size = spline_size(shape.bins) + (2 + self.rows if number == 0 else 0)
        degrees = shape.degrees(number)
        self.network = Conditioner(degrees, shape.context, size, shape.width, shape.blocks, random)
        if number == 0:
            self.linear = nnx.Param(zeros(shape.summary, d))
            self.before = nnx.Param(zeros(d, d))
            self.unit = Fixed(zeros(d) + 1)

    def prepare(self, context: jax.Array, summary: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What the input adds, computed once for all passes of sampling."""
        straight = jnp.zeros((1, 1))
        if self.number == 0:
            straight = summary @ self.linear[...]
        return self.network.project(context), straight

    def _maps(
        self, values: jax.Array, ready: tuple[jax.Array, jax.Array], only: jax.Array | None = None
    ) -> _Maps:
        """The maps of all variables, or of one, given the values before."""
        bounded, discrete = np.asarray(self.shape.bounded), self.shape.discrete
        projected, straight = ready
        picked = [jnp.asarray(discrete[:, None])]
        if self.number:
            centred = jnp.where(discrete[None], 0.0, 2.0 * values - 1.0)
            bins = spline_bins(self.network(centred, projected, only))
            return _Maps(None, bins, None, _only(picked, only)[0])
        values = settled(values, self.shape.cells)
        centred = jnp.where(bounded[None], 2.0 * values - 1.0, values)
        params = self.network(centred, projected, only)
        degrees = self.shape.degrees(0)
        earlier = (degrees[:, None] < degrees).astype(np.float32)
        start = (straight + values @ (self.before[...] * earlier)).T
        count = jnp.asarray(np.maximum(self.shape.cells or (1,), 1), jnp.float32)[:, None]
        picked += [start, self.unit[...][:, None], jnp.asarray(bounded[:, None])]
        is_discrete, start, unit, inside = _only(picked, only)
        # The network speaks of locations in units of the scale at the start.
        law = bell(start + params[-2] * unit, params[-1], inside)
        rest, tables = params[:-2], None
        if self.rows:
            rest, logits = rest[self.rows :], rest[: self.rows]
            (count,) = _only([count], only)
            tables = table(logits, law, jnp.broadcast_to(count, logits.shape[1:]))
        return _Maps(law, spline_bins(rest), tables, is_discrete)

    def forward(
        self, values: jax.Array, ready: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        """Images float32[B, d] on the unit cube, and log |determinant| float32[B]."""
        image, rise = self._maps(values, ready).forward(values.T)
        return image.T, jnp.sum(rise, axis=0)

    def inverse(self, image: jax.Array, ready: tuple[jax.Array, jax.Array]) -> jax.Array:
        """Values float32[B, d] of images; one pass per group."""
        degrees = self.shape.degrees(self.number)
        order = jnp.asarray(np.argsort(degrees, kind="stable"))
        alone = int(degrees.max()) == len(degrees)

        def one(turn: jax.Array, values: jax.Array) -> jax.Array:
            only = order[turn] if alone else None
            (wanted,) = _only([image.T], only)
            found = self._maps(values, ready, only).inverse(wanted)
            if only is not None:
                return jax.lax.dynamic_update_index_in_dim(values, found[0], only, axis=1)
            return jnp.where(jnp.asarray(degrees)[None] == turn + 1, found.T, values)

        start = jnp.full_like(image, 0.5)
        return jax.lax.fori_loop(0, int(degrees.max()), one, start)


def _only(arrays: list[jax.Array], which: jax.Array | None) -> list[jax.Array]:
    """One row of each array, or all of them as they are."""
    if which is None:
        return arrays
    return [jax.lax.dynamic_index_in_dim(array, which) for array in arrays]


class _Maps(NamedTuple):
    """The maps of one layer, variables on the axis before the last.

    Attributes:
        law: of the first layer.
        bins: what follows it.
        tables: of integers and choices, in the first layer.
        discrete: bool[d, 1], which variables these are.
    """

    law: Bell | None
    bins: Bins
    tables: Table | None
    discrete: jax.Array

    def forward(self, values: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Images of values[d, B], and logs of the derivatives."""
        image, total = values, jnp.zeros_like(values)
        if self.law is not None:
            image, total = bell_forward(self.law, image)
        image, rise = spline(self.bins, image)
        if self.tables is None:
            others, none = values, jnp.zeros_like(rise)
        else:
            others, none = cells_forward(self.tables, values)
        return jnp.where(self.discrete, others, image), jnp.where(self.discrete, none, total + rise)

    def inverse(self, image: jax.Array) -> jax.Array:
        """Values[d, B] of images."""
        found = spline_inverse(self.bins, image)
        if self.law is not None:
            found = bell_inverse(self.law, found)
        others = image if self.tables is None else cells_inverse(self.tables, image)
        return jnp.where(self.discrete, others, found)


class Flow(nnx.Module):
    """Density of variables given a context and a summary that enters linearly."""

    def __init__(self, shape: FlowShape, random: np.random.Generator) -> None:
        """Uniform on [0, 1] and near the standard normal on the line, until it is trained."""
        self.shape = shape
        self.layers = nnx.List([Layer(shape, n, random) for n in range(shape.layers)])

    def start_at(self, weights: np.ndarray, before: np.ndarray, centre: np.ndarray,
                 spread: np.ndarray) -> None:  # fmt: skip
        """Starts the first layer at a linear regression.

        Args:
            weights: float[summary, d].
            before: float[d, d], weights of earlier variables (row) on later ones (column).
            centre: float[d], intercepts.
            spread: float[d], standard deviations of the residuals.
        """
        first = self.layers[0]
        first.linear[...] = jnp.asarray(weights, jnp.float32)
        first.before[...] = jnp.asarray(before, jnp.float32)
        scale = bell_parameter(np.asarray(spread, float)).astype(np.float32)
        free = np.array(first.network.free[...])
        free[-2], free[-1] = np.asarray(centre) / spread, scale
        first.unit[...] = jnp.asarray(spread, jnp.float32)
        first.network.free[...] = jnp.asarray(free)

    def log_prob(self, values: jax.Array, context: jax.Array, summary: jax.Array) -> jax.Array:
        """Log density of each row.

        Args:
            values: float32[B, d], on [0, 1] where bounded.
            context: float32[B or 1, context].
            summary: float32[B or 1, summary].

        Returns:
            float32[B], nats.
        """
        total = jnp.zeros(values.shape[0])
        for layer in self.layers:
            values, rise = layer.forward(values, layer.prepare(context, summary))
            total = total + rise
        return total

    def transform(self, base: jax.Array, context: jax.Array, summary: jax.Array) -> jax.Array:
        """Variables whose images under the flow are `base`, float32[B, d] in [0, 1].

        Uniform numbers become draws.
        """
        for layer in reversed(list(self.layers)):
            base = layer.inverse(base, layer.prepare(context, summary))
        return base
