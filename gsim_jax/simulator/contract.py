"""What a simulator is: the one contract that programs and native functions both keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import jax

from gsim_jax.simulator.lanes import WordSource
from gsim_jax.simulator.parameters import ParameterSpace

State = dict[str, jax.Array]
Params = Mapping[str, Mapping[str, jax.Array]]


class Simulator(Protocol):
    """A structure with its parameters declared; every method is for ONE lane, the engine vmaps."""

    @property
    def states(self) -> Mapping[str, Any]:
        """`{name: spec}`, the schema's states first, then latent ones."""
        ...

    @property
    def latent(self) -> tuple[str, ...]:
        """Names of states that the data does not show."""
        ...

    @property
    def parameters(self) -> ParameterSpace:
        """The parameters on the unit cube."""
        ...

    @property
    def submodules(self) -> tuple[str, ...]:
        """Names, in order."""
        ...

    @property
    def observed(self) -> tuple[str, ...]:
        """Names of the variables that `observe` reports, () without it."""
        ...

    @property
    def cost(self) -> int:
        """Counted operations per lane and step."""
        ...

    @property
    def graph(self) -> Any:
        """Which states and inputs reach which state, or None where it cannot be read."""
        ...

    def initial(
        self,
        observed: Mapping[str, jax.Array],
        seen: Mapping[str, jax.Array],
        inputs: Mapping[str, jax.Array],
        params: Params,
        words: WordSource,
    ) -> State:
        """Full state at the first row; `observed` is 0 where `seen` is false."""
        ...

    def step(
        self, state: State, inputs: Mapping[str, jax.Array], params: Params, words: WordSource
    ) -> tuple[State, dict[str, jax.Array]]:
        """Next state and the merged outputs of all submodules."""
        ...

    def observe(
        self, state: State, outputs: Mapping[str, jax.Array], params: Params, words: WordSource
    ) -> dict[str, jax.Array] | None:
        """What the table shows of a state, or None where it shows the state itself."""
        ...

    def implied(
        self, previous: State, current: State, inputs: Mapping[str, jax.Array]
    ) -> dict[str, jax.Array] | None:
        """The outputs that two complete states imply, or None."""
        ...

    if not TYPE_CHECKING:
        # A way to make simulators, not something that a simulator must have.
        @staticmethod
        def from_functions(*arguments: Any, **options: Any) -> Any:
            """A simulator from trusted functions, see `native.from_functions`."""
            from gsim_jax.simulator.native import from_functions

            return from_functions(*arguments, **options)
