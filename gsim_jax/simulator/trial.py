"""A short run of a fresh program: is it fit for the task's rows, its ranges and its rules?

The program runs a few steps from the first rows of the data, from later rows, from random states
inside the ranges of the schema and from states with one variable at the end of its range. What
must not happen on real rows is a problem; what happens on made-up states is a warning, since no
schema says which combinations of states can occur.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.simulator.codes import INVALID, OUT_OF_RANGE, lane_code
from gsim_jax.simulator.lanes import lane_words
from gsim_jax.simulator.panel import TRAJECTORIES, Panel, build_panel, row_inputs
from gsim_jax.simulator.parameters import sobol
from gsim_jax.simulator.predict import first_state, with_reports
from gsim_jax.simulator.program import Program
from gsim_jax.task import Problem, Schema, Trajectories, Variable, rule_violations

#: Lanes, steps and points of the priors of one run.
LANES, STEPS, POINTS = 8, 8, 8
#: Lanes that start at the end of some variable's range.
_MOST_EDGES = 2 * LANES
# The code runs once, for a moment: compiling it well would take longer than running it badly.
_QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
# Halves the time again on CPUs; an option that not every version of XLA has.
_QUICKER = {**_QUICK, "xla_cpu_use_fusion_emitters": False}

#: Real outputs may differ from what `implied` says by this share of themselves, and by this share
#: of the largest state that they were computed from (float32 keeps no more of a difference).
_SHARE, _OF_STATE = 1e-3, 1e-5

Runner = Callable[[Trajectories], tuple[np.ndarray, np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Trial:
    """What a trial run found.

    Attributes:
        problems: why the program is refused; empty when it behaves.
        warnings: what looks wrong and may be meant.
    """

    problems: tuple[Problem, ...]
    warnings: tuple[str, ...] = ()


def sample_of(data: Trajectories) -> Trajectories:
    """The trajectories that a trial looks at: the first eight; fewer come again."""
    return data.take(np.arange(LANES) % len(data))


def try_out(
    program: Program, schema: Schema, data: Trajectories, filename: str = "simulator.py"
) -> Trial:
    """Runs the program a few steps from rows of the data and from made-up states.

    A program is refused when it fails at its own guesses from a first row, or from most later rows.
    At random points of the priors some failures are allowed (a corner of a wide prior), failing at
    more than half of them is not.
    """
    sample = sample_of(data)
    run = _runner(program, schema)
    codes, broken, untrue = run(_window(sample, np.zeros(LANES, int)))
    problems = failures(codes, filename)
    if problems:
        return Trial(problems)
    generator = np.random.default_rng(0)
    starts = np.array([generator.integers(max(1, int(n) - 1)) for n in sample.length])
    later = _window(sample, starts)
    codes, more, again = run(later)
    if (codes[0] != 0).mean() > 0.5:
        return Trial((_failure(codes[0], "guesses, from most later rows of the data", filename),))
    warnings = _rule_words(schema, broken | more) + _untrue_words(program, untrue | again)
    if codes[0].any():
        warnings.append(f"from some later rows of the data: {_kinds(codes[0])}")
    inside = _inside(later, schema, generator)
    codes, _, _ = run(inside)
    if (codes[0] != 0).mean() > 0.5:
        warnings.append(f"from most states inside their ranges: {_kinds(codes[0])}")
    return Trial((), (*warnings, *_edge_words(sample, schema, run)))


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
        return (_failure(at_guess, "guesses", filename),)
    if len(elsewhere) and (elsewhere != 0).any(axis=1).mean() > 0.5:
        return (_failure(elsewhere, "most points of the priors", filename),)
    return ()


@functools.cache
def _options() -> dict[str, bool | int]:
    """The options for compiling quickly that this version of XLA takes."""
    try:
        jax.jit(jnp.negative, compiler_options=_QUICKER).lower(1.0).compile()
    except (RuntimeError, ValueError):  # no such option
        return _QUICK
    return _QUICKER


def _runner(program: Program, schema: Schema) -> Runner:
    """One compiled function for all sets of first states."""
    random = sobol(program.parameters.dimension, POINTS, 0)
    points = np.concatenate([program.parameters.guess()[None], 0.02 + 0.96 * random])
    compiled = jax.jit(partial(_steps, program, schema), compiler_options=_options())

    def run(data: Trajectories) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = compiled(jnp.asarray(points, jnp.float32), build_panel(schema, data))
        codes, broken, untrue = map(np.asarray, found)
        return codes, broken[0], np.asarray(untrue.any(axis=(0, 1)))

    return run


def _steps(
    program: Program, schema: Schema, points: jax.Array, panel: Panel
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A few steps at each point, for each lane.

    Returns:
        Codes int32[points, lanes], broken rules bool[points, lanes, rules], and which outputs
        `implied` got wrong, bool[points, lanes, outputs].
    """

    def one(u: jax.Array, trajectory: Panel, index: jax.Array) -> Any:
        params = program.parameters.from_unit(u)
        lane = jnp.stack([index.astype(jnp.uint32), jnp.uint32(7)])
        start = first_state(program, params, trajectory, lane)

        def body(carry: tuple[Any, jax.Array], t: jax.Array) -> tuple[Any, Any]:
            before, code = carry
            words, now = lane_words(lane, t), row_inputs(trajectory, t)
            state, outputs = program.step(before, now, params, words)
            untrue = _disagreement(program, before, state, now, outputs)
            reported = program.observe(state, outputs, params, words)
            fresh = lane_code(program.states, state, with_reports(outputs, reported))
            # Behind its last row a trajectory has no inputs, and no failures.
            code |= jnp.where(t + 1 < trajectory.length, fresh, 0)
            untrue &= (code == 0) & (t + 1 < trajectory.length)
            return (state, code), ({name: state[name] for name in schema.states}, untrue)

        times = jnp.arange(panel.outputs.shape[1] - 1, dtype=jnp.int32)
        first = (start, lane_code(program.states, start, {}))
        (_, code), (after, untrue) = jax.lax.scan(body, first, times)
        path = {k: jnp.concatenate([start[k][None], v]) for k, v in after.items()}
        return code, _broken(schema, path, trajectory), jnp.any(untrue, axis=0)

    lanes = jax.vmap(one, in_axes=(None, TRAJECTORIES, 0))
    return jax.vmap(lanes, in_axes=(0, None, None))(points, panel, jnp.arange(len(panel.length)))


def _disagreement(
    program: Program, before: Any, after: Any, inputs: Any, outputs: Any
) -> jax.Array:
    """bool[outputs of `implied`]: where it says something else than the step did."""
    told = program.implied(before, after, inputs)
    if not told:
        return jnp.zeros(0, bool)
    size = jnp.max(jnp.stack([jnp.max(jnp.abs(x)) for x in _reals(before) + _reals(after)]))

    def differs(name: str) -> jax.Array:
        made, said = outputs[name], told[name]
        if made.dtype != jnp.float32:
            return jnp.any(made != said)
        room = _SHARE * jnp.maximum(jnp.abs(made), jnp.abs(said)) + _OF_STATE * size
        return jnp.any(~(jnp.abs(made - said) <= room))

    return jnp.stack([differs(name) for name in told])


def _reals(state: Any) -> list[jax.Array]:
    return [x.astype(jnp.float32) for x in state.values() if x.size]


def _untrue_words(program: Program, wrong: np.ndarray) -> list[str]:
    names = program.functions["implied"].outputs if wrong.size else ()
    named = [name for name, flag in zip(names, wrong.tolist(), strict=True) if flag]
    if not named:
        return []
    return [
        f"implied: {', '.join(map(repr, named))} read off two states is not what the submodules "
        "returned in the step between them: undo what `couple` does, or leave `implied` out"
    ]


def _broken(schema: Schema, path: dict[str, jax.Array], trajectory: Panel) -> jax.Array:
    """bool[rules]: rules that held in the first row and fail in a later one."""
    if not schema.rules:
        return jnp.zeros(0, bool)
    failing = rule_violations(schema, path, trajectory.inputs, trajectory.attributes)
    later = jnp.arange(failing.shape[1]) < trajectory.length
    return ~failing[:, 0] & jnp.any(failing & later[None], axis=1)


def _window(data: Trajectories, starts: np.ndarray) -> Trajectories:
    """A few rows of each trajectory, from row `starts` on."""
    rows = starts[:, None] + np.arange(STEPS + 1)
    at = (np.arange(len(starts))[:, None], np.minimum(rows, data.rows - 1))

    def cut(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: array[at] for name, array in arrays.items()}

    return Trajectories(
        ids=data.ids,
        length=np.clip(data.length - starts, 1, STEPS + 1).astype(np.int32),
        states=cut(data.states),
        seen=cut(data.seen),
        inputs=cut(data.inputs),
        attributes=data.attributes,
        outputs=data.outputs[at],
        outputs_seen=data.outputs_seen[at],
    )


def _range(variable: Variable, data: Trajectories) -> tuple[float, float] | None:
    """The least and the greatest value: the schema's, and where it names none, the data's."""
    values = data.states[variable.name][data.seen[variable.name]]
    if variable.exchangeable or not values.size:
        return None  # entries of one slot belong together
    low = values.min() if variable.min is None else variable.min
    high = values.max() if variable.max is None else variable.max
    return float(low), float(max(low, high))


def _with_first(data: Trajectories, changed: dict[str, np.ndarray]) -> Trajectories:
    """The same trajectories with other, fully seen values in their first rows."""
    states, seen = dict(data.states), dict(data.seen)
    for name, values in changed.items():
        states[name], seen[name] = states[name].copy(), seen[name].copy()
        states[name][:, 0] = values
        seen[name][:, 0] = True
    fields = {**vars(data), "states": states, "seen": seen}
    return Trajectories(**fields)


def _inside(data: Trajectories, schema: Schema, generator: np.random.Generator) -> Trajectories:
    """First rows in which about half of the variables are anywhere in their ranges."""
    changed = {}
    for variable in schema.states.values():
        bounds = _range(variable, data)
        if bounds is None:
            continue
        now = data.states[variable.name][:, 0]
        anywhere = generator.uniform(*bounds, now.shape)
        if variable.dtype == "int32":
            anywhere = np.rint(anywhere)
        chosen = generator.random(len(now)) < 0.5
        chosen = chosen.reshape(-1, *[1] * (now.ndim - 1))
        changed[variable.name] = np.where(chosen, anywhere, now).astype(now.dtype)
    return _with_first(data, changed)


def _edge_words(sample: Trajectories, schema: Schema, run: Runner) -> list[str]:
    """Warnings about states with one variable at the end of its range."""
    edges = []
    for variable in schema.states.values():
        bounds = _range(variable, sample)
        for name, value in zip(("least", "greatest"), bounds or (), strict=False):
            edges.append((variable.name, name, value))
    first = _window(sample, np.zeros(LANES, int))
    words = []
    for at in range(0, min(len(edges), _MOST_EDGES), LANES):
        chosen = edges[at : at + LANES]
        changed: dict[str, np.ndarray] = {}
        for lane, (name, _, value) in enumerate(chosen):
            values = changed.setdefault(name, first.states[name][:, 0].copy())
            values[lane] = value
        codes, _, _ = run(_with_first(first, changed))
        for (name, end, value), code in zip(chosen, codes[0], strict=False):
            if code:
                words.append(f"from {name} = {value:g}, its {end} value: {_kinds(code)}")
    return words


def _rule_words(schema: Schema, broken: np.ndarray) -> list[str]:
    found: list[int] = broken.sum(axis=0).tolist()
    return [
        f"rule {rule.name!r} held at the start and failed within {STEPS} steps at the guesses, in "
        f"{count} of {len(broken)} trajectories: make the flows add up"
        for rule, count in zip(schema.rules, found, strict=True)
        if count
    ]


def _kinds(codes: np.ndarray | Sequence[int]) -> str:
    code, kinds = int(np.bitwise_or.reduce(np.asarray(codes), axis=None)), []
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
    return "; and ".join(kinds)


def _failure(codes: np.ndarray, where: str, filename: str) -> Problem:
    return Problem("fails", f"at the {where}: {_kinds(codes)}", file=filename)
