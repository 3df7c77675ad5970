"""The mechanism library: snippets with parameters, from `codegen_templates/mechanisms`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template


@dataclass(frozen=True)
class Declaration:
    """A parameter that a mechanism brings along; texts in which `$name` has been filled in."""

    prior: str
    unit: str
    doc: str

    def code(self) -> str:
        """The prior as a simulator file writes it."""
        return f"{self.prior[:-1]}, unit={self.unit!r}, doc={self.doc!r})"


@dataclass(frozen=True)
class Mechanism:
    """One snippet.

    Attributes:
        words: the mechanism in a few words.
        gives: what its code leaves behind (`rate`, `chance`, `mean`, `moved`), '' where fixed.
        needs: local names that must exist before its code.
        before: lines of Python that come once, before the draws.
        code: lines of Python.
        parameters: by name.
    """

    words: str
    gives: str
    needs: tuple[str, ...]
    before: tuple[str, ...]
    code: tuple[str, ...]
    parameters: Mapping[str, Declaration]


@cache
def names(family: str) -> tuple[str, ...]:
    """Mechanisms of a family (`rate`, `draw`, `factor`, `term`, `noise`), sorted."""
    folder = files("codegen_templates") / "mechanisms"
    found = (entry.name for entry in folder.iterdir())
    start, end = f"{family}_", ".toml"
    return tuple(sorted(n[len(start) : -len(end)] for n in found if n.startswith(start)))


def mechanism(family: str, name: str, fill: Mapping[str, object] | None = None) -> Mechanism:
    """One mechanism with `$name` filled in.

    Args:
        family: `rate`, `draw`, `factor`, `term` or `noise`.
        name: its name in the family.
        fill: values of the placeholders; placeholders without a value stay.

    Raises:
        KeyError: no such mechanism.
    """
    raw = _read(family, name)
    values = {key: str(value) for key, value in (fill or {}).items()}

    def filled(text: str) -> str:
        return Template(text).safe_substitute(values)

    needs = raw.get("needs", [])
    return Mechanism(
        filled(raw["words"]),
        raw.get("gives", ""),
        (needs,) if isinstance(needs, str) else tuple(needs),
        tuple(filled(raw.get("before", "")).split("\n")[:-1]),
        tuple(filled(raw["code"]).splitlines()),
        {
            filled(key): Declaration(*(filled(entry[k]) for k in ("prior", "unit", "doc")))
            for key, entry in raw.get("parameters", {}).items()
        },
    )


@cache
def _read(family: str, name: str) -> dict:
    if name not in names(family):
        raise KeyError(f"no mechanism {family}_{name}; expected one of {', '.join(names(family))}")
    file = files("codegen_templates") / "mechanisms" / f"{family}_{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))
