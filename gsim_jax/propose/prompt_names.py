"""What a simulator file may use, in words read off the code that enforces it.

Nothing here is written by hand that the code knows: signatures, names, kinds and limits come from
the modules that the guard, the sandbox and the program use, so that no prompt can drift from them.
"""

from __future__ import annotations

import functools
import inspect
import textwrap
from collections.abc import Callable, Iterable
from typing import Any


@functools.cache
def names_text() -> dict[str, str]:
    """The parts of the system prompt that are generated from the code.

    Returns:
        Texts by the name under which `system.md.j2` uses them.
    """
    from gsim_jax.simulator import _allowed, guard, template
    from gsim_jax.simulator.cost import Budget

    budget = Budget()
    limits = (
        f"{guard.MOST_LINES} lines, {guard.MOST_COLUMNS} characters a line, "
        f"{budget.cost:,} counted operations per step, {budget.draws} draw sites, "
        f"loops {budget.depth} deep"
    )
    signatures = "; ".join(
        f"`{name}({', '.join(arguments)})`" for name, arguments in template.ARGUMENTS.items()
    )
    return {
        "signatures": signatures,
        "reserved": _list(template.RESERVED),
        "kinds": ", ".join(f"{kind} {dtype}" for kind, dtype in template.KINDS.items()),
        "kind_names": _list(f'"{kind}"' for kind in template.KINDS),
        "state": f"State{_signature(template.State)}",
        "draws": draws_text(),
        "priors": priors_text(),
        "helpers": helpers_text(),
        "helpers_short": helpers_text(full=False),
        "jnp": _fill(sorted(_allowed.JNP)),
        "lax": _fill(sorted(_allowed.LAX)),
        "methods": _fill(sorted(_allowed.METHODS)),
        "at_methods": _list(sorted(_allowed.AT_METHODS), " | "),
        "builtins": _fill(template.BUILTINS),
        "refused": refused_text(),
        "limits": limits,
    }


def draws_text() -> str:
    """One line per law: its call, what it gives and what it means."""
    from gsim_jax import sampling

    lines = ["- `split(key, n=2)`: n keys, to be unpacked or indexed"]
    for name in sampling.LAWS:
        function = getattr(sampling, name)
        lines.append(f"- `{draw_call(name)}`: {_first(function)}")
    return "\n".join(lines)


def draw_call(law: str) -> str:
    """How a draw is called: ``binomial(key, n, p, shape=None)``."""
    from gsim_jax import sampling

    known = list(inspect.signature(getattr(sampling, law)).parameters.values())[1:]
    arguments = []
    for argument, parameter in zip(sampling.LAWS[law].arguments, known, strict=False):
        # The shape of a gamma law is no shape of an array: told apart, and given by position.
        name = f"{parameter.name}, /" if parameter.name != argument else argument
        given = parameter.default is parameter.empty
        arguments.append(name if given else f"{argument}={parameter.default}")
    text = ", ".join(arguments)
    if ", /" in text:
        text = text.replace(", /", "") + ", /"
    return f"{law}(key, {text}, shape=None)"


def priors_text() -> str:
    """One line per prior."""
    from gsim_jax.simulator.priors import PRIORS

    return "\n".join(f"- `{n}{_signature(f)}`: {_first(f)}" for n, f in PRIORS.items())


def helpers_text(full: bool = True) -> str:
    """One line per slot or pipeline helper.

    Args:
        full: With what arguments and results are; else the calls and one sentence only.
    """
    from gsim_jax.simulator import slots

    lines = []
    for name in slots.__all__:
        function = getattr(slots, name)
        more = _shapes(function) if full else ""
        lines.append(f"- `{name}{_signature(function)}`: {_first(function)}{more}")
    return "\n".join(lines)


def refused_text() -> str:
    """Statements and names that models like to write, and what to write instead."""
    from gsim_jax.simulator import _allowed

    groups: dict[str, list[str]] = {}
    seen: set[str] = set()
    for what, instead in _allowed.REFUSED.values():
        if what.startswith(("async", "await", "yield")):
            continue  # nobody writes them here
        if what not in seen:
            groups.setdefault(instead, []).append(what)
            seen.add(what)
    for name in ("np", "jax", "math", "print", "partial", "vmap"):
        groups.setdefault(_allowed.INSTEAD[name], []).append(f"`{name}`")
    parts = [f"{', '.join(what)} ({instead})" for instead, what in groups.items()]
    return "import; " + "; ".join(parts)


def _signature(function: Callable[..., Any]) -> str:
    """The signature without annotations: ``(pipe, amount, delay=None)``."""
    bare = inspect.signature(function)
    parameters = [p.replace(annotation=p.empty) for p in bare.parameters.values()]
    return str(bare.replace(parameters=parameters, return_annotation=bare.empty))


def _first(function: Callable[..., Any]) -> str:
    """The first line of a docstring, as Markdown."""
    line = (inspect.getdoc(function) or "").splitlines()[0]
    return line.replace("``", "`").rstrip(".")


def _shapes(function: Callable[..., Any]) -> str:
    """The entries `Args` and `Returns` of a docstring, in one line."""
    text = inspect.getdoc(function) or ""
    found = []
    for title in ("Args:", "Returns:"):
        _, _, rest = text.partition(f"\n{title}\n")
        body = rest.split("\n\n")[0]
        words = " ".join(textwrap.dedent(body).split())
        if words:
            found.append(words if title == "Args:" else f"Gives {words[0].lower()}{words[1:]}")
    return f". {' '.join(found)}" if found else ""


def _fill(names: Iterable[str]) -> str:
    return " ".join(names)


def _list(names: Iterable[str], joint: str = ", ") -> str:
    return joint.join(names)
