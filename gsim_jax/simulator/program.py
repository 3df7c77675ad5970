"""Programs: simulators rebuilt from documents, pure functions of arrays and random words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax

from gsim_jax.simulator import document as documents
from gsim_jax.simulator.code import DrawSite, Reader
from gsim_jax.simulator.cost import Budget, expensive
from gsim_jax.simulator.document import refuse
from gsim_jax.simulator.evaluate import Arrays, Function
from gsim_jax.simulator.graph import CausalGraph
from gsim_jax.simulator.interface import Interface
from gsim_jax.simulator.lanes import WordSource
from gsim_jax.simulator.link import Linker
from gsim_jax.simulator.native import StateSpec
from gsim_jax.simulator.parameters import ParameterSpace


@dataclass(frozen=True, eq=False)
class Program:
    """A simulator rebuilt from a document.

    All methods are for one lane, pure, and meant to be used under `jax.vmap` and `jax.jit`. Two
    programs of equal documents are equal and hash alike.

    Attributes:
        states: the task's states, then the latent ones.
        latent: names of the latent states.
        parameters: the parameters on the unit cube, by group and name, both sorted.
        submodules: names in order.
        draws: every draw site.
        doc: what the simulator is, in words.
        functions: the functions by name.
    """

    states: dict[str, StateSpec]
    latent: tuple[str, ...]
    parameters: ParameterSpace
    submodules: tuple[str, ...]
    draws: tuple[DrawSite, ...]
    doc: str
    functions: dict[str, Function]
    _raw: bytes

    @classmethod
    def from_document(
        cls,
        document: Mapping[str, Any] | bytes,
        signature: Mapping[str, Any],
        budget: Budget | None = None,
    ) -> Program:
        """Rebuilds a program, checking everything about the document.

        Args:
            document: what `trace_source` returns, or its bytes.
            signature: states and inputs of the task, see `Schema.signature`.
            budget: limits on size and cost.

        Raises:
            SimulatorError: the document is not a program for this task, or is over budget.
        """
        budget = budget or Budget()
        raw = document if isinstance(document, bytes) else documents.to_bytes(document)
        read = documents.read(raw, budget.bytes)
        clash = (set(signature["states"]) | set(signature["inputs"])) & set(read.latent)
        if clash:
            refuse("bad-document", f"latent.{min(clash)}", "is a state or input of the task")
        interface = Interface.of(signature, read.latent, read.shapes, read.submodules)
        functions, draws = Linker(interface, Reader(budget)).link(read.functions)
        entries = {**signature["states"], **read.latent}
        states = {
            name: StateSpec(entry["kind"], tuple(entry["shape"]), entry["min"], entry["max"])
            for name, entry in entries.items()
        }
        canonical = documents.to_bytes(documents.parse(raw, budget.bytes))
        return cls(
            states, tuple(read.latent), ParameterSpace.from_json(read.parameters), read.submodules,
            draws, read.doc, functions, canonical,
        )  # fmt: skip

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Program) and self._raw == other._raw and self.states == other.states
        )

    def __hash__(self) -> int:
        return hash(self._raw)

    def to_bytes(self) -> bytes:
        """The program as canonical JSON: sorted keys, no spaces."""
        return self._raw

    @property
    def observed(self) -> tuple[str, ...]:
        """Names of the variables that `observe` reports, () without it."""
        return self.functions["observe"].outputs if "observe" in self.functions else ()

    @cached_property
    def graph(self) -> CausalGraph:
        """Which states and inputs at t reach which states at t + 1."""
        return CausalGraph.of(self.functions, self.submodules, tuple(self.states))

    @property
    def cost(self) -> int:
        """Counted operations per lane and step: submodules, couple, observe."""
        return sum(function.code.cost for function in self._per_step())

    def expensive(self, most: int = 5) -> list[tuple[str, float]]:
        """The operations that cost most, in words, with their share of `cost`.

        Args:
            most: how many to name.
        """
        return expensive({f.name: f.code for f in self._per_step()}, most)

    def _per_step(self) -> list[Function]:
        names = (*self.submodules, "couple", "observe")
        return [self.functions[name] for name in names if name in self.functions]

    def initial(
        self,
        observed: Mapping[str, Any],
        seen: Mapping[str, Any],
        inputs: Mapping[str, Any],
        params: Mapping[str, Mapping[str, Any]],
        words: WordSource,
    ) -> Arrays:
        """The full state at the first row.

        Args:
            observed: the task's states, 0 where unseen; constants and attributes may ride along.
            seen: bool of the same shapes.
            inputs: inputs of the first row; looked into for what `observed` does not hold.
            params: values by group and name.
            words: source of the random words.
        """
        given = {"observed": {**inputs, **observed}, "seen": seen, "params": params}
        return self.functions["initial"](given, words)

    def submodule(
        self,
        name: str,
        state: Mapping[str, Any],
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        params: Mapping[str, Mapping[str, Any]],
        words: WordSource,
    ) -> Arrays:
        """The outputs of one submodule, given those of the ones before it."""
        given = {
            "state": state,
            "inputs": {**inputs, "outputs": outputs},
            "params": params.get(name, {}),
        }
        return self.functions[name](given, words)

    def couple(
        self,
        state: Mapping[str, Any],
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        params: Mapping[str, Mapping[str, Any]],
        words: WordSource,
    ) -> Arrays:
        """The next state from the outputs of all submodules."""
        given = {
            "state": state,
            "inputs": inputs,
            "outputs": outputs,
            "params": params.get("couple", {}),
        }
        return self.functions["couple"](given, words)

    def step(
        self,
        state: Mapping[str, Any],
        inputs: Mapping[str, Any],
        params: Mapping[str, Mapping[str, Any]],
        words: WordSource,
        change: Callable[[str, Arrays, Arrays], Arrays] | None = None,
    ) -> tuple[Arrays, Arrays]:
        """One step: the submodules in order, then their coupling.

        Args:
            state: full state, one lane.
            inputs: inputs of the row, with `t`, constants and attributes.
            params: values by group and name.
            words: source of the random words.
            change: an intervention: given a submodule's name, its outputs and those of the ones
                before it, what its outputs shall be instead.

        Returns:
            The next state, and the outputs of all submodules.
        """
        outputs: Arrays = {}
        for name in self.submodules:
            new = self.submodule(name, state, inputs, outputs, params, words)
            outputs = outputs | (new if change is None else change(name, new, outputs))
        return self.couple(state, inputs, outputs, params, words), outputs

    def observe(
        self,
        state: Mapping[str, Any],
        outputs: Mapping[str, Any],
        params: Mapping[str, Mapping[str, Any]],
        words: WordSource,
    ) -> Arrays | None:
        """What the table shows of a state, or None where the simulator does not say.

        Only the states in `observed` are returned; all others are shown as they are.
        """
        if "observe" not in self.functions:
            return None
        given = {"state": state, "outputs": outputs, "params": params.get("observe", {})}
        return self.functions["observe"](given, words)

    def implied(
        self, previous: Mapping[str, Any], current: Mapping[str, Any], inputs: Mapping[str, Any]
    ) -> Arrays | None:
        """The outputs that two complete states imply, or None where the simulator does not say."""
        if "implied" not in self.functions:
            return None
        given = {"previous": previous, "current": current, "inputs": inputs}
        return self.functions["implied"](given, _no_words)


def _no_words(*_: Any) -> jax.Array:
    raise AssertionError("implied takes no draws; documents with such a draw are refused")
