"""Typed reading of one table of a TOML file, with every mistake collected."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from gsim_jax.task.problems import Problem, near

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"^\s*([A-Za-z0-9_.\-\"' ]+?)\s*=")


def key_lines(text: str) -> dict[str, int]:
    """Line of every header and key of a TOML text, by dotted path (``rule[0].holds``).

    A line inside a multi-line string may be taken for a key; the lines only guide people.
    """
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    prefix = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            prefix = header.group(2).replace('"', "").replace(" ", "")
            if header.group(1) == "[[":
                counts[prefix] = counts.get(prefix, -1) + 1
                prefix = f"{prefix}[{counts[prefix]}]"
            lines.setdefault(prefix, number)
        elif key := _KEY.match(line):
            name = key.group(1).replace('"', "").replace(" ", "")
            lines.setdefault(f"{prefix}.{name}" if prefix else name, number)
    return lines


class Report:
    """Collects the problems of one text file.

    Args:
        file: the file's name in messages.
        lines: where its keys are, from `key_lines`.
    """

    def __init__(self, file: str, lines: dict[str, int]) -> None:
        self.file, self.lines = file, lines
        self.problems: list[Problem] = []

    def add(self, code: str, key: str, message: str) -> None:
        """Notes a problem at a key, on the line of the key or of the table around it."""
        place = key
        while place and place not in self.lines:
            place = place.rpartition(".")[0]
        message = f"{key}: {message}" if key else message
        self.problems.append(Problem(code, message, self.file, line=self.lines.get(place)))


class Section:
    """One TOML table; every getter reports what it cannot use and returns a fallback.

    Args:
        values: the table; anything else is reported.
        path: its dotted path in the file, "" for the whole file.
        report: where problems go.
    """

    def __init__(self, values: Any, path: str, report: Report) -> None:
        self.path, self.report = path, report
        self._asked: set[str] = set()
        if not isinstance(values, dict):
            report.add("wrong-type", path, f"expected a table [{path}], got {shown(values)}")
            values = {}
        self.values: dict[str, Any] = values

    def key(self, name: str) -> str:
        """Dotted path of one of its keys."""
        return f"{self.path}.{name}" if self.path else name

    def wrong(self, name: str, message: str, code: str = "wrong-value") -> None:
        """Reports a problem with one of its keys."""
        self.report.add(code, self.key(name), message)

    def has(self, name: str) -> bool:
        """Whether the key is given; asking makes it a known key."""
        self._asked.add(name)
        return name in self.values

    def raw(self, name: str) -> Any:
        """The value as TOML gives it, None where the key is missing."""
        self._asked.add(name)
        return self.values.get(name)

    def text(self, name: str, default: str = "", *, required: bool = False) -> str:
        """A string; where it is required, not an empty one."""
        if not self.has(name):
            if required:
                self.wrong(name, "is missing: expected text", "missing-key")
            return default
        value = self.values[name]
        if not isinstance(value, str):
            self.wrong(name, f"expected text, got {shown(value)}", "wrong-type")
            return default
        if required and not value.strip():
            self.wrong(name, "expected text, got an empty string")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """``true`` or ``false``."""
        value = self.raw(name) if self.has(name) else default
        if not isinstance(value, bool):
            self.wrong(name, f"expected true or false, got {shown(value)}", "wrong-type")
            return default
        return value

    def integer(self, name: str, low: int, *, required: bool = False) -> int | None:
        """A whole number not below `low`; None where it is missing or wrong."""
        if not self.has(name):
            if required:
                self.wrong(name, "is missing: expected a whole number", "missing-key")
            return None
        value = self.values[name]
        if not isinstance(value, int) or isinstance(value, bool) or value < low:
            self.wrong(name, f"expected a whole number from {low}, got {shown(value)}")
            return None
        return value

    def number(self, name: str, *, whole: bool) -> float | None:
        """A finite number; None where it is missing or wrong."""
        if not self.has(name):
            return None
        value = self.values[name]
        good = isinstance(value, int | float) and not isinstance(value, bool)
        if not good or abs(value) == float("inf") or value != value:
            self.wrong(name, f"expected a number, got {shown(value)}", "wrong-type")
            return None
        if whole and value != int(value):
            self.wrong(name, f"expected a whole number, got {shown(value)}")
            return None
        return value

    def one_of(self, name: str, options: Iterable[str], fallback: str) -> str:
        """One of some words; required."""
        words = tuple(options)
        if not self.has(name):
            self.wrong(name, f"is missing: expected one of {', '.join(words)}", "missing-key")
            return fallback
        value = self.values[name]
        if value not in words:
            hint = near(value, words) if isinstance(value, str) else ""
            expected = f"expected one of {', '.join(words)}, got {shown(value)}"
            self.wrong(name, f"{expected}; {hint}" if "mean" in hint else expected, "unknown-kind")
            return fallback
        return value

    def shape(self, name: str = "shape") -> tuple[int, ...]:
        """A list of positive sizes; () where it is missing or wrong."""
        if not self.has(name):
            return ()
        value = self.values[name]
        sizes: list[Any] = value if isinstance(value, list) else [None]
        if not all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in sizes):
            self.wrong(name, f"expected a list of sizes such as [40], got {shown(value)}")
            return ()
        return tuple(sizes)

    def sections(self, name: str) -> dict[str, Section]:
        """The tables below a key, by name: ``[state.S]``, ``[state.I]``."""
        if not self.has(name):
            return {}
        inner = Section(self.values[name], self.key(name), self.report).values
        return {k: Section(v, f"{self.key(name)}.{k}", self.report) for k, v in inner.items()}

    def close(self) -> None:
        """Reports every key that nobody asked for."""
        for name in self.values:
            if name not in self._asked:
                self.wrong(name, f"unknown key: {near(name, self._asked)}", "unknown-key")


def shown(value: Any) -> str:
    """A TOML value for a message, shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    words = repr(value)
    return words if len(words) <= 60 else words[:57] + "..."
