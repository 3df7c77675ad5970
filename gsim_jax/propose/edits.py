"""All structures one edit away from a structure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gsim_jax.propose.edit_levels import level_edits, stock_edits
from gsim_jax.propose.edit_types import Edit
from gsim_jax.propose.first import free_name, taken_names
from gsim_jax.propose.structure import MOST_STAGES, Factor, Flow, Pool, Structure

if TYPE_CHECKING:
    from gsim_jax.task import Profile, Schema

#: Laws that some pool drives, and what takes their place when the drivers go.
CONTACTS = ("contact", "uneven", "saturating", "crowd")
_LIKELY = {"contact": 0.5, "uneven": 0.35, "saturating": 0.25, "crowd": 0.1}


@dataclass(frozen=True)
class Context:
    """What the edits may use besides the structure."""

    schema: Schema
    profile: Profile


def edits(structure: Structure, context: Context) -> list[Edit]:
    """Every consistent neighbour: add, drop, swap, make latent, insert a stage, change the driver.

    Args:
        structure: where to start.
        context: schema and profile: inputs, calendar and cycles that may have an effect.
    """
    families = (
        _stages,
        _hidden_pools,
        _take_part,
        _drivers,
        _laws,
        _draws,
        _factors,
        _all_trends,
        _branches,
        _flows,
        _capacities,
        level_edits,
        stock_edits,
    )
    found = [edit for family in families for edit in family(structure, context)]
    return [edit for edit in found if not edit.structure.problems()]


def _ends(flow: Flow) -> frozenset[str]:
    return frozenset(end for end in (flow.source, flow.target) if end)


def _stages(structure: Structure, _: Context) -> Iterator[Edit]:
    for name, pool in structure.pools.items():
        leaving = structure.leaving(name)
        if pool.start == "rest" or len(leaving) != 1:
            continue
        touches = _ends(leaving[0])
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
        touches = _ends(flow)
        yield Edit("insert", f"insert:{flow.name}", grown, touches, 0.6 - fewer, words)
        if flow.law in CONTACTS:
            led = grown.with_flow(index, replace(first, drivers=(name,)))
            yield Edit("insert", f"insert-lead:{flow.name}", led, touches, 0.9 - fewer, f"{words}, which drives it")
            both = grown.with_flow(index, replace(first, drivers=(name, *flow.drivers[:1])))
            yield Edit("insert", f"insert-both:{flow.name}", both, touches, 0.5 - fewer, f"{words}, which drives it too")
    for name, pool in structure.pools.items():
        into, out = structure.entering(name), structure.leaving(name)
        if pool.start == "few" and len(into) == 1 and len(out) == 1:
            joined = _merged(structure, name, into[0], out[0])
            yield Edit("merge", f"merge:{name}", joined, _ends(into[0]) | _ends(out[0]), 0.2, f"without {name}")


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
    touches = frozenset(end for flow in structure.leaving(rest) for end in _ends(flow))
    apart = [n for n, p in structure.pools.items() if p.start == "share"]
    if not apart:
        name = free_name("apart", taken_names(context.schema) | set(structure.pools))
        more = structure.with_pool(name, Pool("share"))
        yield Edit("apart", "apart", more, touches, 0.85, "not everybody takes part")
    for name in apart:
        if not structure.leaving(name) and not structure.entering(name):
            pools = {n: p for n, p in structure.pools.items() if n != name}
            yield Edit("rejoin", "rejoin", replace(structure, pools=pools), touches, 0.1, "everybody takes part")


def _drivers(structure: Structure, _: Context) -> Iterator[Edit]:
    for index, flow in enumerate(structure.flows):
        if not flow.drivers:
            continue
        first = flow.drivers[0]
        able = [n for n in _able_to_drive(structure) if n != flow.source]
        for name in able:
            touches = _ends(flow)
            if name not in flow.drivers:
                swapped = structure.with_flow(index, replace(flow, drivers=(name,)))
                words = f"{flow.name} is driven by {name}"
                yield Edit("driver", f"driver:{flow.name}:{name}", swapped, touches, 0.5, words)
                if len(flow.drivers) == 1:
                    both = structure.with_flow(index, replace(flow, drivers=(first, name)))
                    words = f"{name} drives {flow.name} as well"
                    yield Edit("driver", f"also:{flow.name}:{name}", both, touches, 0.45, words)
        if len(flow.drivers) == 2:
            for keep in flow.drivers:
                alone = structure.with_flow(index, replace(flow, drivers=(keep,)))
                yield Edit("undriver", f"only:{flow.name}:{keep}", alone, _ends(flow), 0.2, f"only {keep} drives")


def _able_to_drive(structure: Structure) -> list[str]:
    """Pools that fill and empty again; sinks and bystanders drive nothing."""
    return [n for n in structure.pools if structure.leaving(n) and n != structure.rest]


def _laws(structure: Structure, context: Context) -> Iterator[Edit]:
    for index, flow in enumerate(structure.flows):
        def swap(law: str, weight: float, words: str, drivers=(), by="", draw="", flow=flow, index=index):
            new = replace(flow, law=law, drivers=drivers, by=by, draw=draw or flow.draw)
            if law == "service":
                new = replace(new, factors=())
            touches = _ends(flow) | set(drivers) | ({by} if by else set())
            return Edit("law", f"law:{flow.name}:{law}{by}{drivers[:1]}", structure.with_flow(index, new), frozenset(touches), weight, f"{flow.name}: {words}")

        inputs = [n for n, i in context.schema.inputs.items() if i.shape == ()]
        if flow.source is None:
            if flow.law != "arrivals":
                yield swap("arrivals", 0.2, "constant arrivals", draw="poisson")
            for name in inputs:
                yield swap("input_arrivals", 0.4, f"arrivals follow {name}", by=name)
            for name in _able_to_drive(structure) if flow.law != "birth" else ():
                yield swap("birth", 0.2, f"in proportion to {name}", drivers=(name,))
            continue
        if flow.law in CONTACTS:
            for law in CONTACTS:
                if law != flow.law:
                    yield swap(law, _LIKELY[law], f"{law} dependence", drivers=flow.drivers)
            yield swap("share", 0.05, "a constant share")
            continue
        for name in _able_to_drive(structure):
            if name != flow.source:
                yield swap("contact", 0.15, f"contact with {name}", drivers=(name,))
        for name in inputs if flow.law != "input" else ():
            yield swap("input", 0.15, f"rate set by {name}", by=name)
        if flow.law == "service":
            yield swap("share", 0.2, "a constant share", draw="binomial")
        elif structure.pools[flow.source].stages == 1 and not structure.whole:
            yield swap("service", 0.15, "limited service", draw="exact")


def _draws(structure: Structure, _: Context) -> Iterator[Edit]:
    steady = [i for i, f in enumerate(structure.flows) if f.draw in ("binomial", "poisson")]
    for index, flow in enumerate(structure.flows):
        if index in steady:
            new = structure.with_flow(index, replace(flow, draw=f"unsteady_{flow.draw}"))
            yield Edit("scatter", f"scatter:{flow.name}", new, _ends(flow), 0.4, f"{flow.name} scatters more")
        elif flow.draw.startswith("unsteady_"):
            new = structure.with_flow(index, replace(flow, draw=flow.draw.removeprefix("unsteady_")))
            yield Edit("steady", f"steady:{flow.name}", new, _ends(flow), 0.1, f"{flow.name} scatters less")
    if len(steady) > 1:
        new = structure
        for index in steady:
            flow = structure.flows[index]
            new = new.with_flow(index, replace(flow, draw=f"unsteady_{flow.draw}"))
        touches = frozenset(e for i in steady for e in _ends(structure.flows[i]))
        yield Edit("scatter", "scatter:all", new, touches, 0.5, "every flow scatters more")


def _factors(structure: Structure, context: Context) -> Iterator[Edit]:
    schema, profile = context.schema, context.profile
    for index, flow in enumerate(structure.flows):
        if flow.draw == "exact":
            continue
        driven = flow.law in CONTACTS
        offers = [(Factor("trend"), 0.5 if driven else 0.4, "its rate drifts", frozenset({"t"}))]
        for name, given in schema.inputs.items():
            if given.shape == ():
                offers.append((Factor("input", name), 0.45, f"{name} changes its rate", frozenset({name})))
        if schema.calendar:
            offers.append((Factor("weekend"), 0.3, "another rate at weekends", frozenset({"weekday"})))
        periods = {getattr(profile.variables.get(end), "period", None) for end in _ends(flow)}
        for period in sorted(int(p) for p in periods if p):
            offers.append((Factor("season", "", period), 0.5, f"a cycle of {period} steps", frozenset()))
        crowds = _able_to_drive(structure) if driven else ()
        for name in crowds:
            offers.append((Factor("crowd", name), 0.3, f"{name} holds it back", frozenset({name})))
        for factor, weight, words, related in offers:
            if factor not in flow.factors:
                new = replace(flow, factors=(*flow.factors, factor))
                key = f"factor:{flow.name}:{factor.kind}{factor.by}{factor.period}"
                touches = _ends(flow) | related
                yield Edit("factor", key, structure.with_flow(index, new), touches, weight, f"{flow.name}: {words}")
        for factor in flow.factors:
            left = tuple(f for f in flow.factors if f != factor)
            new = structure.with_flow(index, replace(flow, factors=left))
            key = f"unfactor:{flow.name}:{factor.kind}{factor.by}{factor.period}"
            yield Edit("unfactor", key, new, _ends(flow) | {factor.by}, 0.1, f"{flow.name} without {factor.kind}")


def _all_trends(structure: Structure, _: Context) -> Iterator[Edit]:
    """Stays that become shorter or longer as time goes on, in every observed pool at once."""
    trend, new, touches = Factor("trend"), structure, set()
    for index, flow in enumerate(structure.flows):
        seen = flow.source is not None and structure.pools[flow.source].start == "data"
        if seen and flow.law == "share" and trend not in flow.factors:
            changed = replace(flow, factors=(*flow.factors, trend))
            new, touches = new.with_flow(index, changed), touches | _ends(flow)
    if len(touches) > 2:
        words = "how long they stay changes with time"
        yield Edit("factor", "factor:all:trend", new, frozenset(touches | {"t"}), 0.5, words)


def _branches(structure: Structure, _: Context) -> Iterator[Edit]:
    """Some of those who leave a pool go elsewhere."""
    for index, flow in enumerate(structure.flows):
        if flow.source is None or flow.draw == "exact":
            continue
        if flow.branch is not None:
            new = structure.with_flow(index, replace(flow, branch=None))
            yield Edit("unbranch", f"unbranch:{flow.name}", new, _ends(flow), 0.2, f"{flow.name} without a side way")
            continue
        ends = [n for n, p in structure.pools.items() if p.start not in ("share", "rest")]
        ends = [n for n in ends if n not in (flow.source, flow.target)]
        if not structure.whole and not structure.conserved and flow.target is not None:
            ends.append("")
        sinks = [n for n in ends if not n or not structure.leaving(n)]
        for end in ends:
            new = structure.with_flow(index, replace(flow, branch=end))
            weight = 0.35 if end in sinks else 0.15
            words = f"some of those who leave {flow.source} go to {end or 'the outside'}"
            touches = _ends(flow) | ({end} if end else set())
            yield Edit("branch", f"branch:{flow.name}:{end}", new, frozenset(touches), weight, words)


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
            yield Edit("flow", f"flow:{a}:{b}", new, frozenset({a, b}), weight, f"some go from {a} to {b}")
    for name in free if not structure.whole and not structure.conserved else ():
        if structure.pools[name].stages == 1:
            out, into = Flow(name, None, "share"), Flow(None, name, "arrivals", draw="poisson")
            for flow in (out, into):
                if (flow.source, flow.target) not in pairs:
                    new = replace(structure, flows=(*structure.flows, flow))
                    yield Edit("flow", f"flow:{flow.name}", new, frozenset({name}), 0.25, f"with {flow.name}")
    for flow in structure.flows if len(structure.flows) > 1 else ():
        kept = replace(structure, flows=tuple(f for f in structure.flows if f is not flow))
        if all(kept.leaving(d) or kept.entering(d) for f in kept.flows for d in f.drivers):
            yield Edit("unflow", f"unflow:{flow.name}", kept, _ends(flow), 0.05, f"without {flow.name}")


def _capacities(structure: Structure, context: Context) -> Iterator[Edit]:
    for index, flow in enumerate(structure.flows):
        if flow.source is not None or flow.target is None:
            continue
        sizes = [n for n, a in context.schema.attributes.items() if a.kind == "count"]
        sizes += [n for n, c in context.schema.constants.items() if c.value.shape == () and str(c.value.dtype) == "int32"]
        for limit in ("parameter", *sizes, ""):
            if limit != flow.capacity:
                new = structure.with_flow(index, replace(flow, capacity=limit))
                words = f"{flow.target} is limited by {limit}" if limit else f"{flow.target} is not limited"
                yield Edit("capacity", f"capacity:{flow.name}:{limit}", new, _ends(flow), 0.35 if limit else 0.1, words)
