"""From a simulator file to a program that is fit to be calibrated.

Guard, sandbox, program, trial run: each refuses with messages that say what to write instead. The
last one runs the rebuilt program on the task's own rows and on states at the edge of their ranges,
at the guesses and at random points of the priors. What was found about a source is remembered as
long as the sandbox lives.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gsim_jax.simulator.guard import guard
from gsim_jax.simulator.program import Program
from gsim_jax.simulator.sandbox import Level, Sandbox
from gsim_jax.simulator.trial import failures as failures  # searches judge their own runs with it
from gsim_jax.simulator.trial import sample_of, try_out
from gsim_jax.task import Problem, Schema, SimulatorError, Task

#: Python before 3.11.5 and 3.12 counts the depth of syntax trees in a variable that threads share.
_PARSING = threading.Lock()
#: What was found, by sandbox, then by digest of all that it depends on.
_FOUND: weakref.WeakKeyDictionary[Sandbox, OrderedDict[bytes, CheckReport]] = (
    weakref.WeakKeyDictionary()
)
_FINDING = threading.Lock()
_MOST_FOUND = 64
#: Codes of refusals that lie in the moment, not in the program: worth another try.
_PASSING = frozenset({"time-limit", "memory-limit", "output-limit", "crash", "isolation", "reply"})


@dataclass(frozen=True)
class CheckReport:
    """What a check found.

    Attributes:
        problems: why the file is refused; empty when it is accepted.
        warnings: what is allowed but looks wrong (a parameter that nothing reads).
        program: the program, None when refused.
        seconds: time per stage.
    """

    problems: tuple[Problem, ...]
    warnings: tuple[str, ...] = ()
    program: Program | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data; problems are reported beside it."""
        if self.program is None:
            return {"accepted": False, "warnings": list(self.warnings)}
        program = self.program
        graph = program.graph
        return {
            "accepted": True,
            "warnings": list(self.warnings),
            "parameters": list(program.parameters.labels),
            "latent": list(program.latent),
            "submodules": list(program.submodules),
            "cost": program.cost,
            "edges": sorted(map(list, graph.edges)),
            "times": dict(self.seconds),
        }

    def to_text(self) -> str:
        """The same for people."""
        if self.program is None:
            return "refused:\n" + "\n".join(f"  {problem}" for problem in self.problems)
        program = self.program
        lines = [
            "accepted",
            f"  submodules  {', '.join(program.submodules)}",
            f"  parameters  {', '.join(program.parameters.labels) or 'none'}",
            f"  latent      {', '.join(program.latent) or 'none'}",
            f"  cost        {program.cost:,} operations per lane and step",
        ]
        for words, share in program.expensive(3):
            lines.append(f"              {share:.0%} {words}")
        by_target: dict[str, list[str]] = {}
        for source, target in sorted(program.graph.edges):
            by_target.setdefault(target, []).append(source)
        lines += [f"  {target} ← {', '.join(sources)}" for target, sources in by_target.items()]
        return "\n".join(lines + [f"  warning: {warning}" for warning in self.warnings])


def load_program(
    source: str, schema: Schema, sandbox: Sandbox, filename: str = "simulator.py"
) -> Program:
    """Guard, sandbox and program; nothing of the file runs in this process.

    Args:
        source: text of the simulator file.
        schema: the task's schema.
        sandbox: where the file is traced.
        filename: name for messages.

    Raises:
        SimulatorError: the file is refused; all offences of the first stage that refuses.
    """
    with _PARSING:
        problems = guard(source, filename)
    if problems:
        raise SimulatorError(tuple(problems))
    signature = schema.signature()
    return Program.from_document(sandbox.trace(source, signature, filename), signature)


def check_source(
    source: str, task: Task, sandbox: Sandbox, filename: str = "simulator.py"
) -> CheckReport:
    """Checks the text of a simulator file against a task.

    A second check of the same text against the same task in the same sandbox answers from memory,
    with the times of the first.
    """
    key = _digest(source, task, filename)
    with _FINDING:
        known = _FOUND.setdefault(sandbox, OrderedDict())
        if key in known:
            known.move_to_end(key)
            return known[key]
    report = _check(source, task, sandbox, filename)
    if not _PASSING & {problem.code for problem in report.problems}:
        with _FINDING:
            known[key] = report
            while len(known) > _MOST_FOUND:
                known.popitem(last=False)
    return report


def _digest(source: str, task: Task, filename: str) -> bytes:
    """A digest of all that a report depends on."""
    schema, sample = task.schema, sample_of(task.train)
    words = {
        "source": source,
        "filename": filename,
        "signature": schema.signature(),
        "rules": [[rule.name, rule.holds.text] for rule in schema.rules],
        "exchangeable": [variable.exchangeable for variable in schema.states.values()],
        "version": jax.__version__,
    }
    found = hashlib.sha256(json.dumps(words, sort_keys=True).encode())
    parts = (sample.states, sample.seen, sample.inputs, sample.attributes)
    constants = {name: constant.value for name, constant in schema.constants.items()}
    for arrays in (*parts, constants, {"length": sample.length}):
        for name, array in sorted(arrays.items()):
            found.update(name.encode())
            found.update(np.ascontiguousarray(array).tobytes())
    return found.digest()


def _check(source: str, task: Task, sandbox: Sandbox, filename: str) -> CheckReport:
    begin = time.perf_counter()
    try:
        program = load_program(source, task.schema, sandbox, filename)
    except SimulatorError as error:
        return CheckReport(tuple(error.problems))
    traced = time.perf_counter()
    trial = try_out(program, task.schema, task.train, filename)
    seconds = {"trace": traced - begin, "try": time.perf_counter() - traced}
    if trial.problems:
        return CheckReport(trial.problems, seconds=seconds)
    return CheckReport((), (*unread(program), *trial.warnings), program, seconds)


def check_file(
    path: Path | str,
    task: Task,
    sandbox: Sandbox | None = None,
    *,
    require: Level | None = None,
) -> CheckReport:
    """Checks a simulator file against a task.

    Args:
        path: the file.
        task: the task it is to simulate.
        sandbox: a warm sandbox; without one, a sandbox is started and closed.
        require: least level of isolation of the sandbox that is started.

    Raises:
        SimulatorError: the file cannot be read.
    """
    path = Path(path)
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        text = f"expected a simulator file in UTF-8; {error}"
        raise SimulatorError((Problem("unreadable", text, file=str(path)),)) from error
    if sandbox is not None:
        return check_source(source, task, sandbox, path.name)
    with Sandbox(require=require) as fresh:
        return check_source(source, task, fresh, path.name)


def unread(program: Program) -> list[str]:
    """Warnings about parameters that no function reads."""
    read: set[tuple[str, str]] = set()
    for name, function in program.functions.items():
        for path in function.paths:
            if path[0] == "params":
                read.add((name, path[1]) if len(path) == 2 else (path[1], path[2]))
    return [
        f"parameter {entry.key} is declared and never read: use it or leave it out"
        for entry in program.parameters.entries
        if (entry.group, entry.name) not in read
    ]
