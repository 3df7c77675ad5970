"""Child side: what the functions of a simulator file return, checked and brought to dtype."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.simulator._blocks import Operand
from gsim_jax.simulator.interface import Interface
from gsim_jax.simulator.template import is_name
from gsim_jax.simulator.vocabulary import Shaped
from gsim_jax.task.problems import Problem, SimulatorError, near


class Returns:
    """Checks returned values while functions are traced.

    Attributes:
        produced: outputs of the submodules traced so far.
    """

    def __init__(
        self,
        interface: Interface,
        kinds: Mapping[str, str],
        filename: str,
        lines: Mapping[str, int],
    ) -> None:
        self._interface, self._kinds = interface, kinds
        self._filename, self._lines = filename, lines
        self._maker: dict[str, str] = {}
        self.produced: dict[str, Shaped] = {}

    def refuse(self, code: str, function: str, text: str) -> NoReturn:
        """Refuses a function, at the line of its definition."""
        line = self._lines.get(function)
        message = f"{function} {text}" if text.startswith("returns") else f"{function}: {text}"
        raise SimulatorError(Problem(code, message, file=self._filename, line=line))

    def note(self, function: str, outputs: Mapping[str, Operand]) -> None:
        """Takes the outputs of a submodule in, for the functions that come after it."""
        if function in self._interface.submodules:
            self.produced |= {n: Shaped(v.dtype, v.shape) for n, v in outputs.items()}
            self._maker |= dict.fromkeys(outputs, function)

    def check(self, function: str, returned: Any) -> dict[str, jax.Array]:
        """The returned values as arrays of the right shapes and dtypes, under trace.

        Args:
            function: name of the function.
            returned: what it returned.

        Raises:
            SimulatorError: not a dict, a missing or unknown name, a wrong shape, or a float for a
                whole number.
        """
        if not isinstance(returned, dict):
            text = f"expected a dict of arrays; got {type(returned).__name__}"
            self.refuse("bad-return", function, text)
        if function in self._interface.submodules:
            return self._check_outputs(function, returned)
        if function in ("couple", "initial"):
            return self._check_states(function, returned)
        known = self._interface.shown if function == "observe" else self.produced
        what = "a state that the data shows" if function == "observe" else "a submodule's output"
        for name in returned:
            if name not in known:
                text = f"{name!r} is not {what}; {near(str(name), known)}"
                self.refuse("unknown-name", function, text)
        return {n: self._cast(function, n, v, known[n]) for n, v in returned.items()}

    def _check_outputs(self, function: str, returned: dict[Any, Any]) -> dict[str, jax.Array]:
        for name in returned:
            if not is_name(name):
                self.refuse("bad-output", function, f"{name!r} is not a name for an output")
            if name in self._maker:
                text = f"the output {name!r} is returned by {self._maker[name]} already; rename one"
                self.refuse("output-twice", function, text)
        return {name: self._array(function, name, value) for name, value in returned.items()}

    def _check_states(self, function: str, returned: dict[Any, Any]) -> dict[str, jax.Array]:
        states = self._interface.states
        extra = set(returned) - set(states)
        if function == "initial":
            # `observed` may be handed on as it is, constants and inputs included.
            extra -= set(self._interface.inputs)
        if missing := [name for name in states if name not in returned]:
            text = f"the state {missing[0]!r} is missing; return a value for each of "
            self.refuse("missing-state", function, text + ", ".join(states))
        if extra:
            name = min(map(str, extra))
            text = f"{name!r} is not a state of the task or in LATENT; {near(name, states)}"
            self.refuse("unknown-state", function, text)
        return {n: self._cast(function, n, returned[n], leaf) for n, leaf in states.items()}

    def _array(self, function: str, name: str, value: Any) -> jax.Array:
        if value is None or isinstance(value, dict | list | tuple | set | str):
            text = f"{name!r} must be an array or a number; got {type(value).__name__}"
            self.refuse("bad-output", function, text)
        return jnp.asarray(value)

    def _cast(self, function: str, name: str, value: Any, wanted: Shaped) -> jax.Array:
        array = self._array(function, name, value)
        if array.shape != wanted.shape:
            text = f"{name!r} has shape {array.shape}; expected {wanted.shape}"
            self.refuse("bad-shape", function, text)
        got = np.dtype(array.dtype)
        if got == wanted.dtype:
            return array
        if wanted.dtype == "bool":
            text = f"returns {got} for {name!r}; expected bool, e.g. x > 0"
            self.refuse("bad-dtype", function, text)
        if wanted.dtype != "float32" and np.issubdtype(got, np.floating):
            kind = self._kinds.get(name, "a whole number")
            text = f"returns {got} for {name!r} ({kind}): round it, "
            self.refuse("bad-dtype", function, text + "e.g. jnp.floor(x).astype(jnp.int32)")
        return array.astype(wanted.dtype)
