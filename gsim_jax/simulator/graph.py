"""The causal graph of a program: what at step t reaches which state at step t + 1."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from gsim_jax.simulator import forms
from gsim_jax.simulator.code import Code, Operand, Step
from gsim_jax.simulator.evaluate import Function
from gsim_jax.simulator.forms import Form
from gsim_jax.simulator.interface import Path
from gsim_jax.simulator.vocabulary import Shaped

Names = frozenset[str]
_NOTHING: Names = frozenset()
_MOST_TURNS = 30


class Flow(NamedTuple):
    """What is known of one value.

    Attributes:
        sources: names that reach it.
        form: its linear form, where it has one.
    """

    sources: Names
    form: Form = None


@dataclass(frozen=True)
class CausalGraph:
    """Who influences whom within one step.

    Influence is data flow: through operations, loops, the predicates of selections, the arguments
    of draws. It is read off the program, not off data, and is exact up to values that cancel.

    Attributes:
        edges: (source, target): states, latent states and inputs at t; states and latent at t + 1.
        modules: per submodule what it reads (states, inputs, outputs of earlier submodules) and
            which states at t + 1 its outputs reach.
    """

    edges: frozenset[tuple[str, str]]
    modules: Mapping[str, tuple[Names, Names]]
    _analysis: _Analysis = field(compare=False, repr=False)

    @classmethod
    def of(
        cls, functions: Mapping[str, Function], submodules: Sequence[str], states: Sequence[str]
    ) -> CausalGraph:
        """Reads the graph off the functions of a program.

        Args:
            functions: the program's functions.
            submodules: names in order.
            states: names of all states.
        """
        return _Analysis(functions, tuple(submodules), tuple(states)).graph()

    def modulo(self, invariants: Sequence[Mapping[str, float]]) -> CausalGraph:
        """The graph where linear forms of the state that never change carry no influence.

        Args:
            invariants: coefficients by label (`S`, or `los[0]` for an entry of an array), such as
                `{"S": 1, "I": 1, "R": 1}`; a coefficient under the empty label is a constant.

        Raises:
            ValueError: a label is no state of the program.
        """
        return self._analysis.graph(invariants)


@dataclass(frozen=True)
class _Analysis:
    functions: Mapping[str, Function]
    submodules: tuple[str, ...]
    states: tuple[str, ...]

    def graph(self, invariants: Sequence[Mapping[str, float]] = ()) -> CausalGraph:
        atoms = _Atoms(self.functions.values(), self.states, invariants)
        produced: dict[str, Flow] = {}
        reads: dict[str, Names] = {}
        for name in self.submodules:
            named = {out: Flow(frozenset({out})) for out in produced}
            direct = self._run(name, atoms, named)
            reads[name] = _NOTHING.union(*(flow.sources for flow in direct.values()))
            for out, flow in self._run(name, atoms, produced).items():
                # A mark that is no name of a state follows what the submodule puts out.
                produced[out] = flow._replace(sources=flow.sources | {f"@{name}"})
        following = self._run("couple", atoms, produced)
        reached = {
            (source, target) for target, flow in following.items() for source in flow.sources
        }
        writes = {
            name: frozenset(target for source, target in reached if source == f"@{name}")
            for name in self.submodules
        }
        edges = frozenset(edge for edge in reached if not edge[0].startswith("@"))
        modules = {name: (reads[name], writes[name]) for name in self.submodules}
        return CausalGraph(edges, modules, self)

    def _run(self, name: str, atoms: _Atoms, produced: Mapping[str, Flow]) -> dict[str, Flow]:
        function = self.functions[name]
        leaves = zip(function.paths, function.code.inputs, strict=True)
        flows = [atoms.entry(name, path, leaf, produced) for path, leaf in leaves]
        results = _follow(function.code, flows, atoms)
        return dict(zip(function.outputs, results, strict=True))


class _Atoms:
    """The scalars that linear forms are made of, and the forms that are invariant."""

    def __init__(
        self,
        functions: Iterable[Function],
        states: Sequence[str],
        invariants: Sequence[Mapping[str, float]],
    ) -> None:
        self._start: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._sources: list[str | None] = []
        self._states = set(states)
        self._kept = 0
        for function in functions:
            for path, leaf in zip(function.paths, function.code.inputs, strict=True):
                self._enter(self._label(function.name, path), path, leaf)
        self.count = len(self._sources)
        is_state = [source in self._states for source in self._sources]
        self._is_state = np.asarray(is_state, bool)
        rows = [row for form in invariants if (row := self._row(form)) is not None]
        self._basis = np.linalg.qr(np.stack(rows, 1))[0] if rows else np.zeros((self.count, 0))

    @staticmethod
    def _label(function: str, path: Path) -> str:
        # States and inputs are the same for all functions; parameters belong to their group.
        return path[1] if path[0] in ("state", "inputs") else f"{function}/{'.'.join(path)}"

    def _enter(self, label: str, path: Path, leaf: Shaped) -> None:
        inside = path[0] in ("state", "inputs", "params") and path[:2] != ("inputs", "outputs")
        room = len(self._sources) + leaf.size <= forms.MOST_ATOMS
        if not inside or label in self._start or leaf.dtype == "bool" or not room:
            return
        self._start[label], self._shapes[label] = len(self._sources), leaf.shape
        source = None if path[0] == "params" else label
        self._sources += [source] * leaf.size

    def _row(self, form: Mapping[str, float]) -> np.ndarray | None:
        row = np.zeros(self.count)
        for label, coefficient in form.items():
            name, _, rest = label.partition("[")
            if not label or not coefficient:
                continue
            if name not in self._states:
                raise ValueError(
                    f"expected labels of {', '.join(sorted(self._states))}; got {label!r}"
                )
            if name not in self._start:
                return None  # the program never reads it, so the form never occurs
            index = tuple(int(i) for i in rest.rstrip("]").split(",")) if rest else ()
            offset = int(np.ravel_multi_index(index, self._shapes[name])) if index else 0
            row[self._start[name] + offset] = coefficient
        return row

    def entry(self, function: str, path: Path, leaf: Shaped, produced: Mapping[str, Flow]) -> Flow:
        """What is known of one input of a function."""
        if path[0] == "outputs" or path[:2] == ("inputs", "outputs"):
            return produced[path[-1]]
        label = self._label(function, path)
        sources = _NOTHING if path[0] == "params" else frozenset({label})
        start = self._start.get(label)
        if start is None or leaf.size * (self.count + 1) > forms.MOST_COEFFICIENTS:
            return Flow(sources)
        form = np.zeros((leaf.size, self.count + 1))
        form[np.arange(leaf.size), start + np.arange(leaf.size)] = 1.0
        return self.known(form.reshape(*leaf.shape, self.count + 1), sources)

    def known(self, form: Form, sources: Names) -> Flow:
        """A flow whose sources are those that its form names, if it has one."""
        self._kept += 0 if form is None else form.size
        if form is None or self._kept > forms.MOST_TOGETHER:
            return Flow(sources)
        rows = form[..., :-1].reshape(-1, self.count)
        part = rows * self._is_state
        rest = part - (part @ self._basis) @ self._basis.T
        scale = np.abs(part).max(axis=1, initial=0.0)
        free = np.abs(rest).max(axis=1, initial=0.0) > 1e-5 * np.maximum(scale, 1e-30)
        live = np.where(free[:, None] | ~self._is_state, rows != 0, False).any(axis=0)
        names = {self._sources[i] for i in np.flatnonzero(live)} - {None}
        marks = {source for source in sources if source.startswith("@")}
        return Flow(frozenset(name for name in names if name) | marks, form)


def _follow(code: Code, inputs: Sequence[Flow], atoms: _Atoms) -> list[Flow]:
    values = list(inputs)
    shapes = list(code.inputs)

    def read(operand: Operand) -> Flow:
        if isinstance(operand, int):
            return values[operand]
        return Flow(_NOTHING, forms.constant(operand, atoms.count))

    def dtype(operand: Operand) -> str:
        return shapes[operand].dtype if isinstance(operand, int) else str(operand.dtype)

    for step in code.steps:
        arguments = [read(operand) for operand in step.ins]
        if step.body is not None:
            values.extend(_follow_scan(step, arguments, atoms))
        else:
            sources = _NOTHING.union(*(flow.sources for flow in arguments))
            form = None
            if len(step.outs) == 1:
                dtypes = [dtype(operand) for operand in step.ins]
                given = [flow.form for flow in arguments]
                form = forms.follow(
                    step.operation, step.parameters, given, dtypes, step.outs[0].dtype
                )
            values.extend(atoms.known(form, sources) for _ in step.outs)
        shapes.extend(step.outs)
    return [read(operand) for operand in code.outputs]


def _follow_scan(step: Step, arguments: Sequence[Flow], atoms: _Atoms) -> list[Flow]:
    assert step.body is not None
    first = step.parameters["consts"]
    last = first + step.parameters["carry"]
    consts = list(arguments[:first])
    rows = [Flow(flow.sources) for flow in arguments[last:]]
    carry = [flow.sources for flow in arguments[first:last]]
    for turn in itertools.count():
        # Sources of a carry grow turn by turn until nothing is added. Bodies that hand values along
        # a long chain of carries are cut short: every carry is given all that any one has.
        results = _follow(step.body, [*consts, *map(Flow, carry), *rows], atoms)
        grown = [old | new.sources for old, new in zip(carry, results[: last - first], strict=True)]
        if grown == carry:
            break
        carry = grown if turn < _MOST_TURNS else [_NOTHING.union(*grown)] * len(grown)
    return [*map(Flow, carry), *(Flow(flow.sources) for flow in results[last - first :])]
