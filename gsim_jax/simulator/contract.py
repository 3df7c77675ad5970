"""What a simulator is: the one contract that programs and native functions both keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import jax

from gsim_jax.simulator.lanes import WordSource
from gsim_jax.simulator.parameters import ParameterSpace, Values

State = dict[str, jax.Array]


class Simulator(Protocol):
    """A structure with its parameters declared; every method is for ONE lane, the engine vmaps.

    Attributes:
        states: `{name: spec}`, the schema's states first, then latent ones.
        latent: names of states that the data does not show.
        parameters: the parameters on the unit cube.
        submodules: names, in order.
        observed: names of the variables that `observe` reports, () without it.
        cost: counted operations per lane and step.
        graph: which states and inputs reach which state, or None where it cannot be read.
    """

    states: Mapping[str, Any]
    latent: tuple[str, ...]
    parameters: ParameterSpace
    submodules: tuple[str, ...]
    observed: tuple[str, ...]
    cost: int
    graph: Any

    def initial(
        self,
        observed: Mapping[str, jax.Array],
        seen: Mapping[str, jax.Array],
        inputs: Mapping[str, jax.Array],
        params: Values,
        words: WordSource,
    ) -> State:
        """Full state at the first row; `observed` is 0 where `seen` is false."""
        ...

    def step(
        self, state: State, inputs: Mapping[str, jax.Array], params: Values, words: WordSource
    ) -> tuple[State, dict[str, jax.Array]]:
        """Next state and the merged outputs of all submodules."""
        ...

    def observe(
        self, state: State, outputs: Mapping[str, jax.Array], params: Values, words: WordSource
    ) -> dict[str, jax.Array] | None:
        """What the table shows of a state, or None where it shows the state itself."""
        ...

    def implied(
        self, previous: State, current: State, inputs: Mapping[str, jax.Array]
    ) -> dict[str, jax.Array] | None:
        """The outputs that two complete states imply, or None."""
        ...

    @staticmethod
    def from_functions(*arguments: Any, **options: Any) -> Any:
        """A simulator from trusted functions, see `native.from_functions`."""
        from gsim_jax.simulator.native import from_functions

        return from_functions(*arguments, **options)
