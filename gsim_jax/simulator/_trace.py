"""Child side: runs a simulator file and traces each of its functions into one JSON document.

This module executes code that a model wrote, so it is meant to run in a jailed process, and nothing
it returns is trusted: `program` checks the document again, from nothing. The functions are traced
for one lane with `jax.make_jaxpr`; calls are inlined, loops nest, dead operations fall away, draws
become symbols with a law and a site.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import jax

from gsim_jax.simulator import _declare, template
from gsim_jax.simulator._blame import refusal
from gsim_jax.simulator._blocks import Block, Numbering, merge_equal, prune
from gsim_jax.simulator._declare import Declared
from gsim_jax.simulator._lower import Lowering, LoweringError
from gsim_jax.simulator._returns import Returns
from gsim_jax.simulator.interface import Interface, Leaves, Path
from gsim_jax.simulator.template import ARGUMENTS
from gsim_jax.simulator.vocabulary import Shaped
from gsim_jax.task.problems import Problem, SimulatorError

_MOST_DOC = 4000


def trace_source(
    source: str, signature: Mapping[str, Any], filename: str = "simulator.py"
) -> dict[str, Any]:
    """Runs a simulator file and writes it down as a document.

    Args:
        source: text of the file.
        signature: states and inputs of the task, see `Schema.signature`.
        filename: name of the file in messages.

    Returns:
        The document: parameters, latent states, submodules, and per function a list of operations.

    Raises:
        SimulatorError: the file does not run, declares something wrong, or a function cannot be
            traced; with the line of the file and a sentence on what to write instead.
    """
    with ExitStack() as settings:
        # Whatever the process has set, files are traced under one set of rules.
        settings.enter_context(jax.enable_x64(False))
        settings.enter_context(jax.numpy_rank_promotion("allow"))
        settings.enter_context(jax.numpy_dtype_promotion("standard"))
        tree = _parse(source, filename)
        lines = _lines(tree)
        declared = _declare.read(_execute(tree, filename), signature, lines, filename)
        if declared.problems:
            raise SimulatorError(declared.problems)
        functions = _trace_functions(declared, signature, lines)
    return {
        "format": "gsim-program",
        "version": 1,
        "doc": (ast.get_docstring(tree) or "")[:_MOST_DOC],
        "parameters": {
            group: {name: prior.to_json() for name, prior in members.items()}
            for group, members in declared.parameters.items()
        },
        "latent": {name: state.to_json() for name, state in declared.latent.items()},
        "submodules": list(declared.submodules),
        "functions": functions,
    }


def _parse(source: str, filename: str) -> ast.Module:
    try:
        return ast.parse(source, filename)
    except SyntaxError as error:
        column = None if error.offset is None else str(error.offset)
        text = f"not valid Python: {error.msg}"
        where = Problem("syntax", text, file=filename, line=error.lineno, column=column)
        raise SimulatorError(where) from None
    except (ValueError, RecursionError, MemoryError) as error:
        where = Problem("syntax", f"not valid Python: {error}", file=filename)
        raise SimulatorError(where) from None


def _execute(tree: ast.Module, filename: str) -> dict[str, Any]:
    names = template.namespace()
    known = [*names, *names["__builtins__"]]
    try:
        exec(compile(tree, filename, "exec"), names)
    except Exception as error:  # noqa: BLE001 - a user's file may raise anything
        raise refusal(error, filename, "", known) from None
    return names


def _lines(tree: ast.Module) -> dict[str, int]:
    lines: dict[str, int] = {}
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef):
            lines[statement.name] = statement.lineno
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    lines[target.id] = statement.lineno
    return lines


def _trace_functions(
    declared: Declared, signature: Mapping[str, Any], lines: Mapping[str, int]
) -> dict[str, Any]:
    latent = {name: state.to_json() for name, state in declared.latent.items()}
    kinds = {name: entry["kind"] for name, entry in signature["states"].items()}
    kinds |= {name: state.kind for name, state in declared.latent.items()}
    priors = {
        group: {name: Shaped(prior.dtype, prior.shape) for name, prior in members.items()}
        for group, members in declared.parameters.items()
    }
    interface = Interface.of(signature, latent, priors, declared.submodules)
    returns = Returns(interface, kinds, declared.filename, lines)
    tracer = _Tracer(declared, returns)
    optional = [name for name in ("observe", "implied") if name in declared.functions]
    written = {}
    # Submodules first and in order: what they return is what later functions are given.
    for name in (*declared.submodules, "couple", "initial", *optional):
        leaves = interface.given(name, returns.produced)
        written[name] = tracer.function(name, leaves)
    return written


@dataclass
class _Tracer:
    """Traces the functions of one file, in the order in which their results feed one another."""

    declared: Declared
    returns: Returns

    def function(self, name: str, leaves: Leaves) -> dict[str, Any]:
        """The document of one function.

        Args:
            name: name of the function.
            leaves: what it is given.
        """
        names: list[str] = []
        block = self._block(name, leaves, names)
        self.returns.note(name, dict(zip(names, block.outputs, strict=True)))
        return _write(block, list(leaves), names)

    def _block(self, name: str, leaves: Leaves, names: list[str]) -> Block:
        call = self.declared.functions.get(name)

        def flat(key: jax.Array, *values: jax.Array) -> list[jax.Array]:
            tree = _nest(dict(zip(leaves, values, strict=True)))
            arguments = self._arguments(name, tree, key)
            # A file without `initial` starts from what is observed.
            returned = tree["observed"] if call is None else call(*arguments)
            checked = self.returns.check(name, returned)
            names.extend(checked)
            return list(checked.values())

        avals = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves.values()]
        key = jax.ShapeDtypeStruct((2,), "uint32")
        filename = self.declared.filename
        try:
            closed = jax.make_jaxpr(flat)(key, *avals)
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything
            known = {part for path in leaves for part in path} | template.names()
            raise refusal(error, filename, f"in {name}", known) from None
        try:
            block = Lowering(filename).function(closed)
        except LoweringError as error:
            raise refusal(error, filename, f"in {name}") from None
        merge_equal(block)
        needed = prune(block)
        if block.inputs[0] in needed or any(node.op == "split_key" for node in block.nodes):
            text = "a key is used as a number; give keys to draws and to split only"
            self.returns.refuse("key-as-number", name, text)
        return block

    def _arguments(self, name: str, tree: dict[str, Any], key: jax.Array) -> list[Any]:
        submodule = name in self.declared.submodules
        if submodule or name == "couple":
            inputs = tree.setdefault("inputs", {})
            # couple finds the outputs in its own argument, and here too like every submodule.
            inputs.setdefault("outputs", dict(tree.get("outputs", {})))
        wanted = ARGUMENTS["submodule" if submodule else name]
        return [key if argument == "key" else tree.get(argument, {}) for argument in wanted]


def _write(block: Block, paths: list[Path], names: list[str]) -> dict[str, Any]:
    used = {value for node in block.nodes for value in node.ins} | set(block.outputs)
    pairs = [(p, v) for p, v in zip(paths, block.inputs[1:], strict=True) if v in used]
    numbering = Numbering(value for _, value in pairs)
    return {
        "inputs": [{"path": list(path), **value.to_json()} for path, value in pairs],
        "operations": numbering.operations(block.nodes),
        "outputs": {
            name: numbering.operand(operand)
            for name, operand in zip(names, block.outputs, strict=True)
        },
    }


def _nest(leaves: Mapping[Path, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        branch = tree
        for part in path[:-1]:
            branch = branch.setdefault(part, {})
        branch[path[-1]] = value
    return tree
