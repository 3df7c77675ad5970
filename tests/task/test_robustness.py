"""Whatever the files hold, loading ends with a task or with a TaskError that names places."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsim_jax.task import InputError, Problem, TaskError, load_task, near
from tests.task.sound import FILES, TOML, TRAIN


def damaged(text: str) -> st.SearchStrategy[bytes]:
    """A file with a few stretches removed, repeated, or replaced by other bytes."""

    def apply(seed: int) -> bytes:
        rng = random.Random(seed)
        data = bytearray(text.encode())
        for _ in range(rng.randint(1, 4)):
            at, size = rng.randrange(len(data)), rng.randint(1, 12)
            junk = rng.choice([b"", b",", b"\n", b'"', b"[", b"=", b"-1", b"x", b"9" * 12, b"\xff"])
            piece = rng.choice([junk, bytes(data[at : at + size]) * 2, b"\x00"])
            data[at : at + rng.choice([0, size])] = piece
        return bytes(data) or b"x"

    return st.integers(0, 2**32 - 1).map(apply)


def problems_of(path: Path, files: dict[str, str | bytes | None]) -> tuple[Problem, ...]:
    """What loading the sound folder with other files reports; () where it loads."""
    for name, content in {**FILES, **files}.items():
        data = content.encode() if isinstance(content, str) else content
        (path / name).write_bytes(data or b"")
    try:
        load_task(path)
    except TaskError as error:
        return error.problems
    return ()


@settings(max_examples=150)
@given(table=damaged(TRAIN))
def test_damaged_tables(tmp_path_factory, table: bytes) -> None:
    problems = problems_of(tmp_path_factory.getbasetemp(), {"train.csv": table})
    assert all(problem.message and problem.file == "train.csv" for problem in problems)


@settings(max_examples=150)
@given(text=damaged(TOML))
def test_damaged_settings(tmp_path_factory, text: bytes) -> None:
    problems = problems_of(tmp_path_factory.getbasetemp(), {"task.toml": text})
    assert all(problem.message and problem.file for problem in problems)


@settings(max_examples=50)
@given(data=st.binary(max_size=200))
def test_any_bytes(tmp_path_factory, data: bytes) -> None:
    assert problems_of(tmp_path_factory.getbasetemp(), {"train.csv": data})
    assert problems_of(tmp_path_factory.getbasetemp(), {"task.toml": data})


def test_a_problem_is_one_readable_line() -> None:
    problem = Problem("below-min", "expected at least 0, got -3", "train.csv", 12, "I")
    assert str(problem) == "train.csv, row 12, column I: expected at least 0, got -3"
    assert str(Problem("x", "no place")) == "no place"
    assert str(Problem("x", "bad", "a.py", line=3)) == "a.py, line 3: bad"
    assert problem.to_json() == {
        "code": "below-min",
        "file": "train.csv",
        "row": 12,
        "column": "I",
        "line": None,
        "message": "expected at least 0, got -3",
    }


def test_an_error_lists_all_problems_and_pickles() -> None:
    error = TaskError([Problem("a", "first"), Problem("b", "second", "f.csv")])
    assert str(error) == "first\nf.csv: second"
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, TaskError)
    assert copy.problems == error.problems
    assert InputError(Problem("a", "alone")).problems == (Problem("a", "alone"),)


@pytest.mark.parametrize(
    ("name", "known", "words"),
    [
        ("s", ["S", "I"], "did you mean 'S'?"),
        ("infected", ["infectd", "S"], "did you mean 'infectd'?"),
        ("zzz", ["S", "I"], "known: I, S"),
        ("zzz", [], "none are known"),
        ("zzz", [f"v{i:02d}" for i in range(30)], "and 10 more"),
    ],
)
def test_near_names(name: str, known: list[str], words: str) -> None:
    assert words in near(name, known)
