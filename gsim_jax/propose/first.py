"""Hypotheses of a first round, read from the schema and from what the data show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise, permutations, product
from typing import TYPE_CHECKING

import numpy as np

from gsim_jax.propose.first_levels import Idea, level_ideas, stock_ideas
from gsim_jax.propose.structure import Flow, Pool, Structure

if TYPE_CHECKING:
    from gsim_jax.task import Profile, Schema

#: Chains longer than this are taken in the order of the schema, not searched.
_LONGEST_SEARCHED = 6


def first_ideas(schema: Schema, profile: Profile) -> list[Idea]:
    """Structures for a first round, most plausible first.

    The counts that move among themselves (an invariant), the counts that a constant bounds, goods
    that an input replenishes, and everything else are separate parts; the ideas for each part are
    combined in the order of their summed ranks.
    """
    parts = [part for part in _parts(schema, profile) if part]
    ranked = sorted(product(*(range(len(part)) for part in parts)), key=lambda r: (sum(r), r))
    found = []
    for ranks in ranked[:200]:
        chosen = [part[rank] for part, rank in zip(parts, ranks, strict=True)]
        if chosen:
            found.append(_complete(_join(chosen), schema, profile))
    return found


def _complete(idea: Idea, schema: Schema, profile: Profile) -> Idea:
    """Adds a level for every state that no part speaks of."""
    done = {*idea.structure.pools, *idea.structure.levels, *_held(idea)}
    left = [name for name in schema.states if name not in done]
    return _join([idea, level_ideas(schema, profile, left)[0]]) if left else idea


def _join(ideas: list[Idea]) -> Idea:
    whole = next((i.structure.whole for i in ideas if i.structure.whole), "")
    structure = Structure(
        pools={n: p for i in ideas for n, p in i.structure.pools.items()},
        flows=tuple(f for i in ideas for f in i.structure.flows),
        whole=whole,
        conserved=next((i.structure.conserved for i in ideas if i.structure.conserved), ()),
        levels={n: x for i in ideas for n, x in i.structure.levels.items()},
        stocks={n: x for i in ideas for n, x in i.structure.stocks.items()},
    )
    return Idea(structure, "; ".join(dict.fromkeys(idea.why for idea in ideas)))


def _parts(schema: Schema, profile: Profile) -> list[list[Idea]]:
    counts = [n for n, s in schema.states.items() if s.kind == "count" and s.shape == ()]
    parts: list[list[Idea]] = []
    closed = _closed(schema, profile, counts)
    if closed:
        order = chain_order(closed, profile)
        parts.append(list(_closed_ideas(order, profile)))
        counts = [n for n in counts if n not in closed]
    stocks = stock_ideas(schema, profile, counts)
    if stocks:
        parts.append(stocks)
        counts = [n for n in counts if not any(n in _held(i) for i in stocks)]
    whole = whole_of(schema, profile, counts) if not closed else ""
    if counts and whole:
        parts.append(list(_open_ideas(chain_order(counts, profile), whole, schema)))
        counts = []
    elif counts and not stocks:
        parts.append(
            [*_queue_ideas(chain_order(counts, profile)), *level_ideas(schema, profile, counts)]
        )
        counts = []
    others = [n for n in schema.states if n in counts or schema.states[n].kind != "count"]
    others += [n for n, s in schema.states.items() if s.kind == "count" and s.shape != ()]
    if others:
        parts.append(level_ideas(schema, profile, others))
    return parts


def _held(idea: Idea) -> set[str]:
    return {n for name, s in idea.structure.stocks.items() for n in (name, s.waiting)}


def _closed(schema: Schema, profile: Profile, counts: list[str]) -> tuple[str, ...]:
    """The largest set of counts whose plain sum stays constant."""
    forms = [dict(form) for form in schema.invariants]
    forms += [dict(invariant.coefficients) for invariant in profile.invariants]
    best: tuple[str, ...] = ()
    for form in forms:
        names = [n for n, c in form.items() if c]
        plain = len({float(form[n]) for n in names}) == 1 and all(n in counts for n in names)
        if plain and len(names) > max(1, len(best)):
            best = tuple(n for n in counts if n in names)
    return best


def whole_of(schema: Schema, profile: Profile, counts: list[str]) -> str:
    """A scalar constant that no count exceeds, hence may be what they are part of."""
    seen = [profile.variables[n].maximum for n in counts if n in profile.variables]
    most = max([float(m) for m in seen if m is not None], default=0.0)
    sizes = {
        name: float(constant.value)
        for name, constant in schema.constants.items()
        if np.ndim(constant.value) == 0 and float(constant.value) >= max(most, 10.0)
    }
    return min(sizes, key=lambda name: (sizes[name], name)) if sizes else ""


def chain_order(names: list[str] | tuple[str, ...], profile: Profile) -> list[str]:
    """The order in which things pass through pools: what the transfers and trends suggest."""
    if len(names) > _LONGEST_SEARCHED:
        return list(names)
    strength = {(a, b): abs(s) for a, b, s in profile.transfers}

    def plausible(order: tuple[str, ...]) -> float:
        pairs = pairwise(order)
        total = sum(strength.get(pair, 0.0) for pair in pairs)
        trends = {n: getattr(profile.variables.get(n), "monotone", None) for n in order}
        total += (trends[order[0]] == "decreasing") - (trends[order[0]] == "increasing")
        total += (trends[order[-1]] == "increasing") - (trends[order[-1]] == "decreasing")
        return total

    # max keeps the first of equals: the order of the schema.
    return list(max(permutations(names), key=plausible))


def _chain(names: list[str], law: str, drivers: tuple[str, ...]) -> tuple[Flow, ...]:
    """Flows along a chain; the first by the law given, the others a constant share."""
    pairs = list(pairwise(names))
    return tuple(
        Flow(a, b, law, drivers) if i == 0 else Flow(a, b, "share")
        for i, (a, b) in enumerate(pairs)
    )


def _closed_ideas(order: list[str], profile: Profile) -> Iterator[Idea]:
    pools = {name: Pool("data") for name in order}
    base = Structure(pools, conserved=tuple(order))
    inner = order[1:-1] or order[1:]
    trend = getattr(profile.variables.get(order[-1]), "monotone", None)
    returns = (Flow(order[-1], order[0], "share"),)
    drivers = inner[::-1]
    chains = [
        (_chain(order, "contact", (driver,)), f"growth goes with {driver}") for driver in drivers
    ]
    chains.append((_chain(order, "share", ()), "a chain of constant shares"))
    if trend != "increasing":
        cycle = [(flows + returns, f"{why}, and back") for flows, why in chains]
        chains = cycle + chains
    for flows, why in chains:
        yield Idea(replace(base, flows=flows), why)
    for law in ("uneven", "saturating", "crowd"):
        flows = _chain(order, law, (drivers[0],))
        yield Idea(replace(base, flows=flows), f"{law} dependence on {drivers[0]}")


def free_name(base: str, taken: set[str] | dict) -> str:
    """A name that is not taken yet."""
    name, n = base, 2
    while name in taken:
        name, n = f"{base}_{n}", n + 1
    return name


def taken_names(schema: Schema) -> set[str]:
    """Names that a latent pool must not bear."""
    found = {*schema.states, *schema.inputs, *schema.constants, *schema.attributes, *schema.derived}
    return found | {
        "t",
        "weekday",
        "day_of_year",
        "initial",
        "couple",
        "observe",
        "implied",
        "split",
    }


def _open_ideas(order: list[str], whole: str, schema: Schema) -> Iterator[Idea]:
    """The rest of a known whole -> the counts in order -> gone."""
    taken = taken_names(schema)
    rest, gone, apart = (free_name(n, taken) for n in ("rest", "gone", "apart"))
    before = free_name(f"before_{order[0]}", taken)
    pools = {rest: Pool("rest"), **{n: Pool("data") for n in order}, gone: Pool("zero")}
    plain = Structure(pools, _chain([rest, *order, gone], "contact", (order[0],)), whole=whole)
    hidden = Structure(
        {**pools, before: Pool("few")},
        _chain([rest, before, *order, gone], "contact", (before,)),
        whole=whole,
    )
    why = f"what {whole} leaves moves on by contact"
    stays = "; not everybody takes part"
    yield Idea(plain, f"{why} with {order[0]}")
    yield Idea(
        hidden.with_pool(apart, Pool("share")), f"{why} with those about to enter {order[0]}{stays}"
    )
    yield Idea(plain.with_pool(apart, Pool("share")), f"{why} with {order[0]}{stays}")
    yield Idea(hidden, f"{why} with those about to enter {order[0]}")
    for driver in order[1:]:
        flows = _chain([rest, *order, gone], "contact", (driver,))
        yield Idea(replace(plain, flows=flows), f"{why} with {driver}")
    if len(order) > 1:
        back = order[::-1]
        flows = _chain([rest, *back, gone], "contact", (back[0],))
        yield Idea(replace(plain, flows=flows), f"the same from {back[0]} on")
    yield Idea(
        replace(plain, flows=_chain([rest, *order, gone], "share", ())),
        "a chain of constant shares",
    )


def _queue_ideas(order: list[str]) -> Iterator[Idea]:
    """Arrivals -> the counts in order -> departures; nothing is known to be conserved."""
    base = Structure({n: Pool("data") for n in order})
    arrive, leave = Flow(None, order[0], "arrivals", draw="poisson"), Flow(order[-1], None, "share")
    inner = tuple(Flow(a, b, "share") for a, b in pairwise(order))
    yield Idea(replace(base, flows=(arrive, *inner, leave)), "arrivals, a chain and departures")
    full = replace(arrive, capacity="parameter")
    yield Idea(replace(base, flows=(full, *inner, leave)), "arrivals up to a capacity")
    served = Flow(order[-1], None, "service", draw="exact")
    yield Idea(replace(base, flows=(arrive, *inner, served)), "arrivals and limited service")
    born = Flow(None, order[0], "birth", (order[0],), draw="poisson")
    yield Idea(replace(base, flows=(born, *inner, leave)), "growth in proportion and departures")
