"""Parent side: lists of operations, read, checked and re-inferred from nothing.

Every operation must be in the vocabulary, every parameter of its type and range; dtypes and shapes
are inferred again by abstract evaluation of our own evaluators and compared with the declared ones;
the cost is proved from literal loop lengths. Sizes are checked before an operation is looked at.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gsim_jax.sampling import LAWS
from gsim_jax.simulator.cost import DRAW_BULK, SCAN_BULK, Budget, draw_cost, scan_cost
from gsim_jax.simulator.document import check_field, exactly, refuse
from gsim_jax.simulator.vocabulary import TABLE, Shaped, fields

Operand = int | np.ndarray
_SCAN = ("body", "carry", "consts", "in", "length", "op", "out", "reverse")
_DRAW = ("in", "law", "op", "out", "shape", "site")
_MOST_VALUES = 4096


@dataclass(frozen=True, eq=False)
class Step:
    """One operation of a function.

    Attributes:
        operation: its name: a row of the vocabulary, `"draw"` or `"scan"`.
        ins: its arguments, numbers of values or constants.
        outs: dtypes and shapes of its results.
        parameters: checked parameters, plain values.
        cost: counted operations of one evaluation, loops included.
        body: the body of a scan.
    """

    operation: str
    ins: tuple[Operand, ...]
    outs: tuple[Shaped, ...]
    parameters: Mapping[str, Any]
    cost: int
    body: Code | None = None


@dataclass(frozen=True, eq=False)
class Code:
    """Values in, operations, values out. Values are numbered: inputs first, then all results.

    Attributes:
        inputs: dtypes and shapes of the inputs.
        steps: the operations in order.
        outputs: the values that leave.
        draws: whether there is a draw in it, loops included.
    """

    inputs: tuple[Shaped, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Operand, ...]
    draws: bool

    @property
    def cost(self) -> int:
        """Counted operations of one evaluation."""
        return sum(step.cost for step in self.steps)


@dataclass(frozen=True)
class DrawSite:
    """One draw of a program.

    Attributes:
        function: the function that holds it.
        ordinal: its number among the draws of that function.
        law: name of the law.
        shape: shape of one draw, without the law's own axis.
        loops: how often it is drawn per step, the product of the loops around it.
    """

    function: str
    ordinal: int
    law: str
    shape: tuple[int, ...]
    loops: int


@dataclass
class Reader:
    """Reads the functions of one document under one budget.

    Attributes:
        budget: the limits.
        operations: operations read so far.
        bulk: what they take to compile.
        draws: draws found so far.
    """

    budget: Budget
    operations: int = 0
    bulk: int = 0
    draws: list[DrawSite] = field(default_factory=list)

    def code(
        self,
        inputs: Sequence[Shaped],
        listed: Any,
        outputs: Any,
        where: str,
        loops: int,
        depth: int,
    ) -> tuple[Code, list[Shaped]]:
        """Reads one block of operations.

        Args:
            inputs: dtypes and shapes of its inputs.
            listed: JSON list of operations.
            outputs: JSON list of operands.
            where: place in the document; begins with `functions.NAME`.
            loops: product of the lengths of the loops around it.
            depth: number of the loops around it.

        Returns:
            The code, and dtypes and shapes of its outputs.

        Raises:
            SimulatorError: anything that is wrong.
        """
        if type(listed) is not list:
            refuse("bad-document", f"{where}.operations", "expected a list")
        values, steps, spent = list(inputs), [], 0
        for i, entry in enumerate(listed):
            here = f"{where}.operations[{i}]"
            self.operations += 1
            if self.operations > self.budget.operations:
                limit = self.budget.operations
                refuse("too-large", here, f"expected at most {limit} operations in all")
            step = self._step(entry, values, here, loops, depth)
            spent += step.cost
            if spent * loops > self.budget.cost:
                refuse("too-costly", here, self._too_costly(spent * loops))
            steps.append(step)
            values.extend(step.outs)
        if type(outputs) is not list or len(outputs) > _MOST_VALUES:
            refuse("bad-document", f"{where}.outputs", f"expected at most {_MOST_VALUES} operands")
        leaving = [self._operand(v, values, f"{where}.outputs") for v in outputs]
        draws = any(s.operation == "draw" or (s.body and s.body.draws) for s in steps)
        out = tuple(operand for operand, _ in leaving)
        return Code(tuple(inputs), tuple(steps), out, draws), [leaf for _, leaf in leaving]

    def _too_costly(self, cost: int) -> str:
        return (
            f"the cost per lane and step reaches {cost}, the budget is {self.budget.cost}: use "
            "smaller arrays and shorter loops"
        )

    def _step(self, entry: Any, values: list[Shaped], where: str, loops: int, depth: int) -> Step:
        if type(entry) is not dict or type(entry.get("op")) is not str:
            refuse("bad-document", where, "expected an operation, an object with 'op'")
        name = entry["op"]
        if name not in TABLE and name not in ("scan", "draw"):
            refuse("unknown-operation", where, f"there is no operation {name[:60]!r}")
        read = {"scan": self._scan, "draw": self._draw}.get(name, self._plain)
        own = {"scan": _SCAN, "draw": _DRAW}.get(name)
        exactly(entry, own or ("op", "in", "out", *TABLE[name].parameters), where)
        if type(entry["in"]) is not list or len(entry["in"]) > _MOST_VALUES:
            refuse("bad-document", f"{where}.in", f"expected at most {_MOST_VALUES} operands")
        ins = [self._operand(v, values, f"{where}.in") for v in entry["in"]]
        outs = self._shapes(entry["out"], f"{where}.out")
        step = read(entry, ins, outs, f"{where} ({name})", loops, depth)
        self.bulk += {"scan": SCAN_BULK, "draw": DRAW_BULK}.get(name) or TABLE[name].bulk
        if self.bulk > self.budget.bulk:
            text = f"compiling takes too long ({self.bulk} units, the budget is {self.budget.bulk})"
            refuse("too-large", where, f"{text}: use arrays and lax.scan, not Python loops")
        if step.cost * loops > self.budget.cost:
            refuse("too-costly", where, self._too_costly(step.cost * loops))
        return step

    def _plain(
        self, entry: Any, ins: Any, outs: tuple[Shaped, ...], where: str, loops: int, depth: int
    ) -> Step:
        operation = TABLE[entry["op"]]
        least, most = operation.arity
        if not least <= len(ins) <= most:
            refuse("bad-document", where, f"expected {least} to {most} arguments; got {len(ins)}")
        least, most = operation.results
        if not least <= len(outs) <= most:
            refuse("bad-document", where, f"expected {least} to {most} results; got {len(outs)}")
        raw = {name: entry[name] for name in operation.parameters}
        parameters = {
            name: check_field(operation.parameters[name], value, f"{where}.{name}")
            for name, value in raw.items()
        }
        leaves = tuple(leaf for _, leaf in ins)
        found = _infer(operation.name, json.dumps(raw, sort_keys=True), leaves)
        if isinstance(found, str):
            refuse("bad-operation", where, f"the arguments do not fit: {found}")
        self._same(found, outs, where)
        cost = max(1, operation.cost(parameters, leaves, outs))
        return Step(operation.name, tuple(v for v, _ in ins), outs, parameters, cost)

    def _draw(
        self, entry: Any, ins: Any, outs: tuple[Shaped, ...], where: str, loops: int, depth: int
    ) -> Step:
        law = check_field(fields.one_of(*LAWS), entry["law"], f"{where}.law")
        shape = check_field(fields.shape, entry["shape"], f"{where}.shape")
        site = check_field(fields.integer(0, 100_000), entry["site"], f"{where}.site")
        function = where.split(".")[1]
        if any(d.function == function and d.ordinal == site for d in self.draws):
            refuse("bad-document", where, f"site {site} stands twice in {function}")
        if len(self.draws) >= self.budget.draws:
            refuse("too-large", where, f"expected at most {self.budget.draws} draws in all")
        leaves = [leaf for _, leaf in ins]
        found = self._drawn(law, shape, leaves, where)
        self._same([found], outs, where)
        self.draws.append(DrawSite(function, site, law, shape, loops))
        categories = leaves[-1].shape[-1] if LAWS[law].event else 1
        cost = draw_cost(law, math.prod(shape) * max(1, categories))
        parameters = {"law": law, "site": site, "shape": shape}
        return Step("draw", tuple(v for v, _ in ins), outs, parameters, cost)

    def _drawn(
        self, law: str, shape: tuple[int, ...], leaves: Sequence[Shaped], where: str
    ) -> Shaped:
        names = LAWS[law].arguments
        if len(leaves) != len(names) or any(
            leaf.dtype not in ("int32", "float32") for leaf in leaves
        ):
            refuse(
                "bad-operation", where, f"expected arguments {', '.join(names)}, int32 or float32"
            )
        shapes = [leaf.shape for leaf in leaves]
        event: tuple[int, ...] = ()
        if LAWS[law].event:
            if not shapes[-1] or shapes[-1][-1] == 0:
                refuse("bad-operation", where, f"{names[-1]} needs an axis of categories")
            event, shapes[-1] = shapes[-1][-1:], shapes[-1][:-1]
        try:
            fits = np.broadcast_shapes(shape, *shapes) == shape
        except ValueError:
            fits = False
        if not fits:
            refuse("bad-operation", where, f"arguments do not broadcast to shape {shape}")
        return Shaped(LAWS[law].dtype, (*shape, *event) if LAWS[law].words == 0 else shape)

    def _scan(
        self, entry: Any, ins: Any, outs: tuple[Shaped, ...], where: str, loops: int, depth: int
    ) -> Step:
        if depth >= self.budget.depth:
            refuse("too-deep", where, f"expected at most {self.budget.depth} loops inside another")
        length = check_field(fields.integer(0), entry["length"], f"{where}.length")
        reverse = check_field(fields.boolean, entry["reverse"], f"{where}.reverse")
        consts = check_field(fields.integer(0, len(ins)), entry["consts"], f"{where}.consts")
        carry = check_field(fields.integer(0, len(ins) - consts), entry["carry"], f"{where}.carry")
        leaves = [leaf for _, leaf in ins]
        for leaf in leaves[consts + carry :]:
            if not leaf.shape or leaf.shape[0] != length:
                refuse("bad-operation", where, f"expected arrays of {length} rows to loop over")
        rows = [Shaped(leaf.dtype, leaf.shape[1:]) for leaf in leaves[consts + carry :]]
        inner = [*leaves[: consts + carry], *rows]
        body = exactly(entry["body"], ("inputs", "operations", "outputs"), f"{where}.body")
        self._same(inner, self._shapes(body["inputs"], f"{where}.body.inputs"), where)
        turns = loops * max(1, length)
        if turns > self.budget.cost:
            refuse("too-costly", where, self._too_costly(turns))
        code, found = self.code(
            inner, body["operations"], body["outputs"], f"{where}.body", turns, depth + 1
        )
        stacked = [Shaped(leaf.dtype, (length, *leaf.shape)) for leaf in found[carry:]]
        self._same(found[:carry], inner[consts : consts + carry], f"{where}.body (carry)")
        self._same([*found[:carry], *stacked], outs, where)
        moved = sum(leaf.size for leaf in (*inner[consts:], *found))
        cost = scan_cost(length, code.cost, moved)
        parameters = {"length": length, "reverse": reverse, "carry": carry, "consts": consts}
        return Step("scan", tuple(v for v, _ in ins), outs, parameters, max(1, cost), code)

    def _shapes(self, listed: Any, where: str) -> tuple[Shaped, ...]:
        if type(listed) is not list or len(listed) > _MOST_VALUES:
            refuse("bad-document", where, f"expected at most {_MOST_VALUES} dtypes and shapes")
        return tuple(self.shaped(exactly(v, ("dtype", "shape"), where), where) for v in listed)

    def shaped(self, entry: Mapping[str, Any], where: str) -> Shaped:
        """Dtype and shape of an entry, within the budget."""
        dtype = check_field(fields.dtype, entry["dtype"], f"{where}.dtype")
        shape = check_field(fields.shape, entry["shape"], f"{where}.shape")
        if math.prod(shape) > self.budget.elements:
            limit = self.budget.elements
            refuse("too-large", where, f"expected at most {limit} elements; got shape {shape}")
        return Shaped(dtype, shape)

    @staticmethod
    def _same(found: Sequence[Shaped], declared: Sequence[Shaped], where: str) -> None:
        if list(found) != list(declared):
            text = f"declared {_words(declared)}, inferred {_words(found)}"
            refuse("bad-operation", where, text)

    def _operand(self, value: Any, values: list[Shaped], where: str) -> tuple[Operand, Shaped]:
        if type(value) is int:
            if not 0 <= value < len(values):
                refuse("bad-document", where, f"there is no value {value} yet")
            return value, values[value]
        exactly(value, ("value", "dtype", "shape"), where)
        leaf = self.shaped(value, where)
        return _constant(value["value"], leaf, where), leaf


def _constant(value: Any, leaf: Shaped, where: str) -> np.ndarray:
    flat = [value] if leaf.shape == () else value
    if type(flat) is not list or len(flat) != leaf.size:
        refuse("bad-document", where, f"expected {leaf.size} numbers for shape {leaf.shape}")
    numbers = [check_field(fields.number, v, where) for v in flat]
    kinds = {"bool": (bool,), "float32": (int, float)}.get(leaf.dtype, (int,))
    low, high = {"int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1)}.get(
        leaf.dtype, (-3.4028235e38, 3.4028235e38)
    )
    for number in numbers:
        inside = type(number) is bool or not math.isfinite(number) or low <= number <= high
        if type(number) not in kinds or not inside:
            refuse("bad-document", where, f"{number!r} is not a value of {leaf.dtype}")
    return np.asarray(numbers, leaf.dtype).reshape(leaf.shape)


def _words(leaves: Sequence[Shaped]) -> str:
    shown = ", ".join(f"{leaf.dtype}{list(leaf.shape)}" for leaf in leaves[:8])
    return shown or "nothing"


#: What JAX raises on arguments that do not fit together.
MISFITS = (TypeError, ValueError, IndexError, OverflowError, ZeroDivisionError, AssertionError,
            NotImplementedError, KeyError, AttributeError)  # fmt: skip


@functools.lru_cache(maxsize=2048)
def _infer(name: str, raw: str, leaves: tuple[Shaped, ...]) -> list[Shaped] | str:
    # The same few operations come again and again, and an abstract evaluation takes a millisecond.
    operation = TABLE[name]
    parameters = {n: operation.parameters[n](value) for n, value in json.loads(raw).items()}
    try:
        return operation.infer(parameters, leaves)
    except MISFITS as error:
        lines = str(error).splitlines()
        return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"
