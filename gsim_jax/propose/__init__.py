"""Proposers: from what is known about a task to simulator files."""

from gsim_jax.propose.brief import (
    Attempt,
    Brief,
    Cell,
    Finding,
    Parent,
    Proposal,
    Proposer,
    Structure,
)
from gsim_jax.propose.chat import ChatProposer
from gsim_jax.propose.chat_options import ChatOptions
from gsim_jax.propose.conversing import Conversing, Spent
from gsim_jax.propose.library import LibraryProposer
from gsim_jax.propose.replay import ReplayProposer

__all__ = [
    "Attempt",
    "Brief",
    "Cell",
    "ChatOptions",
    "ChatProposer",
    "Conversing",
    "Finding",
    "LibraryProposer",
    "Parent",
    "Proposal",
    "Proposer",
    "ReplayProposer",
    "Spent",
    "Structure",
]
