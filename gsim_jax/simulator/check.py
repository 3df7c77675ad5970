"""From a simulator file to a program that is fit to be calibrated.

Guard, sandbox, program, contract: each refuses with messages that say what to write instead. The
last one runs the rebuilt program on the task's own first rows, at the guesses and at random points
of the priors.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.simulator.codes import INVALID, OUT_OF_RANGE, lane_code
from gsim_jax.simulator.guard import guard
from gsim_jax.simulator.lanes import lane_words
from gsim_jax.simulator.panel import TRAJECTORIES, Panel, build_panel, row_inputs
from gsim_jax.simulator.parameters import sobol
from gsim_jax.simulator.predict import first_state, with_reports
from gsim_jax.simulator.program import Program
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import Problem, Schema, SimulatorError, Task, Trajectories

#: Python before 3.11.5 and 3.12 counts the depth of syntax trees in a variable that threads share.
_PARSING = threading.Lock()
#: Lanes, steps and points of the priors of the trial run.
_LANES, _STEPS, _POINTS = 8, 8, 8


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
    """Checks the text of a simulator file against a task."""
    begin = time.perf_counter()
    try:
        program = load_program(source, task.schema, sandbox, filename)
    except SimulatorError as error:
        return CheckReport(tuple(error.problems))
    traced = time.perf_counter()
    problems = try_out(program, task.schema, task.train, filename)
    seconds = {"trace": traced - begin, "try": time.perf_counter() - traced}
    if problems:
        return CheckReport(problems, seconds=seconds)
    return CheckReport((), tuple(unread(program)), program, seconds)


def check_file(path: Path | str, task: Task, sandbox: Sandbox | None = None) -> CheckReport:
    """Checks a simulator file against a task.

    Args:
        path: the file.
        task: the task it is to simulate.
        sandbox: a warm sandbox; without one, a sandbox is started and closed.

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
    with Sandbox() as fresh:
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


def try_out(
    program: Program, schema: Schema, data: Trajectories, filename: str = "simulator.py"
) -> tuple[Problem, ...]:
    """Runs the program a few steps from first rows of the data.

    A program is refused when it fails at its own guesses. At random points of the priors some
    failures are allowed (a corner of a wide prior), failing at more than half of them is not.

    Returns:
        Problems, empty when the program behaves.
    """
    panel = build_panel(schema, data.take(range(min(len(data), _LANES))))
    d = program.parameters.dimension
    random = sobol(d, _POINTS, 0)
    points = np.concatenate([program.parameters.guess()[None], 0.02 + 0.96 * random])
    codes = np.asarray(_trial(program, jnp.asarray(points, jnp.float32), panel))
    return failures(codes, filename)


def failures(codes: np.ndarray, filename: str = "simulator.py") -> tuple[Problem, ...]:
    """Whether a program fails where it must not.

    Args:
        codes: int[points, ...], failure codes; the first point is the guesses, the others are
            spread over the priors.
        filename: name for messages.

    Returns:
        A problem if lanes fail at the guesses, or at more than half of the other points.
    """
    codes = codes.reshape(len(codes), -1)
    at_guess, elsewhere = codes[0], codes[1:]
    if at_guess.any():
        return (_failure(int(np.bitwise_or.reduce(at_guess)), "guesses", filename),)
    if len(elsewhere) and (elsewhere != 0).any(axis=1).mean() > 0.5:
        code = int(np.bitwise_or.reduce(elsewhere, axis=None))
        return (_failure(code, "most points of the priors", filename),)
    return ()


@partial(jax.jit, static_argnums=0)
def _trial(program: Program, points: jax.Array, panel: Panel) -> jax.Array:
    """Failure codes int32[points, trajectories] of a few steps from the first row."""

    def one(u: jax.Array, trajectory: Panel, index: jax.Array) -> jax.Array:
        params = program.parameters.from_unit(u)
        lane = jnp.stack([index.astype(jnp.uint32), jnp.uint32(7)])
        state = first_state(program, params, trajectory, lane)

        def body(carry: tuple[Any, jax.Array], t: jax.Array) -> tuple[Any, None]:
            state, code = carry
            words = lane_words(lane, t)
            state, outputs = program.step(state, row_inputs(trajectory, t), params, words)
            reported = program.observe(state, outputs, params, words)
            fresh = lane_code(program.states, state, with_reports(outputs, reported))
            # Behind its last row a trajectory has no inputs, and no failures.
            return (state, code | jnp.where(t + 1 < trajectory.length, fresh, 0)), None

        start = (state, lane_code(program.states, state, {}))
        steps = jnp.arange(min(_STEPS, panel.outputs.shape[1] - 1), dtype=jnp.int32)
        return jax.lax.scan(body, start, steps)[0][1]

    lanes = jax.vmap(one, in_axes=(None, TRAJECTORIES, 0))
    return jax.vmap(lanes, in_axes=(0, None, None))(points, panel, jnp.arange(len(panel.length)))


def _failure(code: int, where: str, filename: str) -> Problem:
    kinds = []
    if code & INVALID:
        kinds.append(
            "a draw had arguments outside its law (a probability above 1, a negative rate), or a "
            "value was not finite: clip arguments to their range"
        )
    if code & OUT_OF_RANGE:
        kinds.append(
            "a state left the range that the schema declares: draw flows that cannot exceed "
            "the pool they leave"
        )
    return Problem("fails", f"at the {where}: {'; and '.join(kinds)}", file=filename)
