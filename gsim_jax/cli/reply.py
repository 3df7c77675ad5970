"""What a verb answers: fields for the one JSON document, a picture for people, an exit status."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console

SCHEMA = 1
"""Version of the JSON document."""

OK, FAILED, BAD_INPUT = 0, 1, 2


@dataclass(frozen=True)
class Options:
    """The options that every verb takes.

    Attributes:
        seed: Everything random follows from it.
        out: Where results go; what that is says each verb's help.
        as_json: One JSON document on stdout in place of tables.
        debug: Show tracebacks.
    """

    seed: int
    out: Path | None
    as_json: bool
    debug: bool


@dataclass(frozen=True)
class Reply:
    """Answer of a verb.

    Attributes:
        fields: What the JSON document carries besides the envelope.
        show: Prints the same for people.
        ok: Whether the verb did what it was asked for.
        errors: ``Problem.to_json()`` of each problem.
        status: Exit status; :data:`FAILED` by default where not ``ok``.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    show: Callable[[Console], None] = lambda console: None
    ok: bool = True
    errors: tuple[Mapping[str, Any], ...] = ()
    status: int | None = None

    @property
    def exit_status(self) -> int:
        """0 done, 1 failed, 2 bad input."""
        if self.status is not None:
            return self.status
        return OK if self.ok else FAILED


def verb(function: Callable[..., Reply]) -> Callable[..., Any]:
    """Give a verb the common options, and hand it to them as :class:`Options`.

    Args:
        function: Takes :class:`Options` and its own arguments, returns a :class:`Reply`.

    Returns:
        The function under click's decorators.
    """

    @click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True,
                  help="Everything random follows from it.")  # fmt: skip
    @click.option("--out", type=click.Path(path_type=Path), help="Where results go.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(function)
    def command(seed: int, out: Path | None, as_json: bool, debug: bool, **own: Any) -> Reply:
        return function(Options(seed, out, as_json, debug), **own)

    return command


def envelope(verb_name: str | None, reply: Reply) -> dict[str, Any]:
    """The JSON document of a reply.

    Args:
        verb_name: ``None`` where the command line named no verb.
        reply: What the verb answered.

    Returns:
        JSON-ready data, with ``null`` where a number is not finite.
    """
    head = {"schema": SCHEMA, "verb": verb_name, "ok": reply.ok, "errors": list(reply.errors)}
    clash = head.keys() & reply.fields.keys()
    if clash:
        raise ValueError(f"a verb's fields may not be named {sorted(clash)}")
    return plain({**head, **reply.fields})


def plain(value: Any) -> Any:
    """JSON-ready copy: arrays as lists, paths as text, what is not finite as ``None``.

    Args:
        value: Nested mappings, sequences, NumPy arrays and scalars, paths.

    Returns:
        Data that ``json.dumps(..., allow_nan=False)`` takes.

    Raises:
        TypeError: A value has no JSON form.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [plain(item) for item in items]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # NumPy and JAX arrays and scalars
        return plain(value.tolist())
    raise TypeError(f"expected data with a JSON form, got {type(value).__name__}: {value!r}")


def dumps(document: Mapping[str, Any]) -> str:
    """A document as text, readable and valid for every JSON parser."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def error_json(code: str, message: str, file: str | None = None) -> dict[str, Any]:
    """An error that is not a place in a table or program, in the form of all others."""
    return {
        "code": code, "file": file, "row": None, "column": None, "line": None, "message": message,
    }  # fmt: skip


def show_errors(console: Console, messages: Iterable[str], hint: str | None = None) -> None:
    """Print problems as one readable block.

    Args:
        console: Where to; usually stderr.
        messages: One line or more for each problem.
        hint: What to do next.
    """
    found = list(messages)
    if len(found) > 1:
        console.print(f"[bold red]{len(found)} problems[/]")
    for message in found:
        console.print("[bold red]✗[/] ", end="")
        console.print(message, markup=False, highlight=False, soft_wrap=True)
    if hint:
        console.print(hint, style="dim", markup=False, highlight=False, soft_wrap=True)
