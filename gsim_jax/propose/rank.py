"""How promising an edit is: what is plausible beforehand, and what the findings point at."""

from __future__ import annotations

from gsim_jax.propose.brief import Finding, Parent
from gsim_jax.propose.edit_types import Edit

#: Findings smaller than this many standard errors are noise.
_NOISE = 2.0
#: Beyond this many standard errors a finding counts no more.
_MOST = 8.0
_DROPS = (
    "unstage",
    "merge",
    "rejoin",
    "undriver",
    "steady",
    "unfactor",
    "unbranch",
    "unflow",
    "unterm",
)
#: A parameter at its upper (+1) or lower (-1) bound, by name, and the kinds of edit it speaks for.
_AT_BOUND = {
    ("unsteadiness", -1): ("steady",),
    ("aside", -1): ("unbranch",),
    ("season", -1): ("unfactor",),
    ("share", 1): ("unstage", "merge", "law"),
    ("share", -1): ("unflow", "law"),
    ("noise", 1): ("term", "scatter"),
}


def evidence(edit: Edit, parent: Parent) -> float:
    """How much the findings about a parent speak for one of its edits.

    Args:
        edit: the edit.
        parent: with its findings and its parameters on the unit cube.

    Returns:
        A number to compare with those of other edits of the same parent; 0 where nothing speaks
        for it.
    """
    biased = {(f.variable, f.horizon) for f in parent.findings if f.kind == "bias"}
    total = sum(
        _finding(edit, finding, (finding.variable, finding.horizon) in biased)
        for finding in parent.findings
    )
    for key, u in parent.unit.items():
        side = -1 if u < 0.02 else 1 if u > 0.98 else 0
        if side:
            total += _bound(edit, key, side)
    return total


def _finding(edit: Edit, finding: Finding, biased: bool) -> float:
    size = min(abs(finding.z), _MOST) / _MOST
    if abs(finding.z) < _NOISE or finding.kind in ("bound", "undetermined", "failure"):
        return 0.0
    near = _nearness(edit, finding.variable.split("[")[0])
    if finding.kind == "residual":
        related = finding.related in edit.touches if finding.related else False
        return (0.9 * near if related else 0.1 * near) * size
    if finding.kind == "spread":
        # Data that scatter more than the simulation may also hide a missing mechanism; a bad score
        # without a bias, on the other hand, may be nothing but scatter.
        wanted = "scatter" if finding.z > 0 else "steady"
        return (0.3 * (edit.kind == wanted) + 0.1) * near * size
    if finding.kind == "rule":
        return 0.2 * near * size
    if edit.kind in ("steady", *_DROPS) or (edit.kind == "scatter" and biased):
        return 0.0
    horizon = {"1": 0.4, "7": 0.25}.get(finding.horizon, 0.2)
    return horizon * near * size


def _nearness(edit: Edit, variable: str) -> float:
    """1 where the edit concerns the variable, less where only a flow joins them."""
    if variable in edit.touches:
        return 1.0
    for flow in edit.structure.flows:
        ends = {flow.source, flow.target}
        if variable in ends and ends & edit.touches:
            return 0.5
    return 0.0


def _bound(edit: Edit, key: str, side: int) -> float:
    group, _, name = key.partition(".")
    owner = edit.key.split(":")[1] if ":" in edit.key else ""
    ours = owner == group or owner in (group.split("_to_")[0], group.removeprefix("change_of_"))
    if name.startswith("share_"):
        return 0.4 * (edit.kind == "rejoin") * (side < 0)
    if name.startswith("weight_of_"):
        return 0.4 * (edit.kind in ("undriver", "driver")) * ours * (side < 0)
    if not ours:
        return 0.0
    return 0.4 * (edit.kind in _AT_BOUND.get((name, side), ("law",)))
