"""What an edit is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gsim_jax.propose.structure import Flow, Structure

if TYPE_CHECKING:
    from gsim_jax.task import Profile, Schema

#: Laws that some pool drives.
CONTACTS = ("contact", "uneven", "saturating", "crowd")


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


@dataclass(frozen=True)
class Context:
    """What the edits may use besides the structure."""

    schema: Schema
    profile: Profile


def ends(flow: Flow) -> frozenset[str]:
    """The pools that a flow joins."""
    return frozenset(end for end in (flow.source, flow.target) if end)
