"""Code of pools and flows."""

from __future__ import annotations

from dataclasses import dataclass, field

from gsim_jax.propose.mechanisms import Declaration, mechanism
from gsim_jax.propose.structure import Flow, Structure


@dataclass(frozen=True)
class Submodule:
    """One function of the file.

    Attributes:
        name: of the function and of its parameter group.
        doc: its docstring.
        body: its lines, not indented.
        parameters: by name.
    """

    name: str
    doc: str
    body: tuple[str, ...]
    parameters: dict[str, Declaration] = field(default_factory=dict)

    def code(self) -> str:
        """The function's text."""
        lines = "\n".join(f"    {line}" if line else "" for line in self.body)
        return f'def {self.name}(state, inputs, params, key):\n    """{self.doc}"""\n{lines}\n'


def words_of(pool: str | None) -> str:
    """A pool as people read it."""
    return "the outside" if pool is None else pool.replace("_", " ")


def stage(pool: str, number: int) -> str:
    """Name of the latent state that holds a later stage of a pool."""
    return f"{pool}_stage_{number}"


def helpers(structure: Structure, whole: str) -> list[str]:
    """Functions that compute what is not stored: the rest, and the stages of pools.

    Args:
        structure: pools and flows.
        whole: expression of the constant that all pools add up to.
    """
    found = []
    rest = structure.rest
    if rest:
        others = "".join(f' - state["{n}"]' for n in structure.pools if n != rest)
        found.append(
            f"def {rest}(state, inputs):\n"
            f'    """Everybody who is in no other pool."""\n'
            f"    return jnp.maximum({whole}{others}, 0)\n"
        )
    for name, pool in structure.pools.items():
        if pool.stages == 1:
            continue
        lines = [f"def stages_of_{name}(state):"]
        lines += [
            f'    """Contents of the stages of {words_of(name)}; what is new is in the first."""'
        ]
        lines += [f'    left = state["{name}"]']
        for k in range(pool.stages, 1, -1):
            lines += [f'    stage_{k} = jnp.minimum(state["{stage(name, k)}"], left)']
            lines += [f"    left = left - stage_{k}"]
        inside = ", ".join(["left", *(f"stage_{k}" for k in range(2, pool.stages + 1))])
        found.append("\n".join([*lines, f"    return {inside}", ""]))
    return found


def content(structure: Structure, pool: str) -> str:
    """Expression for how many are in a pool."""
    rest = structure.pools[pool].start == "rest"
    return f"{pool}(state, inputs)" if rest else f'state["{pool}"]'


def submodule(structure: Structure, index: int, fill: dict[str, object], whole: str) -> Submodule:
    """The submodule of one flow.

    Args:
        structure: where the flow belongs.
        index: of the flow.
        fill: placeholders, see `Scales.pools`.
        whole: expression of the constant that all pools add up to.
    """
    flow = structure.flows[index]
    names = {
        **fill,
        "source": words_of(flow.source),
        "by": flow.by,
        "driver_words": " and ".join(words_of(d) for d in flow.drivers) or "nobody",
    }
    rate = mechanism("rate", flow.law, names)
    parameters = dict(rate.parameters)
    body = _pool_lines(structure, flow)
    body += _driver_lines(structure, flow, rate.needs, whole, parameters)
    factors = _factor_lines(structure, flow, names, whole, parameters)
    if any("/ whole" in line for line in factors) and "whole" not in rate.needs:
        body += [f"whole = {whole}"]
    body += [*factors, *rate.code]
    if factors and rate.gives in ("rate", "mean"):
        body += [f"{rate.gives} = {rate.gives} * factor"]
    if factors and rate.gives == "chance":
        # The same as multiplying the rate -log(1 - chance), and safe at chance 1.
        body += ["chance = 1 - (1 - chance) ** factor"]
    if rate.gives == "rate":
        body += ["chance = 1 - jnp.exp(-rate)"]
    body += _moves(structure, flow, rate.gives, names, parameters)
    doc = f"{words_of(flow.source).capitalize()} to {words_of(flow.target)}: {rate.words}."
    return Submodule(flow.name, doc, tuple(body), parameters)


def _pool_lines(structure: Structure, flow: Flow) -> list[str]:
    """Who can leave: what competing flows moved earlier in the step is gone."""
    if flow.source is None:
        return []
    stages = structure.pools[flow.source].stages
    if stages > 1:
        pools = ", ".join(f"stage_{k}" for k in range(1, stages + 1))
        return [f"{pools} = stages_of_{flow.source}(state)"]
    earlier = structure.flows[: structure.flows.index(flow)]
    gone = "".join(
        f' - inputs["outputs"]["{other.name}"]' for other in earlier if other.source == flow.source
    )
    return [f"pool = {content(structure, flow.source)}{gone}"]


def _driver_lines(
    structure: Structure,
    flow: Flow,
    needs: tuple[str, ...],
    whole: str,
    parameters: dict[str, Declaration],
) -> list[str]:
    lines = []
    if "driver" in needs:
        parts = []
        for position, driver in enumerate(flow.drivers):
            text = content(structure, driver)
            if position:
                weight = f"weight_of_{driver}"
                parameters[weight] = Declaration(
                    "Uniform(0.0, 1.0, guess=0.5)",
                    "1",
                    f"how much one of {words_of(driver)} drives; {words_of(flow.drivers[0])}: 1",
                )
                text = f'params["{weight}"] * {text}'
            parts.append(text)
        lines.append(f"driver = {' + '.join(parts)}")
    if "whole" in needs:
        lines.append(f"whole = {whole}")
    return lines


def _factor_lines(
    structure: Structure,
    flow: Flow,
    names: dict[str, object],
    whole: str,
    parameters: dict[str, Declaration],
) -> list[str]:
    lines = ["factor = 1.0"] if flow.factors else []
    for factor in flow.factors:
        inside = content(structure, factor.by) if factor.by in structure.pools else ""
        fill = {**names, "by": factor.by, "period": factor.period, "by_content": inside}
        part = mechanism("factor", factor.kind, fill)
        parameters |= part.parameters
        lines += part.code
    return lines


def _moves(
    structure: Structure,
    flow: Flow,
    gives: str,
    names: dict[str, object],
    parameters: dict[str, Declaration],
) -> list[str]:
    """From a chance or a mean to whole numbers that move."""
    stages = structure.pools[flow.source].stages if flow.source else 1
    draws = 0 if gives == "moved" else stages
    keys = _Keys(draws + flow.draw.startswith("unsteady") + (flow.branch is not None))
    lines, result = keys.lines(), []
    if flow.draw.startswith("unsteady"):
        lines += mechanism("draw", flow.draw, {**names, "key": keys.following()}).before
    for k in range(1, draws + 1):
        draw = mechanism("draw", flow.draw, {**names, "key": keys.following()})
        parameters |= draw.parameters
        code = draw.code
        if stages > 1:
            code = tuple(line.replace(", pool,", f", stage_{k},") for line in code)
        if k < stages:
            code = tuple(line.replace("moved =", f"moved_{k} =") for line in code)
            result.append(f'"{reach(flow, k + 1)}": moved_{k}')
        lines += code
    result.append(f'"{flow.name}": moved')
    lines += _room(structure, flow, names, parameters)
    if flow.branch is not None:
        parameters["aside"] = Declaration(
            "Uniform(0.0, 1.0, guess=0.1)",
            "1",
            f"share of those who leave that go to {words_of(flow.branch or None)}",
        )
        lines += [f'aside = binomial({keys.following()}, moved, params["aside"])']
        result.append(f'"{aside(flow)}": aside')
    return [*lines, f"return {{{', '.join(result)}}}"]


class _Keys:
    """Hands out one key per draw: `key` itself where there is one draw."""

    def __init__(self, count: int) -> None:
        self._count, self._next = count, 0

    def lines(self) -> list[str]:
        return [f"keys = split(key, {self._count})"] if self._count > 1 else []

    def following(self) -> str:
        self._next += 1
        return f"keys[{self._next - 1}]" if self._count > 1 else "key"


def reach(flow: Flow, number: int) -> str:
    """Output: how many reach a later stage of the flow's source."""
    return f"{flow.source}_reach_stage_{number}"


def aside(flow: Flow) -> str:
    """Output: how many of those who leave take the branch."""
    return f"{flow.name}_aside"


def _room(
    structure: Structure, flow: Flow, names: dict[str, object], parameters: dict[str, Declaration]
) -> list[str]:
    """A target that is full takes nobody."""
    if not flow.capacity or flow.target is None:
        return []
    limit = f'inputs["{flow.capacity}"]'
    if flow.capacity == "parameter":
        limit = 'params["capacity"]'
        size = f"{names['scale']}, guess={names['scale']}"
        words = f"the most that {words_of(flow.target)} holds"
        parameters["capacity"] = Declaration(f"Integer(0, {size})", "1", words)
    inside = content(structure, flow.target)
    return [f"moved = jnp.clip({limit} - {inside}, 0, moved)"]
