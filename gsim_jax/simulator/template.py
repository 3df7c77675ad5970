"""The names that a simulator file may use without import, none other.

People, the mechanism library and language models write the same file; the guard reads these lists,
and the child process that traces a file builds its namespace from them.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import Any

#: Builtins of a simulator file.
BUILTINS: tuple[str, ...] = (
    "abs", "all", "any", "bool", "dict", "divmod", "enumerate", "filter", "float", "frozenset",
    "int", "isinstance", "len", "list", "map", "max", "min", "pow", "range", "reversed", "round",
    "set", "slice", "sorted", "str", "sum", "tuple", "zip", "ValueError",
)  # fmt: skip
#: Functions of a file that are not submodules.
REQUIRED, OPTIONAL = ("couple",), ("initial", "observe", "implied")
#: Names that a submodule cannot have.
RESERVED = (*REQUIRED, *OPTIONAL, "outputs", "submodule")
#: Groups of parameters that belong to no submodule.
OTHER_GROUPS = ("couple", "observe", "initial")
#: Arguments of the functions of a file, in order.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "initial": ("observed", "seen", "params", "key"),
    "submodule": ("state", "inputs", "params", "key"),
    "couple": ("state", "inputs", "outputs", "params", "key"),
    "observe": ("state", "outputs", "params", "key"),
    "implied": ("previous", "current", "inputs"),
}
#: Kinds of state and their dtypes.
KINDS: dict[str, str] = {
    "count": "int32", "real": "float32", "flag": "int32", "category": "int32",
}  # fmt: skip


def is_name(name: Any) -> bool:
    """Whether something is a name: an ASCII identifier of at most 64 characters."""
    return isinstance(name, str) and name.isascii() and name.isidentifier() and len(name) <= 64


class StateError(ValueError):
    """A latent state was declared with arguments that it does not take."""


@dataclass(frozen=True)
class State:
    """A state that the data does not show, declared in `LATENT`.

    Attributes:
        kind: `"count"`, `"real"`, `"flag"` or `"category"`; reals are float32, the others int32.
        shape: shape of the value, `()` for a scalar.
        min: least value, or None.
        max: greatest value, or None.
    """

    kind: str
    shape: tuple[int, ...] = ()
    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise StateError(f"State: expected a kind out of {', '.join(KINDS)}; got {self.kind!r}")
        shape = (self.shape,) if isinstance(self.shape, int) else tuple(self.shape)
        if not all(isinstance(n, int) and 0 < n <= 100_000 for n in shape) or len(shape) > 8:
            raise StateError(f"State: shape must be a tuple of positive integers; got {shape!r}")
        object.__setattr__(self, "shape", shape)
        for name, bound in (("min", self.min), ("max", self.max)):
            if bound is not None and (
                isinstance(bound, bool) or not isinstance(bound, int | float)
            ):
                raise StateError(f"State: {name} must be a number or None; got {bound!r}")

    def to_json(self) -> dict[str, Any]:
        """The entry of the document's `latent`."""
        return {"kind": self.kind, "shape": list(self.shape), "min": self.min, "max": self.max}


def namespace() -> dict[str, Any]:
    """A fresh namespace for one file: jnp, lax, split, draws, priors, State, the helpers."""
    import jax.numpy as jnp
    from jax import lax

    from gsim_jax.simulator import slots
    from gsim_jax.simulator._draws import DRAWS, split
    from gsim_jax.simulator.priors import PRIORS

    return {
        "__builtins__": {name: getattr(builtins, name) for name in BUILTINS},
        "__name__": "simulator",
        "jnp": jnp,
        "lax": lax,
        "split": split,
        "State": State,
        **DRAWS,
        **PRIORS,
        **{name: getattr(slots, name) for name in slots.__all__},
    }


def names() -> frozenset[str]:
    """Every name that a simulator file may use, builtins included."""
    given = namespace()
    return frozenset(name for name in given if not name.startswith("__")) | frozenset(BUILTINS)
