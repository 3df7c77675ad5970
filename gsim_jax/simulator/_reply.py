"""What passes between the parent and a child: a request in, one framed reply out.

The reply is a kind byte, a length and that many bytes. What a child sends is hostile until proved
otherwise: whoever controls the child can forge anything here, so the parent's half reads with
limits, believes no field, and strips what could play tricks on a terminal or a prompt.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import struct
from types import TracebackType
from typing import Any

from gsim_jax.task.problems import InputError, Problem, SimulatorError

DOCUMENT, ERROR = b"D", b"E"
#: The name under which the child compiles a program; its frames tell the line of a mistake.
COMPILED_AS = "simulator.py"
HEADER = struct.Struct(">cI")
#: Longest request (a source and a signature) and longest error, in bytes.
MOST_REQUEST, MOST_ERROR = 16 << 20, 64 << 10
_MOST_PROBLEMS, _MOST_WORDS = 20, 2000
_CODE = re.compile(r"[a-z][a-z0-9-]{0,39}")
#: Codes that speak for the sandbox itself; a child that sends one speaks out of turn.
_NOT_A_CHILDS = frozenset({"isolation", "reply", "crash", "size"})


class TimeUp(BaseException):
    """Raised inside the program when its processor time is spent; no `Exception` catches it."""


def frame(kind: bytes, payload: bytes) -> bytes:
    """One reply as it goes through the pipe."""
    return HEADER.pack(kind, len(payload)) + payload


def encode_request(source: str, signature: dict[str, Any]) -> bytes:
    """The request as the child reads it: a length, then JSON."""
    payload = json.dumps({"source": source, "signature": signature}, sort_keys=True).encode()
    return struct.pack(">I", len(payload)) + payload


def read_request(descriptor: int) -> dict[str, Any] | None:
    """Reads one request from the parent (child side); None when the parent sent none."""
    head = _read_exactly(descriptor, 4)
    if head is None:
        return None
    body = _read_exactly(descriptor, struct.unpack(">I", head)[0])
    return None if body is None else json.loads(body)


def _read_exactly(descriptor: int, size: int) -> bytes | None:
    parts: list[bytes] = []
    while size > 0:
        part = os.read(descriptor, min(size, 1 << 16))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def encode_error(error: BaseException) -> bytes:
    """An exception of the program as JSON (child side)."""
    if isinstance(error, InputError):
        problems = [problem.to_json() for problem in error.problems[:_MOST_PROBLEMS]]
        # The tracer words every exception; that a limit was behind it is known here only.
        code, words = _describe(error.__context__) if error.__context__ else ("", "")
        if code == "memory-limit":
            problems = [{**problem, "code": code, "message": words} for problem in problems]
    else:
        code, words = _describe(error)
        line = _line_of(error)
        problems = [{"code": code, "message": words, "line": line}]
    while len(problems) > 1 and len(json.dumps(problems)) > MOST_ERROR:
        problems.pop()
    for problem in problems:
        problem["message"] = str(problem["message"])[:_MOST_WORDS]
    return json.dumps({"problems": problems}).encode()


def _describe(error: BaseException) -> tuple[str, str]:
    if isinstance(error, TimeUp):
        return "time-limit", f"still running here after {error}; make it do less, or loop less"
    if isinstance(error, MemoryError):
        return "memory-limit", "out of memory here; build smaller arrays"
    if isinstance(error, SyntaxError):
        return "syntax", f"not valid Python: {error.msg}"
    if isinstance(error, RecursionError):
        return "trace", "functions call one another without end; write a loop instead"
    words = type(error).__name__
    with contextlib.suppress(Exception):  # its words are written by the program too
        words = f"{words}: {error}"
    if "RESOURCE_EXHAUSTED" in words[:_MOST_WORDS]:
        return "memory-limit", "out of memory here; build smaller arrays"
    return "trace", words


def _line_of(error: BaseException) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == COMPILED_AS:
        return error.lineno
    line = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == COMPILED_AS:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def decode_error(payload: bytes, filename: str, lines: int) -> SimulatorError:
    """A child's error as an exception of ours, believing nothing in it.

    Args:
        payload: the bytes that the child framed as an error.
        filename: the file to name.
        lines: how many lines the source has; a line number beyond them is dropped.

    Returns:
        The refusal, never empty. Its words keep no control characters.
    """
    try:
        body = json.loads(payload[:MOST_ERROR].decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        body = None
    listed = body.get("problems") if isinstance(body, dict) else None
    entries = listed[:_MOST_PROBLEMS] if isinstance(listed, list) else []
    problems = [_problem(e, filename, lines) for e in entries if isinstance(e, dict)]
    if not problems:
        words = "expected a document or an error from the program, got something else"
        problems = [Problem("reply", words, file=filename)]
    return SimulatorError(problems)


def _problem(entry: dict[str, Any], filename: str, lines: int) -> Problem:
    code, line, column = entry.get("code"), entry.get("line"), entry.get("column")
    known = isinstance(code, str) and _CODE.fullmatch(code) and code not in _NOT_A_CHILDS
    inside = isinstance(line, int) and not isinstance(line, bool) and 1 <= line <= lines
    return Problem(
        code=str(code) if known else "trace",
        message=clean(entry.get("message")) or "the program failed without words",
        file=filename,
        line=line if inside else None,
        column=clean(column)[:20] if isinstance(column, str) and column else None,
    )


def clean(words: object) -> str:
    """Text without control, bidirectional or unassigned characters, and of bounded length."""
    text = words[:_MOST_WORDS] if isinstance(words, str) else ""
    return "".join(c if c.isprintable() else " " for c in text).strip()
