"""Programs: simulators rebuilt from documents, pure functions of arrays and random words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from gsim_jax.sampling import LAWS
from gsim_jax.simulator import document as documents
from gsim_jax.simulator.code import Code, DrawSite, Operand, Reader, Step
from gsim_jax.simulator.cost import Budget
from gsim_jax.simulator.document import refuse
from gsim_jax.simulator.interface import Interface, Path
from gsim_jax.simulator.vocabulary import TABLE, Shaped

Arrays = dict[str, jax.Array]
#: (function, ordinal, shape, words per draw, loop index uint32) -> uint32[*shape] or [*shape, words]
WordSource = Callable[[str, int, tuple[int, ...], int, Any], jax.Array]


@dataclass(frozen=True)
class StateSpec:
    """One state variable.

    Attributes:
        kind: `"count"`, `"real"`, `"flag"` or `"category"`.
        dtype: `"int32"` or `"float32"`.
        shape: shape of the value.
        min: least value, or None.
        max: greatest value, or None.
    """

    kind: str
    dtype: str
    shape: tuple[int, ...] = ()
    min: float | None = None
    max: float | None = None


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


@dataclass(frozen=True, eq=False)
class Program:
    """A simulator rebuilt from a document.

    All methods are for one lane, pure, and meant to be used under `jax.vmap` and `jax.jit`. Two
    programs of equal documents are equal and hash alike.

    Attributes:
        states: the task's states, then the latent ones.
        latent: names of the latent states.
        parameters: priors by group and name as in the document, sorted by name.
        submodules: names in order.
        draws: every draw site.
        doc: what the simulator is, in words.
        functions: the functions by name.
    """

    states: dict[str, StateSpec]
    latent: tuple[str, ...]
    parameters: dict[str, dict[str, dict[str, Any]]]
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
        functions, draws = _Linker(interface, Reader(budget)).link(read.functions)
        entries = {**signature["states"], **read.latent}
        states = {
            name: StateSpec(
                entry["kind"], leaf.dtype, leaf.shape, entry.get("min"), entry.get("max")
            )
            for (name, leaf), entry in zip(interface.states.items(), entries.values(), strict=True)
        }
        canonical = documents.to_bytes(documents.parse(raw, budget.bytes))
        return cls(
            states, tuple(read.latent), read.parameters, read.submodules, draws, read.doc,
            functions, canonical,
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
    def cost(self) -> int:
        """Counted operations per lane and step: submodules, couple, observe."""
        names = (*self.submodules, "couple", "observe")
        return sum(self.functions[n].code.cost for n in names if n in self.functions)

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
    ) -> tuple[Arrays, Arrays]:
        """One step: the submodules in order, then their coupling.

        Args:
            state: full state, one lane.
            inputs: inputs of the row, with `t`, constants and attributes.
            params: values by group and name.
            words: source of the random words.

        Returns:
            The next state, and the outputs of all submodules.
        """
        outputs: Arrays = {}
        for name in self.submodules:
            outputs = outputs | self.submodule(name, state, inputs, outputs, params, words)
        return self.couple(state, inputs, outputs, params, words), outputs

    def observe(
        self,
        state: Mapping[str, Any],
        outputs: Mapping[str, Any],
        params: Mapping[str, Mapping[str, Any]],
        words: WordSource,
    ) -> Arrays | None:
        """What the table shows of a state, or None where the simulator does not say.

        States that `observe` does not return are shown as they are.
        """
        if "observe" not in self.functions:
            return None
        given = {"state": state, "outputs": outputs, "params": params.get("observe", {})}
        shown = {name: state[name] for name in self.states if name not in self.latent}
        return shown | self.functions["observe"](given, words)

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


@dataclass
class _Linker:
    """Joins the functions of a document: what one returns is what later ones may read."""

    interface: Interface
    reader: Reader

    def link(self, listed: Mapping[str, Any]) -> tuple[dict[str, Function], tuple[DrawSite, ...]]:
        produced: dict[str, Shaped] = {}
        functions: dict[str, Function] = {}
        optional = [name for name in ("observe", "implied") if name in listed]
        spent = 0
        for name in (*self.interface.submodules, "couple", "initial", *optional):
            function = self._function(name, listed[name], produced)
            functions[name] = function
            returned = dict(zip(function.outputs, function.shapes, strict=True))
            self._check_outputs(name, returned, produced)
            if name in self.interface.submodules:
                produced |= returned
            if name not in ("initial", "implied"):
                spent += function.code.cost
            if spent > self.reader.budget.cost:
                text = f"the cost per lane and step is over the budget of {self.reader.budget.cost}"
                refuse("too-costly", f"functions.{name}", text)
        return functions, tuple(self.reader.draws)

    def _function(self, name: str, entry: Any, produced: Mapping[str, Shaped]) -> Function:
        where = f"functions.{name}"
        documents.exactly(entry, ("inputs", "operations", "outputs"), where)
        allowed = self.interface.given(name, produced)
        if type(entry["inputs"]) is not list or type(entry["outputs"]) is not dict:
            refuse("bad-document", where, "expected a list of inputs and an object of outputs")
        paths: list[Path] = []
        for item in entry["inputs"]:
            documents.exactly(item, ("path", "dtype", "shape"), f"{where}.inputs")
            path = item["path"]
            known = type(path) is list and all(type(p) is str for p in path)
            if not known or tuple(path) not in allowed or tuple(path) in paths:
                text = f"expected different paths that {name} may read; got {str(path)[:80]}"
                refuse("bad-document", f"{where}.inputs", text)
            leaf = self.reader.shaped(item, f"{where}.inputs")
            if leaf != allowed[tuple(path)]:
                text = f"{'.'.join(path)}: expected {allowed[tuple(path)]}; got {leaf}"
                refuse("bad-document", f"{where}.inputs", text)
            paths.append(tuple(path))
        names = tuple(entry["outputs"])
        listed = [entry["outputs"][n] for n in names]
        inputs = [allowed[path] for path in paths]
        code, shapes = self.reader.code(inputs, entry["operations"], listed, where, 1, 0)
        if name == "implied" and code.draws:
            refuse("bad-document", where, "implied must not draw")
        return Function(name, tuple(paths), code, names, tuple(shapes))

    def _check_outputs(
        self, name: str, returned: Mapping[str, Shaped], produced: Mapping[str, Shaped]
    ) -> None:
        where = f"functions.{name}.outputs"
        if name in self.interface.submodules:
            for out in returned:
                if not documents.is_name(out) or out in produced:
                    text = f"expected names of outputs, none twice; got {out[:60]!r}"
                    refuse("bad-document", where, text)
            return
        wanted = {"observe": self.interface.shown, "implied": produced}
        known = wanted.get(name, self.interface.states)
        missing = set(known) - set(returned) if name in ("couple", "initial") else set()
        wrong = [out for out, leaf in returned.items() if known.get(out) != leaf]
        if missing or wrong:
            text = f"expected {dict(known)}"[:300]
            refuse("bad-document", where, f"{text}; wrong or missing: {(wrong or [*missing])[0]}")
