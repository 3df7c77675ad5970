"""From a structure to the text of a simulator file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsim_jax.propose import render_flow, render_level
from gsim_jax.propose.implied import implied_flows
from gsim_jax.propose.mechanisms import Declaration
from gsim_jax.propose.render_flow import aside, helpers, reach, stage, words_of
from gsim_jax.propose.scales import Scales, number
from gsim_jax.propose.structure import Structure
from gsim_jax.propose.words import title

if TYPE_CHECKING:
    from gsim_jax.task import Schema


def render(structure: Structure, schema: Schema, scales: Scales) -> str:
    """The simulator file of a structure, in the template.

    Args:
        structure: what to write.
        schema: states, constants and inputs of the task.
        scales: orders of magnitude for the priors.

    Returns:
        Python source.

    Raises:
        ValueError: the structure is inconsistent; the message lists why.
    """
    problems = structure.problems()
    if problems:
        raise ValueError("this structure cannot be rendered: " + "; ".join(problems))
    whole = _whole(structure, schema)
    pools = scales.pools()
    parts = [
        render_flow.submodule(structure, index, pools, whole)
        for index in range(len(structure.flows))
    ]
    for name in structure.levels:
        parts.append(render_level.level(structure, name, schema.states[name], scales))
    for name in structure.stocks:
        parts += render_level.stock(structure, name, scales)
    latent = _latent(structure)
    groups = [(part.name, part.parameters) for part in parts]
    groups.append(("initial", _initial_parameters(structure, scales)))
    blocks = [f'"""{title(structure)}."""\n', _params(groups), _latent_code(structure, latent)]
    blocks += helpers(structure, whole)
    if latent:
        blocks.append(_initial(structure, schema, latent))
    blocks += [part.code() for part in parts]
    blocks.append(_couple(structure, schema, latent))
    blocks.append(f"SUBMODULES = ({''.join(part.name + ', ' for part in parts).rstrip()})\n")
    implied = _implied(structure)
    return "\n\n".join([*blocks, implied] if implied else blocks)


def _whole(structure: Structure, schema: Schema) -> str:
    """Expression for the size of everything that moves between pools."""
    if structure.whole:
        return _constant(structure.whole, schema)
    names = structure.conserved or [n for n, p in structure.pools.items() if p.start == "data"]
    return "jnp.maximum(" + " + ".join(f'state["{n}"]' for n in names) + ", 1)"


def _constant(name: str, schema: Schema) -> str:
    if name in schema.constants:
        dtype = str(schema.constants[name].value.dtype)
    else:
        dtype = schema.attributes[name].dtype
    return f'inputs["{name}"]' + ("" if dtype == "int32" else ".astype(jnp.int32)")


def _latent(structure: Structure) -> dict[str, str]:
    """Latent states and their declarations."""
    found = {}
    for name, pool in structure.pools.items():
        if pool.latent:
            found[name] = 'State("count", min=0)'
        for number_ in range(2, pool.stages + 1):
            found[stage(name, number_)] = 'State("count", min=0)'
    for name, stock in structure.stocks.items():
        if stock.order and stock.delayed:
            shape = f"({render_level.LONGEST},)"
            found[render_level.line_of(name)] = f'State("count", shape={shape}, min=0)'
    return found


def _params(groups: list[tuple[str, dict[str, Declaration]]]) -> str:
    lines = ["PARAMS = {"]
    for group, parameters in groups:
        if parameters:
            lines.append(f'    "{group}": {{')
            lines += [f'        "{name}": {p.code()},' for name, p in parameters.items()]
            lines.append("    },")
    return "\n".join([*lines, "}"])


def _latent_code(structure: Structure, latent: dict[str, str]) -> str:
    if not latent:
        return "LATENT = {}\n"
    lines = [f'    "{name}": {declaration},' for name, declaration in latent.items()]
    return "\n".join(["LATENT = {", *lines, "}\n"])


def _initial_parameters(structure: Structure, scales: Scales) -> dict[str, Declaration]:
    found = {}
    for name, pool in structure.pools.items():
        if pool.start == "few":
            most = max(scales.whole / 10, 2.0)
            prior = f"LogUniform(1.0, {number(most)}, guess={number(min(5.0, most))})"
            words = f"how many are in {words_of(name)} at the first row"
            found[f"first_{name}"] = Declaration(prior, "1", words)
        if pool.start == "share":
            words = f"share of the whole that is in {words_of(name)} at the first row"
            found[f"share_{name}"] = Declaration("Uniform(0.0, 0.9, guess=0.2)", "1", words)
    return found


def _initial(structure: Structure, schema: Schema, latent: dict[str, str]) -> str:
    lines = ["def initial(observed, seen, params, key):", "    return {"]
    whole = ""
    if structure.whole:
        whole = _constant(structure.whole, schema).replace("inputs[", "observed[", 1)
    for name in schema.states:
        lines.append(f'        "{name}": observed["{name}"],')
    for name in latent:
        start = structure.pools[name].start if name in structure.pools else "zero"
        value = "jnp.int32(0)"
        if start == "few":
            value = f'jnp.round(params["initial"]["first_{name}"]).astype(jnp.int32)'
        elif start == "share":
            value = f'jnp.round(params["initial"]["share_{name}"] * {whole}).astype(jnp.int32)'
        elif name not in structure.pools and name.endswith("_on_the_way"):
            value = f"jnp.zeros({render_level.LONGEST}, jnp.int32)"
        lines.append(f'        "{name}": {value},')
    return "\n".join([*lines, "    }\n"])


def _couple(structure: Structure, schema: Schema, latent: dict[str, str]) -> str:
    lines: list[str] = []
    entries = {name: f'state["{name}"]' for name in (*schema.states, *latent)}
    changes = _changes(structure)
    for name, pool in structure.pools.items():
        if pool.start != "rest":
            entries[name] += "".join(changes.get(name, []))
        for k in range(2, pool.stages + 1):
            (flow,) = structure.leaving(name)
            out = flow.name if k == pool.stages else reach(flow, k + 1)
            entries[stage(name, k)] = f'{name}_{k} + outputs["{reach(flow, k)}"] - outputs["{out}"]'
        if pool.stages > 1:
            inside = ", ".join(f"{name}_{k}" for k in range(2, pool.stages + 1))
            lines.append(f"_, {inside} = stages_of_{name}(state)")
    for name in structure.levels:
        entries[name] = _bounded(f'outputs["{render_level.following(name)}"]', name, schema)
    for name, stock in structure.stocks.items():
        more, values = render_level.couple_stock(name, stock)
        lines += more
        entries |= values
    head = ["def couple(state, inputs, outputs, params, key):", *(f"    {line}" for line in lines)]
    body = [f'        "{name}": {value},' for name, value in entries.items()]
    return "\n".join([*head, "    return {", *body, "    }\n"])


def _changes(structure: Structure) -> dict[str, list[str]]:
    """What each pool gains and loses, as ` + outputs[...]` and ` - outputs[...]`."""
    found: dict[str, list[str]] = {}
    for flow in structure.flows:
        moved = f'outputs["{flow.name}"]'
        if flow.source:
            found.setdefault(flow.source, []).append(f" - {moved}")
        if flow.target:
            less = f' - outputs["{aside(flow)}"]' if flow.branch is not None else ""
            found.setdefault(flow.target, []).append(f" + {moved}{less}")
        if flow.branch:
            found.setdefault(flow.branch, []).append(f' + outputs["{aside(flow)}"]')
    return found


def _bounded(text: str, name: str, schema: Schema) -> str:
    low, high = schema.states[name].min, schema.states[name].max
    whole = schema.states[name].dtype == "int32"
    bounds = [None if b is None else (int(b) if whole else float(b)) for b in (low, high)]
    return text if bounds == [None, None] else f"jnp.clip({text}, {bounds[0]}, {bounds[1]})"


def _implied(structure: Structure) -> str:
    """What two complete rows say about the draws, where they say everything."""
    flows = implied_flows(structure)
    if flows is None:
        return ""
    lines = ["def implied(previous, current, inputs):", "    return {"]
    lines += [f'        "{name}": {text},' for name, text in flows.items()]
    return "\n".join([*lines, "    }\n"])
