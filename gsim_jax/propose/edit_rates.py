"""Edits of how fast flows run: drivers, laws, scatter, factors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gsim_jax.propose.edit_types import CONTACTS, Context, Edit, ends
from gsim_jax.propose.structure import Factor, Flow, Structure

_LIKELY = {"contact": 0.5, "uneven": 0.35, "saturating": 0.25, "crowd": 0.1}


def rate_edits(structure: Structure, context: Context) -> Iterator[Edit]:
    """Other drivers, other laws, more or less scatter, factors."""
    for family in (_drivers, _laws, _draws, _factors, _all_trends):
        yield from family(structure, context)


def _drivers(structure: Structure, _: Context) -> Iterator[Edit]:
    for index, flow in enumerate(structure.flows):
        if not flow.drivers:
            continue
        first = flow.drivers[0]
        able = [n for n in _able_to_drive(structure) if n != flow.source]
        for name in able:
            touches = ends(flow)
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
                yield Edit(
                    "undriver",
                    f"only:{flow.name}:{keep}",
                    alone,
                    ends(flow),
                    0.2,
                    f"only {keep} drives",
                )


def _able_to_drive(structure: Structure) -> list[str]:
    """Pools that fill and empty again; sinks and bystanders drive nothing."""
    return [n for n in structure.pools if structure.leaving(n) and n != structure.rest]


def _laws(structure: Structure, context: Context) -> Iterator[Edit]:
    inputs = [n for n, i in context.schema.inputs.items() if i.shape == ()]
    for index, flow in enumerate(structure.flows):
        if flow.source is None:
            offers = _arrival_laws(structure, flow, inputs)
        elif flow.law in CONTACTS:
            offers = [
                (replace(flow, law=law), _LIKELY[law], f"{law} dependence")
                for law in CONTACTS
                if law != flow.law
            ]
            offers.append((replace(flow, law="share", drivers=()), 0.05, "a constant share"))
        else:
            offers = _leaving_laws(structure, flow, inputs)
        for new, weight, words in offers:
            key = f"law:{flow.name}:{':'.join([new.law, new.by, *new.drivers[:1]])}".rstrip(":")
            touches = ends(flow) | {new.by} - {""}
            changed = structure.with_flow(index, new)
            yield Edit("law", key, changed, frozenset(touches), weight, f"{flow.name}: {words}")


_Offer = tuple[Flow, float, str]


def _arrival_laws(structure: Structure, flow: Flow, inputs: list[str]) -> list[_Offer]:
    plain = replace(flow, drivers=(), by="")
    found = []
    if flow.law != "arrivals":
        found.append((replace(plain, law="arrivals"), 0.2, "constant arrivals"))
    for name in inputs:
        new = replace(plain, law="input_arrivals", by=name)
        found.append((new, 0.4, f"arrivals follow {name}"))
    for name in _able_to_drive(structure) if flow.law != "birth" else ():
        new = replace(plain, law="birth", drivers=(name,))
        found.append((new, 0.2, f"in proportion to {name}"))
    return [offer for offer in found if offer[0] != flow]


def _leaving_laws(structure: Structure, flow: Flow, inputs: list[str]) -> list[_Offer]:
    draw = "binomial" if flow.draw == "exact" else flow.draw
    plain = replace(flow, drivers=(), by="", draw=draw)
    found = []
    for name in _able_to_drive(structure):
        if name != flow.source:
            new = replace(plain, law="contact", drivers=(name,))
            found.append((new, 0.15, f"contact with {name}"))
    for name in inputs if flow.law != "input" else ():
        found.append((replace(plain, law="input", by=name), 0.15, f"rate set by {name}"))
    if flow.law == "service":
        found.append((replace(plain, law="share"), 0.2, "a constant share"))
    elif structure.pools[flow.source or ""].stages == 1 and not structure.whole:
        new = replace(plain, law="service", draw="exact", factors=(), branch=None)
        found.append((new, 0.15, "limited service"))
    return found


def _draws(structure: Structure, _: Context) -> Iterator[Edit]:
    steady = [i for i, f in enumerate(structure.flows) if f.draw in ("binomial", "poisson")]
    for index, flow in enumerate(structure.flows):
        if index in steady:
            new = structure.with_flow(index, replace(flow, draw=f"unsteady_{flow.draw}"))
            yield Edit(
                "scatter",
                f"scatter:{flow.name}",
                new,
                ends(flow),
                0.4,
                f"{flow.name} scatters more",
            )
        elif flow.draw.startswith("unsteady_"):
            new = structure.with_flow(
                index, replace(flow, draw=flow.draw.removeprefix("unsteady_"))
            )
            yield Edit(
                "steady", f"steady:{flow.name}", new, ends(flow), 0.1, f"{flow.name} scatters less"
            )
    if len(steady) > 1:
        new = structure
        for index in steady:
            flow = structure.flows[index]
            new = new.with_flow(index, replace(flow, draw=f"unsteady_{flow.draw}"))
        touches = frozenset(e for i in steady for e in ends(structure.flows[i]))
        yield Edit("scatter", "scatter:all", new, touches, 0.5, "every flow scatters more")


def _factors(structure: Structure, context: Context) -> Iterator[Edit]:
    for index, flow in enumerate(structure.flows):
        if flow.draw == "exact":
            continue
        for factor, weight, words in _offered_factors(structure, flow, context):
            if factor not in flow.factors:
                new = structure.with_flow(index, replace(flow, factors=(*flow.factors, factor)))
                key = f"factor:{flow.name}:{_short(factor)}"
                about = {"trend": "t", "weekend": "weekday"}.get(factor.kind, factor.by)
                touches = ends(flow) | {about} - {""}
                yield Edit("factor", key, new, touches, weight, f"{flow.name}: {words}")
        for factor in flow.factors:
            left = tuple(f for f in flow.factors if f != factor)
            new = structure.with_flow(index, replace(flow, factors=left))
            key = f"unfactor:{flow.name}:{_short(factor)}"
            words = f"{flow.name} without {factor.kind}"
            yield Edit("unfactor", key, new, ends(flow), 0.1, words)


def _short(factor: Factor) -> str:
    return f"{factor.kind}{factor.by}{factor.period or ''}"


def _offered_factors(
    structure: Structure, flow: Flow, context: Context
) -> list[tuple[Factor, float, str]]:
    schema, driven = context.schema, flow.law in CONTACTS
    found = [(Factor("trend"), 0.5 if driven else 0.4, "its rate changes with time")]
    for name, given in schema.inputs.items():
        if given.shape == ():
            found.append((Factor("input", name), 0.45, f"{name} changes its rate"))
    if schema.calendar:
        found.append((Factor("weekend"), 0.3, "another rate at weekends"))
    variables = context.profile.variables
    periods = {getattr(variables.get(end), "period", None) for end in ends(flow)}
    for period in sorted(int(p) for p in periods if p):
        found.append((Factor("season", "", period), 0.5, f"a cycle of {period} steps"))
    for name in _able_to_drive(structure) if driven else ():
        found.append((Factor("crowd", name), 0.3, f"{name} holds it back"))
    return found


def _all_trends(structure: Structure, _: Context) -> Iterator[Edit]:
    """Stays that become shorter or longer as time goes on, in every observed pool at once."""
    trend, new, touches = Factor("trend"), structure, set()
    for index, flow in enumerate(structure.flows):
        seen = flow.source is not None and structure.pools[flow.source].start == "data"
        if seen and flow.law == "share" and trend not in flow.factors:
            changed = replace(flow, factors=(*flow.factors, trend))
            new, touches = new.with_flow(index, changed), touches | ends(flow)
    if len(touches) > 2:
        words = "how long they stay changes with time"
        yield Edit("factor", "factor:all:trend", new, frozenset(touches | {"t"}), 0.5, words)
