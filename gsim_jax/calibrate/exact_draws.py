"""Which draws two complete rows determine, and what each of them was.

A draw reaches a known value (a state of the next row, an output that `implied` tells) through a
chain of operations. Where each of them can be undone given values that are known already, the draw
is read off: S' = S - new gives new = S - S'. Draws that are found help to find others, until
nothing more is found. What is left has several explanations, and no likelihood in closed form.

Real draws carry a density: undoing an operation divides it by the slope of the operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.calibrate.exact_graph import Node, Ref, StepGraph, Target, Values, apply

#: Operations that only move elements: what they do to positions is what they do to values.
_MOVES = frozenset({
    "broadcast", "reshape", "reverse", "slice", "split", "squeeze", "stack", "tile", "transpose",
    "unstack", "concatenate", "copy", "gather", "dynamic_slice", "stop_gradient",
})  # fmt: skip
_JOINS = frozenset({"concatenate", "stack"})
#: A chain of more operations than this is not followed.
_LONGEST = 64

Undo = Callable[[Any, Any], tuple[Any, Any]]


def _whole(y: Any, other: Any) -> Any:
    # Where it does not divide, the forward pass disagrees and the likelihood is zero.
    return y // jnp.where(other == 0, 1, other)


def _times(y: Any, other: Any) -> tuple[Any, Any]:
    if jnp.issubdtype(y.dtype, jnp.integer):
        return _whole(y, other), 0.0
    return y / other, jnp.log(jnp.abs(other))


#: By operation and argument: (result, other argument) -> (that argument, log |slope|).
_UNDO: Mapping[tuple[str, int], Undo] = {
    ("add", 0): lambda y, o: (y - o, 0.0),
    ("add", 1): lambda y, o: (y - o, 0.0),
    ("sub", 0): lambda y, o: (y + o, 0.0),
    ("sub", 1): lambda y, o: (o - y, 0.0),
    ("mul", 0): _times,
    ("mul", 1): _times,
    ("div", 0): lambda y, o: (y * o, -jnp.log(jnp.abs(o))),
    ("div", 1): lambda y, o: (o / y, 2 * jnp.log(jnp.abs(y)) - jnp.log(jnp.abs(o))),
    ("neg", 0): lambda y, o: (-y, 0.0),
    ("exp", 0): lambda y, o: (jnp.log(y), jnp.log(y)),
    ("log", 0): lambda y, o: (jnp.exp(y), -y),
    ("expm1", 0): lambda y, o: (jnp.log1p(y), jnp.log1p(y)),
    ("log1p", 0): lambda y, o: (jnp.expm1(y), -y),
    ("sqrt", 0): lambda y, o: (y * y, -jnp.log(2 * y)),
}


@dataclass(frozen=True)
class _Link:
    """One operation of a chain: the node, which argument comes from the draw, which result."""

    node: Node
    argument: int
    result: int

    @property
    def operation(self) -> str:
        assert self.node.step is not None
        return self.node.step.operation

    @property
    def moves(self) -> bool:
        return self.operation in _MOVES


@dataclass(frozen=True)
class _Piece:
    """A part of a draw that a target shows.

    `positions` has the target's shape: which element of the draw stands there, -1 where none does.
    """

    target: Target
    chain: tuple[_Link, ...]
    positions: np.ndarray


@dataclass(frozen=True)
class Found:
    """A draw that the rows determine.

    Attributes:
        node: the draw.
        pieces: where its elements are read off.
        rest: elements of a multinomial draw that are what the others leave, flat positions.
    """

    node: Node
    pieces: tuple[_Piece, ...]
    rest: np.ndarray


def find_draws(graph: StepGraph) -> tuple[tuple[Found, ...], tuple[Node, ...]]:
    """Finds what can be read off two complete rows.

    Args:
        graph: one step of a program.

    Returns:
        The draws that are determined, in an order in which they can be read off, and those that
        are not although the next state depends on them.
    """
    wanted: frozenset[int] = frozenset().union(
        *(graph.draws_of(target.ref) for target in graph.targets if target.kind == "state")
    )
    readers: dict[int, list[tuple[Node, int]]] = {}
    for node in graph.nodes:
        for argument, ref in enumerate(node.ins):
            if isinstance(ref, int):
                readers.setdefault(ref, []).append((node, argument))
    found: dict[int, Found] = {}
    again = True
    while again:
        again = False
        for number in sorted(wanted - set(found)):
            answer = _find(graph, number, readers, frozenset(found))
            if answer is not None:
                found[number], again = answer, True
    lost = tuple(graph.nodes[number] for number in sorted(wanted - set(found)))
    return tuple(found.values()), lost


def _find(
    graph: StepGraph,
    number: int,
    readers: Mapping[int, list[tuple[Node, int]]],
    known: frozenset[int],
) -> Found | None:
    node = graph.nodes[number]
    if node.looped:
        return None
    covered = np.zeros(node.outs[0].size, bool)
    pieces = []
    chains = list(_chains(graph, node, readers, known))
    # A state's own element first: the density is then one of the data, slopes included.
    for target in graph.targets:
        for chain in chains:
            end = chain[-1].node.first + chain[-1].result if chain else node.first
            if not isinstance(target.ref, int) or target.ref != end or covered.all():
                continue
            positions = _positions(graph, node, chain)
            here = positions[(positions >= 0) & (positions < covered.size)]
            if here.size and not covered[here].all():
                positions = np.where(positions < covered.size, positions, -1)
                pieces.append(_Piece(target, chain, positions))
                covered[here] = True
    rest = np.flatnonzero(~covered)
    if rest.size and not _multinomial_rest(graph, node, covered, known):
        return None
    return Found(node, tuple(pieces), rest)


def _multinomial_rest(
    graph: StepGraph, node: Node, covered: np.ndarray, known: frozenset[int]
) -> bool:
    """Whether each multinomial draw lacks at most one element, and its total is known."""
    assert node.step is not None
    if node.step.parameters["law"] != "multinomial" or graph.draws_of(node.ins[0]) - known:
        return False
    lacking = (~covered).reshape(node.outs[0].shape).sum(axis=-1)
    return bool((lacking <= 1).all())


def _chains(
    graph: StepGraph,
    node: Node,
    readers: Mapping[int, list[tuple[Node, int]]],
    known: frozenset[int],
) -> Iterator[tuple[_Link, ...]]:
    """All chains of operations that can be undone, from a draw on; the empty one first."""
    todo: list[tuple[int, tuple[_Link, ...]]] = [(node.first, ())]
    while todo:
        ref, chain = todo.pop(0)
        yield chain
        if len(chain) >= _LONGEST:
            continue
        for reader, argument in readers.get(ref, ()):
            others = [other for i, other in enumerate(reader.ins) if i != argument]
            ready = all(graph.draws_of(other) <= known for other in others)
            if _undoable(graph, reader, argument, others, ready):
                for result in range(len(reader.outs)):
                    link = _Link(reader, argument, result)
                    todo.append((reader.first + result, (*chain, link)))


def _undoable(graph: StepGraph, node: Node, argument: int, others: list[Ref], ready: bool) -> bool:
    if node.step is None:
        return False
    operation = node.step.operation
    source, result = graph.dtype(node.ins[argument]), node.outs[0].dtype
    if operation in _JOINS:
        return True
    if operation in ("gather", "dynamic_slice"):
        return argument == 0 and all(isinstance(other, np.ndarray) for other in others)
    if operation in _MOVES:
        return True
    if operation == "convert":
        return (source, result) in (
            ("int32", "int32"), ("int32", "float32"), ("float32", "float32"),
        )  # fmt: skip
    if operation == "div" and result != "float32":
        return False
    return ready and (operation, argument) in _UNDO


def _positions(graph: StepGraph, node: Node, chain: tuple[_Link, ...]) -> np.ndarray:
    """Which element of the draw stands where, after the chain; -1 where none does."""
    leaf = node.outs[0]
    with jax.ensure_compile_time_eval():
        positions = jnp.arange(leaf.size, dtype=jnp.int32).reshape(leaf.shape)
        for link in chain:
            if link.moves:
                positions = _move(graph, link, positions, -1)
        return np.asarray(positions)


def _move(graph: StepGraph, link: _Link, value: Any, fill: float) -> Any:
    """What an operation that moves elements does to values at their places."""
    arguments = []
    for i, ref in enumerate(link.node.ins):
        if i == link.argument:
            arguments.append(value)
        elif isinstance(ref, np.ndarray) and link.operation not in _JOINS:
            arguments.append(jnp.asarray(ref))
        else:
            arguments.append(jnp.full(graph.shaped(ref).shape, fill, value.dtype))
    return apply(link.node, arguments)[link.result]


def read_off(
    graph: StepGraph, found: Found, values: Values, known: Callable[[Target], Any]
) -> tuple[Any, Any]:
    """The value of a draw, and the log slope to take off its log density.

    Args:
        graph: one step of a program.
        found: the draw.
        values: values of the graph on this lane, with the draws found before.
        known: what the rows say that a target is.

    Returns:
        The draw with its shape, and a float32 scalar.
    """
    leaf = found.node.outs[0]
    flat = jnp.zeros(leaf.size, leaf.dtype)
    slopes = jnp.zeros(leaf.size, jnp.float32)
    for piece in found.pieces:
        y, slope = _undo(graph, piece, values, known(piece.target))
        # Elements that stand for nothing are dropped: an index behind the end.
        index = np.where(piece.positions < 0, leaf.size, piece.positions).ravel()
        y = jnp.broadcast_to(y, piece.positions.shape).astype(leaf.dtype)
        flat = flat.at[index].set(y.ravel(), mode="drop")
        if leaf.dtype == "float32":  # a count has a probability, and no density to stretch
            slopes = slopes.at[index].set(jnp.ravel(slope), mode="drop")
    value = flat.reshape(leaf.shape)
    if found.rest.size:
        missing = np.zeros(leaf.size, bool)
        missing[found.rest] = True
        total = values.get(found.node.ins[0])
        left = jnp.broadcast_to(total, leaf.shape[:-1]).astype(leaf.dtype) - value.sum(axis=-1)
        value = jnp.where(missing.reshape(leaf.shape), left[..., None], value)
    return value, jnp.sum(slopes)


def _undo(graph: StepGraph, piece: _Piece, values: Values, y: Any) -> tuple[Any, Any]:
    """From the end of a chain to the draw: elements and log slopes, in the target's shape."""
    y = jnp.asarray(y)
    total = jnp.zeros(y.shape, jnp.float32)
    for at in reversed(range(len(piece.chain))):
        link = piece.chain[at]
        if link.moves:
            continue
        if link.operation == "convert":
            source = graph.dtype(link.node.ins[link.argument])
            whole = source == "int32" and jnp.issubdtype(y.dtype, jnp.floating)
            y = (jnp.round(y) if whole else y).astype(source)
            continue
        other = None
        if len(link.node.ins) == 2:
            other = values.get(link.node.ins[1 - link.argument])
            other = jnp.broadcast_to(other, link.node.outs[0].shape)
            for later in piece.chain[at + 1 :]:
                other = _move(graph, later, other, 0) if later.moves else other
        y, slope = _UNDO[link.operation, link.argument](y, other)
        total = total + slope
    return y, total
