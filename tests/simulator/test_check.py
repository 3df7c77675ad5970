"""From a simulator file to a program fit to be calibrated, or to the words that refuse it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from gsim_jax.simulator.check import CheckReport, check_file, check_source, failures
from gsim_jax.simulator.codes import INVALID, OK, OUT_OF_RANGE, WORDS, in_words, lane_code
from gsim_jax.simulator.native import StateSpec
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import SimulatorError, Task, Variable
from tests.simulator.worlds import data_of, schema_of

SIR = '''"""Two pools."""
PARAMS = {"leave": {"p": Uniform(0.0, %(high)s, guess=%(guess)s), "spare": Uniform(guess=0.5)}}

def leave(state, inputs, params, key):
    return {"left": binomial(key, state["S"], params["p"])}

def couple(state, inputs, outputs, params, key):
    left = outputs["left"]
    return {"S": state["S"] - left%(more)s, "R": state["R"] + left}

SUBMODULES = (leave,)
'''


def source(high: float = 1.0, guess: float = 0.2, more: str = "") -> str:
    return SIR % {"high": high, "guess": guess, "more": more}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as box:
        yield box


@pytest.fixture(scope="module")
def task() -> Task:
    states = {name: Variable(name, "count", min=0) for name in ("S", "R")}
    schema = schema_of(states=states)
    left = np.array([[90, 80, 70, 60, 55], [20, 18, 15, 0, 0]])
    values = {"S": left, "R": 100 - left}
    return Task(Path("."), schema, data_of(schema, values, length=np.array([5, 3])))


@pytest.fixture(scope="module")
def accepted(task: Task, sandbox: Sandbox) -> CheckReport:
    return check_source(source(), task, sandbox)


class TestAccepted:
    def test_a_program_comes_with_it(self, accepted: CheckReport) -> None:
        assert not accepted.problems
        assert accepted.program is not None
        assert accepted.program.submodules == ("leave",)
        assert set(accepted.seconds) == {"trace", "try"}

    def test_what_nothing_reads_is_a_warning(self, accepted: CheckReport) -> None:
        (warning,) = accepted.warnings
        assert warning.startswith("parameter leave.spare is declared and never read")

    def test_as_data(self, accepted: CheckReport) -> None:
        found = accepted.to_json()
        assert found["accepted"] is True
        assert found["parameters"] == ["leave.p", "leave.spare"]
        assert ["S", "R"] in found["edges"]
        assert found["cost"] > 0

    def test_as_text(self, accepted: CheckReport) -> None:
        text = accepted.to_text()
        assert text.startswith("accepted\n")
        assert "leave.p, leave.spare" in text
        assert "R ← R, S" in text
        assert "operations per lane and step" in text


class TestRefused:
    def test_by_the_guard(self, task: Task, sandbox: Sandbox) -> None:
        report = check_source("import os\n" + source(), task, sandbox, "mine.py")
        assert report.program is None
        assert report.problems[0].line == 1
        assert report.to_json() == {"accepted": False, "warnings": []}
        assert report.to_text().startswith("refused:\n  mine.py")

    def test_while_it_is_traced(self, task: Task, sandbox: Sandbox) -> None:
        wrong = source().replace('"R": state["R"] + left', '"Q": left')
        report = check_source(wrong, task, sandbox)
        assert report.problems
        assert "R" in str(report.problems[0])

    def test_a_draw_outside_its_law_at_the_guess(self, task: Task, sandbox: Sandbox) -> None:
        report = check_source(source(high=2.0, guess=1.5), task, sandbox, "mine.py")
        (problem,) = report.problems
        assert (problem.code, problem.file) == ("fails", "mine.py")
        assert problem.message.startswith("at the guesses: a draw had arguments outside its law")

    def test_a_state_that_leaves_its_range(self, task: Task, sandbox: Sandbox) -> None:
        report = check_source(source(more=" - 10"), task, sandbox)
        (problem,) = report.problems
        assert "at the guesses: a state left the range that the schema declares" in problem.message

    def test_most_of_the_prior_fails(self, task: Task, sandbox: Sandbox) -> None:
        report = check_source(source(high=9.0), task, sandbox)
        (problem,) = report.problems
        assert problem.message.startswith("at the most points of the priors: a draw")

    def test_what_observe_reports_counts_too(self, task: Task, sandbox: Sandbox) -> None:
        seen = (
            "def observe(state, outputs, params, key):\n"
            '    return {"R": poisson(key, -1.0 - state["R"])}\n\nSUBMODULES'
        )
        report = check_source(source().replace("SUBMODULES", seen), task, sandbox)
        (problem,) = report.problems
        assert "arguments outside its law" in problem.message


def test_trouble_behind_the_last_row_is_none(task: Task, sandbox: Sandbox) -> None:
    """The second trajectory has 3 rows: what would happen in its fourth does not matter."""
    late = ' - jnp.where((inputs["t"] >= 2) & (state["S"] < 25), 1000, 0)'
    assert not check_source(source(high=0.25, more=late), task, sandbox).problems


class TestCodes:
    """The first point is the guesses, the others are spread over the priors."""

    def test_any_failure_at_the_guesses(self) -> None:
        codes = np.zeros((9, 8), int)
        codes[0, 3], codes[0, 5] = INVALID, OUT_OF_RANGE
        (problem,) = failures(codes)
        assert "not finite" in problem.message
        assert "left the range" in problem.message

    def test_half_of_the_other_points_may_fail(self) -> None:
        codes = np.zeros((9, 8), int)
        codes[1:5, 0] = OUT_OF_RANGE
        assert failures(codes) == ()
        codes[5, 7] = OUT_OF_RANGE
        assert len(failures(codes)) == 1

    def test_a_simulator_without_parameters(self) -> None:
        assert failures(np.zeros((1, 8), int)) == ()

    def test_codes_of_states(self) -> None:
        specs = {"n": StateSpec("count", min=0, max=9), "x": StateSpec("real", (2,), min=0.0)}
        fine = {"n": np.int32(9), "x": np.array([0.0, 5.0], np.float32)}
        cases = [
            ({}, {}, 0),
            ({"n": np.int32(10)}, {}, OUT_OF_RANGE),
            ({"n": np.int32(-1)}, {}, OUT_OF_RANGE),
            ({"x": np.array([1.0, np.inf], np.float32)}, {}, INVALID),
            ({"x": np.array([-1e-6, 1.0], np.float32)}, {}, 0),  # rounding at the bound
            ({"x": np.array([-1e-3, 1.0], np.float32)}, {}, OUT_OF_RANGE),
            ({}, {"draw": np.int32(-(2**31))}, INVALID),
            ({}, {"flag": np.bool_(True)}, 0),
            ({"n": np.int32(-(2**31))}, {}, INVALID | OUT_OF_RANGE),
        ]
        for state, outputs, code in cases:
            assert int(lane_code(specs, fine | state, outputs)) == code
            assert all(WORDS[bit] in in_words(code) for bit in WORDS if bit & code)
            assert bool(code) == (in_words(code) != WORDS[OK])


class TestFiles:
    def test_a_file_that_is_not_there(self, task: Task, sandbox: Sandbox, tmp_path: Path) -> None:
        with pytest.raises(SimulatorError, match="expected a simulator file in UTF-8"):
            check_file(tmp_path / "none.py", task, sandbox)

    def test_a_file_that_is_no_text(self, task: Task, sandbox: Sandbox, tmp_path: Path) -> None:
        path = tmp_path / "binary.py"
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(SimulatorError, match=r"binary\.py"):
            check_file(path, task, sandbox)

    def test_a_file_is_checked_under_its_name(
        self, task: Task, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        path = tmp_path / "mine.py"
        path.write_text("import os\n" + source(), encoding="utf-8")
        assert check_file(path, task, sandbox).problems[0].file == "mine.py"
