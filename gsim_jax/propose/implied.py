"""Which flows two complete rows determine, and how."""

from __future__ import annotations

from gsim_jax.propose.structure import Flow, Structure

_OUTSIDE = ""


def implied_flows(structure: Structure) -> dict[str, str] | None:
    """Expressions in `previous` and `current` for the output of every flow.

    Pools are the nodes of a graph, flows its edges, the outside is a node as well. Where the graph
    is a forest, cutting an edge leaves a part that does not hold the outside; what crossed the edge
    is what that part lost or gained.

    Returns:
        Output name -> expression, or None where not every draw is determined: something is latent,
        a pool has stages, a flow branches or has a random rate, or the graph has a cycle.
    """
    if not structure.flows or structure.levels or structure.stocks:
        return None
    if any(p.start != "data" or p.stages > 1 for p in structure.pools.values()):
        return None
    if any(
        f.branch is not None or f.draw not in ("binomial", "poisson") or f.capacity
        for f in structure.flows
    ):
        return None
    if not _forest(structure):
        return None
    return {flow.name: _crossing(structure, flow) for flow in structure.flows}


def _forest(structure: Structure) -> bool:
    parent = {name: name for name in (*structure.pools, _OUTSIDE)}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for flow in structure.flows:
        a, b = root(flow.source or _OUTSIDE), root(flow.target or _OUTSIDE)
        if a == b:
            return False
        parent[a] = b
    return True


def _crossing(structure: Structure, flow: Flow) -> str:
    upstream = _part(structure, flow, flow.source or _OUTSIDE)
    downstream = _part(structure, flow, flow.target or _OUTSIDE)
    lost = _OUTSIDE not in upstream
    if lost and (_OUTSIDE in downstream or len(upstream) <= len(downstream)):
        return _difference(upstream, "previous", "current")
    return _difference(downstream, "current", "previous")


def _part(structure: Structure, cut: Flow, start: str) -> list[str]:
    found, todo = {start}, [start]
    while todo:
        here = todo.pop()
        for flow in structure.flows:
            ends = [flow.source or _OUTSIDE, flow.target or _OUTSIDE]
            if flow is not cut and here in ends:
                new = [end for end in ends if end not in found]
                found.update(new)
                todo += new
    return [name for name in (*structure.pools, _OUTSIDE) if name in found]


def _difference(names: list[str], first: str, second: str) -> str:
    plus = " + ".join(f'{first}["{name}"]' for name in names)
    minus = "".join(f' - {second}["{name}"]' for name in names)
    return plus + minus
