"""What each function of a simulator is given and must return: paths, dtypes and shapes.

One description for both sides: the child traces functions against it, the parent checks documents
against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gsim_jax.simulator.template import KINDS
from gsim_jax.simulator.vocabulary import Shaped

Path = tuple[str, ...]
Leaves = dict[Path, Shaped]


def shaped(entry: Mapping[str, Any]) -> Shaped:
    """Dtype and shape of an entry `{"dtype", "shape"}`."""
    return Shaped(str(entry["dtype"]), tuple(int(n) for n in entry["shape"]))


@dataclass(frozen=True)
class Interface:
    """The values that functions exchange with the outside.

    Attributes:
        shown: states of the task, which the data shows, by name.
        latent: states of the simulator's own.
        inputs: `t`, inputs, attributes, constants, calendar.
        parameters: by group and name.
        submodules: names in order.
    """

    shown: Mapping[str, Shaped]
    latent: Mapping[str, Shaped]
    inputs: Mapping[str, Shaped]
    parameters: Mapping[str, Mapping[str, Shaped]]
    submodules: tuple[str, ...]

    @classmethod
    def of(
        cls,
        signature: Mapping[str, Any],
        latent: Mapping[str, Mapping[str, Any]],
        parameters: Mapping[str, Mapping[str, Shaped]],
        submodules: tuple[str, ...],
    ) -> Interface:
        """The interface under a task's signature.

        Args:
            signature: see `Schema.signature`.
            latent: entries of a document's `latent`.
            parameters: dtypes and shapes by group and name.
            submodules: names in order.
        """
        return cls(
            {name: shaped(entry) for name, entry in signature["states"].items()},
            {n: Shaped(KINDS[e["kind"]], tuple(e["shape"])) for n, e in latent.items()},
            {name: shaped(entry) for name, entry in signature["inputs"].items()},
            parameters,
            submodules,
        )

    @property
    def states(self) -> dict[str, Shaped]:
        """All states, those of the task first."""
        return {**self.shown, **self.latent}

    def given(self, function: str, produced: Mapping[str, Shaped]) -> Leaves:
        """What a function may read.

        Args:
            function: name of a submodule, or `initial`, `couple`, `observe`, `implied`.
            produced: outputs of the submodules so far.
        """
        if function == "initial":
            return self._given_initial()
        if function == "implied":
            both = {**self._under("previous", self.states), **self._under("current", self.states)}
            return {**both, **self._under("inputs", self.inputs)}
        leaves = self._under("state", self.states)
        leaves |= self._under("params", self.parameters.get(function, {}))
        if function in self.submodules:
            leaves |= {("inputs", "outputs", name): leaf for name, leaf in produced.items()}
        else:
            leaves |= self._under("outputs", produced)
        if function != "observe":
            leaves |= self._under("inputs", self.inputs)
        return leaves

    def _given_initial(self) -> Leaves:
        # Constants and attributes ride along in `observed`; the step number does not.
        known = {name: leaf for name, leaf in self.inputs.items() if name != "t"}
        leaves = self._under("observed", {**self.shown, **known})
        leaves |= {("seen", name): Shaped("bool", leaf.shape) for name, leaf in self.shown.items()}
        for group, members in self.parameters.items():
            leaves |= {("params", group, name): leaf for name, leaf in members.items()}
        return leaves

    @staticmethod
    def _under(root: str, members: Mapping[str, Shaped]) -> Leaves:
        return {(root, name): leaf for name, leaf in members.items()}
