"""One step of a program as one graph of values: submodules and coupling joined, draws known.

The functions of a program are lists of operations. Joined, they show what a likelihood needs: which
values depend on which draws, and which values a pair of complete rows fixes (the next states, and
the outputs that `implied` reads off them).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from gsim_jax.simulator.code import Code, Step
from gsim_jax.simulator.evaluate import Function
from gsim_jax.simulator.interface import Path
from gsim_jax.simulator.program import Program
from gsim_jax.simulator.vocabulary import TABLE, Shaped

#: A value of the graph by number, or a constant.
Ref = int | np.ndarray


@dataclass(frozen=True, eq=False)
class Node:
    """An operation of the graph, or something given from outside.

    Attributes:
        function: the function that it stands in.
        step: the operation; None for what is given.
        path: where a given value comes from, e.g. `("params", "infection", "beta")`.
        ins: its arguments.
        outs: dtypes and shapes of its results.
        first: number of its first result.
    """

    function: str
    step: Step | None
    path: Path
    ins: tuple[Ref, ...]
    outs: tuple[Shaped, ...]
    first: int

    @property
    def draw(self) -> bool:
        """Whether it is a draw."""
        return self.step is not None and self.step.operation == "draw"

    @property
    def looped(self) -> bool:
        """Whether it is a loop with draws in it."""
        body = self.step.body if self.step is not None else None
        return body is not None and body.draws


@dataclass(frozen=True)
class Target:
    """A value that two complete rows fix.

    Attributes:
        kind: `"state"` (a state of the next row) or `"output"` (what `implied` says).
        name: name of the state or output.
        ref: the value of the graph that must equal it.
        real: whether it is a real number, equal up to rounding.
    """

    kind: str
    name: str
    ref: Ref
    real: bool


@dataclass(eq=False)
class StepGraph:
    """All submodules of a program and their coupling as one graph.

    Attributes:
        nodes: in an order in which they can be evaluated.
        home: the node of each value.
        targets: what two complete rows fix; states first.
        drawn: per value, the draws (numbers of nodes) that it depends on.
    """

    nodes: list[Node] = field(default_factory=list)
    home: list[int] = field(default_factory=list)
    targets: tuple[Target, ...] = ()
    drawn: list[frozenset[int]] = field(default_factory=list)

    @classmethod
    def of(cls, program: Program) -> StepGraph:
        """Joins the functions of a program.

        Args:
            program: a program without latent states.
        """
        graph = cls()
        given: dict[Path, int] = {}
        produced: dict[str, Ref] = {}
        for name in program.submodules:
            refs = graph._join(program.functions[name], given, produced)
            produced |= refs
        states = graph._join(program.functions["couple"], given, produced)
        targets = []
        for name, ref in states.items():
            targets.append(Target("state", name, ref, program.states[name].dtype == "float32"))
        if "implied" in program.functions:
            for name in program.functions["implied"].outputs:
                ref = produced[name]
                targets.append(Target("output", name, ref, graph.dtype(ref) == "float32"))
        graph.targets = tuple(targets)
        return graph

    def dtype(self, ref: Ref) -> str:
        """Dtype of a value."""
        return self.shaped(ref).dtype

    def shaped(self, ref: Ref) -> Shaped:
        """Dtype and shape of a value."""
        if isinstance(ref, np.ndarray):
            return Shaped(str(ref.dtype), ref.shape)
        node = self.nodes[self.home[ref]]
        return node.outs[ref - node.first]

    def draws_of(self, ref: Ref) -> frozenset[int]:
        """The draws that a value depends on."""
        return frozenset() if isinstance(ref, np.ndarray) else self.drawn[ref]

    def _add(self, node: Node) -> None:
        number = len(self.nodes)
        reads = frozenset().union(*(self.draws_of(ref) for ref in node.ins))
        if node.draw or node.looped:
            reads |= {number}
        self.nodes.append(node)
        self.home += [number] * len(node.outs)
        self.drawn += [reads] * len(node.outs)

    def _join(
        self, function: Function, given: dict[Path, int], produced: Mapping[str, Ref]
    ) -> dict[str, Ref]:
        """Appends a function; what its outputs are in the graph."""
        values: list[Ref] = []
        for path, leaf in zip(function.paths, function.code.inputs, strict=True):
            if path[0] == "outputs" or path[:2] == ("inputs", "outputs"):
                values.append(produced[path[-1]])
                continue
            key = ("params", function.name, path[1]) if path[0] == "params" else path
            if key not in given:
                given[key] = len(self.home)
                self._add(Node(function.name, None, key, (), (leaf,), len(self.home)))
            values.append(given[key])

        def ref(operand: Any) -> Ref:
            return values[operand] if isinstance(operand, int) else operand

        for step in function.code.steps:
            first = len(self.home)
            ins = tuple(ref(operand) for operand in step.ins)
            self._add(Node(function.name, step, (), ins, step.outs, first))
            values.extend(range(first, first + len(step.outs)))
        return {n: ref(o) for n, o in zip(function.outputs, function.code.outputs, strict=True)}


class Values:
    """Values of one graph on one lane, computed when they are asked for."""

    def __init__(self, graph: StepGraph, given: Mapping[str, Any]) -> None:
        """`given`: by root and name, as programs take them."""
        self._graph, self._given = graph, given
        self._known: dict[int, Any] = {}

    def set(self, node: Node, value: Any) -> None:
        """Puts the value of a draw."""
        self._known[node.first] = value

    def get(self, ref: Ref) -> Any:
        """A value; the draws that it depends on must have been put."""
        if isinstance(ref, np.ndarray):
            return jnp.asarray(ref)
        for number in sorted(self._missing([ref])):
            self._compute(self._graph.nodes[number])
        return self._known[ref]

    def _missing(self, refs: Iterable[Ref]) -> set[int]:
        todo, found = list(refs), set()
        while todo:
            ref = todo.pop()
            if isinstance(ref, np.ndarray) or ref in self._known:
                continue
            number = self._graph.home[ref]
            if number not in found:
                found.add(number)
                todo += self._graph.nodes[number].ins
        return found

    def _compute(self, node: Node) -> None:
        if node.step is None:
            value: Any = self._given
            for part in node.path:
                value = value[part]
            results = [jnp.asarray(value).astype(node.outs[0].dtype)]
        else:
            assert not node.draw, "a draw that nothing has put"
            results = apply(node, [self.get(ref) for ref in node.ins])
        for i, value in enumerate(results):
            self._known[node.first + i] = value


def apply(node: Node, arguments: list[Any]) -> list[Any]:
    """The results of one operation that is no draw."""
    step = node.step
    assert step is not None
    if step.operation != "scan":
        out = TABLE[step.operation].evaluate(*arguments, **step.parameters)
        return list(out) if isinstance(out, (list, tuple)) else [out]
    leaves = tuple(Shaped(str(x.dtype), x.shape) for x in map(jnp.asarray, arguments))
    count = len(leaves)
    inner = Step(step.operation, tuple(range(count)), step.outs, step.parameters, step.cost,
                 step.body)  # fmt: skip
    names = tuple(map(str, range(len(step.outs))))
    code = Code(leaves, (inner,), tuple(range(count, count + len(names))), False)
    paths = tuple(("argument", str(i)) for i in range(count))
    loop = Function(node.function, paths, code, names, step.outs)
    given = {"argument": {str(i): x for i, x in enumerate(arguments)}}
    found = loop(given, _no_words)
    return [found[name] for name in names]


def _no_words(*_: Any) -> Any:
    raise AssertionError("a loop with draws is no function of its arguments")
