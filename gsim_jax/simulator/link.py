"""Joining the functions of a document: what one returns is what later ones may read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gsim_jax.simulator import document as documents
from gsim_jax.simulator.code import DrawSite, Reader
from gsim_jax.simulator.document import refuse
from gsim_jax.simulator.evaluate import Function
from gsim_jax.simulator.fusion import longest_run
from gsim_jax.simulator.interface import Interface, Path
from gsim_jax.simulator.template import is_name
from gsim_jax.simulator.vocabulary import Shaped


@dataclass
class Linker:
    """Reads and joins the functions of one document.

    Attributes:
        interface: what functions are given and must return.
        reader: reads operations under the budget.
    """

    interface: Interface
    reader: Reader

    def link(self, listed: Mapping[str, Any]) -> tuple[dict[str, Function], tuple[DrawSite, ...]]:
        """The functions by name, and every draw site.

        Args:
            listed: JSON of the functions by name.

        Raises:
            SimulatorError: a function is not what the interface asks for, or over budget.
        """
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
        self._check_runs(functions)
        return functions, tuple(self.reader.draws)

    def _check_runs(self, functions: Mapping[str, Function]) -> None:
        step = (*self.interface.submodules, "couple")
        alone = ("initial", "observe", "implied")
        others = [(name,) for name in alone if name in functions]
        longest, where = max(longest_run(functions, order) for order in (step, *others))
        if longest > self.reader.budget.fused:
            text = f"{longest} operations on elements hang together, {self.reader.budget.fused} "
            text += "are allowed: use arrays, lax.scan or lax.fori_loop instead of a Python loop"
            refuse("too-large", f"functions.{where}", text)

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
        limit = self.reader.budget.elements
        if sum(leaf.size for leaf in shapes) > limit:
            refuse("too-large", f"{where}.outputs", f"expected at most {limit} elements together")
        if name == "implied" and code.draws:
            refuse("bad-document", where, "implied must not draw")
        return Function(name, tuple(paths), code, names, tuple(shapes))

    def _check_outputs(
        self, name: str, returned: Mapping[str, Shaped], produced: Mapping[str, Shaped]
    ) -> None:
        where = f"functions.{name}.outputs"
        if name in self.interface.submodules:
            for out in returned:
                if not is_name(out) or out in produced:
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
