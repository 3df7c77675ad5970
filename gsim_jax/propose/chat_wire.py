"""From the bytes of an HTTP reply to what the model said, whatever a server sends."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gsim_jax.propose.chat_record import Reply

#: Characters of an over-long or unreadable reply that are kept.
KEPT = 4_000
#: Characters per token where a server does not count.
CHARACTERS = 4


class Damaged(ValueError):
    """The bytes are no whole reply: it was cut short on the way, or something else answered."""


def read_reply(data: bytes, whole: bool, body: Mapping[str, Any]) -> Reply:
    """Reads one body of `/chat/completions`.

    Args:
        data: The bytes.
        whole: Whether these are all of them; False where there were too many.
        body: The request, for servers that do not count tokens.

    Returns:
        The reply; what arrived whole and is no use has a `fault`, and counts as received.

    Raises:
        Damaged: The bytes are no JSON.
    """
    if not whole:
        text = data[:KEPT].decode("utf-8", "replace")
        return _counted(Reply(text, fault="too-long"), {}, body, len(data))
    sound = True
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text, sound = data.decode("utf-8", "replace"), False
    try:
        document = json.loads(text)
    except ValueError as error:
        if not sound:
            return _counted(Reply(text[:KEPT], fault="encoding"), {}, body, len(data))
        raise Damaged(f"not JSON after {len(text):,} characters ({error})") from error
    reply = _message(document)
    if not reply.fault and not sound:
        reply = _with(reply, fault="encoding")
    usage = document.get("usage") if isinstance(document, dict) else None
    return _counted(reply, usage, body, len(reply.content))


def _message(document: Any) -> Reply:
    """The first choice of a completion, or what is wrong with it."""
    if not isinstance(document, dict) or not isinstance(document.get("choices"), list):
        shown = json.dumps(document, ensure_ascii=False)[:KEPT]
        return Reply(_clean(shown), fault="shape")
    model = _clean(str(document.get("model") or ""))[:200]
    if not document["choices"]:
        return Reply("", fault="empty", model=model)
    choice = document["choices"][0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        shown = json.dumps(document, ensure_ascii=False)[:KEPT]
        return Reply(_clean(shown), fault="shape", model=model)
    content = _text(message.get("content"))
    if content is None:
        shown = json.dumps(message, ensure_ascii=False)[:KEPT]
        return Reply(_clean(shown), fault="shape", model=model)
    refusal = message.get("refusal")
    reply = Reply(
        _clean(content),
        finish=str(choice.get("finish_reason") or ""),
        refusal=_clean(refusal)[:KEPT] if isinstance(refusal, str) else "",
        model=model,
    )
    if not reply.content.strip() and not reply.refusal:
        return _with(reply, fault="empty")
    return reply


def _text(content: Any) -> str | None:
    """The content as text; some servers send it in parts. None where it is neither."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text", "") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return None


def _clean(text: str) -> str:
    """Half of a surrogate pair has no UTF-8, and would break what is sent next."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _counted(reply: Reply, usage: Any, body: Mapping[str, Any], size: int) -> Reply:
    usage = usage if isinstance(usage, dict) else {}
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if _whole(prompt) and _whole(completion):
        return _with(reply, prompt_tokens=prompt, completion_tokens=completion, counted=True)
    asked = sum(len(message["content"]) for message in body.get("messages", ()))
    estimate = {"prompt_tokens": asked // CHARACTERS, "completion_tokens": size // CHARACTERS}
    return _with(reply, **estimate)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40


def _with(reply: Reply, **changed: Any) -> Reply:
    return Reply(**{**vars(reply), **changed})
