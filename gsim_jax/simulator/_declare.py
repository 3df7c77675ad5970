"""Child side: what a simulator file declares - PARAMS, LATENT, SUBMODULES - checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gsim_jax.simulator.priors import Prior
from gsim_jax.simulator.template import (
    ARGUMENTS,
    OPTIONAL,
    OTHER_GROUPS,
    REQUIRED,
    RESERVED,
    State,
    is_name,
)
from gsim_jax.task.problems import Problem, near

_PLAIN = {name: parameters for name, parameters in ARGUMENTS.items() if name != "submodule"}


@dataclass
class Declared:
    """The declarations of one file.

    Attributes:
        parameters: priors by group and name.
        latent: latent states by name.
        submodules: names in order.
        functions: Python functions by name: submodules, couple and the optional ones.
        problems: everything that is wrong.
    """

    filename: str
    parameters: dict[str, dict[str, Prior]] = field(default_factory=dict)
    latent: dict[str, State] = field(default_factory=dict)
    submodules: tuple[str, ...] = ()
    functions: dict[str, Callable[..., Any]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, code: str, message: str, line: int | None = None) -> None:
        """Notes a problem."""
        self.problems.append(Problem(code, message, file=self.filename, line=line))


def read(
    module: Mapping[str, Any], signature: Mapping[str, Any], lines: Mapping[str, int], filename: str
) -> Declared:
    """Reads and checks the declarations of an executed file.

    Args:
        module: names of the file after it was run.
        signature: states and inputs of the task.
        lines: line of each name's assignment or definition.
        filename: name of the file in messages.
    """
    found = Declared(filename)
    _read_submodules(found, module, lines)
    _read_parameters(found, module.get("PARAMS", {}), lines.get("PARAMS"))
    _read_latent(found, module.get("LATENT", {}), signature, lines.get("LATENT"))
    _read_functions(found, module, lines)
    return found


def _read_submodules(found: Declared, module: Mapping[str, Any], lines: Mapping[str, int]) -> None:
    line = lines.get("SUBMODULES")
    listed = module.get("SUBMODULES")
    if callable(listed):
        listed = (listed,)
    if not isinstance(listed, tuple | list) or not listed:
        text = "expected SUBMODULES = (first, second, ...), the submodule functions in order"
        return found.refuse("no-submodules", f"{text}; got {_short(listed)}", line)
    for function in listed:
        name = getattr(function, "__name__", "")
        if not inspect.isfunction(function) or not is_name(name):
            text = f"expected functions in SUBMODULES; got {_short(function)}"
            found.refuse("not-a-function", text, line)
        elif name in found.functions or name in RESERVED:
            why = "is listed twice" if name in found.functions else "is a reserved name"
            found.refuse("bad-submodule", f"SUBMODULES: {name!r} {why}; rename it", line)
        else:
            found.functions[name] = function
    found.submodules = tuple(found.functions)
    return None


def _read_parameters(found: Declared, groups: Any, line: int | None) -> None:
    form = 'PARAMS = {"submodule": {"name": Uniform(0.0, 1.0, guess=0.5), ...}, ...}'
    if not isinstance(groups, dict):
        return found.refuse("bad-params", f"expected {form}; got {_short(groups)}", line)
    allowed = (*found.submodules, *OTHER_GROUPS)
    known = not found.problems  # with SUBMODULES wrong, nothing can be said about groups
    for group, members in groups.items():
        if known and group not in allowed:
            text = (
                f"PARAMS: the group {group!r} belongs to no submodule; {near(str(group), allowed)}"
            )
            found.refuse("unknown-group", text, line)
        elif not isinstance(members, dict):
            found.refuse("bad-params", f"PARAMS[{group!r}]: expected a dict of priors", line)
        else:
            found.parameters[group] = {}
            for name, prior in members.items():
                if not is_name(name) or not isinstance(prior, Prior):
                    text = f"PARAMS[{group!r}][{name!r}]: expected a prior such as "
                    text += f"Uniform(0.0, 1.0, guess=0.5); got {_short(prior)}"
                    found.refuse("bad-params", text, line)
                else:
                    found.parameters[group][name] = prior
    return None


def _read_latent(found: Declared, latent: Any, signature: Any, line: int | None) -> None:
    if not isinstance(latent, dict):
        text = f'expected LATENT = {{"E": State("count", min=0)}}; got {_short(latent)}'
        return found.refuse("bad-latent", text, line)
    taken = {**signature["states"], **signature["inputs"]}
    for name, state in latent.items():
        if not is_name(name) or not isinstance(state, State):
            text = (
                f'LATENT[{name!r}]: expected State("count", shape=(), min=0); got {_short(state)}'
            )
            found.refuse("bad-latent", text, line)
        elif name in taken:
            text = f"LATENT: {name!r} is a state or input of the task already; choose another name"
            found.refuse("bad-latent", text, line)
        else:
            found.latent[name] = state
    return None


def _read_functions(found: Declared, module: Mapping[str, Any], lines: Mapping[str, int]) -> None:
    for name in found.submodules:
        _check_call(found, found.functions[name], ARGUMENTS["submodule"], lines.get(name))
    for name in (*REQUIRED, *OPTIONAL):
        function = module.get(name)
        head = f"def {name}({', '.join(_PLAIN[name])})"
        if function is None and (name in REQUIRED or (name == "initial" and found.latent)):
            why = "; LATENT is not empty, so it must set the latent states" * (name == "initial")
            found.refuse("missing-function", f"the file needs {head}{why}")
        elif function is not None and not inspect.isfunction(function):
            found.refuse(
                "not-a-function", f"expected {head}; got {_short(function)}", lines.get(name)
            )
        elif function is not None:
            found.functions[name] = function
            _check_call(found, function, _PLAIN[name], lines.get(name))


def _check_call(
    found: Declared, function: Callable[..., Any], names: tuple[str, ...], line: int | None
) -> None:
    try:
        inspect.signature(function).bind(*names)
    except TypeError:
        name = getattr(function, "__name__", "function")
        text = f"expected def {name}({', '.join(names)}); got {name}{inspect.signature(function)}"
        found.refuse("bad-arguments", text, line)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
