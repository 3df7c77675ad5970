"""Predictive checks with noise floors, rules, and the words for whoever proposes next."""

from gsim_jax.diagnose.evidence import Cells, Evidence
from gsim_jax.diagnose.findings import (
    Misfit,
    from_failures,
    from_parameters,
    from_residuals,
    from_rules,
    from_table,
    unexplained,
)
from gsim_jax.diagnose.stress import bands, check_rules_on_replicas
from gsim_jax.diagnose.verdict import Row, Verdict, judge

__all__ = [
    "Cells",
    "Evidence",
    "Misfit",
    "Row",
    "Verdict",
    "bands",
    "check_rules_on_replicas",
    "from_failures",
    "from_parameters",
    "from_residuals",
    "from_rules",
    "from_table",
    "judge",
    "unexplained",
]
