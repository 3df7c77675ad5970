"""What an edit is."""

from __future__ import annotations

from dataclasses import dataclass

from gsim_jax.propose.structure import Structure


@dataclass(frozen=True)
class Edit:
    """A neighbour of a structure.

    Attributes:
        kind: family of the edit; a round prefers different kinds.
        key: the edit without the structure it is applied to; the same edit elsewhere bears the
            same key.
        structure: the result.
        touches: pools, levels and inputs that it concerns.
        weight: plausibility before any finding, larger is more plausible.
        words: what it says about the world.
    """

    kind: str
    key: str
    structure: Structure
    touches: frozenset[str]
    weight: float
    words: str
