"""Options of `gsim run` that concern a language model, and the proposer that they make."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from gsim_jax.propose import Proposer

CONNECTION = ("base_url", "timeout", "retries", "backoff")
"""What may change when a run is resumed: how the server is reached, not what it is asked."""
CHAT = (
    "model", "temperature", "max_tokens", "prompt_tokens", "repairs", "tokens", "money", "price",
    "extra", "strict",
)  # fmt: skip
"""What shapes a conversation, and is fixed at its start."""


class Who(click.ParamType):
    """``library``, ``chat`` or ``replay:DIR``."""

    name = "library|chat|replay:DIR"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Checks the form; the folder is looked at later."""
        head, colon, folder = str(value).partition(":")
        if (head in ("library", "chat") and not colon) or (head == "replay" and folder):
            return str(value)
        return self.fail(f"expected library, chat or replay:DIR, got {value!r}", param, ctx)


class Pair(click.ParamType):
    """Two numbers joined by a colon, or one for both."""

    def __init__(self, name: str) -> None:
        """`name` stands in the help."""
        self.name = name

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, float]:
        """Two numbers from 0 on."""
        if isinstance(value, tuple):
            return value
        low, _, high = str(value).partition(":")
        try:
            found = (float(low), float(high or low))
        except ValueError:
            self.fail(f"expected {self.name}, got {value!r}", param, ctx)
        if not all(0 <= number < float("inf") for number in found):
            self.fail(f"expected numbers from 0 on, got {value!r}", param, ctx)
        return found


class Fields(click.ParamType):
    """A JSON object."""

    name = "JSON"

    def convert(self, value: Any, param: Any, ctx: Any) -> dict[str, Any]:
        """Parses it."""
        if isinstance(value, dict):
            return value
        try:
            found = json.loads(value)
        except ValueError as error:
            self.fail(f"expected a JSON object, got {value!r} ({error})", param, ctx)
        if not isinstance(found, dict):
            self.fail(f"expected a JSON object, got {value!r}", param, ctx)
        return found


_OPTIONS = (
    click.option("--model", envvar="OPENAI_MODEL", show_envvar=True,
                 help="Name of the model, for --proposer chat."),
    click.option("--base-url", envvar="OPENAI_BASE_URL", show_envvar=True, metavar="URL",
                 help="An OpenAI-compatible server, up to /v1; the key is OPENAI_API_KEY."),
    click.option("--temperature", type=Pair("LOW:HIGH"),
                 help="Spread over the proposals of a round; left to the server by default."),
    click.option("--max-tokens", type=click.IntRange(1), help="Most tokens of a reply."),
    click.option("--prompt-tokens", type=click.IntRange(1000), help="Most tokens of a prompt."),
    click.option("--repairs", type=click.IntRange(0), help="How often a program may go back."),
    click.option("--tokens", type=click.IntRange(1), help="Budget of tokens."),
    click.option("--money", type=click.FloatRange(0, min_open=True),
                 help="Budget of money, in the currency of --price."),
    click.option("--price", type=Pair("IN:OUT"),
                 help="Price of a million prompt tokens and of a million reply tokens."),
    click.option("--timeout", type=click.FloatRange(0, min_open=True),
                 help="Seconds that one request may take."),
    click.option("--retries", type=click.IntRange(0),
                 help="How often a request without a reply is repeated."),
    click.option("--backoff", type=click.FloatRange(0),
                 help="Seconds before the first repetition; then doubled."),
    click.option("--extra", type=Fields(),
                 help="Further fields of each request, such as '{\"reasoning_effort\": \"low\"}'."),
    click.option("--strict", is_flag=True, default=None,
                 help="Replay: a request that differs from the recorded one is an error."),
)  # fmt: skip


def chat_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a verb the options, as the argument ``chat``: those that were given."""
    names = (*CONNECTION, *CHAT)

    @functools.wraps(function)
    def command(*arguments: Any, **own: Any) -> Any:
        given = {name: own.pop(name) for name in names}
        chat = {name: value for name, value in given.items() if value is not None}
        return function(*arguments, chat=chat, **own)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def on_command_line(names: Iterable[str]) -> list[str]:
    """Those of the options that were typed; what the environment says does not count."""
    context = click.get_current_context()
    typed = ParameterSource.COMMANDLINE
    return [name for name in names if context.get_parameter_source(name) is typed]


def flag(name: str) -> str:
    """``--max-tokens`` of ``max_tokens``."""
    return "--" + name.replace("_", "-")


def make_proposer(who: str, chat: Mapping[str, Any]) -> Proposer:
    """The chat or the replay that the options ask for.

    Args:
        who: ``chat`` or ``replay:DIR``.
        chat: Options that were given.

    Raises:
        InputError: No model, no key, or no recording.
    """
    from gsim_jax.propose import ChatOptions, ChatProposer, ReplayProposer

    own = {name: value for name, value in chat.items() if name != "strict"}
    if who == "chat":
        return ChatProposer(ChatOptions(**{"model": "", **own}))
    return ReplayProposer(Path(who.partition(":")[2]), strict=bool(chat.get("strict")))
