"""One conversation with one child: hand over the program, collect a bounded reply, end it.

This is the parent's side, and it believes nothing. It keeps the clock, reads at most what was
agreed, and returns only when the keeper says that all of the child is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gsim_jax.simulator import _reply
from gsim_jax.simulator._zygote import Zygote

_PACKET = 1 << 16
_READY_SECONDS, _END_SECONDS = 30.0, 10.0


@dataclass
class Outcome:
    """How a conversation went.

    Attributes:
        layers: name, active, detail of each layer that the child put on.
        kind: the reply's kind byte; empty when no whole reply came.
        payload: the reply.
        ending: what stopped it: "reply", "closed" (it hung up), "wall", "output", "broken" (it
            could not confine itself), "gone" (its keeper disappeared).
        end: the keeper's report, empty when none came.
        detail: words for "broken".
    """

    layers: list[tuple[str, bool, str]] = field(default_factory=list)
    kind: bytes = b""
    payload: bytes = b""
    ending: str = "gone"
    end: dict[str, Any] = field(default_factory=dict)
    detail: str = ""


def converse(
    zygote: Zygote,
    request: bytes,
    *,
    wall: float,
    output: int,
    accept: Callable[[list[tuple[str, bool, str]]], None],
) -> Outcome:
    """Runs one child from fork to burial.

    Args:
        zygote: the warm process.
        request: bytes for the child; empty to ask for its layers only.
        wall: seconds from handing over the request to the last byte of the reply.
        output: longest reply payload in bytes.
        accept: called with the child's layers before it gets the program; raises to refuse.

    Returns:
        The outcome. When it returns or raises, nothing of the child is left.
    """
    outcome = Outcome()
    with contextlib.ExitStack() as stack:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.callback(near.close)
        request_out, request_in = [stack.enter_context(_Owned(each)) for each in os.pipe()]
        reply_out, reply_in = [stack.enter_context(_Owned(each)) for each in os.pipe()]
        try:
            zygote.fork(far.fileno(), request_out.descriptor, reply_in.descriptor)
        finally:
            far.close()
        request_out.close()
        reply_in.close()
        stack.callback(_bury, near, outcome)
        if not _hear_layers(near, outcome):
            return outcome
        accept(outcome.layers)
        if not request:
            outcome.ending = "reply"
            return outcome
        deadline = time.monotonic() + wall
        _feed_and_read(request_in, reply_out.descriptor, request, outcome, deadline, output)
    return outcome


class _Owned:
    """A descriptor that is closed once, by whoever comes first."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __enter__(self) -> _Owned:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _packet(near: socket.socket, seconds: float) -> dict[str, Any]:
    """The next packet, empty when the far side is gone or late. Only trusted code writes these."""
    near.settimeout(seconds)
    try:
        packet = near.recv(_PACKET)
    except OSError:
        return {}
    return json.loads(packet) if packet else {}


def _hear_layers(near: socket.socket, outcome: Outcome) -> bool:
    packet = _packet(near, _READY_SECONDS)
    outcome.layers = [(str(n), bool(on), str(detail)) for n, on, detail in packet.get("layers", [])]
    if "broken" in packet:
        outcome.ending, outcome.detail = "broken", str(packet["broken"])
    if "end" in packet:
        outcome.end = packet["end"]
    return bool(outcome.layers)


def _feed_and_read(
    feed: _Owned, source: int, request: bytes, outcome: Outcome, deadline: float, output: int
) -> None:
    os.set_blocking(feed.descriptor, False)
    os.set_blocking(source, False)
    poll = select.poll()
    poll.register(source, select.POLLIN)
    poll.register(feed.descriptor, select.POLLOUT)
    waiting, received = memoryview(request), bytearray()
    while not _complete(received, outcome, output):
        left = deadline - time.monotonic()
        events = poll.poll(max(0, left) * 1000) if left > 0 else []
        if not events:
            outcome.ending = "wall"
            return
        for descriptor, _ in events:
            if descriptor == source:
                part = os.read(source, 1 << 16)
                received += part
                if not part:
                    outcome.ending = "closed"
                    return
            else:
                waiting = _feed(feed, waiting, poll)


def _feed(feed: _Owned, waiting: memoryview, poll: select.poll) -> memoryview:
    try:
        waiting = waiting[os.write(feed.descriptor, waiting) :]
    except BrokenPipeError:
        waiting = waiting[:0]  # it hung up; what it replied, if anything, is read all the same
    if not waiting:
        poll.unregister(feed.descriptor)
        feed.close()
    return waiting


def _complete(received: bytearray, outcome: Outcome, output: int) -> bool:
    """Whether to stop reading: a whole reply, or more than was agreed."""
    head = _reply.HEADER.size
    if len(received) < head:
        return False
    kind, size = _reply.HEADER.unpack(received[:head])
    if kind not in (_reply.DOCUMENT, _reply.ERROR):
        outcome.ending = "reply"  # kind stays empty: not a reply of ours
        return True
    if size > (output if kind == _reply.DOCUMENT else _reply.MOST_ERROR):
        outcome.ending = "output"
        return True
    if len(received) < head + size:
        return False
    outcome.ending = "reply"
    if len(received) > head + size:
        return True  # something follows: whoever wrote this is not our side of the pipe
    outcome.kind = kind
    outcome.payload = bytes(received[head : head + size])
    return True


def _bury(near: socket.socket, outcome: Outcome) -> None:
    with contextlib.suppress(OSError):
        # No packet: one that the keeper leaves unread would turn its report into ECONNRESET.
        near.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + _END_SECONDS
    while time.monotonic() < deadline:
        packet = _packet(near, _END_SECONDS)
        if not packet:
            return  # the keeper has ended too
        outcome.end = packet.get("end", outcome.end)


def signal_name(number: int) -> str:
    """The name of a signal, "SIGSEGV"."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
