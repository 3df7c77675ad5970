"""The hostile corpus: contained with the guard off, refused with a line with the guard on."""

from __future__ import annotations

import os
import time

import jax
import jax.numpy as jnp
import pytest

from gsim_jax.simulator.guard import guard
from gsim_jax.simulator.program import Program
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import Problem, SimulatorError
from tests.simulator.hostile import corpus, documents, limits
from tests.simulator.hostile.case import HOLES, Case
from tests.simulator.hostile.world import ENTRY, HERE, SECRET, World, processes_with, run, run_all
from tests.simulator.running import rollout
from tests.simulator.sources import SIR_SIGNATURE

WALL, CPU = 4.0, 1.0
#: Seconds that the parent may think about one document.
JUDGED_WITHIN = 3.0
NAMES = [case.name for case in corpus.CASES]
JUDGED = [case for case in corpus.CASES if case.judged]
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def test_there_are_enough_of_them() -> None:
    assert len(NAMES) == len(set(NAMES)) >= 230
    assert len({case.source for case in corpus.CASES}) == len(NAMES)


def read(raw: bytes) -> tuple[Program | None, tuple[Problem, ...]]:
    """The program of a document, or why there is none."""
    try:
        return Program.from_document(raw, SIR_SIGNATURE), ()
    except SimulatorError as error:
        return None, tuple(error.problems)


def run_a_little(program: Program) -> None:
    """A document that was accepted is bounded: it compiles and runs."""
    keys = jnp.arange(8, dtype=jnp.uint32).reshape(4, 2)
    steps = jax.jit(jax.vmap(rollout(program, program.step)), compiler_options=QUICK)
    jax.block_until_ready(steps(keys))


@pytest.fixture(scope="module")
def let_loose(tmp_path_factory):
    base = tmp_path_factory.mktemp("hostile")
    world = World(base / "canary")
    marker = base / "marker"  # in the command line of every process of this sandbox
    marker.mkdir()
    os.environ["GSIM_CANARY"] = SECRET
    world.open()
    limit = {"wall": WALL, "cpu": CPU, "memory": 2 << 30}
    with Sandbox(entry=ENTRY, path=[HERE, str(marker)], **limit) as sandbox:
        endings = run_all(world, sandbox, corpus.CASES)
        time.sleep(0.4)  # for what might go on behind our back
        left = [pid for pid in processes_with(str(marker)) if pid != sandbox.pid]
        again = sandbox.trace("RESULT = 'alive'", {})
        sound = sandbox.trace(documents.SOUND, SIR_SIGNATURE)
        yield world, endings, left, again, sound
    world.close()
    del os.environ["GSIM_CANARY"]


@pytest.mark.parametrize("case", corpus.CASES, ids=NAMES)
def test_contained_without_guard(let_loose, case: Case) -> None:
    endings = let_loose[1]
    ending = endings[case.name]
    assert ending.code in case.ends, ending.reply[:500]
    assert SECRET not in ending.reply
    if ending.code == "document" and case.result is not None:
        assert ending.result == case.result
    assert ending.seconds < 1.2 * WALL + 2, "limits hold within 20 % (and a busy machine's noise)"


@pytest.mark.parametrize("case", JUDGED, ids=lambda case: case.name)
def test_a_crafted_document_is_refused_or_bounded(let_loose, case: Case) -> None:
    ending = let_loose[1][case.name]
    if ending.code != "document":
        return  # it never got that far
    start = time.process_time()
    program, problems = read(ending.raw)
    assert time.process_time() - start < JUDGED_WITHIN
    assert all(problem.message.isprintable() for problem in problems)
    if case.judged == "refused":
        assert program is None
    elif program is not None:
        run_a_little(program)


def test_the_frame_of_the_crafted_documents_is_sound(let_loose) -> None:
    program = Program.from_document(let_loose[4], SIR_SIGNATURE)
    assert program.submodules == ("m",)


def test_nothing_changed_and_nothing_was_sent(let_loose) -> None:
    world = let_loose[0]
    assert world.state() == world.before
    assert world.heard == []


def test_nothing_is_left_and_the_sandbox_still_works(let_loose) -> None:
    _, _, left, again, _ = let_loose
    assert left == []
    assert again == b'{"result":"alive"}'


def test_forged_words_cannot_play_with_a_terminal(let_loose) -> None:
    endings = let_loose[1]
    error = endings["forged error that plays with the terminal"].error
    assert error is not None
    problem = error.problems[0]
    assert (problem.code, problem.line) == ("trace", None)
    assert problem.message == "[2J oops"


@pytest.mark.parametrize("case", corpus.CASES, ids=NAMES)
def test_refused_with_a_line_by_the_guard(case: Case) -> None:
    source = case.fill(dict.fromkeys(HOLES, 1))
    problems = guard(source, "hostile.py")
    assert problems or case.judged == "bounded"
    for problem in problems:
        assert problem.line is not None
        assert problem.column is not None
        assert problem.file == "hostile.py"
        assert len(problem.message) > 15


def test_what_the_guard_lets_through_is_bounded() -> None:
    # Guard, sandbox and reader together, as a user's file meets them.
    sources = [case.fill(dict.fromkeys(HOLES, 1)) for case in corpus.CASES]
    passing = [source for source in sources if not guard(source)]
    assert len(passing) >= 3, "some look like programs: too large, too long, too costly"
    with Sandbox(wall=WALL, cpu=CPU) as sandbox:
        for source in passing:
            ending = run(sandbox, source)
            program, problems = read(ending.raw) if ending.raw else (None, ())
            if program is not None:
                run_a_little(program)
            codes = {problem.code for problem in problems}
            assert codes <= {"too-large", "too-costly"}
            assert ending.code in ("document", "time-limit")


@pytest.mark.parametrize(
    "without",
    [
        ["namespaces"],
        pytest.param(["mount", "landlock"], marks=pytest.mark.slow),
        pytest.param(["namespaces", "landlock"], marks=pytest.mark.slow),
    ],
    ids="+".join,
)
def test_contained_with_fewer_layers(tmp_path, monkeypatch, without: list[str]) -> None:
    # What fewer layers must hold too; the slow limits are the same code and run above.
    slow = (*limits.CASES, *(c for c in corpus.CASES if "time-limit" in c.ends))
    cases = tuple(case for case in corpus.CASES if case not in slow)
    world = World(tmp_path / "canary")
    marker = tmp_path / "marker"
    marker.mkdir()
    monkeypatch.setenv("GSIM_CANARY", SECRET)
    world.open()
    limit = {"wall": WALL, "cpu": CPU, "memory": 2 << 30}
    with Sandbox(entry=ENTRY, path=[HERE, str(marker)], without=without, **limit) as sandbox:
        endings = run_all(world, sandbox, cases)
        time.sleep(0.4)
        assert [pid for pid in processes_with(str(marker)) if pid != sandbox.pid] == []
        assert sandbox.trace("RESULT = 'alive'", {}) == b'{"result":"alive"}'
    world.close()
    assert world.state() == world.before
    assert world.heard == []
    for case in cases:
        assert SECRET not in endings[case.name].reply, case.name
        # Without a root of its own a folder's name can be seen (stat), never its contents.
        assert endings[case.name].code in (*case.ends, "trace", "crash"), case.name
