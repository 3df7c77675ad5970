"""Evaluating a program's functions: operations one after the other, in public `lax`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gsim_jax.sampling import LAWS
from gsim_jax.simulator.code import Code, Operand, Step
from gsim_jax.simulator.interface import Path
from gsim_jax.simulator.lanes import WordSource
from gsim_jax.simulator.vocabulary import TABLE, Shaped

Arrays = dict[str, jax.Array]


@dataclass(frozen=True, eq=False)
class Function:
    """One function of a program.

    Attributes:
        name: its name.
        paths: where its inputs come from.
        code: its operations.
        outputs: names of its results.
        shapes: dtypes and shapes of its results.
    """

    name: str
    paths: tuple[Path, ...]
    code: Code
    outputs: tuple[str, ...]
    shapes: tuple[Shaped, ...]

    def __call__(self, given: Mapping[str, Any], words: WordSource) -> Arrays:
        """Evaluates the function on one lane.

        Args:
            given: values by root and name, e.g. `{"state": {...}, "params": {...}}`.
            words: source of the random words.

        Raises:
            KeyError: a value that the function reads is not given.
        """
        leaves = zip(self.paths, self.code.inputs, strict=True)
        values = [_take(given, path, leaf, self.name) for path, leaf in leaves]
        results = _evaluate(self.code, values, _Draws(self.name, words), None)
        return dict(zip(self.outputs, results, strict=True))


def _take(given: Mapping[str, Any], path: Path, leaf: Shaped, function: str) -> jax.Array:
    value: Any = given
    for part in path:
        if part not in value:
            raise KeyError(f"{function} reads {'.'.join(path)}, which is not given")
        value = value[part]
    array = jnp.asarray(value)
    if array.shape != leaf.shape:
        text = f"{function}: expected {'.'.join(path)} of shape {leaf.shape}; got {array.shape}"
        raise ValueError(text + " (programs are written for one lane: vmap them)")
    return array.astype(leaf.dtype)


@dataclass(frozen=True)
class _Draws:
    function: str
    words: WordSource

    def __call__(self, step: Step, arguments: list[Any], loop: Any) -> jax.Array:
        law, shape = LAWS[step.parameters["law"]], step.parameters["shape"]
        count = law.words_per_draw(*arguments)
        index = jnp.uint32(0) if loop is None else loop
        bits = self.words(self.function, step.parameters["site"], shape, count, index)
        return law.from_bits(bits.reshape(law.bits_shape(shape, *arguments)), *arguments)


def _evaluate(code: Code, inputs: list[Any], draws: _Draws, loop: Any) -> list[jax.Array]:
    values = list(inputs)

    def read(operand: Operand) -> Any:
        return values[operand] if isinstance(operand, int) else operand

    for step in code.steps:
        arguments = [read(operand) for operand in step.ins]
        if step.operation == "draw":
            values.append(draws(step, arguments, loop))
        elif step.operation == "scan":
            values.extend(_scan(step, arguments, draws, loop))
        else:
            out = TABLE[step.operation].evaluate(*arguments, **step.parameters)
            values.extend(out if isinstance(out, list) else [out])
    return [jnp.asarray(read(operand)) for operand in code.outputs]


def _scan(step: Step, arguments: list[Any], draws: _Draws, loop: Any) -> list[jax.Array]:
    body, length = step.body, step.parameters["length"]
    assert body is not None
    first = step.parameters["consts"]
    last = first + step.parameters["carry"]
    consts = arguments[:first]
    # Draws in the body are told apart by the index of their turn; other bodies need no counter.
    turns = lax.iota("uint32", length) if body.draws else None

    def turn(carry: list[Any], row: tuple[Any, list[Any]]) -> tuple[list[Any], list[Any]]:
        at, rows = row
        if at is not None and loop is not None:
            at = loop * jnp.uint32(length) + at
        out = _evaluate(body, [*consts, *carry, *rows], draws, at)
        return out[: last - first], out[last - first :]

    start = [jnp.asarray(value) for value in arguments[first:last]]
    carry, stacked = lax.scan(
        turn,
        start,
        (turns, [jnp.asarray(value) for value in arguments[last:]]),
        length=length,
        reverse=step.parameters["reverse"],
    )
    return [*carry, *stacked]
