"""How a language model is reached and asked: settings that a run records, and a key, never."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from gsim_jax.task import InputError, Problem

HOSTED = "https://api.openai.com/v1"


@dataclass(frozen=True)
class ChatOptions:
    """Settings of a conversation.

    Attributes:
        model: Name of the model, as the server knows it.
        base_url: Address of an OpenAI-compatible server, up to `/v1`; "" for OpenAI's own.
        temperature: Lowest and highest temperature, spread over the proposals of a round; None
            leaves it to the server (some models take no other).
        max_tokens: Most tokens of one reply; None leaves it to the server.
        prompt_tokens: Most tokens of a prompt, about.
        repairs: How often a refused program or an unusable answer goes back.
        timeout: Seconds that one request may take.
        retries: How often a request is repeated that got no reply.
        backoff: Seconds before the first repetition; doubled six times, no more.
        longest_wait: Seconds that a server may ask to wait before it counts as unreachable.
        reply_bytes: Most bytes of one reply.
        tokens: Budget of tokens, prompts and replies together; None for none.
        money: Budget in the currency of the prices; None for none.
        price: Price of a million prompt tokens and of a million reply tokens.
        extra: Further fields of the request, such as `{"reasoning_effort": "low"}`.
    """

    model: str
    base_url: str = ""
    temperature: tuple[float, float] | None = None
    max_tokens: int | None = None
    prompt_tokens: int = 16_000
    repairs: int = 2
    timeout: float = 600.0
    retries: int = 8
    backoff: float = 1.0
    longest_wait: float = 600.0
    reply_bytes: int = 2_000_000
    tokens: int | None = None
    money: float | None = None
    price: tuple[float, float] = (0.0, 0.0)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise InputError(problems)

    def _problems(self) -> list[Problem]:
        found = []
        if not self.model:
            found.append(("model", "expected the name of a model: --model NAME, or OPENAI_MODEL"))
        if self.base_url and urlsplit(self.base_url).scheme not in ("http", "https"):
            text = "expected an address such as http://127.0.0.1:8000/v1, got another kind"
            found.append(("base-url", text))
        if self.money is not None and not any(self.price):
            text = "expected --price with --money: the price of a million prompt and reply tokens"
            found.append(("price", text))
        taken = sorted({"messages", "model", "stream", "n"} & set(self.extra))
        if taken:
            text = f"expected further fields of the request; {', '.join(taken)} cannot be set"
            found.append(("extra", text))
        return [Problem(code, text) for code, text in found]

    @property
    def host(self) -> str:
        """The server in words, without what an address may hide (user, password, query)."""
        return public(self.base_url or HOSTED)

    def at(self, slot: int, count: int) -> float | None:
        """The temperature of one proposal of a round."""
        if self.temperature is None:
            return None
        low, high = self.temperature
        share = slot / (count - 1) if count > 1 else 0.0
        return round(low + (high - low) * min(share, 1.0), 4)

    def to_json(self) -> dict[str, Any]:
        """All settings, as a run records them."""
        return {**asdict(self), "base_url": public(self.base_url), "extra": dict(self.extra)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ChatOptions:
        """Settings of a run record, those that this version knows."""
        known = {f.name for f in fields(cls)}
        given = {name: value for name, value in data.items() if name in known}
        for name in ("temperature", "price"):
            if given.get(name) is not None:
                given[name] = tuple(given[name])
        return cls(**given)


def public(url: str) -> str:
    """An address without user, password, query and fragment."""
    if not url:
        return ""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


@dataclass(frozen=True)
class Key:
    """A key for the server: shows itself nowhere."""

    value: str = field(default="", repr=False)

    def redact(self, text: str) -> str:
        """The text with every trace of the key taken out; servers like to echo it."""
        if len(self.value) < 6:
            return text
        shown = text
        for form in {self.value, json.dumps(self.value)[1:-1]}:
            shown = shown.replace(form, "[key]")
        return shown


def key_from_environment(base_url: str) -> Key:
    """The key in `OPENAI_API_KEY`; a server of one's own may need none.

    Raises:
        InputError: There is none, and OpenAI's own server is meant.
    """
    value = os.environ.get("OPENAI_API_KEY", "").strip()
    if not value and not base_url:
        text = (
            "expected OPENAI_API_KEY in the environment for OpenAI's server; for another one give "
            "--base-url or OPENAI_BASE_URL; without any: --proposer library"
        )
        raise InputError(Problem("no-key", text))
    if not value.isascii() or not value.isprintable():
        raise InputError(Problem("no-key", "expected a key of printable ASCII in OPENAI_API_KEY"))
    return Key(value)
