"""One request at a time: what is repeated, how long it waits, and what is given up at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from gsim_jax.propose.chat_options import ChatOptions, Key
from gsim_jax.propose.chat_record import Place, Reply
from gsim_jax.propose.conversing import Spent
from gsim_jax.propose.transport import HttpTransport, Unreachable
from gsim_jax.task import InputError
from tests.helpers.fault_server import completion

BODY = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "temperature": 0.5}
GOOD = (200, {}, completion("hello", BODY))
Script = list[tuple[int, dict[str, str], bytes]]


@contextlib.contextmanager
def scripted(script: Script) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that answers by a script; gives its address and the requests that it met."""
    met: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, data = script[min(len(met), len(script) - 1)]
            met.append({**json.loads(raw), "path": self.path})
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", met
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def send(
    script: Script, deadline: float | None = None, **options: Any
) -> tuple[Reply, list[dict[str, Any]], list[str]]:
    """The reply, the requests that the server met, and what was told."""
    told: list[str] = []

    async def one(url: str) -> Reply:
        given = {"retries": 3, "backoff": 0.001, "timeout": 5.0, **options}
        transport = HttpTransport(ChatOptions("m", base_url=url, **given), Key("sk-abcdefgh"))
        try:
            return await transport.send(Place(0, 0, 0), BODY, deadline, told.append)
        finally:
            await transport.close()

    with scripted(script) as (url, met):
        return asyncio.run(one(url)), met, told


def words(text: str, **more: str) -> bytes:
    return json.dumps({"error": {"message": text, **more}}).encode()


def test_the_request_arrives_as_it_is() -> None:
    reply, met, told = send([GOOD])
    assert (reply.content, reply.tries, told) == ("hello", 1, [])
    assert met == [{**BODY, "path": "/v1/chat/completions"}]


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
def test_repeated(status: int) -> None:
    reply, met, told = send([(status, {}, words("busy")), (status, {}, b""), GOOD])
    assert (reply.content, reply.tries, len(met)) == ("hello", 3, 3)
    assert told[0].startswith(f"status {status}: busy; again in")
    assert met[0] == met[1] == met[2]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_given_up_at_once(status: int) -> None:
    with pytest.raises(InputError, match=rf"status {status}: no such thing") as error:
        send([(status, {}, words("no such thing"))])
    assert error.value.problems[0].code == f"chat-{status}"


def test_an_empty_account_is_not_asked_again() -> None:
    with pytest.raises(InputError, match="account has nothing left"):
        send([(429, {}, words("quota", code="insufficient_quota")), GOOD])


@pytest.mark.parametrize("name", ["Retry-After", "retry-after-ms"])
def test_the_server_says_how_long_to_wait(name: str) -> None:
    begin = time.monotonic()
    value = "0.4" if name == "Retry-After" else "400"
    _, met, told = send([(429, {name: value}, b""), GOOD])
    assert time.monotonic() - begin >= 0.4
    assert len(met) == 2
    assert told == ["status 429: no reason given; again in 0.4 s"]


def test_too_long_a_wait_is_no_reply() -> None:
    with pytest.raises(Unreachable, match="it asks to wait 3600 s"):
        send([(503, {"Retry-After": "3600"}, b""), GOOD])


def test_pauses_grow_and_end() -> None:
    begin = time.monotonic()
    with pytest.raises(Unreachable, match="after 4 tries; the last: status 500"):
        send([(500, {}, b"")], backoff=0.1)
    passed = time.monotonic() - begin
    assert passed >= 0.75 * (0.1 + 0.2 + 0.4)


def test_the_deadline_ends_a_pause() -> None:
    with pytest.raises(Spent, match="seconds"):
        send([(500, {}, b"")], deadline=time.monotonic() + 0.3, backoff=60.0)
    with pytest.raises(Spent, match="seconds"):
        send([GOOD], deadline=time.monotonic() - 1)


def test_nobody_is_there() -> None:
    transport = HttpTransport(
        ChatOptions("m", base_url="http://127.0.0.1:9/v1", retries=1, backoff=0.0), Key("")
    )
    with pytest.raises(Unreachable, match=r"no reply from http://127\.0\.0\.1:9/v1 after 2 tries"):
        asyncio.run(transport.send(Place(0, 0, 0), BODY, None, lambda text: None))


def test_a_reply_is_read_up_to_a_limit() -> None:
    reply, met, _ = send([(200, {}, completion("x" * 300_000, BODY))], reply_bytes=50_000)
    assert reply.fault == "too-long"
    assert len(met) == 1
