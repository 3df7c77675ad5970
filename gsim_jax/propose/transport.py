"""Sends a request until a reply has arrived: retries with backoff, and no key in any message."""

from __future__ import annotations

import asyncio
import email.utils
import importlib
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from gsim_jax.propose.chat_options import HOSTED, ChatOptions, Key
from gsim_jax.propose.chat_record import Place, Reply
from gsim_jax.propose.chat_wire import Damaged, read_reply
from gsim_jax.propose.conversing import Spent
from gsim_jax.task import InputError, Problem

#: Statuses after which the same request may succeed; so may every one from 500 on.
AGAIN = frozenset({408, 409, 425, 429})
#: The pause before a repetition is doubled so often, unless the server asks for more.
DOUBLED = 6
#: What a server says when waiting does not help though the status is 429.
HOPELESS = ("insufficient_quota", "billing_hard_limit_reached")

Notice = Callable[[str], None]


class Unreachable(ConnectionError):
    """No reply in spite of all repetitions; an `OSError`, for the network is no bad input."""


class Transport(Protocol):
    """Whoever answers requests."""

    async def send(
        self, place: Place, body: Mapping[str, Any], deadline: float | None, notice: Notice
    ) -> Reply:
        """One reply.

        Args:
            place: Where the request stands in the conversation.
            body: The request.
            deadline: On the clock of `time.monotonic`; None for none.
            notice: Told in words when a request has to be repeated.

        Raises:
            Unreachable: No reply came.
            InputError: The server will never answer such a request.
            Spent: The deadline passed.
        """
        ...

    async def close(self) -> None:
        """Gives up connections."""
        ...


class _Again(Exception):
    """This time it failed; the next time it may not."""

    def __init__(self, cause: str, after: float | None = None) -> None:
        self.cause, self.after = cause, after
        super().__init__(cause)


class HttpTransport:
    """An OpenAI-compatible server, through the `openai` client."""

    def __init__(self, options: ChatOptions, key: Key) -> None:
        """Connects with the first request."""
        self._options, self._key = options, key
        self._client: Any = None
        # Pauses differ between requests so that they do not all come back at once; no result
        # depends on them.
        self._jitter = random.Random(0)

    async def send(
        self, place: Place, body: Mapping[str, Any], deadline: float | None, notice: Notice
    ) -> Reply:
        """One reply; see `Transport`."""
        begin, cause = time.monotonic(), ""
        for turn in range(self._options.retries + 1):
            limit = self._left(deadline)
            try:
                data, whole = await self._once(body, limit)
                reply = self._redacted(read_reply(data, whole, body))
                passed = round(time.monotonic() - begin, 3)
                return Reply(**{**vars(reply), "tries": turn + 1, "seconds": passed})
            except Damaged as error:
                cause, after = f"the reply was cut short: {error}", None
            except _Again as error:
                cause, after = self._key.redact(error.cause), error.after
            if turn == self._options.retries:
                break
            await self._pause(turn, after, cause, deadline, notice)
        raise self._unreachable(cause, self._options.retries + 1)

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _left(self, deadline: float | None) -> float:
        """Seconds that the next try may take."""
        if deadline is None:
            return self._options.timeout
        left = deadline - time.monotonic()
        if left <= 0:
            raise Spent("seconds")
        return min(left, self._options.timeout)

    async def _once(self, body: Mapping[str, Any], limit: float) -> tuple[bytes, bool]:
        """Bytes of one reply, and whether these are all."""
        import openai

        client = self._connect(openai)
        fields = dict(body)
        known = {name: fields.pop(name) for name in ("model", "messages")}
        try:
            async with asyncio.timeout(limit):
                stream = client.chat.completions.with_streaming_response.create(
                    **known, extra_body=fields
                )
                async with stream as response:
                    return await self._read(response)
        except TimeoutError:
            raise _Again(f"no reply within {limit:.3g} s") from None
        except openai.APIStatusError as error:
            raise self._status(error) from None
        except openai.APIConnectionError as error:
            reason = error.__cause__ or error
            raise _Again(f"{type(reason).__name__}: {reason}"[:300]) from None
        except _network_errors() as error:
            raise _Again(f"the connection broke: {type(error).__name__}: {error}"[:300]) from None

    async def _read(self, response: Any) -> tuple[bytes, bool]:
        data = bytearray()
        async for chunk in response.iter_bytes():
            data += chunk
            if len(data) > self._options.reply_bytes:
                return bytes(data[: self._options.reply_bytes]), False
        return bytes(data), True

    def _connect(self, openai: Any) -> Any:
        if self._client is None:
            self._client = openai.AsyncOpenAI(
                api_key=self._key.value or "none",  # the client insists on one
                base_url=self._options.base_url or HOSTED,
                timeout=self._options.timeout,
                max_retries=0,  # repetitions are ours: they are told, bounded and counted
            )
        return self._client

    def _status(self, error: Any) -> Exception:
        """What a status of 400 or more means for us."""
        status, words = int(error.status_code), self._words(error)
        hopeless = status == 429 and str(error.code) in HOPELESS
        if (status in AGAIN or status >= 500) and not hopeless:
            return _Again(f"status {status}: {words}", _retry_after(error.response.headers))
        host = self._options.host
        text = f"{host} refused the request with status {status}: {words}. {_advice(status)}"
        return InputError(Problem(f"chat-{status}", text))

    def _words(self, error: Any) -> str:
        body = error.body
        said = body.get("message") if isinstance(body, dict) else body
        return self._key.redact(" ".join(str(said or "no reason given").split()))[:300]

    async def _pause(
        self, turn: int, after: float | None, cause: str, deadline: float | None, notice: Notice
    ) -> None:
        pause = self._options.backoff * 2 ** min(turn, DOUBLED)
        pause *= 0.75 + 0.5 * self._jitter.random()
        if after is not None:
            if after > self._options.longest_wait:
                told = f"{cause}; it asks to wait {after:.0f} s"
                raise self._unreachable(told, turn + 1)
            pause = max(after, pause) if after == 0 else after
        notice(f"{cause}; again in {pause:.2g} s")
        if deadline is not None and time.monotonic() + pause >= deadline:
            await asyncio.sleep(max(deadline - time.monotonic(), 0.0))
            raise Spent("seconds")
        await asyncio.sleep(pause)

    def _unreachable(self, cause: str, tries: int) -> Unreachable:
        host = self._options.host
        return Unreachable(
            f"no reply from {host} after {tries} {'try' if tries == 1 else 'tries'}; the last: "
            f"{cause}. What has arrived is kept: continue with gsim run --resume RUN"
        )

    def _redacted(self, reply: Reply) -> Reply:
        texts = {
            name: self._key.redact(getattr(reply, name)) for name in ("content", "refusal", "model")
        }
        return Reply(**{**vars(reply), **texts})


def _network_errors() -> tuple[type[Exception], ...]:
    """What the HTTP library below the client raises while a body is read; it has two names."""
    found: list[type[Exception]] = []
    for name in ("httpx2", "httpx"):
        try:
            found.append(importlib.import_module(name).HTTPError)
        except ImportError:
            continue
    return (*found, OSError)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: in milliseconds, in seconds, or as a date."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(float(value) * unit, 0.0)
        except ValueError:
            pass
        try:
            moment = email.utils.parsedate_to_datetime(value)
        except (TypeError, ValueError):
            continue
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
    return None


def _advice(status: int) -> str:
    return {
        400: "Look at --model, --temperature, --max-tokens and --extra",
        401: "Look at OPENAI_API_KEY",
        403: "Look at OPENAI_API_KEY, and whether it may use this model",
        404: "Look at --model, and at --base-url, which ends in /v1 for most servers",
        413: "Lower --prompt-tokens",
        429: "The account has nothing left: the run can be continued with gsim run --resume RUN",
    }.get(status, "The run can be continued with gsim run --resume RUN")
