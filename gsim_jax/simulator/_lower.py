"""Child side: from a jaxpr to a block of operations of the vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from gsim_jax.simulator._blocks import Block, Constant, Node, Operand, Value
from gsim_jax.simulator.vocabulary import BY_PRIMITIVE, Unencodable
from gsim_jax.simulator.vocabulary.fields import DTYPES

# Primitives that call a jaxpr, and where they keep it.
_CALLS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_INLINED = {
    "jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call",
    "custom_vjp_call_jaxpr", "checkpoint", "remat", "remat2", "composite",
}  # fmt: skip
# Primitives that hand their arguments on.
_IDENTITIES = {"copy", "copy_p", "device_put", "name", "optimization_barrier", "pvary"}
_DECOMPOSITION = (
    "matrix decompositions are not available: write small systems out by hand, or iterate with "
    "lax.fori_loop"
)
_HINTS = {
    **dict.fromkeys(("lu", "cholesky", "qr", "eigh", "svd", "triangular_solve"), _DECOMPOSITION),
    "while": "a loop must have a length known when traced: use lax.scan, or lax.fori_loop with "
    "literal bounds, and mask the turns that should do nothing with jnp.where",
    "igamma": "incomplete gamma functions loop until convergence: use the draws instead",
    "igammac": "incomplete gamma functions loop until convergence: use the draws instead",
    "regularized_incomplete_beta": "incomplete beta functions loop: use the draws instead",
    "threefry2x32": "use the draws, e.g. uniform(key), for randomness",
    "random_bits": "use the draws, e.g. uniform(key), for randomness",
}
#: Constants with more elements than this are written once, however often they are used.
_SHARED = 16


class LoweringError(Exception):
    """A function does something that the vocabulary cannot say.

    Attributes:
        line: line of the user's file, where it is known.
    """

    def __init__(self, code: str, text: str, line: int | None) -> None:
        super().__init__(text)
        self.code, self.line = code, line


def user_line(equation: Any, filename: str) -> int | None:
    """Line of the user's file that an equation comes from, the innermost if there are several."""
    traceback = getattr(equation.source_info, "traceback", None)
    for frame in getattr(traceback, "frames", ()):
        if frame.file_name == filename:
            return frame.line_num
    return None


class Lowering:
    """Turns the jaxpr of one function into a block; draws get their ordinals on the way."""

    def __init__(self, filename: str) -> None:
        self._filename = filename
        self._sites = 0

    def function(self, closed: ClosedJaxpr) -> Block:
        """The block of a whole function."""
        return self._block(closed, None)

    def _block(self, closed: ClosedJaxpr, line: int | None) -> Block:
        jaxpr = closed.jaxpr
        inputs = [self._value(v.aval, line) for v in jaxpr.invars]
        nodes: list[Node] = []
        outputs = self._inline(jaxpr, closed.consts, inputs, nodes, line)
        return Block(inputs, nodes, outputs)

    def _inline(
        self,
        jaxpr: Jaxpr,
        consts: Sequence[Any],
        arguments: Sequence[Operand],
        nodes: list[Node],
        line: int | None,
    ) -> list[Operand]:
        scope: dict[Any, Operand] = dict(zip(jaxpr.invars, arguments, strict=True))
        for variable, const in zip(jaxpr.constvars, consts, strict=True):
            scope[variable] = self._constant(const, nodes, line)

        def read(atom: Any) -> Operand:
            if isinstance(atom, Literal):
                return self._constant(atom.val, nodes, line, str(getattr(atom.aval, "dtype", "")))
            return scope[atom]

        for equation in jaxpr.eqns:
            # Inside jnp functions the line is that of the outer call: their traces are cached,
            # and a cached trace remembers the place of its first use.
            here = line or user_line(equation, self._filename)
            ins = [read(v) for v in equation.invars]
            outs = self._equation(equation, ins, nodes, here, within=line)
            scope.update(zip(equation.outvars, outs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def _equation(
        self,
        equation: Any,
        ins: list[Operand],
        nodes: list[Node],
        line: int | None,
        within: int | None,
    ) -> list[Operand]:
        name, parameters = equation.primitive.name, equation.params
        if name in _INLINED:
            inner = next(parameters[key] for key in _CALLS if key in parameters)
            jaxpr, consts = (
                (inner, ()) if not hasattr(inner, "jaxpr") else (inner.jaxpr, inner.consts)
            )
            return self._inline(jaxpr, consts, ins, nodes, line)
        if name == "cond":
            return self._cond(equation, ins, nodes, within)
        if name == "call_hi_primitive":
            closed = _expanded(equation)
            return self._inline(closed.jaxpr, closed.consts, ins, nodes, line)
        if name in _IDENTITIES:
            return list(ins)
        outs = [self._value(v.aval, line) for v in equation.outvars]
        if name == "scan":
            node = self._scan(equation, ins, outs, within)
        elif name == "gsim_draw":
            own = {
                "law": parameters["law"],
                "site": self._sites,
                "shape": list(parameters["shape"]),
            }
            self._sites += 1
            node = Node("draw", ins, outs, own)
        elif name == "gsim_split":
            node = Node("split_key", [], outs)
        else:
            node = self._operation(name, parameters, ins, outs, line)
        if _changes_nothing(node):
            return [node.ins[0]]
        nodes.append(node)
        return list(outs)

    def _operation(
        self, name: str, parameters: Any, ins: list[Operand], outs: list[Value], line: int | None
    ) -> Node:
        operation = BY_PRIMITIVE.get(name)
        if operation is None:
            hint = _HINTS.get(name, "write it with elementary jnp functions")
            text = f"the operation {name!r} does not exist in simulators: {hint}"
            raise LoweringError("unknown-operation", text, line)
        try:
            own = operation.encode(parameters)
        except Unencodable as error:
            text = f"{error} does not exist in simulators; write it with simpler jnp functions"
            raise LoweringError("unknown-operation", text, line) from None
        return Node(operation.name, ins, outs, own)

    def _scan(
        self, equation: Any, ins: list[Operand], outs: list[Value], within: int | None
    ) -> Node:
        p = equation.params
        # Each equation of a user's body knows its own line.
        body = self._block(p["jaxpr"], within)
        consts, carry = _split_of_scan(p)
        own = {
            "length": int(p["length"]),
            "reverse": bool(p["reverse"]),
            "carry": carry,
            "consts": consts,
        }
        return Node("scan", ins, outs, own, body)

    def _cond(
        self, equation: Any, ins: list[Operand], nodes: list[Node], within: int | None
    ) -> list[Operand]:
        index, *arguments = ins
        branches = equation.params["branches"]
        if len(branches) > 64:
            line = within or user_line(equation, self._filename)
            raise LoweringError("too-large", "a switch has more than 64 branches", line)
        results = [self._inline(b.jaxpr, b.consts, arguments, nodes, within) for b in branches]
        chosen: list[Operand] = []
        for cases in zip(*results, strict=True):
            out = Value(cases[0].dtype, cases[0].shape)
            nodes.append(Node("select", [index, *cases], [out]))
            chosen.append(out)
        return chosen

    def _value(self, aval: Any, line: int | None) -> Value:
        dtype = str(aval.dtype)
        if dtype not in DTYPES:
            text = f"expected values of {', '.join(DTYPES)}; got {dtype}"
            raise LoweringError("dtype", text, line)
        return Value(dtype, tuple(int(length) for length in aval.shape))

    def _constant(
        self, value: Any, nodes: list[Node], line: int | None, dtype: Any = None
    ) -> Operand:
        array = np.asarray(value, dtype)
        self._value(array, line)
        if array.size <= _SHARED:
            return Constant(array)
        out = Value(str(array.dtype), tuple(array.shape))
        nodes.append(Node("copy", [Constant(array)], [out]))
        return out


def _split_of_scan(parameters: Any) -> tuple[int, int]:
    """How many arguments of a scan are constants and carries; JAX 0.12 keeps them as trees."""
    if "num_carry" in parameters:
        return int(parameters["num_consts"]), int(parameters["num_carry"])
    consts, carry, _ = parameters["ft_in"].unpack()
    return len(consts), len(carry)


def _expanded(equation: Any) -> ClosedJaxpr:
    """What one of the numpy functions that JAX 0.12 keeps whole (searchsorted, ...) consists of."""
    primitive = equation.params["_prim"]

    def flat(*arguments: Any) -> list[Any]:
        tree = jax.tree.unflatten(primitive.in_tree, arguments)
        return jax.tree.leaves(primitive.expand(*tree))

    avals = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.invars]
    return jax.make_jaxpr(flat)(*avals)


def _changes_nothing(node: Node) -> bool:
    if node.op not in ("convert", "reshape", "broadcast") or len(node.ins) != 1:
        return False
    if node.op == "broadcast" and node.parameters["axes"] != list(range(len(node.outs[0].shape))):
        return False
    argument, result = node.ins[0], node.outs[0]
    return (argument.dtype, argument.shape) == (result.dtype, result.shape)
