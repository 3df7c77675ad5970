"""Child side: blocks of operations before they are numbered, dead ones removed, and their JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Value:
    """A result or input, told apart by identity."""

    dtype: str
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Dtype and shape."""
        return {"dtype": self.dtype, "shape": list(self.shape)}


@dataclass(frozen=True, eq=False)
class Constant:
    """A number or array known when traced."""

    array: np.ndarray

    @property
    def dtype(self) -> str:
        """Dtype by name."""
        return str(self.array.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(self.array.shape)

    def to_json(self) -> dict[str, Any]:
        """Value, dtype and shape."""
        flat = [_number(v) for v in self.array.ravel()]
        value = flat[0] if not self.shape else flat
        return {"value": value, "dtype": self.dtype, "shape": list(self.shape)}


Operand = Value | Constant


@dataclass(eq=False)
class Node:
    """One operation: arguments, results, own parameters; a scan has a body as well."""

    op: str
    ins: list[Operand]
    outs: list[Value]
    parameters: dict[str, Any] = field(default_factory=dict)
    body: Block | None = None


@dataclass(eq=False)
class Block:
    """Inputs, operations in order, outputs."""

    inputs: list[Value]
    nodes: list[Node]
    outputs: list[Operand]


def merge_equal(block: Block) -> None:
    """Joins operations of equal arguments and parameters: jnp repeats itself a lot.

    Draws are never joined; two draws of one law are two draws.
    """
    same: dict[Value, Value] = {}
    seen: dict[Any, Node] = {}
    kept: list[Node] = []

    def current(operand: Operand) -> Operand:
        return same.get(operand, operand) if isinstance(operand, Value) else operand

    for node in block.nodes:
        node.ins = [current(operand) for operand in node.ins]
        if node.body is not None:
            merge_equal(node.body)
        elif node.op not in ("draw", "split_key"):
            first = seen.setdefault(_identity(node), node)
            if first is not node:
                same.update(zip(node.outs, first.outs, strict=True))
                continue
        kept.append(node)
    block.nodes = kept
    block.outputs = [current(operand) for operand in block.outputs]


def _identity(node: Node) -> tuple[Any, ...]:
    ins = tuple(
        (v.array.tobytes(), v.dtype, v.shape) if isinstance(v, Constant) else v for v in node.ins
    )
    return node.op, ins, json.dumps(node.parameters, sort_keys=True)


def _number(value: Any) -> Any:
    if value.dtype != np.float32:
        return value.item()
    if not np.isfinite(value):
        return str(float(value))
    # The shortest decimal that gives this float32 back: 0.1 rather than 0.10000000149011612.
    short = float(np.format_float_scientific(value, unique=True, trim="0"))
    return short if np.float32(short) == value else float(value)


def _values(operands: Iterable[Operand]) -> set[Value]:
    return {operand for operand in operands if isinstance(operand, Value)}


def prune(block: Block) -> set[Value]:
    """Removes operations (and parts of scans) that no output needs; returns the inputs needed."""
    live = _values(block.outputs)
    kept: list[Node] = []
    for node in reversed(block.nodes):
        if not any(out in live for out in node.outs):
            continue
        if node.body is not None:
            _prune_scan(node, live)
        kept.append(node)
        live |= _values(node.ins)
    block.nodes = kept[::-1]
    return live & set(block.inputs)


def _prune_scan(node: Node, live: set[Value]) -> None:
    body, consts, carries = node.body, node.parameters["consts"], node.parameters["carry"]
    assert body is not None
    outs = node.outs
    keep_out = [out in live for out in outs]
    while True:
        # A carry is needed when its result is, or when what is needed reads it one turn later.
        wanted = [o for o, keep in zip(body.outputs, keep_out, strict=True) if keep]
        needed = prune(Block(body.inputs, list(body.nodes), wanted))
        grown = [
            keep or (i < carries and body.inputs[consts + i] in needed)
            for i, keep in enumerate(keep_out)
        ]
        if grown == keep_out:
            break
        keep_out = grown
    keep_in = [
        keep_out[i - consts] if consts <= i < consts + carries else value in needed
        for i, value in enumerate(body.inputs)
    ]
    node.ins = _chosen(node.ins, keep_in)
    body.inputs = _chosen(body.inputs, keep_in)
    body.outputs = _chosen(body.outputs, keep_out)
    node.outs = _chosen(outs, keep_out)
    node.parameters["consts"] = sum(keep_in[:consts])
    node.parameters["carry"] = sum(keep_in[consts : consts + carries])
    prune(body)


def _chosen(items: Sequence[Any], keep: Sequence[bool]) -> list[Any]:
    return [item for item, kept in zip(items, keep, strict=True) if kept]


class Numbering:
    """Numbers the values of one block: inputs first, then results in order."""

    def __init__(self, inputs: Iterable[Value]) -> None:
        self._numbers: dict[Value, int] = {}
        self._add(inputs)

    def _add(self, values: Iterable[Value]) -> None:
        for value in values:
            self._numbers[value] = len(self._numbers)

    def operand(self, operand: Operand) -> Any:
        """The number of a value, or a constant written out."""
        if isinstance(operand, Constant):
            return operand.to_json()
        return self._numbers[operand]

    def operations(self, nodes: Iterable[Node]) -> list[dict[str, Any]]:
        """JSON of the operations, which become numbered on the way."""
        written = []
        for node in nodes:
            entry: dict[str, Any] = {
                "op": node.op,
                "in": [self.operand(v) for v in node.ins],
                "out": [v.to_json() for v in node.outs],
                **node.parameters,
            }
            if node.body is not None:
                entry["body"] = write_body(node.body)
            self._add(node.outs)
            written.append(entry)
        return written


def write_body(body: Block) -> dict[str, Any]:
    """JSON of a scan's body."""
    numbering = Numbering(body.inputs)
    return {
        "inputs": [v.to_json() for v in body.inputs],
        "operations": numbering.operations(body.nodes),
        "outputs": [numbering.operand(v) for v in body.outputs],
    }
