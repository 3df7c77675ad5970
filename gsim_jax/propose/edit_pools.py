"""Edits of pools and of the flows between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gsim_jax.propose.edit_types import CONTACTS, Context, Edit, ends
from gsim_jax.propose.first import free_name, taken_names
from gsim_jax.propose.structure import MOST_STAGES, Flow, Pool, Structure


def pool_edits(structure: Structure, context: Context) -> Iterator[Edit]:
    """More or fewer stages, hidden pools, bystanders, side ways, flows and capacities."""
    for family in (_stages, _hidden_pools, _take_part, _branches, _flows, _capacities):
        yield from family(structure, context)


def _stages(structure: Structure, _: Context) -> Iterator[Edit]:
    for name, pool in structure.pools.items():
        leaving = structure.leaving(name)
        if pool.start == "rest" or len(leaving) != 1:
            continue
        touches = ends(leaving[0])
        if pool.stages < MOST_STAGES and leaving[0].law == "share":
            more = structure.with_pool(name, replace(pool, stages=pool.stages + 1))
            weight = (0.9 if pool.start == "data" else 0.5) - 0.3 * (pool.stages - 1)
            words = f"stays in {name} are more regular: {pool.stages + 1} stages"
            yield Edit("stage", f"stage:{name}", more, touches, weight, words)
        if pool.stages > 1:
            less = structure.with_pool(name, replace(pool, stages=pool.stages - 1))
            words = f"stays in {name} are less regular"
            yield Edit("unstage", f"unstage:{name}", less, touches, 0.1, words)


def _hidden_pools(structure: Structure, context: Context) -> Iterator[Edit]:
    """Insert a latent pool into a flow, or take one out."""
    taken = taken_names(context.schema) | set(structure.pools)
    fewer = 0.35 * sum(pool.start == "few" for pool in structure.pools.values())
    for index, flow in enumerate(structure.flows):
        if flow.target is None or {flow.source, flow.target} <= set(structure.conserved):
            continue
        name = free_name(f"before_{flow.target.removeprefix('before_')}", taken)
        first = replace(flow, target=name, branch=None, capacity="")
        then = Flow(name, flow.target, "share", branch=flow.branch, capacity=flow.capacity)
        if flow.draw == "exact":
            continue
        flows = (*structure.flows[:index], first, then, *structure.flows[index + 1 :])
        grown = replace(structure, flows=flows).with_pool(name, Pool("few"))
        words = f"a hidden pool between {flow.source or 'the outside'} and {flow.target}"
        touches = ends(flow)
        yield Edit("insert", f"insert:{flow.name}", grown, touches, 0.6 - fewer, words)
        if flow.law in CONTACTS:
            led = grown.with_flow(index, replace(first, drivers=(name,)))
            yield Edit(
                "insert",
                f"insert-lead:{flow.name}",
                led,
                touches,
                0.9 - fewer,
                f"{words}, which drives it",
            )
            both = grown.with_flow(index, replace(first, drivers=(name, *flow.drivers[:1])))
            yield Edit(
                "insert",
                f"insert-both:{flow.name}",
                both,
                touches,
                0.5 - fewer,
                f"{words}, which drives it too",
            )
    for name, pool in structure.pools.items():
        into, out = structure.entering(name), structure.leaving(name)
        if pool.start == "few" and len(into) == 1 and len(out) == 1:
            joined = _merged(structure, name, into[0], out[0])
            yield Edit(
                "merge",
                f"merge:{name}",
                joined,
                ends(into[0]) | ends(out[0]),
                0.2,
                f"without {name}",
            )


def _merged(structure: Structure, name: str, into: Flow, out: Flow) -> Structure:
    heir = out.target or into.source or ""
    flow = replace(into, target=out.target, branch=out.branch, capacity=out.capacity)
    flows = tuple(flow if f is into else f for f in structure.flows if f is not out)
    pools = {n: p for n, p in structure.pools.items() if n != name}
    heirs = [
        replace(
            f,
            drivers=tuple(dict.fromkeys(heir if d == name else d for d in f.drivers)),
            factors=tuple(x for x in f.factors if x.by != name),
            branch=heir if f.branch == name else f.branch,
        )
        for f in flows
    ]
    return replace(structure, flows=tuple(heirs), pools=pools)


def _take_part(structure: Structure, context: Context) -> Iterator[Edit]:
    """A share of the whole that takes no part."""
    rest = structure.rest
    if rest is None:
        return
    touches = frozenset(end for flow in structure.leaving(rest) for end in ends(flow))
    apart = [n for n, p in structure.pools.items() if p.start == "share"]
    if not apart:
        name = free_name("apart", taken_names(context.schema) | set(structure.pools))
        more = structure.with_pool(name, Pool("share"))
        yield Edit("apart", "apart", more, touches, 0.85, "not everybody takes part")
    for name in apart:
        if not structure.leaving(name) and not structure.entering(name):
            pools = {n: p for n, p in structure.pools.items() if n != name}
            yield Edit(
                "rejoin",
                "rejoin",
                replace(structure, pools=pools),
                touches,
                0.1,
                "everybody takes part",
            )


def _branches(structure: Structure, _: Context) -> Iterator[Edit]:
    """Some of those who leave a pool go elsewhere."""
    for index, flow in enumerate(structure.flows):
        if flow.source is None or flow.draw == "exact":
            continue
        if flow.branch is not None:
            new = structure.with_flow(index, replace(flow, branch=None))
            yield Edit(
                "unbranch",
                f"unbranch:{flow.name}",
                new,
                ends(flow),
                0.2,
                f"{flow.name} without a side way",
            )
            continue
        goals = [n for n, p in structure.pools.items() if p.start not in ("share", "rest")]
        goals = [n for n in goals if n not in (flow.source, flow.target)]
        if not structure.whole and not structure.conserved and flow.target is not None:
            goals.append("")
        sinks = [n for n in goals if not n or not structure.leaving(n)]
        for end in goals:
            new = structure.with_flow(index, replace(flow, branch=end))
            weight = 0.35 if end in sinks else 0.15
            words = f"some of those who leave {flow.source} go to {end or 'the outside'}"
            touches = ends(flow) | ({end} if end else set())
            yield Edit(
                "branch", f"branch:{flow.name}:{end}", new, frozenset(touches), weight, words
            )


def _flows(structure: Structure, _: Context) -> Iterator[Edit]:
    """A further flow between two pools, or one less."""
    pairs = {(f.source, f.target) for f in structure.flows}
    free = [n for n, p in structure.pools.items() if p.start != "share"]
    for a in free:
        for b in free:
            if a == b or (a, b) in pairs or structure.pools[a].stages > 1:
                continue
            new = replace(structure, flows=(*structure.flows, Flow(a, b, "share")))
            weight = 0.15 if structure.leaving(a) else 0.25
            yield Edit(
                "flow", f"flow:{a}:{b}", new, frozenset({a, b}), weight, f"some go from {a} to {b}"
            )
    for name in free if not structure.whole and not structure.conserved else ():
        if structure.pools[name].stages == 1:
            out, into = Flow(name, None, "share"), Flow(None, name, "arrivals", draw="poisson")
            for flow in (out, into):
                if (flow.source, flow.target) not in pairs:
                    new = replace(structure, flows=(*structure.flows, flow))
                    yield Edit(
                        "flow",
                        f"flow:{flow.name}",
                        new,
                        frozenset({name}),
                        0.25,
                        f"with {flow.name}",
                    )
    for flow in structure.flows if len(structure.flows) > 1 else ():
        kept = replace(structure, flows=tuple(f for f in structure.flows if f is not flow))
        if all(kept.leaving(d) or kept.entering(d) for f in kept.flows for d in f.drivers):
            yield Edit(
                "unflow", f"unflow:{flow.name}", kept, ends(flow), 0.05, f"without {flow.name}"
            )


def _capacities(structure: Structure, context: Context) -> Iterator[Edit]:
    for index, flow in enumerate(structure.flows):
        if flow.source is not None or flow.target is None:
            continue
        sizes = [n for n, a in context.schema.attributes.items() if a.kind == "count"]
        sizes += [
            n
            for n, c in context.schema.constants.items()
            if c.value.shape == () and str(c.value.dtype) == "int32"
        ]
        for limit in ("parameter", *sizes, ""):
            if limit != flow.capacity:
                new = structure.with_flow(index, replace(flow, capacity=limit))
                words = (
                    f"{flow.target} is limited by {limit}"
                    if limit
                    else f"{flow.target} is not limited"
                )
                yield Edit(
                    "capacity",
                    f"capacity:{flow.name}:{limit}",
                    new,
                    ends(flow),
                    0.35 if limit else 0.1,
                    words,
                )
