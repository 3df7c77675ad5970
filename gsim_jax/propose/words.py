"""A structure in a few words."""

from __future__ import annotations

from gsim_jax.propose.structure import Factor, Flow, Structure

_LAWS = {
    "share": "",
    "contact": "contact with {drivers}",
    "crowd": "density-dependent contact with {drivers}",
    "saturating": "saturating contact with {drivers}",
    "uneven": "uneven contact with {drivers}",
    "input": "rate set by {by}",
    "service": "limited service",
    "arrivals": "",
    "birth": "in proportion to {drivers}",
    "input_arrivals": "set by {by}",
}


def title(structure: Structure) -> str:
    """One line: chains of pools, then what is special about them."""
    parts = [_chain(structure, chain) for chain in _chains(structure)]
    parts += [_part_words(flow) for flow in structure.flows if _part_words(flow)]
    spread = [f for f in structure.flows if f.draw.startswith("unsteady")]
    if spread:
        every = len(spread) == len(structure.flows) > 1
        parts.append("over-dispersed" + ("" if every else f" {_list(f.name for f in spread)}"))
    parts += [f"some stay in {n}" for n, p in structure.pools.items() if p.start == "share"]
    for name, level in structure.levels.items():
        terms = _list(t.law + (f" {t.by}" if t.by else "") for t in level.terms)
        parts.append(f"{name}: {terms or 'no drift'}, {level.noise} noise")
    for name, stock in structure.stocks.items():
        order = (
            f"{stock.order} {'delayed' if stock.delayed else 'at once'}"
            if stock.order
            else "random supply"
        )
        parts.append(f"{name} serves {stock.demand.replace('poisson', 'random')} demand, {order}")
    return "; ".join(parts).replace("_", " ")


def _chains(structure: Structure) -> list[list[Flow]]:
    """Flows joined end to end, as far as they go."""
    left, found = list(structure.flows), []
    while left:
        heads = [f for f in left if not any(o.target == f.source for o in left if o is not f)]
        chain = [heads[0] if heads else left[0]]
        left.remove(chain[0])
        while True:
            following = next(
                (f for f in left if chain[-1].target and f.source == chain[-1].target), None
            )
            if following is None:
                break
            chain.append(following)
            left.remove(following)
        found.append(chain)
    return found


def _chain(structure: Structure, chain: list[Flow]) -> str:
    names = [chain[0].source, *(flow.target for flow in chain)]
    return " -> ".join("outside" if n is None else _pool(structure, n) for n in names)


def _pool(structure: Structure, name: str) -> str:
    stages = structure.pools[name].stages
    return name if stages == 1 else f"{name} ({stages} stages)"


def _part_words(flow: Flow) -> str:
    words = _LAWS.get(flow.law, flow.law).format(drivers=_list(flow.drivers), by=flow.by)
    more = [_factor(flow, factor) for factor in flow.factors]
    if flow.branch is not None:
        more.append(f"some of those leaving {flow.source} go to {flow.branch or 'the outside'}")
    if flow.capacity:
        more.append(f"{flow.target} limited by {flow.capacity}")
    return ", ".join(filter(None, [words, *more]))


def _factor(flow: Flow, factor: Factor) -> str:
    what = f"{factor.kind} {factor.by or factor.period or ''}".strip()
    return f"{what} in {flow.name}"


def _list(items) -> str:
    return " and ".join(items)
