"""What competent people write passes: guard, sandbox, program, trial run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gsim_jax.simulator.check import check_source
from gsim_jax.simulator.guard import guard
from gsim_jax.simulator.sandbox import Sandbox
from tests.simulator.legitimate_worlds import FOLDER, WORLDS

FILES = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.py"))}
QUICK = ("epidemic_icu", "forest_fire", "icu_slots", "sewage_signal", "sir_lockdown")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 40
    assert set(FILES) == set(WORLDS)


@pytest.mark.parametrize("name", FILES)
def test_no_objection_of_the_guard(name: str) -> None:
    assert guard(FILES[name], f"{name}.py") == []


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in FILES],
)
def test_passes_the_whole_check(sandbox: Sandbox, name: str) -> None:
    report = check_source(FILES[name], WORLDS[name].task, sandbox, f"{name}.py")
    assert not report.problems, report.to_text()
    assert report.warnings == ()
    assert report.program is not None
    assert report.program.draws
