"""A server on loopback that speaks the chat protocol, breaks it in many ways, and keeps count.

Its answers are fixtures written for tests, never recordings of a model.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[Mapping[str, Any]], str]

#: Faults after which the same request is to be repeated: no reply has arrived.
TRANSPORT = (
    "429 with Retry-After", "429", "408", "409", "500", "503", "hang", "reset", "cut short",
    "truncated JSON", "no JSON",
)  # fmt: skip
#: Faults that arrive whole: the same request must never be seen again.
CONTENT = (
    "empty choices", "empty text", "wrong schema", "an error with status 200", "10 MB", "prose",
    "two programs", "another task", "refusal in words", "refusal", "invalid UTF-8", "cut off",
    "content filter",
)  # fmt: skip

PROSE = "I would think of people who fall ill and recover, with a constant chance for each."
ANOTHER = '''"""A spring."""
PARAMS = {"pull": {"k": Uniform(0.0, 1.0, guess=0.5)}}

def pull(state, inputs, params, key):
    return {"force": -params["k"] * state["position"]}

def couple(state, inputs, outputs, params, key):
    return {"position": state["position"] + outputs["force"]}

SUBMODULES = (pull,)
'''


def fenced(source: str, words: str = "- as a fixture says") -> str:
    """A reply in the form that the prompts ask for."""
    return f"## Reflection\n{words}\n\nBased on: none\n\n## Program\n```python\n{source}```\n"


def digest(body: bytes) -> str:
    """Equal for equal requests."""
    return hashlib.blake2b(body, digest_size=8).hexdigest()


@dataclass
class Call:
    """One request as the server met it.

    Attributes:
        digest: Equal for equal requests.
        body: The request.
        fault: How it was answered; None where nothing was broken.
        whole: Whether a whole reply with status 200 went out.
    """

    digest: str
    body: dict[str, Any]
    fault: str | None
    whole: bool = False


@dataclass
class FaultServer:
    """Answers, and breaks what it is told to break.

    Attributes:
        answer: Text of the reply to a request.
        fault: What to break: told the number of the request, from 0, and how often the same one
            came before; returns a name out of `TRANSPORT` or `CONTENT`, or None.
        broken: The same by what is asked, for requests whose order is nobody's to choose.
        delay: Seconds before each reply.
        usage: Whether replies count their tokens.
        key: What an honest server demands as a key, and a careless one echoes.
        arrived: Called with each request before it is answered.
    """

    answer: Answer
    fault: Callable[[int, int], str | None] = lambda number, repeated: None
    broken: Callable[[Mapping[str, Any]], str | None] = lambda body: None
    delay: Callable[[], float] = lambda: 0.0
    usage: bool = True
    key: str | None = None
    arrived: Callable[[Call], None] = lambda call: None
    calls: list[Call] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        """Runs until the block is left; gives the base URL."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            self._stop.set()
            server.shutdown()
            server.server_close()
            thread.join()

    def faults(self) -> Counter[str]:
        """How often each fault was met."""
        return Counter(call.fault for call in self.calls if call.fault is not None)

    def sent_again(self) -> list[Call]:
        """Requests that came again though a whole reply to them had gone out."""
        done: set[str] = set()
        found = []
        for call in self.calls:
            if call.digest in done:
                found.append(call)
            if call.whole:
                done.add(call.digest)
        return found

    def _take(self, raw: bytes) -> Call:
        mark = digest(raw)
        with self._lock:
            before = sum(call.digest == mark for call in self.calls)
            body = json.loads(raw)
            kind = self.broken(body) or self.fault(len(self.calls), before)
            call = Call(mark, body, kind)
            self.calls.append(call)
        self.arrived(call)
        return call

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                call = outer._take(raw)
                time.sleep(outer.delay())
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    outer._reply(self, call)

        return Handler

    def _reply(self, to: BaseHTTPRequestHandler, call: Call) -> None:
        given = to.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.key is not None and given != self.key:
            return _send(to, 401, _error(f"Incorrect API key provided: {given}"))
        if call.fault in TRANSPORT:
            return _break(to, call.fault, self._whole(call), self._stop, given)
        call.whole = True
        if call.fault is None:
            return _send(to, 200, self._whole(call))
        return _send(to, 200, _spoiled(call.fault, self._whole(call), self.answer(call.body)))

    def _whole(self, call: Call) -> bytes:
        return completion(self.answer(call.body), call.body, self.usage)


def completion(text: str | None, body: Mapping[str, Any], usage: bool = True, **more: Any) -> bytes:
    """Bytes of a chat completion; `more` replaces parts of its choice."""
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
    }
    found: dict[str, Any] = {
        "id": "chatcmpl-fixture", "object": "chat.completion", "created": 0,
        "model": body.get("model"), "choices": [choice | more],
    }  # fmt: skip
    if usage:
        prompt = sum(len(message["content"]) for message in body["messages"]) // 4
        said = len(text or "") // 4
        found["usage"] = {
            "prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said,
        }  # fmt: skip
    return json.dumps(found).encode()


def _error(words: str) -> bytes:
    return json.dumps({"error": {"message": words, "type": "fixture"}}).encode()


def _send(to: BaseHTTPRequestHandler, status: int, data: bytes, **headers: str) -> None:
    to.send_response(status)
    to.send_header("Content-Type", "application/json")
    to.send_header("Content-Length", str(len(data)))
    for name, value in headers.items():
        to.send_header(name.replace("_", "-"), value)
    to.end_headers()
    to.wfile.write(data)


def _break(
    to: BaseHTTPRequestHandler, kind: str, whole: bytes, stop: threading.Event, key: str
) -> None:
    """No reply, in one of many ways."""
    half = whole[: len(whole) // 2]
    if kind == "429 with Retry-After":
        return _send(to, 429, _error("slow down"), Retry_After="0.01")
    if kind[:3].isdigit():
        return _send(to, int(kind[:3]), _error(f"out of order, {key}"))
    if kind == "truncated JSON":
        return _send(to, 200, half)
    if kind == "no JSON":
        return _send(to, 200, b"<html><body>Bad gateway</body></html>")
    to.close_connection = True
    if kind == "hang":
        stop.wait(30)
    elif kind == "reset":
        # With a linger time of 0 the connection ends in a reset instead of a goodbye.
        to.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        to.connection.close()
    elif kind == "cut short":
        to.send_response(200)
        to.send_header("Content-Type", "application/json")
        to.send_header("Content-Length", str(len(whole)))
        to.end_headers()
        to.wfile.write(half)
        to.wfile.flush()
        to.connection.shutdown(socket.SHUT_RDWR)
    else:
        raise ValueError(f"expected a fault out of {TRANSPORT}, got {kind!r}")
    return None


def _spoiled(kind: str, whole: bytes, text: str) -> bytes:
    """A whole reply that is no use, in one of many ways."""
    document = json.loads(whole)
    body = {"model": document["model"], "messages": []}

    def said(words: str | None, **more: Any) -> bytes:
        return completion(words, body, **more)

    silent = {"message": {"role": "assistant", "content": None, "refusal": "I cannot do that."}}
    return {
        "empty choices": lambda: json.dumps({**document, "choices": []}).encode(),
        "empty text": lambda: said(""),
        "wrong schema": lambda: json.dumps({"result": text}).encode(),
        "an error with status 200": lambda: _error("upstream is overloaded"),
        "10 MB": lambda: said(text + "x" * 10_000_000),
        "prose": lambda: said(PROSE),
        "two programs": lambda: said(text + "\nOr else:\n\n" + text),
        "another task": lambda: said(fenced(ANOTHER)),
        "refusal in words": lambda: said("I'm sorry, but I can't help with that."),
        "refusal": lambda: said(None, **silent),
        "invalid UTF-8": lambda: whole.replace(b"SUBMODULES", b"SUBMODULES \xff\xfe"),
        "cut off": lambda: said(text[: len(text) // 2], finish_reason="length"),
        "content filter": lambda: said("", finish_reason="content_filter"),
    }[kind]()


def seeded(kinds: tuple[str, ...], most: int, share: float, seed: int) -> Callable[..., str | None]:
    """At most `most` faults, each kind in turn in a random order, a `share` of the requests."""
    generator = random.Random(seed)
    left = most
    queue: list[str] = []

    def fault(number: int, repeated: int) -> str | None:
        nonlocal left, queue
        if left == 0 or generator.random() >= share:
            return None
        if not queue:
            queue = generator.sample(kinds, len(kinds))
        left -= 1
        return queue.pop()

    return fault
