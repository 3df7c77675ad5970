"""Scenarios on the device: per target and row four numbers, scale, add, low, high.

Whatever a scenario does to a target in a row comes to x -> clip(scale x + add, low, high): such
maps are closed under composition, so that any list of changes is four numbers, any number of
scenarios is one array, and one compiled program serves them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.whatif.targets import Target

State = dict[str, jax.Array]
_INVALID = np.iinfo(np.int32).min
#: Group of the parameters of a submodule that takes the place of another one.
REPLACED = "replace:"


@dataclass(frozen=True)
class Slot:
    """A target that some scenario changes.

    Attributes:
        target: the target.
        fractional: whether whole numbers may become fractions, which are then rounded.
    """

    target: Target
    fractional: bool


@dataclass(frozen=True)
class Replaced:
    """A submodule that some scenario replaces by that of another simulator."""

    name: str
    simulator: Any


@dataclass(frozen=True)
class Effects:
    """What is changed, the static part; the numbers come with every row. See `Changes`."""

    slots: tuple[Slot, ...]
    replaced: tuple[Replaced, ...] = ()

    def _of(self, *kinds: str) -> list[Slot]:
        return [slot for slot in self.slots if slot.target.kind in kinds]

    def inputs(self, inputs: State, row: State) -> State:
        """Inputs, attributes and constants of a row."""
        found = dict(inputs)
        for slot in self._of("input", "attribute", "constant"):
            name = slot.target.name
            found[name] = change(jnp.asarray(inputs[name]), row[slot.target.key])
        return found

    def params(self, params: Any, row: State) -> Any:
        """Parameters of a step; those of a replacing submodule change with their namesakes."""
        found = {group: dict(values) for group, values in params.items()}
        for slot in self._of("parameter"):
            name = slot.target.name
            for group in (slot.target.group, REPLACED + slot.target.group):
                if name in found.get(group, {}):
                    value = jnp.asarray(found[group][name])
                    found[group][name] = change(value, row[slot.target.key])
        return found

    def outputs(
        self, name: str, new: State, before: State, row: State, given: tuple[Any, ...]
    ) -> State:
        """Outputs of a submodule: replaced where it is, then changed."""
        state, inputs, params, source = given
        found = dict(new)
        for replaced in self.replaced:
            if replaced.name == name:
                own = {name: params.get(REPLACED + name, {})}
                other = replaced.simulator.submodule(name, state, inputs, before, own, source)
                on = row[REPLACED + name][0] != 0
                found = {k: jnp.where(on, other[k], v) for k, v in found.items()}
        for slot in self._of("output"):
            if slot.target.group == name:
                value = jnp.asarray(found[slot.target.name])
                word = _word(slot, value, source)
                found[slot.target.name] = change(value, row[slot.target.key], word)
        return found

    def state(self, state: State, row: State, source: Any) -> State:
        """The state with which a row begins."""
        found = dict(state)
        for slot in self._of("state"):
            name = slot.target.name
            word = _word(slot, state[name], source)
            found[name] = change(state[name], row[slot.target.key], word)
        return found


def _word(slot: Slot, value: jax.Array, source: Any) -> jax.Array | None:
    """A word of its own for rounding; the words of all draws stay as they are."""
    if not slot.fractional or value.dtype != jnp.int32:
        return None
    return source(f"change/{slot.target.key}", 0, value.shape, 1, np.uint32(0))


def change(x: jax.Array, numbers: jax.Array, word: jax.Array | None = None) -> jax.Array:
    """clip(scale x + add, low, high), rounded for whole numbers.

    Args:
        x: float32 or int32.
        numbers: float32[4] or [4, *shape]: scale, add, low, high.
        word: uint32 of x's shape; a fraction of whole numbers is then rounded up with its own
            probability, so that means come out exact (a thinned count of 1 is not always 1 or
            always 0). Without it to the nearest number.

    Returns:
        Of x's dtype. An invalid number stays one unless it is set.
    """
    scale, add, low, high = numbers[0], numbers[1], numbers[2], numbers[3]
    if jnp.issubdtype(x.dtype, jnp.floating):
        # What is set is set, even where x is not a number.
        y = jnp.where(scale == 0, add, scale * x + add)
        return jnp.clip(y, low, high).astype(x.dtype)
    y = jnp.where(scale == 0, add, scale * x.astype(jnp.float32) + add)
    whole = _rounded(y, word)
    # Float32 does not hold every int32: what is not scaled is not passed through it.
    moved = x + _rounded(add, None)
    exact = (scale == 1) & (add == jnp.round(add))
    whole = jnp.where(exact, moved, whole)
    shown = whole.astype(jnp.float32)
    whole = jnp.where(shown < low, jnp.ceil(low).astype(jnp.int32), whole)
    whole = jnp.where(shown > high, jnp.floor(high).astype(jnp.int32), whole)
    return jnp.where((x == _INVALID) & (scale != 0), x, whole)


def _rounded(y: jax.Array, word: jax.Array | None) -> jax.Array:
    if word is None:
        return jnp.round(y).astype(jnp.int32)
    below = jnp.floor(y)
    uniform = (word >> np.uint32(8)).astype(jnp.float32) * np.float32(2**-24)
    return below.astype(jnp.int32) + (uniform < y - below).astype(jnp.int32)


def identity(rows: int, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers that change nothing, float64[rows, 4, *shape]."""
    numbers = np.zeros((rows, 4, *shape))
    numbers[:, 0], numbers[:, 2], numbers[:, 3] = 1.0, -np.inf, np.inf
    return numbers


def compose(numbers: np.ndarray, operation: str, value: Any) -> np.ndarray:
    """What `numbers` do, followed by one operation.

    Args:
        numbers: float64[rows, 4, ...].
        operation: `"scale"`, `"add"`, `"set"` or `"clip"`.
        value: number or array; for `"clip"` a pair, None for no bound.
    """
    scale, add, low, high = np.moveaxis(numbers, 1, 0)
    one = np.ones_like(scale)
    if operation == "clip":
        bottom = -np.inf if value[0] is None else value[0]
        top = np.inf if value[1] is None else value[1]
        parts = scale, add, np.clip(low, bottom, top), np.clip(high, bottom, top)
    elif operation == "add":
        parts = scale, add + value, low + value, high + value
    elif operation == "set":
        parts = 0 * one, value * one, -np.inf * one, np.inf * one
    else:
        by = value * one
        with np.errstate(invalid="ignore"):
            ends = low * by, high * by
        swap, none = by < 0, by == 0
        bottom = np.where(none, -np.inf, np.where(swap, ends[1], ends[0]))
        top = np.where(none, np.inf, np.where(swap, ends[0], ends[1]))
        parts = scale * by, np.where(none, 0.0, add * by), bottom, top
    return np.stack(parts, axis=1)


def is_fractional(numbers: np.ndarray) -> bool:
    """Whether numbers [scenarios, rows, 4, ...] can make fractions of whole numbers."""
    scale, add = numbers[:, :, 0], numbers[:, :, 1]
    return bool(np.any(scale != np.round(scale)) or np.any(add != np.round(add)))
