"""A user's own trusted functions as a simulator: no guard, no sandbox, no program.

The functions are those of a simulator file, written with `gsim_jax.sampling` or `jax.random`: any
code that JAX can trace for one lane. Their `key` is made from the lane's words, so common random
numbers hold across parameter values as for programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.simulator.contract import Params, State
from gsim_jax.simulator.lanes import WordSource
from gsim_jax.simulator.parameters import ParameterSpace
from gsim_jax.simulator.priors import Prior
from gsim_jax.task import Problem, Schema, SimulatorError


@dataclass(frozen=True)
class StateSpec:
    """Kind, dtype, shape and bounds of one state."""

    kind: str
    shape: tuple[int, ...] = ()
    min: float | None = None
    max: float | None = None

    @property
    def dtype(self) -> str:
        """`float32` for reals, else `int32`."""
        return "float32" if self.kind == "real" else "int32"


class NativeSimulator:
    """Trusted functions behind the `Simulator` contract; build it with `from_functions`."""

    graph = None
    #: Draws come from JAX keys made of words, so that mirrored words are not mirrored draws.
    keyed = True

    def __init__(
        self,
        schema: Schema,
        parameters: Mapping[str, Mapping[str, Prior]],
        submodules: Sequence[Callable[..., dict[str, jax.Array]]],
        couple: Callable[..., State],
        *,
        latent: Mapping[str, StateSpec] | None = None,
        initial: Callable[..., State] | None = None,
        observe: Callable[..., dict[str, jax.Array]] | None = None,
        observed: Sequence[str] = (),
        implied: Callable[..., dict[str, jax.Array]] | None = None,
        cost: int = 100,
    ) -> None:
        """See `from_functions`."""
        names = [function.__name__ for function in submodules]
        unknown = set(parameters) - {*names, "couple", "observe"}
        if unknown:
            expected = ", ".join([*names, "couple", "observe"])
            text = f"parameters: expected groups out of {expected}; got {sorted(unknown)}"
            raise SimulatorError((Problem("unknown-group", text),))
        if latent and initial is None:
            text = f"initial: expected a function that fills the latent states {sorted(latent)}"
            raise SimulatorError((Problem("missing-initial", text),))
        if (observe is None) != (not observed):
            text = "observe: expected both the function and the names it reports, or neither"
            raise SimulatorError((Problem("observe", text),))
        self.parameters = ParameterSpace.from_json(
            {g: {n: p.to_json() for n, p in members.items()} for g, members in parameters.items()}
        )
        shown = {n: StateSpec(v.kind, v.shape, v.min, v.max) for n, v in schema.states.items()}
        self.states: dict[str, Any] = {**shown, **(latent or {})}
        self.latent = tuple(latent or ())
        self.submodules = tuple(names)
        self.observed = tuple(observed)
        self.cost = cost
        self._modules = tuple(submodules)
        self._couple, self._initial = couple, initial
        self._observe, self._implied = observe, implied

    def _key(self, function: str, words: WordSource) -> Any:
        # Two scalar draws: one draw of two words would be read at stride two, without vector units.
        bits = jnp.stack([words(function, i, (), 1, np.uint32(0)) for i in range(2)])
        return jax.random.wrap_key_data(bits, impl="threefry2x32")

    def initial(
        self,
        observed: Mapping[str, jax.Array],
        seen: Mapping[str, jax.Array],
        inputs: Mapping[str, jax.Array],
        params: Params,
        words: WordSource,
    ) -> State:
        """Full state at the first row; constants and attributes stand beside the observations."""
        if self._initial is None:
            return dict(observed)
        everything = {k: v for k, v in inputs.items() if k != "t"} | dict(observed)
        state = self._initial(everything, seen, params, self._key("initial", words))
        return {
            name: jnp.broadcast_to(jnp.asarray(state[name], spec.dtype), spec.shape)
            for name, spec in self.states.items()
        }

    def submodule(
        self,
        name: str,
        state: State,
        inputs: Mapping[str, jax.Array],
        outputs: Mapping[str, jax.Array],
        params: Params,
        words: WordSource,
    ) -> dict[str, jax.Array]:
        """The outputs of one submodule, given those of the ones before it."""
        function = self._modules[self.submodules.index(name)]
        given = {**inputs, "outputs": dict(outputs)}
        return function(state, given, params.get(name, {}), self._key(name, words))

    def step(
        self,
        state: State,
        inputs: Mapping[str, jax.Array],
        params: Params,
        words: WordSource,
        change: Callable[[str, State, State], State] | None = None,
    ) -> tuple[State, dict[str, jax.Array]]:
        """One step; `params` holds every group, each submodule is given its own.

        `change(name, outputs, outputs of the ones before)` is an intervention: what it returns
        takes the place of a submodule's outputs.
        """
        outputs: dict[str, jax.Array] = {}
        for name in self.submodules:
            new = self.submodule(name, state, inputs, outputs, params, words)
            if change is not None:
                new = change(name, new, dict(outputs))
            twice = sorted(set(new) & set(outputs))
            if twice:
                text = f"{name}: outputs {twice} are already outputs of an earlier submodule"
                raise SimulatorError((Problem("output-twice", text),))
            outputs |= new
        couple = params.get("couple", {})
        following = self._couple(state, {**inputs}, outputs, couple, self._key("couple", words))
        if set(following) != set(self.states):
            text = f"couple: expected states {sorted(self.states)}; got {sorted(following)}"
            raise SimulatorError((Problem("states", text),))
        return {name: following[name] for name in self.states}, outputs

    def observe(
        self, state: State, outputs: Mapping[str, jax.Array], params: Params, words: WordSource
    ) -> dict[str, jax.Array] | None:
        """What the table shows, or None."""
        if self._observe is None:
            return None
        return self._observe(state, outputs, params.get("observe", {}), self._key("observe", words))

    def implied(
        self, previous: State, current: State, inputs: Mapping[str, jax.Array]
    ) -> dict[str, jax.Array] | None:
        """The outputs that two states imply, or None."""
        return None if self._implied is None else self._implied(previous, current, inputs)


def from_functions(
    schema: Schema,
    parameters: Mapping[str, Mapping[str, Prior]],
    submodules: Sequence[Callable[..., dict[str, jax.Array]]],
    couple: Callable[..., State],
    **options: Any,
) -> NativeSimulator:
    """A simulator from trusted functions.

    Args:
        schema: the task's schema.
        parameters: `{submodule: {name: prior}}`.
        submodules: functions `f(state, inputs, params, key) -> outputs`, in order.
        couple: `couple(state, inputs, outputs, params, key) -> next state`, all states.
        **options: `latent` (`{name: StateSpec}`), `initial`, `observe` with `observed` (names of
            the variables it reports), `implied`, `cost` (operations per lane and step).

    Returns:
        A simulator that calibrators, forecasts and sweeps take.

    Raises:
        SimulatorError: groups, states or outputs do not fit together.
    """
    return NativeSimulator(schema, parameters, submodules, couple, **options)
