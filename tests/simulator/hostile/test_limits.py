"""The limits of a child hold within a fifth, whatever it does about them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsim_jax.simulator import _reply
from gsim_jax.simulator._exchange import Outcome
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import SimulatorError
from tests.simulator.hostile.world import ENTRY, HERE
from tests.simulator.sources import SIR, SIR_SIGNATURE

CPU, WALL, MEMORY, OUTPUT = 2.0, 4.0, 2 << 30, 100_000
DEAF = """
import signal
signal.setitimer(signal.ITIMER_PROF, 0)
signal.setitimer(signal.ITIMER_REAL, 0)
for number in (signal.SIGPROF, signal.SIGALRM, signal.SIGXCPU, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    limits = {"cpu": CPU, "wall": WALL, "memory": MEMORY, "output": OUTPUT}
    with Sandbox(entry=ENTRY, path=[HERE], **limits) as box:
        box.status()
        yield box


def end_of(sandbox: Sandbox, source: str) -> Outcome:
    """What the keeper reports of a program that is run."""
    return sandbox._converse(_reply.encode_request(source, SIR_SIGNATURE))


def test_processor_time(sandbox: Sandbox) -> None:
    outcome = end_of(sandbox, DEAF + "while True:\n    pass")
    assert CPU <= outcome.end["cpu"] <= 1.2 * CPU
    assert outcome.end["left"] == 0


def test_processor_time_of_two_threads(sandbox: Sandbox) -> None:
    spin = "def spin():\n    while True:\n        sum(range(1000))\n"
    start = (
        "import threading\nfor _ in range(3):\n    threading.Thread(target=spin).start()\nspin()"
    )
    assert end_of(sandbox, DEAF + spin + start).end["cpu"] <= 1.2 * CPU


def test_wall_time(sandbox: Sandbox) -> None:
    start = time.monotonic()
    outcome = end_of(sandbox, DEAF + "import time\ntime.sleep(60)")
    assert outcome.ending == "wall"
    assert WALL <= time.monotonic() - start <= 1.2 * WALL


def test_memory(sandbox: Sandbox) -> None:
    source = """
import mmap
kept, RESULT = [], 0
try:
    while True:
        block = mmap.mmap(-1, 1 << 24)
        block.write(bytes(1 << 24))
        kept.append(block)
        RESULT += 1 << 24
except (OSError, MemoryError):
    for block in kept:
        block.close()
"""
    outcome = end_of(sandbox, source)
    # Whether it gets to the end depends on how fast pages are given; how much it had does not.
    assert 0.2 * MEMORY < outcome.end["memory"] <= 1.2 * MEMORY


def test_output(sandbox: Sandbox) -> None:
    around = len(b'{"result":""}')
    exact = sandbox.trace(f"RESULT = 'x' * {OUTPUT - around}", SIR_SIGNATURE)
    assert len(exact) == OUTPUT
    with pytest.raises(SimulatorError, match="100001 bytes, at most 100000") as caught:
        sandbox.trace(f"RESULT = 'x' * {OUTPUT - around + 1}", SIR_SIGNATURE)
    assert caught.value.problems[0].code == "output-limit"


def test_the_warm_process_shares_no_memory_that_a_child_could_write(sandbox: Sandbox) -> None:
    maps = Path(f"/proc/{sandbox.pid}/maps").read_text().splitlines()
    shared = [line for line in maps if line.split()[1][1] == "w" and line.split()[1][3] == "s"]
    assert shared == []


def test_what_was_checked_is_what_is_used(sandbox: Sandbox) -> None:
    source = "import time\nRESULT = time.time_ns()"
    assert sandbox.trace(source, SIR_SIGNATURE) == sandbox.trace(source, SIR_SIGNATURE)


def test_programs_after_a_vandal_trace_as_before(sandbox: Sandbox) -> None:
    vandal = """
import gc, sys
from gsim_jax.simulator import _reply, _trace
from gsim_jax.simulator.vocabulary import TABLE
TABLE.clear()
for module in list(sys.modules.values()):
    if getattr(module, "__name__", "").startswith(("gsim_jax", "jax", "numpy")):
        vars(module).clear()
gc.collect()
"""
    before = sandbox.trace(SIR, SIR_SIGNATURE)
    with pytest.raises(SimulatorError):
        sandbox.trace(vandal, SIR_SIGNATURE)
    # Another text of the same program, or the answer would come from memory.
    assert sandbox.trace(f"{SIR}\n# again\n", SIR_SIGNATURE) == before
