"""Proposers: from what is known about a task to simulator files."""

from gsim_jax.propose.brief import Brief, Finding, Parent, Proposal, Proposer, Structure

__all__ = ["Brief", "Finding", "Parent", "Proposal", "Proposer", "Structure"]
