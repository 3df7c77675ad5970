"""All structures one edit away from a structure."""

from __future__ import annotations

from gsim_jax.propose.edit_levels import level_edits, stock_edits
from gsim_jax.propose.edit_pools import pool_edits
from gsim_jax.propose.edit_rates import rate_edits
from gsim_jax.propose.edit_types import Context, Edit
from gsim_jax.propose.structure import Structure


def edits(structure: Structure, context: Context) -> list[Edit]:
    """Every consistent neighbour: add, drop, swap, make latent, insert a stage, change the driver.

    Args:
        structure: where to start.
        context: schema and profile: inputs, calendar and cycles that may have an effect.

    Returns:
        Edits in a fixed order; none leads to a structure with `Structure.problems`.
    """
    families = (pool_edits, rate_edits, level_edits, stock_edits)
    found = [edit for family in families for edit in family(structure, context)]
    return [edit for edit in found if not edit.structure.problems()]
