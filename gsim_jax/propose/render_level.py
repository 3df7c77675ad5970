"""Code of levels and stocks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gsim_jax.propose.mechanisms import Declaration, mechanism
from gsim_jax.propose.render_flow import Submodule, words_of
from gsim_jax.propose.scales import Scales, number
from gsim_jax.propose.structure import Stock, Structure

if TYPE_CHECKING:
    from gsim_jax.task import Variable

#: The longest delay of an order, in steps.
LONGEST = 8


def level(structure: Structure, name: str, variable: Variable, scales: Scales) -> Submodule:
    """The submodule that draws the next value of one level."""
    given = structure.levels[name]
    fill = scales.level(name, variable.unit)
    low = int(variable.min or 0)
    high = int(scales.size.get(name, 1.0) if variable.max is None else variable.max)
    fill |= {"low_code": low, "high_code": max(high, low) + 1}
    parameters: dict[str, Declaration] = {}
    body, words = [f'x = state["{name}"]', "change = 0.0"], []
    for term in given.terms:
        by_size = scales.size.get(term.by, 1.0)
        names = {
            **fill,
            "by": term.by,
            "by_size": number(by_size),
            "x_by": number(scales.size.get(name, 1.0) / by_size),
        }
        part = mechanism("term", term.law, names)
        parameters |= part.parameters
        body += part.code
        words.append(part.words)
    noise = mechanism("noise", given.noise, fill)
    parameters |= noise.parameters
    body += [*noise.code, f'return {{"{following(name)}": following}}']
    doc = f"{words_of(name).capitalize()}: {', '.join(words) or 'no drift'}; {noise.words}."
    return Submodule(f"change_of_{name}", doc, tuple(body), parameters)


def following(name: str) -> str:
    """Output: the next value of a level."""
    return f"next_{name}"


def line_of(name: str) -> str:
    """Name of the latent array that holds the orders on their way."""
    return f"{name}_on_the_way"


def stock(structure: Structure, name: str, scales: Scales) -> list[Submodule]:
    """The submodules of one stock: demand, and supply where it is not an input as it stands."""
    given = structure.stocks[name]
    big = max(2.0, scales.size.get(name, 20.0) + scales.size.get(given.waiting, 0.0))
    fill = {**scales.pools(), "low_scale": max(1, round(big / 5)), "high_scale": number(4 * big)}
    mean = mechanism("rate", "arrivals", fill)
    parameters = dict(mean.parameters)
    body = list(mean.code)
    if given.factors:
        body.append("factor = 1.0")
        for factor in given.factors:
            part = mechanism(
                "factor", factor.kind, {**fill, "by": factor.by, "period": factor.period}
            )
            parameters |= part.parameters
            body += part.code
        body.append("mean = mean * factor")
    unsteady = given.demand.startswith("unsteady")
    draw = mechanism("draw", given.demand, {**fill, "key": "keys[0]" if unsteady else "key"})
    parameters |= draw.parameters
    if unsteady:
        body += ["keys = split(key, 2)", *draw.before]
    body += [
        *(line.replace("keys[0]", "keys[1]") for line in draw.code),
        f'return {{"demand_of_{name}": moved}}',
    ]
    found = [
        Submodule(f"demand_of_{name}", f"Demand of {words_of(name)}.", tuple(body), parameters)
    ]
    return [*found, _supply(name, given, fill)]


def _supply(name: str, given: Stock, fill: dict[str, object]) -> Submodule:
    group, doc = f"supply_of_{name}", f"Supply of {words_of(name)}"
    if not given.order:
        mean = mechanism("rate", "arrivals", fill)
        draw = mechanism("draw", "poisson", {**fill, "key": "key"})
        parameters = {
            key: replace(p, doc="mean number supplied per step")
            for key, p in mean.parameters.items()
        }
        body = (*mean.code, *draw.code, f'return {{"{group}": moved}}')
        return Submodule(group, f"{doc}: random.", body, parameters)
    ordered = f'ordered = jnp.maximum(jnp.round(inputs["{given.order}"]), 0).astype(jnp.int32)'
    if not given.delayed:
        body = (ordered, f'return {{"{group}": ordered}}')
        return Submodule(group, f"{doc}: what {given.order} asks for, at once.", body, {})
    body = (
        ordered,
        f'line = state["{line_of(name)}"]',
        "moved_up = jnp.concatenate([line[1:], jnp.zeros(1, jnp.int32)])",
        f'place = jnp.arange({LONGEST}) == params["delay"] - 1',
        f'return {{"{group}": line[0], "{group}_line": moved_up + jnp.where(place, ordered, 0)}}',
    )
    delay = Declaration(
        f"Integer(1, {LONGEST}, guess=2)",
        str(fill["step"]),
        "steps between an order and its arrival",
    )
    return Submodule(group, f"{doc}: {given.order}, after a delay.", body, {"delay": delay})


def couple_stock(name: str, given: Stock) -> tuple[list[str], dict[str, str]]:
    """Lines of `couple` and the next values of the states of one stock."""
    goods, wanted, served = f"goods_{name}", f"wanted_{name}", f"served_{name}"
    waits = f' + state["{given.waiting}"]' if given.waiting else ""
    lines = [
        f'{goods} = state["{name}"] + outputs["supply_of_{name}"]',
        f'{wanted} = outputs["demand_of_{name}"]{waits}',
        f"{served} = jnp.minimum({goods}, {wanted})",
    ]
    entries = {name: f"{goods} - {served}"}
    if given.waiting:
        entries[given.waiting] = f"{wanted} - {served}"
    if given.order and given.delayed:
        entries[line_of(name)] = f'outputs["supply_of_{name}_line"]'
    return lines, entries
