"""One row of the vocabulary: what an operation is called, takes, costs and does."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax

from gsim_jax.simulator.vocabulary.fields import Field


class Shaped(NamedTuple):
    """Dtype and shape of a value.

    Attributes:
        dtype: one of `"bool"`, `"int32"`, `"uint32"`, `"float32"`.
        shape: lengths of the axes.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


Cost = Callable[[Mapping[str, Any], Sequence[Shaped], Sequence[Shaped]], int]
Encode = Callable[[Mapping[str, Any]], dict[str, Any]]
Evaluate = Callable[..., Any]


def total(values: Sequence[Shaped]) -> int:
    """Elements of all values together."""
    return sum(value.size for value in values)


def per_output(weight: int = 1) -> Cost:
    """Cost rule: `weight` operations per element of the results."""
    return lambda parameters, ins, outs: weight * total(outs)


def per_input(weight: int = 1) -> Cost:
    """Cost rule: `weight` operations per element of the arguments or results, the larger."""
    return lambda parameters, ins, outs: weight * max(total(ins), total(outs))


_ONE_PER_OUTPUT = per_output()


@dataclass(frozen=True)
class Operation:
    """One operation of the vocabulary.

    Attributes:
        name: its name in documents.
        evaluate: `evaluate(*arrays, **parameters)` in public `lax`; one array, or a list of them.
        primitives: names of the JAX primitives that become this operation when a file is traced.
        parameters: own parameters, each with the check that turns JSON into a plain value.
        encode: turns the parameters of the JAX primitive into own ones, JSON values.
        cost: counted operations of one evaluation.
        arity: least and greatest number of arguments.
        results: least and greatest number of results.
        bulk: what it takes to compile, 1 being an addition (about 2 ms on one CPU core).
        elementwise: whether compilers fuse it with its neighbours into one straight run of code.
    """

    name: str
    evaluate: Evaluate
    primitives: tuple[str, ...] = ()
    parameters: Mapping[str, Field] = field(default_factory=dict)
    encode: Encode = lambda parameters: {}
    cost: Cost = _ONE_PER_OUTPUT
    arity: tuple[int, int] = (1, 1)
    results: tuple[int, int] = (1, 1)
    bulk: int = 1
    elementwise: bool = False

    def infer(self, parameters: Mapping[str, Any], ins: Sequence[Shaped]) -> list[Shaped]:
        """Dtypes and shapes of the results by abstract evaluation; nothing is computed.

        Args:
            parameters: checked own parameters.
            ins: dtypes and shapes of the arguments.

        Raises:
            TypeError, ValueError or another error of JAX where they do not fit together.
        """
        avals = [jax.ShapeDtypeStruct(v.shape, v.dtype) for v in ins]
        out = jax.eval_shape(lambda *arrays: self.evaluate(*arrays, **parameters), *avals)
        outs = out if isinstance(out, list | tuple) else [out]
        return [Shaped(str(o.dtype), tuple(o.shape)) for o in outs]


class Unencodable(Exception):
    """A JAX primitive was met with parameters that the vocabulary does not hold."""
