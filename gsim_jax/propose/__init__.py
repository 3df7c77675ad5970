"""Proposers: from what is known about a task to simulator files."""

from gsim_jax.propose.brief import Brief, Finding, Parent, Proposal, Proposer, Structure
from gsim_jax.propose.library import LibraryProposer

__all__ = ["Brief", "Finding", "LibraryProposer", "Parent", "Proposal", "Proposer", "Structure"]
