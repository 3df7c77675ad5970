"""Scenarios: named lists of changes, in Python or in a TOML file.

    [[scenario]]
    name = "strict, early"
    [[scenario.change]]
    target = "infection.beta"        # a parameter
    scale = 0.1
    from = 10                        # rows, both ends included; 0 is where the what-if starts
    to = 29

A change does one thing to one target: `scale`, `add`, `set`, `clip = [low, high]`, or `replace` (a
whole submodule by that of another simulator file). Changes of one target apply in the order in
which they are written. What a scenario does not change stays as the data have it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gsim_jax.task import InputError, Problem
from gsim_jax.task.section import Report, Section, key_lines, shown

#: What can be done to a target.
OPERATIONS = ("scale", "add", "set", "clip", "replace")
BASELINE = "baseline"


@dataclass(frozen=True, eq=False)
class Change:
    """One thing done to one target over a window of rows.

    Attributes:
        target: `"infection.beta"` (a parameter), `"infection.new_infections"` (an output of a
            submodule), `"lockdown"` (an input, attribute or constant), `"I"` (a state), an entry
            of an array such as `"pipeline[0]"`, or for `replace` a submodule.
        operation: one of `OPERATIONS`.
        value: a number or array of the target's shape; for `clip` a pair, None for no bound; for
            `replace` a simulator, or the path of a simulator file.
        start: first row at which it acts. A parameter, input or output of row t acts on the step
            from t to t + 1; a state is changed in the rows themselves.
        stop: last row at which it acts, None for the last of all.
        kind: what the target is (`"parameter"`, `"output"`, ...), where its name alone is not
            enough.
        parameters: for `replace`, values of the other submodule's parameters by name.
        file: where it was written.
        line: line in that file.
    """

    target: str
    operation: str
    value: Any
    start: int = 0
    stop: int | None = None
    kind: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = None
    line: int | None = None

    def problem(self, code: str, text: str) -> Problem:
        """A problem of this change, at its place."""
        return Problem(code, f"{self.target}: {text}", file=self.file, line=self.line)


@dataclass(frozen=True, eq=False)
class Scenario:
    """A name and what is changed, in order; no change at all is the baseline."""

    name: str
    changes: tuple[Change, ...] = ()
    doc: str = ""


def scale(target: str, by: Any, start: int = 0, stop: int | None = None) -> Change:
    """Multiplies a target over rows start..stop."""
    return Change(target, "scale", by, start, stop)


def add(target: str, what: Any, start: int = 0, stop: int | None = None) -> Change:
    """Adds to a target over rows start..stop."""
    return Change(target, "add", what, start, stop)


def set_to(target: str, value: Any, start: int = 0, stop: int | None = None) -> Change:
    """Sets a target over rows start..stop."""
    return Change(target, "set", value, start, stop)


def clip(
    target: str, low: Any = None, high: Any = None, start: int = 0, stop: int | None = None
) -> Change:
    """Keeps a target between bounds over rows start..stop."""
    return Change(target, "clip", (low, high), start, stop)


def replace(
    submodule: str,
    simulator: Any,
    start: int = 0,
    stop: int | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> Change:
    """Puts another simulator's submodule of the same name in the place of ours."""
    return Change(submodule, "replace", simulator, start, stop, None, dict(parameters or {}))


def with_baseline(scenarios: Sequence[Scenario]) -> tuple[Scenario, ...]:
    """The scenarios with one that changes nothing in front, against which others are told.

    Raises:
        InputError: two scenarios of one name.
    """
    empty = [s for s in scenarios if not s.changes]
    rest = [s for s in scenarios if s.changes]
    found = (*(empty or [Scenario(BASELINE)]), *rest)
    names = [s.name for s in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        text = f"expected a name of its own for each scenario; got {', '.join(twice)} twice"
        raise InputError(Problem("scenario-twice", text))
    return found


def read_scenarios(path: Path | str) -> tuple[Scenario, ...]:
    """Reads a scenarios file.

    Args:
        path: a TOML file with `[[scenario]]` tables.

    Raises:
        InputError: with every mistake in the file, each with its line.
    """
    top, report = read_toml(Path(path))
    found = scenarios_of(top, "scenario", Path(path).parent)
    top.close()
    if not found and not report.problems:
        report.add("no-scenario", "", "expected at least one [[scenario]]")
    if report.problems:
        raise InputError(tuple(report.problems))
    return found


def read_toml(path: Path) -> tuple[Section, Report]:
    """A TOML file as a section, and the report that collects its mistakes.

    Raises:
        InputError: there is no such file, or it is no TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem("unreadable", f"expected a TOML file in UTF-8; {error}", file=str(path))
        raise InputError(problem) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(Problem("toml", f"not TOML: {error}", file=str(path))) from error
    report = Report(str(path), key_lines(text))
    return Section(values, "", report), report


def scenarios_of(top: Section, name: str, folder: Path) -> tuple[Scenario, ...]:
    """The scenarios under a key; mistakes go to the section's report."""
    found: list[Scenario] = []
    before = 0
    for i, section in enumerate(tables_of(top, name)):
        title = section.text("name", f"scenario {i + 1}", required=True)
        if title in {scenario.name for scenario in found}:
            section.wrong("name", f"two scenarios are called {title!r}")
        inner = tables_of(section, "change", f"{name}.change", before)
        before += len(inner)
        changes = tuple(c for s in inner if (c := change_of(s, folder)) is not None)
        found.append(Scenario(title, changes, section.text("doc")))
        section.close()
    return tuple(found)


def tables_of(top: Section, name: str, path: str = "", before: int = 0) -> list[Section]:
    """The sections of an array of tables.

    Args:
        top: the section around it.
        name: its key.
        path: its path in the file where that is not the key: lines of nested tables are known by
            the number among all of that name in the file.
        before: how many of that path came before.
    """
    given = top.raw(name) if top.has(name) else []
    if not isinstance(given, list):
        top.wrong(name, f"expected [[{top.key(name)}]] with two brackets", "wrong-type")
        return []
    path = path or top.key(name)
    return [Section(v, f"{path}[{before + i}]", top.report) for i, v in enumerate(given)]


def change_of(section: Section, folder: Path) -> Change | None:
    """One `[[...change]]` table."""
    target = section.text("target", "", required=True)
    given = [operation for operation in OPERATIONS if section.has(operation)]
    start, stop = section.integer("from", 0), section.integer("to", 0)
    kind, parameters = section.text("kind"), section.raw("parameters")
    operation = given[0] if len(given) == 1 else ""
    value = section.raw(operation) if operation else None
    section.close()
    if len(given) != 1:
        got = " and ".join(given) or "none"
        section.wrong("target", f"expected one of {', '.join(OPERATIONS)}; got {got}")
        return None
    if start is not None and stop is not None and stop < start:
        section.wrong("to", f"expected a row from {start} on, got {stop}")
    value = _value(section, operation, value, folder)
    if parameters is not None and not isinstance(parameters, dict):
        section.wrong("parameters", f"expected a table of numbers, got {shown(parameters)}")
        parameters = {}
    file, line = place_of(section)
    return Change(
        target, operation, value, start or 0, stop, kind or None, parameters or {}, file, line
    )


def _value(section: Section, operation: str, value: Any, folder: Path) -> Any:
    """The value as written, checked as far as it can be without knowing the target."""
    if operation == "replace":
        if not isinstance(value, str):
            section.wrong("replace", f"expected a simulator file, got {shown(value)}")
        return folder / str(value)
    if operation == "clip":
        pair = value if isinstance(value, list) else []
        if len(pair) != 2 or not all(_number(bound) for bound in pair) or pair[0] > pair[1]:
            section.wrong("clip", f"expected [low, high] (inf for none), got {shown(value)}")
            return (None, None)
        return tuple(pair)
    try:
        numbers = np.asarray(value, float)
        finite = not isinstance(value, (str, bool)) and bool(np.isfinite(numbers).all())
    except (TypeError, ValueError):
        finite = False
    if not finite:
        section.wrong(operation, f"expected a number or a list of numbers, got {shown(value)}")
        return 0.0
    return value


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def place_of(section: Section) -> tuple[str, int | None]:
    """File and line of a section, as far as they are known."""
    return section.report.file, section.report.lines.get(section.path)
