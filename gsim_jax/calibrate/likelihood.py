"""The exact log likelihood of complete data: the log mass of every draw that the rows imply.

Where each draw of a program can be read off two complete rows (see `exact_draws`), the probability
of a trajectory given its first row is the product over steps and draws of the mass of the draw
under its law, with arguments evaluated at the state of the row and at the draws before it. No
simulation is needed, and the result is differentiable in continuous parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gsim_jax.calibrate.exact_draws import Found, find_draws, read_off
from gsim_jax.calibrate.exact_graph import Node, StepGraph, Target, Values
from gsim_jax.sampling import LAWS
from gsim_jax.simulator.panel import Panel, build_panel
from gsim_jax.simulator.program import Program
from gsim_jax.task import InputError, Problem, Schema, Trajectories

#: Real values count as equal up to this share of the larger one, and this much.
_RELATIVE, _ABSOLUTE = 1e-4, 1e-6


@struct.dataclass
class Transitions:
    """All pairs of consecutive rows of a data set, K of them, trajectory after trajectory.

    Attributes:
        previous: `{state: [K, *shape]}`.
        current: `{state: [K, *shape]}`, one row later.
        inputs: `{name: [K, ...]}` in the earlier row, with `t` and attributes.
        constants: `{name: array}`.
        owner: int32[K], number of the trajectory.
        count: number of trajectories n.
        steps: steps of each trajectory where all have equally many, else 0.
    """

    previous: dict[str, jax.Array]
    current: dict[str, jax.Array]
    inputs: dict[str, jax.Array]
    constants: dict[str, jax.Array]
    owner: jax.Array
    count: int = struct.field(pytree_node=False)
    steps: int = struct.field(pytree_node=False)

    @classmethod
    def of(cls, panel: Panel) -> Transitions:
        """The transitions of complete trajectories; a trajectory of one row has none."""
        length = np.asarray(panel.length)
        rows = np.asarray(panel.outputs).shape[1]
        owner, t = np.nonzero(np.arange(rows - 1) < length[:, None] - 1)

        def at(arrays: Mapping[str, jax.Array], later: int) -> dict[str, jax.Array]:
            return {k: jnp.asarray(np.asarray(v)[owner, t + later]) for k, v in arrays.items()}

        attributes = {k: jnp.asarray(np.asarray(v)[owner]) for k, v in panel.attributes.items()}
        inputs = {**at(panel.inputs, 0), **attributes, "t": jnp.asarray(t, jnp.int32)}
        counts = np.bincount(owner, minlength=len(length))
        steps = int(counts[0]) if len(counts) and (counts == counts[0]).all() else 0
        return cls(
            at(panel.states, 0), at(panel.states, 1), inputs, dict(panel.constants),
            jnp.asarray(owner, jnp.int32), len(length), steps,
        )  # fmt: skip

    def per_trajectory(self, values: jax.Array) -> jax.Array:
        """Sums of float32[K] over the steps of each trajectory, float32[n]."""
        if self.steps:
            return jnp.sum(values.reshape(self.count, self.steps), axis=1)
        return jax.ops.segment_sum(values, self.owner, self.count, indices_are_sorted=True)


class Masses:
    """Log masses of the draws of one program, whatever the data; build it with `masses_of`.

    Attributes:
        program: the structure.
        lost: draws that two complete rows do not determine; there is a likelihood without them
            only.
    """

    def __init__(self, program: Program) -> None:
        """Reads off the program which draws rows imply."""
        self.program = program
        self._graph = StepGraph.of(program)
        self._draws, self.lost = find_draws(self._graph)

    def per_trajectory(self, u: jax.Array, transitions: Transitions) -> jax.Array:
        """Log likelihood of each trajectory given its first row, float32[n] in nats.

        Args:
            u: float32[d] on the unit cube.
            transitions: the data.
        """
        return transitions.per_trajectory(self.per_transition(u, transitions))

    def per_transition(self, u: jax.Array, transitions: Transitions) -> jax.Array:
        """Log likelihood of single transitions, float32[K] in nats."""
        draws, broken = self.pieces(u, transitions)
        total = jnp.zeros(transitions.owner.shape, jnp.float32) + sum(draws.values())
        possible = jnp.ones(transitions.owner.shape, bool)
        for differs in broken.values():
            possible &= ~differs
        # NaN: an argument outside its law. A simulator fails there, so nothing comes out of it.
        return jnp.where(possible & ~jnp.isnan(total), total, -jnp.inf)

    def pieces(
        self, u: jax.Array, transitions: Transitions
    ) -> tuple[dict[str, jax.Array], dict[str, jax.Array]]:
        """Log mass float32[K] per draw, and whether a fixed value disagrees, bool[K] per target."""
        params = self.program.parameters.from_unit(u)
        constants = transitions.constants

        def one(previous: Any, current: Any, inputs: Any) -> Any:
            return self._transition(params, previous, current, {**inputs, **constants})

        return jax.vmap(one)(transitions.previous, transitions.current, transitions.inputs)

    def _transition(self, params: Any, previous: Any, current: Any, inputs: Any) -> Any:
        given = {"state": previous, "inputs": inputs, "params": params}
        told = self.program.implied(previous, current, inputs) or {}
        values = Values(self._graph, given)

        def known(target: Target) -> jax.Array:
            return jnp.asarray((current if target.kind == "state" else told)[target.name])

        draws = {}
        for found in self._draws:
            value, slope = read_off(self._graph, found, values, known)
            values.set(found.node, value)
            draws[_label(found)] = self._log_prob(found, value, values) - slope
        numbers = {node.first for node in (found.node for found in self._draws)}
        broken = {}
        for target in self._graph.targets:
            reads = self._graph.draws_of(target.ref)
            if all(self._graph.nodes[n].first in numbers for n in reads):
                differs = _differs(values.get(target.ref), known(target), target.real)
                broken[f"{target.kind} {target.name}"] = differs
        return draws, broken

    def _log_prob(self, found: Found, value: jax.Array, values: Values) -> jax.Array:
        step = found.node.step
        assert step is not None
        arguments = [values.get(ref) for ref in found.node.ins]
        return jnp.sum(LAWS[step.parameters["law"]].log_prob(value, *arguments))


@lru_cache(maxsize=64)
def masses_of(program: Program) -> Masses:
    """The masses of a program, made once: what jit compiles with them serves all data sets."""
    return Masses(program)


@partial(jax.jit, static_argnums=0)
def _at_one(masses: Masses, u: jax.Array, transitions: Transitions) -> jax.Array:
    return masses.per_trajectory(u, transitions)


@partial(jax.jit, static_argnums=0)
def _at_many(masses: Masses, u: jax.Array, transitions: Transitions) -> jax.Array:
    return jax.vmap(masses.per_trajectory, in_axes=(0, None))(u, transitions)


class LogLikelihood:
    """Log likelihood of complete trajectories under one program; build it with `log_likelihood`.

    Attributes:
        program: the structure.
        transitions: the data.
        ids: names of the trajectories.
    """

    def __init__(self, program: Program, transitions: Transitions, ids: tuple[str, ...]) -> None:
        """See `log_likelihood`."""
        self.program = program
        self.transitions = transitions
        self.ids = ids
        self.masses = masses_of(program)
        if self.masses.lost:
            raise InputError(tuple(_unidentified(program, node) for node in self.masses.lost))

    def __call__(self, u: jax.Array) -> jax.Array:
        """Log likelihood per trajectory, given its first row.

        Args:
            u: float32[d] on the unit cube.

        Returns:
            float32[n] in nats, -inf where the parameters cannot produce the rows. For use under
            jit, grad and vmap; sum them in float64 on the host, or relative to a reference point.
        """
        return _at_one(self.masses, jnp.asarray(u, jnp.float32), self.transitions)

    def many(self, u: jax.Array) -> jax.Array:
        """The same at points float32[P, d], float32[P, n]; data of one shape compile once."""
        return _at_many(self.masses, jnp.asarray(u, jnp.float32), self.transitions)

    def total(self, u: np.ndarray) -> float:
        """The sum over all trajectories at one point, added up in float64."""
        return float(np.asarray(self(jnp.asarray(u, jnp.float32)), np.float64).sum())

    def explain(self, u: np.ndarray) -> str | None:
        """Why the data is impossible at a point, in words; None where it is possible.

        Args:
            u: float64[d] on the unit cube.
        """
        u = jnp.asarray(u, jnp.float32)
        draws, broken = jax.jit(self.masses.pieces)(u, self.transitions)
        for label, differs in broken.items():
            if np.asarray(differs).any():
                where = self._where(np.asarray(differs))
                return f"{where}: the {label} is not what the program makes of the rows"
        for label, mass in draws.items():
            impossible = ~np.isfinite(np.asarray(mass))
            if impossible.any():
                return f"{self._where(impossible)}: {label} cannot have been what the rows imply"
        return None

    def _where(self, flags: np.ndarray) -> str:
        k = int(np.flatnonzero(flags)[0])
        owner, t = int(self.transitions.owner[k]), int(self.transitions.inputs["t"][k])
        return (
            f"{int(flags.sum())} of {len(flags)} transitions, the first in trajectory "
            f"{self.ids[owner]}, row {t} to {t + 1}"
        )


def log_likelihood(simulator: Any, schema: Schema, data: Trajectories | Panel) -> LogLikelihood:
    """The exact log likelihood of complete data as a function of a point of the unit cube.

    Masses of whole numbers are probabilities. Densities of real draws are those of the states
    where a state shows the draw, else those of the outputs that `implied` tells.

    Args:
        simulator: a `Program` without latent states whose draws two complete rows determine, by
            themselves or with the help of its `implied`.
        schema: the task's schema.
        data: trajectories, every state seen in every row.

    Returns:
        A function `u -> float32[n]`, see `LogLikelihood`.

    Raises:
        InputError: there is no likelihood in closed form; the problems say why and what to do.
    """
    problems = _why_not(simulator)
    panel = data if isinstance(data, Panel) else build_panel(schema, data)
    ids = tuple(map(str, range(len(panel.length)))) if isinstance(data, Panel) else data.ids
    problems += _missing(panel)
    if problems:
        raise InputError(tuple(problems))
    return LogLikelihood(simulator, Transitions.of(panel), ids)


def _why_not(simulator: Any) -> list[Problem]:
    if not isinstance(simulator, Program):
        text = (
            f"likelihood: expected a program from a simulator file; got {type(simulator).__name__},"
            " whose draws cannot be looked at: give a log likelihood of your own"
        )
        return [Problem("no-likelihood", text)]
    problems = []
    if simulator.latent:
        text = (
            f"likelihood: expected a program without latent states; got "
            f"{', '.join(simulator.latent)}: use a method that simulates, such as es"
        )
        problems.append(Problem("no-likelihood", text))
    if simulator.observed:
        text = (
            f"likelihood: expected states that the table shows as they are; `observe` reports "
            f"{', '.join(simulator.observed)} otherwise: use a method that simulates, such as es"
        )
        problems.append(Problem("no-likelihood", text))
    return problems


def _missing(panel: Panel) -> list[Problem]:
    exists = np.arange(panel.outputs.shape[1]) < np.asarray(panel.length)[:, None]
    missing = {name: int((~np.asarray(seen)[exists]).sum()) for name, seen in panel.seen.items()}
    named = ", ".join(f"{name} ({count})" for name, count in missing.items() if count)
    if not named:
        return []
    text = (
        f"likelihood: expected every state in every row; entries are missing of {named}: use a "
        "method that simulates, such as es"
    )
    return [Problem("missing-entries", text)]


def _unidentified(program: Program, node: Node) -> Problem:
    step = node.step
    assert step is not None
    what = "a loop with draws in it"
    if node.draw:
        what = f"draw {step.parameters['site']} ({step.parameters['law']})"
    have = "" if "implied" in program.functions else " or write `implied`, which reads it off"
    text = (
        f"{node.function}: {what} cannot be read off two complete rows, so there is no likelihood "
        f"in closed form: show its outcome in the data (a cumulative count){have}, or use a method "
        "that simulates, such as es"
    )
    return Problem("no-likelihood", text)


def _label(found: Found) -> str:
    step = found.node.step
    assert step is not None
    return f"draw {step.parameters['site']} of {found.node.function} ({step.parameters['law']})"


def _differs(made: jax.Array, known: jax.Array, real: bool) -> jax.Array:
    if not real:
        return jnp.any(made != known)
    size = jnp.maximum(jnp.abs(made), jnp.abs(known))
    return jnp.any(~(jnp.abs(made - known) <= _RELATIVE * size + _ABSOLUTE))
