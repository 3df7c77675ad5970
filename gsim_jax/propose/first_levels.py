"""First hypotheses for variables that are not conserved, and for goods that meet a demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gsim_jax.propose.structure import Level, Stock, Structure, Term

if TYPE_CHECKING:
    from gsim_jax.task import Profile, Schema


@dataclass(frozen=True)
class Idea:
    """A structure and the sentence that speaks for it."""

    structure: Structure
    why: str


def noise_of(kind: str) -> str:
    """The law of the next value of a level of this kind."""
    return {"count": "counts", "flag": "flag", "category": "category"}.get(kind, "normal")


def level_ideas(schema: Schema, profile: Profile, names: list[str]) -> list[Idea]:
    """Sums of terms for each variable, simplest dynamics first."""
    scalars = [n for n in names if schema.states[n].shape == () and _moves(schema, n)]

    def build(terms_of, why: str, noise: str = "") -> Idea:
        levels = {}
        for name in names:
            law = noise_of(schema.states[name].kind)
            terms = terms_of(name) if _moves(schema, name) else ()
            levels[name] = Level(
                tuple(terms) + _forcing(schema, profile, name),
                noise if noise and law == "normal" else law,
            )
        return Idea(Structure(levels=levels), why)

    relax = [Term("inflow"), Term("decay")]
    found = [build(lambda name: relax, "levels that return to a mean")]
    if len(scalars) >= 2:
        for prey in scalars:
            found.append(
                build(
                    lambda name, prey=prey: _hunt(name, prey, scalars),
                    f"{prey} grows and is consumed",
                    "relative",
                )
            )
        pull = {n: [Term("from", other) for other in scalars if other != n] for n in scalars}
        found.append(
            build(lambda name: [*relax, *pull.get(name, [])], "levels that pull one another")
        )
    found.append(
        build(lambda name: [Term("growth"), Term("crowding")], "growth that saturates", "relative")
    )
    found.append(build(lambda name: [], "levels that wander"))
    return found


def _moves(schema: Schema, name: str) -> bool:
    return schema.states[name].kind in ("real", "count")


def _hunt(name: str, prey: str, scalars: list[str]) -> list[Term]:
    if name == prey:
        return [Term("growth"), *(Term("loss", other) for other in scalars if other != prey)]
    return [Term("gain", prey), Term("decay")] if name in scalars else [Term("decay")]


def _forcing(schema: Schema, profile: Profile, name: str) -> tuple[Term, ...]:
    """Inputs and cycles that the data show for a variable."""
    if schema.states[name].kind != "real":
        return ()
    found = []
    for given, label, _, correlation in profile.lags:
        known = given in schema.inputs and schema.inputs[given].shape == ()
        if label == name and known and abs(correlation) > 0.3:
            found.append(Term("input", given))
    period = getattr(profile.variables.get(name), "period", None)
    if period:
        found.append(Term("season", str(int(period))))
    return tuple(dict.fromkeys(found))


def stock_ideas(schema: Schema, profile: Profile, counts: list[str]) -> list[Idea]:
    """Goods that an input replenishes and a random demand takes away."""
    strength: dict[tuple[str, str], float] = {}
    for given, label, _, correlation in profile.lags:
        key = (given, label)
        strength[key] = max(strength.get(key, -1.0), float(correlation))
    orders = [n for n, i in schema.inputs.items() if i.shape == () and i.kind == "count"]
    if not orders or not counts:
        return []
    found = []
    order = max(orders, key=lambda n: max(abs(strength.get((n, c), 0.0)) for c in counts))
    goods = sorted(counts, key=lambda n: -strength.get((order, n), 0.0))
    for name in goods:
        others = [n for n in counts if n != name]
        for waiting in others[:1]:
            found.append(
                _stock(name, Stock(waiting, order), f"{order} fill {name}, {waiting} waits")
            )
            found.append(
                _stock(name, Stock(waiting, order, delayed=False), f"{order} fill {name} at once")
            )
        if not others:
            found.append(
                _stock(name, Stock("", order), f"{order} fill {name}, unmet demand is lost")
            )
    return found


def _stock(name: str, stock: Stock, why: str) -> Idea:
    return Idea(Structure(stocks={name: stock}), why)
