"""Tasks whose truth is known: their folders, their true simulators, what is measured on them."""

from __future__ import annotations

import ast
import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gsim_jax.simulator.check import check_file
from gsim_jax.simulator.program import Program
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import InputError, Problem, SimulatorError, Task, Trajectories

ENVS = Path(__file__).resolve().parents[1] / "envs"

#: The vector that clouds are compared on, by name of the task. In the supply chain the paper
#: compares inventory and backlog: on order is what the data's own orders make of it. Its hospital
#: vector is not published: occupancies and patients per disease say the most in one step. Of other
#: tasks everything that is scored is used.
VALUES: Mapping[str, tuple[str, ...]] = {
    "covid19": ("S", "I", "R"),
    "supply_chain": ("inventory", "backlog"),
    "hospital_beds": ("icu", "standard", "patients_0", "patients_1", "patients_2"),
}


@dataclass(frozen=True)
class Simulator:
    """A program at one point of its parameters.

    Attributes:
        program: the structure.
        parameters: values by label.
        origin: where the values come from, in words.
    """

    program: Program
    parameters: Mapping[str, float]
    origin: str

    @property
    def params(self) -> dict[str, dict[str, Any]]:
        """The parameters as the program takes them."""
        return self.program.parameters.values(self.parameters)


def tasks() -> list[Path]:
    """The task folders with a truth, sorted."""
    return sorted(path.parent for path in ENVS.glob("*/truth.py"))


def declared_truth(source: str, filename: str) -> dict[str, float] | None:
    """``TRUTH`` of a simulator file, read without running it.

    Args:
        source: text of the file.
        filename: name for messages.

    Returns:
        Values by label, None where the file declares none.

    Raises:
        SimulatorError: the file is no Python, or its ``TRUTH`` is not a dict of numbers.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        problem = Problem("syntax", str(error.msg), file=filename, line=error.lineno)
        raise SimulatorError(problem) from error
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if not any(isinstance(target, ast.Name) and target.id == "TRUTH" for target in targets):
            continue
        assert isinstance(node, ast.Assign)
        try:
            found = ast.literal_eval(node.value)
        except ValueError:
            found = None
        if not isinstance(found, dict) or not all(
            isinstance(k, str) and isinstance(v, numbers.Real) for k, v in found.items()
        ):
            text = 'expected TRUTH = {"group.name": number, ...}, all of it literal'
            raise SimulatorError(Problem("bad-truth", text, file=filename, line=node.lineno))
        return {str(k): v for k, v in found.items()}
    return None


def load_simulator(
    path: Path, task: Task, sandbox: Sandbox, given: Mapping[str, float] | None = None
) -> Simulator:
    """A simulator file through guard, sandbox and contract check.

    Args:
        path: the file.
        task: the task it is to simulate.
        sandbox: where it is traced.
        given: parameters by label; those left out are the file's ``TRUTH``, else its guesses.

    Raises:
        SimulatorError: the file is refused, or has no such parameter.
    """
    report = check_file(path, task, sandbox)
    if report.program is None:
        raise SimulatorError(
            Problem(p.code, p.message, str(path), p.row, p.column, p.line) for p in report.problems
        )
    declared = declared_truth(path.read_text(encoding="utf-8"), str(path))
    origin = "guesses of the file" if declared is None else "TRUTH of the file"
    if given:
        origin = (
            f"given{'' if len(given) == report.program.parameters.dimension else ', ' + origin}"
        )
    values = _complete(report.program, {**(declared or {}), **(given or {})}, path)
    return Simulator(report.program, values, origin)


def _complete(program: Program, values: Mapping[str, float], path: Path) -> dict[str, float]:
    try:
        found = program.parameters.values(values)
    except InputError as error:
        raise SimulatorError(Problem("unknown-parameter", str(error), file=str(path))) from error
    flat = {}
    for entry in program.parameters.entries:
        cells = found[entry.group][entry.name].ravel().tolist()
        flat |= dict(zip(entry.labels, cells, strict=True))
    # What was given is told as it was given, not as float32 holds it.
    return {label: values.get(label, value) for label, value in flat.items()}


def load_truth(task: Task, sandbox: Sandbox) -> Simulator:
    """The simulator that the data of a task were drawn from.

    Raises:
        SimulatorError: there is none, or it declares no ``TRUTH``.
    """
    path = task.path / "truth.py"
    if not path.is_file():
        text = "expected a truth.py: this metric needs the simulator that made the data"
        raise SimulatorError(Problem("no-truth", text, file=str(task.path)))
    found = load_simulator(path, task, sandbox)
    if found.origin != "TRUTH of the file":
        text = 'expected TRUTH = {"group.name": number, ...} with the values that made the data'
        raise SimulatorError(Problem("no-truth", text, file=str(path)))
    return found


def held_out(task: Task) -> Trajectories:
    """The test split.

    Raises:
        SimulatorError: the task has none.
    """
    if task.test is None:
        text = "expected test data: add test = [...] under [data] in task.toml"
        raise SimulatorError(Problem("no-test-data", text, file=str(task.path / "task.toml")))
    return task.test


def values_for(task: Task, asked: Iterable[str] | None = None) -> tuple[str, ...]:
    """Labels of the vector that clouds are compared on.

    Args:
        task: the task.
        asked: labels that somebody asked for; None for the default of the task.
    """
    everything = tuple(output.label for output in task.schema.outputs)
    return tuple(asked) if asked is not None else VALUES.get(task.schema.name, everything)
