"""What a scenario can change in a simulator: every target by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.simulator.contract import Simulator
from gsim_jax.task import Problem, Schema
from gsim_jax.task.problems import near
from gsim_jax.whatif.scenario import Change

_ENTRY = re.compile(r"(?P<name>.+)\[(?P<index>\d+(\s*,\s*\d+)*)\]")
KINDS = ("parameter", "input", "attribute", "constant", "state", "output", "submodule")


@dataclass(frozen=True)
class Target:
    """Something that can be changed.

    Attributes:
        kind: one of `KINDS`.
        group: the submodule of a parameter or output, else "".
        name: its name there.
        dtype: `"float32"` or `"int32"`; "" for a submodule.
        shape: shape of its value.
    """

    kind: str
    group: str
    name: str
    dtype: str = ""
    shape: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """The name that scenarios use."""
        return f"{self.group}.{self.name}" if self.group else self.name

    @property
    def key(self) -> str:
        """A name that no other target has."""
        return f"{self.kind}:{self.label}"


class Targets:
    """All targets of a simulator."""

    def __init__(self, simulator: Simulator, schema: Schema) -> None:
        """Traces one step to learn what its submodules return."""
        self.all = (
            *_parameters(simulator),
            *_inputs(schema),
            *(
                Target("state", "", name, spec.dtype, tuple(spec.shape))
                for name, spec in simulator.states.items()
            ),
            *_outputs(simulator, schema),
            *(Target("submodule", "", name) for name in simulator.submodules),
        )

    def find(self, change: Change) -> tuple[Target, tuple[int, ...]] | Problem:
        """The target of a change and the entry of it (() for the whole), or what is wrong."""
        name, index = change.target.strip(), ()
        if match := _ENTRY.fullmatch(name):
            name = match["name"].strip()
            index = tuple(int(part) for part in match["index"].split(","))
        named = [t for t in self.all if t.label == name]
        fitting = [t for t in named if (t.kind == "submodule") == (change.operation == "replace")]
        if change.kind is not None:
            fitting = [t for t in fitting if t.kind == change.kind]
        if len(fitting) > 1:
            kinds = " or ".join(repr(t.kind) for t in fitting)
            return change.problem("ambiguous", f"the name is shared; add kind = {kinds}")
        if not fitting:
            return self._unknown(change, name, named)
        target = fitting[0]
        if len(index) > len(target.shape) or any(
            i >= n for i, n in zip(index, target.shape, strict=False)
        ):
            text = f"expected an entry of an array of shape {list(target.shape)}"
            return change.problem("no-entry", f"{text}; got {list(index)}")
        return target, index

    def _unknown(self, change: Change, name: str, named: list[Target]) -> Problem:
        if change.kind is not None and change.kind not in KINDS:
            text = f"expected a kind out of {', '.join(KINDS)}; got {change.kind!r}"
            return change.problem("unknown-kind", text)
        replaces = change.operation == "replace"
        kinds = ("submodule",) if replaces else KINDS[:-1]
        kinds = (change.kind,) if change.kind is not None else kinds
        known = [t.label for t in self.all if t.kind in kinds]
        what = "a submodule" if replaces else f"a target ({', '.join(kinds)})"
        got = f"{name!r} is {_a(named[0].kind)}" if named else f"got {name!r}"
        return change.problem("unknown-target", f"expected {what}; {got}; {near(name, known)}")


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aio" else f"a {kind}"


def _parameters(simulator: Simulator) -> list[Target]:
    entries = simulator.parameters.entries
    return [Target("parameter", e.group, e.name, e.dtype, tuple(e.shape)) for e in entries]


def _inputs(schema: Schema) -> list[Target]:
    found = [Target("input", "", i.name, i.dtype, i.shape) for i in schema.inputs.values()]
    found += [Target("attribute", "", a.name, a.dtype) for a in schema.attributes.values()]
    for constant in schema.constants.values():
        value = np.asarray(constant.value)
        found.append(Target("constant", "", constant.name, str(value.dtype), value.shape))
    return found


def _outputs(simulator: Simulator, schema: Schema) -> list[Target]:
    return [
        Target("output", module, name, str(value.dtype), tuple(value.shape))
        for module, values in submodule_outputs(simulator, schema).items()
        for name, value in values.items()
    ]


def blank_step(simulator: Simulator, schema: Schema) -> tuple[Any, Any, Any]:
    """State, inputs and parameters of zeros, of the shapes that a step is given."""
    state = {k: jnp.zeros(tuple(s.shape), s.dtype) for k, s in simulator.states.items()}
    inputs = {
        name: jnp.zeros(tuple(entry["shape"]), entry["dtype"])
        for name, entry in schema.signature()["inputs"].items()
    }
    params: dict[str, dict[str, Any]] = {}
    for entry in simulator.parameters.entries:
        params.setdefault(entry.group, {})[entry.name] = jnp.zeros(entry.shape, entry.dtype)
    return state, inputs, params


def no_words(
    function: str, ordinal: int, shape: tuple[int, ...], words_per_draw: int, loop: Any
) -> jax.Array:
    """A word source for tracing: words that are all 0."""
    del function, ordinal, loop
    return jnp.zeros(shape if words_per_draw == 1 else (*shape, words_per_draw), jnp.uint32)


def submodule_outputs(simulator: Any, schema: Schema) -> Mapping[str, Mapping[str, Any]]:
    """Shapes and dtypes of what each submodule returns, by abstract evaluation of one step."""

    def step(state: Any, inputs: Any, params: Any) -> Any:
        seen: dict[str, Any] = {}

        def note(name: str, new: Any, before: Any) -> Any:
            del before
            seen[name] = {key: jnp.asarray(value) for key, value in new.items()}
            return new

        simulator.step(state, inputs, params, no_words, note)
        return seen

    return jax.eval_shape(step, *blank_step(simulator, schema))
