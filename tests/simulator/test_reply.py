"""What the parent makes of bytes that claim to be an error of a child."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsim_jax.simulator import _reply
from gsim_jax.task.problems import Problem, SimulatorError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
PROBLEM = st.dictionaries(st.sampled_from(["code", "message", "line", "column", "file"]), JSON)


def decode(payload: bytes, lines: int = 10) -> tuple[Problem, ...]:
    return _reply.decode_error(payload, "mine.py", lines).problems


def test_an_error_makes_the_trip() -> None:
    sent = SimulatorError([Problem("a-code", "do this", file="x", line=3, column="7")])
    (problem,) = decode(_reply.encode_error(sent))
    assert problem == Problem("a-code", "do this", file="mine.py", line=3, column="7")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ValueError("bad"), "trace", "ValueError: bad"),
        (MemoryError(), "memory-limit", "out of memory"),
        (RecursionError(), "trace", "write a loop instead"),
        (_reply.TimeUp("1 s of processor time"), "time-limit", "after 1 s of processor time"),
        (SystemExit(3), "trace", "SystemExit: 3"),
        (RuntimeError("RESOURCE_EXHAUSTED: x"), "memory-limit", "out of memory"),
    ],
)
def test_exceptions_become_words(error: BaseException, code: str, words: str) -> None:
    (problem,) = decode(_reply.encode_error(error))
    assert problem.code == code
    assert words in problem.message


def test_a_limit_shows_through_the_words_of_the_tracer() -> None:
    try:
        try:
            raise MemoryError
        except MemoryError:
            raise SimulatorError(Problem("trace-error", "MemoryError", line=4)) from None
    except SimulatorError as error:
        payload = _reply.encode_error(error)
    (problem,) = decode(payload)
    assert (problem.code, problem.line) == ("memory-limit", 4)


def test_the_line_is_that_of_the_program() -> None:
    try:
        exec(compile("x = 1\ny = x / 0\n", _reply.COMPILED_AS, "exec"), {})
    except ZeroDivisionError as error:
        payload = _reply.encode_error(error)
    assert decode(payload)[0].line == 2


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b'{"problems": {}}', b'{"problems": []}',
        b'{"problems": [1, "x", null]}', b"[" * 60_000, b"9" * 60_000, b'{"a":' * 9000,
    ],
    ids=lambda payload: repr(payload[:24]),
)  # fmt: skip
def test_nonsense_is_one_refusal(payload: bytes) -> None:
    (problem,) = decode(payload)
    assert problem.code == "reply"
    assert problem.file == "mine.py"


def test_lies_are_dropped() -> None:
    entry = {"code": "DROP TABLE", "message": "\x1b[31mred\u202e\x00", "line": 11, "column": "\n\t"}
    (problem,) = decode(json.dumps({"problems": [entry], "file": "/etc/passwd"}).encode())
    assert problem == Problem("trace", "[31mred", file="mine.py", column="")
    assert decode(b'{"problems": [{"line": true, "message": "x"}]}')[0].line is None
    many = {"problems": [{"message": "x" * 100_000}] * 100}
    found = decode(json.dumps({"problems": many["problems"][:5]}).encode()[:70_000])
    assert len(found) == 1, "cut at the limit, it is no JSON any more"
    found = decode(json.dumps({"problems": [{"message": "x"}] * 100}).encode())
    assert len(found) == 20


@given(
    st.binary(max_size=300)
    | st.builds(lambda p: json.dumps({"problems": p}).encode(), st.lists(PROBLEM))
)
def test_whatever_comes_is_a_refusal_in_plain_words(payload: bytes) -> None:
    problems = decode(payload)
    assert problems
    for problem in problems:
        assert problem.message.isprintable()
        assert problem.file == "mine.py"
        assert problem.line is None or 1 <= problem.line <= 10
        assert str(problem)
