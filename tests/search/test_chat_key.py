"""The key of an account shows up nowhere: not on disk, in no log, no error, no sandbox."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gsim_jax.cli import main
from gsim_jax.simulator.sandbox import Sandbox
from tests.helpers.answers import town
from tests.helpers.fault_server import FaultServer, fenced
from tests.search.quick import quick
from tests.search.town import FILES, write_task

CANARY = "sk-canary-7f3a91d2c4e85b60"


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with quick(tmp_path_factory.getbasetemp() / "compiled") as environment:
        yield environment


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    return CANARY


def traces(folder: Path) -> list[Path]:
    """Files that hold the key."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if CANARY.encode() in path.read_bytes()]


def careless(body: Mapping[str, Any]) -> str:
    """A reply that holds the key, and a program that does too."""
    words = f"- you sent me {CANARY}"
    return town(body).replace("- as a fixture says", words)


def test_a_whole_run(
    key: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server that echoes the key in errors and replies; every log at its loudest."""
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "httpx2", "httpcore2", "httpx", "httpcore"):
        caplog.set_level(logging.DEBUG, logger=name)
    task = write_task(tmp_path / "task")
    faults = {0: "503", 2: "429"}
    server = FaultServer(careless, lambda number, repeated: faults.get(number), key=CANARY)
    with server.serve() as url:
        words = ["run", str(task), "--proposer", "chat", "--model", "fixture", "--base-url", url,
                 "--calibrate", "none", "--rounds", "2", "--proposals", "2", "--seed", "1",
                 "--backoff", "0.01", "--out", str(tmp_path / "run")]  # fmt: skip
        assert main(words) == 0
    assert server.faults() == {"503": 1, "429": 1}
    assert all(call.whole for call in server.calls if call.fault is None)  # the key was accepted
    said = capfd.readouterr()
    assert "status 503: out of order, [key]" in said.err
    assert CANARY not in said.out + said.err
    assert CANARY not in caplog.text
    assert "you sent me [key]" in (tmp_path / "run/chat/r000-s00-a0.reply.json").read_text()
    assert traces(tmp_path) == []


@pytest.mark.parametrize("more", [(), ("--json",), ("--debug",)])
def test_a_refusal(
    key: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    """A server that does not know the key, and says so with the key in its words."""
    task = write_task(tmp_path / "task")
    with FaultServer(town, key="sk-another").serve() as url:
        words = ["run", str(task), "--proposer", "chat", "--model", "fixture", "--base-url", url,
                 "--out", str(tmp_path / "run"), *more]  # fmt: skip
        assert main(words) == 2
    said = capfd.readouterr()
    assert "Incorrect API key provided: [key]" in said.out + said.err
    assert "Look at OPENAI_API_KEY" in said.out + said.err
    assert CANARY not in said.out + said.err
    assert traces(tmp_path) == []


def descendants(pid: int) -> set[int]:
    """All processes below one, as /proc knows them."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(entry.name)] = int(status.rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_sandboxed_process_has_it(key: str) -> None:
    signature = {
        "states": {n: {"kind": "count", "dtype": "int32", "shape": [], "min": 0, "max": None}
                   for n in ("well", "ill")},
        "inputs": {"t": {"dtype": "int32", "shape": []}},
    }  # fmt: skip
    with Sandbox() as box:
        box.trace(FILES["both"], signature)
        below = descendants(os.getpid())
        assert below  # the warm worker at least
        for pid in below:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
                assert CANARY.encode() not in Path(f"/proc/{pid}/environ").read_bytes(), pid


def test_a_program_that_holds_it_is_redacted(key: str, tmp_path: Path) -> None:
    """What the model writes is stored as a program; the key in it is not."""
    program = FILES["both"].replace('"""', f'"""{CANARY} ', 1)
    task = write_task(tmp_path / "task")
    with FaultServer(lambda body: fenced(program)).serve() as url:
        words = ["run", str(task), "--proposer", "chat", "--model", "fixture", "--base-url", url,
                 "--calibrate", "none", "--rounds", "1", "--proposals", "1",
                 "--out", str(tmp_path / "run")]  # fmt: skip
        main(words)
    assert "[key]" in (tmp_path / "run/candidates/000/simulator.py").read_text()
    assert traces(tmp_path) == []
