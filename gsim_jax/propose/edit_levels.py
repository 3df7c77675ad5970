"""Edits of levels and stocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from gsim_jax.propose.edit_types import Context, Edit
from gsim_jax.propose.structure import Factor, Structure, Term

_ALONE = {"inflow": 0.3, "growth": 0.3, "decay": 0.3, "crowding": 0.3}
_WITH = {"gain": 0.35, "loss": 0.35, "saturating_loss": 0.2, "from": 0.3}
#: Terms that share a parameter name and hence cannot stand side by side.
_EITHER = ({"loss", "saturating_loss"},)


def level_edits(structure: Structure, context: Context) -> Iterator[Edit]:
    """Add, drop or swap a term of a level; change its noise."""
    states = context.schema.states
    scalars = [n for n in structure.levels if states[n].shape == ()]
    for name, level in structure.levels.items():
        if states[name].kind not in ("real", "count"):
            continue
        offers = [(Term(law), weight) for law, weight in _ALONE.items()]
        if name in scalars:
            others = [n for n in (*scalars, *structure.stocks, *_observed(structure)) if n != name]
            offers += [(Term(law, other), w) for other in others for law, w in _WITH.items()]
            given = context.schema.inputs.items()
            offers += [(Term("input", other), 0.4) for other, i in given if i.shape == ()]
        for term, weight in offers:
            touches = frozenset({name, term.by} - {""})
            if _fits(term, level.terms):
                new = structure.with_level(name, replace(level, terms=(*level.terms, term)))
                words = f"{name} with {term.law} {term.by}".strip()
                yield Edit("term", f"term:{name}:{term.law}:{term.by}", new, touches, weight, words)
        for term in level.terms:
            left = tuple(t for t in level.terms if t != term)
            new = structure.with_level(name, replace(level, terms=left))
            touches = frozenset({name, term.by} - {""})
            key = f"unterm:{name}:{term.law}:{term.by}"
            yield Edit(
                "unterm", key, new, touches, 0.15, f"{name} without {term.law} {term.by}".strip()
            )
            if term.law in ("loss", "saturating_loss"):
                other = Term("saturating_loss" if term.law == "loss" else "loss", term.by)
                new = structure.with_level(name, replace(level, terms=(*left, other)))
                yield Edit(
                    "term", f"swap:{name}:{other.law}", new, touches, 0.3, f"{name}: {other.law}"
                )
        if states[name].kind == "real":
            noise = "relative" if level.noise == "normal" else "normal"
            new = structure.with_level(name, replace(level, noise=noise))
            yield Edit(
                "scatter", f"noise:{name}", new, frozenset({name}), 0.4, f"{name}: {noise} noise"
            )


def _observed(structure: Structure) -> list[str]:
    return [n for n, pool in structure.pools.items() if pool.start == "data"]


def _fits(term: Term, terms: tuple[Term, ...]) -> bool:
    if term in terms:
        return False
    return not any(
        {term.law, other.law} <= either and term.by == other.by
        for either in _EITHER
        for other in terms
    )


def stock_edits(structure: Structure, context: Context) -> Iterator[Edit]:
    """Delay, demand and supply of a stock."""
    for name, stock in structure.stocks.items():
        touches = frozenset({name, stock.waiting, stock.order} - {""})

        def change(
            key: str,
            words: str,
            weight: float,
            kind: str = "stock",
            name=name,
            stock=stock,
            touches=touches,
            **fields: Any,
        ) -> Edit:
            stocks = {**structure.stocks, name: replace(stock, **fields)}
            return Edit(
                kind, f"{key}:{name}", replace(structure, stocks=stocks), touches, weight, words
            )

        if stock.order:
            words = "orders arrive at once" if stock.delayed else "orders arrive later"
            yield change("delay", words, 0.5, delayed=not stock.delayed)
        if stock.demand == "poisson":
            yield change(
                "demand", "demand scatters more", 0.5, "scatter", demand="unsteady_poisson"
            )
        else:
            yield change("demand", "demand scatters less", 0.1, "steady", demand="poisson")
        offers = [Factor("trend")] + [Factor("weekend")] * bool(context.schema.calendar)
        period = getattr(context.profile.variables.get(name), "period", None)
        offers += [Factor("season", "", int(period))] if period else []
        for factor in offers:
            if factor not in stock.factors:
                words = f"demand with {factor.kind}"
                yield change(factor.kind, words, 0.3, "factor", factors=(*stock.factors, factor))
        for factor in stock.factors:
            left = tuple(f for f in stock.factors if f != factor)
            yield change(
                f"no-{factor.kind}", f"demand without {factor.kind}", 0.1, "unfactor", factors=left
            )
