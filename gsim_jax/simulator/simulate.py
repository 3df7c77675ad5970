"""One chunk of lanes on one device: starts, steps, failure codes, and what is kept of every row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from gsim_jax.simulator.codes import OK, RULE_BROKEN, lane_code
from gsim_jax.simulator.contract import Simulator
from gsim_jax.simulator.keep import Keep, Row
from gsim_jax.simulator.lane_values import Layout, Reader
from gsim_jax.simulator.lanes import BEFORE, Site, step_sites
from gsim_jax.simulator.predict import overwrite, with_reports
from gsim_jax.simulator.streams import Lane, Stream
from gsim_jax.task import Schema, output_values, row_violations

State = dict[str, jax.Array]
#: Bit of a code that stands for the first of the task's rules, where each is told apart.
RULES_FROM = 3


class Changes(Protocol):
    """What is done to lanes while they run, an intervention; hashable, since it is static.

    `row` holds the values below the root `changes` that belong to the row. The past is as it was:
    `initial`, which draws what is hidden at the start, sees nothing of it.
    """

    def inputs(self, inputs: State, row: State) -> State:
        """Inputs, attributes and constants of a row."""
        ...

    def params(self, params: Any, row: State) -> Any:
        """Parameters of the step that begins with a row."""
        ...

    def outputs(
        self, name: str, new: State, before: State, row: State, given: tuple[Any, ...]
    ) -> State:
        """Outputs of a submodule; `given` holds state, inputs, parameters and words."""
        ...

    def state(self, state: State, row: State, source: Any) -> State:
        """The state with which a row begins."""
        ...


@dataclass(frozen=True)
class Static:
    """What a compiled rollout depends on besides shapes.

    Attributes:
        layout: how values are read, see `gather`.
        given: the states that the start gives.
        whole: whether the start is a full state, such as a filter's particle: nothing is drawn.
        changes: interventions, None for none.
        blank: failure codes from which on scored values are NaN.
        each_rule: whether rule k also sets bit `RULES_FROM` + k of the codes, as far as they go.
    """

    simulator: Simulator
    schema: Schema
    layout: Layout
    steps: int
    stream: Stream
    keep: Keep
    rules: bool
    given: frozenset[str]
    whole: bool = False
    changes: Changes | None = None
    blank: int = -1
    each_rule: bool = False

    def start(self, lane: Lane, values: Reader, row: Any, sites: tuple[Site, ...]) -> State:
        """One lane's full state at row 0."""
        given = values.group("start")
        if self.whole or (set(given) == set(self.simulator.states) and not self._draws_initial):
            return given
        observed = {k: given[k] for k in self.schema.states}
        seen = {k: jnp.ones(jnp.shape(v), bool) for k, v in observed.items()}
        source = self.stream.source(lane, BEFORE, sites, row)
        inputs, params = self._plain(values, jnp.int32(0)), values.group("params")
        state = self.simulator.initial(observed, seen, inputs, params, source)
        forced = [name for name in observed if name not in self.simulator.observed]
        return overwrite(state, observed, {name: seen[name] for name in forced})

    @property
    def _draws_initial(self) -> bool:
        # Without latent states, `initial` has only what a report may hide left to say.
        hidden = set(self.simulator.latent) - self.given
        return bool(hidden) or bool(self.simulator.observed)

    def _plain(self, values: Reader, t: jax.Array) -> dict[str, jax.Array]:
        return {"t": jnp.asarray(t, jnp.int32), **values.group("inputs"), **values.at(t)}

    def inputs(self, values: Reader, t: jax.Array) -> dict[str, jax.Array]:
        """What a simulator finds in `inputs` at row t."""
        plain = self._plain(values, t)
        if self.changes is None:
            return plain
        return self.changes.inputs(plain, values.at(t, "changes"))

    def changed(self, state: State, values: Reader, t: jax.Array, source: Any) -> State:
        """The state with which row t begins."""
        if self.changes is None:
            return state
        return self.changes.state(state, values.at(t, "changes"), source)

    def _advance(
        self, state: State, now: State, params: Any, values: Reader, t: jax.Array, source: Any
    ) -> tuple[State, State]:
        changes = self.changes
        if changes is None:
            return self.simulator.step(state, now, params, source)
        row = values.at(t, "changes")

        def change(name: str, new: State, before: State) -> State:
            return changes.outputs(name, new, before, row, (state, now, params, source))

        simulator: Any = self.simulator
        following, outputs = simulator.step(state, now, params, source, change)
        return self.changed(following, values, t + 1, source), outputs

    def step(
        self, state: State, first: State, lane: Lane, values: Reader, t: jax.Array, row: Any,
        sites: tuple[Site, ...],
    ) -> tuple[State, State, jax.Array]:  # fmt: skip
        """One lane: next state, what is reported instead of it, failure code of this step."""
        source = self.stream.source(lane, t, sites, row)
        params, now = values.group("params"), self.inputs(values, t)
        if self.changes is not None:
            params = self.changes.params(params, values.at(t, "changes"))
        following, outputs = self._advance(state, now, params, values, t, source)
        reported = self.simulator.observe(following, outputs, params, source) or {}
        code = lane_code(self.simulator.states, following, with_reports(outputs, reported))
        if self.rules and self.schema.rules:
            then, begun = self.inputs(values, t + 1), self.inputs(values, jnp.int32(0))
            rows = ({**following, **reported, **then}, {**state, **now}, {**first, **begun})
            broken = row_violations(self.schema, *rows)
            code = code | RULE_BROKEN * jnp.any(broken).astype(jnp.int32)
            for k in range(min(len(self.schema.rules), 31 - RULES_FROM) if self.each_rule else 0):
                code = code | broken[k].astype(jnp.int32) << (RULES_FROM + k)
        return following, reported, code

    def outputs(
        self, state: State, reported: State, code: jax.Array, values: Reader, t: jax.Array
    ) -> tuple[jax.Array, ...]:
        """The scored values of one lane's row t, scalars; NaN where it has failed."""
        shown = {k: state[k] for k in self.schema.states} | reported
        fine = code & self.blank == OK
        found = output_values(self.schema, shown, self.inputs(values, t))
        return tuple(jnp.where(fine, value, jnp.nan) for value in found)


def simulate(
    static: Static, seed: jax.Array, rows: Any, shared: Any, number: jax.Array,
    exists: jax.Array, lane: Any,
) -> tuple[Any, jax.Array]:  # fmt: skip
    """All lanes of a chunk on one device: what is kept, and codes int32[lanes]."""
    words = static.stream.lanes(seed, number)
    before, sites = draw_sites(static, shared, lane)
    keep = static.keep

    def begin(mine: Lane, own: Any) -> tuple[State, jax.Array]:
        values = Reader(static.layout, shared, own)
        state = static.start(mine, values, rows[0], before)
        source = static.stream.source(mine, BEFORE, before, rows[0])
        state = static.changed(state, values, jnp.int32(0), source)
        return state, lane_code(static.simulator.states, state, {})

    def see(t: jax.Array, state: State, reported: State, code: jax.Array) -> Any:
        def one(state: State, reported: State, code: jax.Array, own: Any) -> Any:
            values = Reader(static.layout, shared, own)
            return static.outputs(state, reported, code, values, t)

        outputs = jax.vmap(one)(state, reported, code, lane)
        return keep.row(Row(t, state, outputs, code, exists))

    first, code = jax.vmap(begin)(words, lane)
    reported = {name: first[name] for name in static.simulator.observed}

    def body(carry: tuple[Any, ...], at: tuple[jax.Array, Any]) -> tuple[Any, Any]:
        state, _, code = carry
        t, row = at

        def advance(state: State, first: State, mine: Lane, own: Any) -> tuple[Any, ...]:
            values = Reader(static.layout, shared, own)
            return static.step(state, first, mine, values, t, row, sites)

        state, reported, fresh = jax.vmap(advance)(state, first, words.seeming_new(t), lane)
        code = code | fresh
        seen = see(t + 1, state, reported, code) if keep.every_row else None
        return (state, reported, code), seen

    times = jnp.arange(static.steps, dtype=jnp.int32)
    begun = (first, reported, code)
    (state, reported, code), stored = jax.lax.scan(body, begun, (times, rows[1]))
    if keep.every_row:
        start = see(jnp.int32(0), *begun)
        stored = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), start, stored)
    else:
        stored = see(jnp.int32(static.steps), state, reported, code)
    return keep.finish(stored), code


def draw_sites(static: Static, shared: Any, lane: Any) -> tuple[Any, Any]:
    """Draws of `initial` and of one step; only Sobol words need to know them."""
    if static.stream.kind != "sobol":
        return (), ()
    one = jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), lane)
    values = Reader(static.layout, shared, one)
    params = values.group("params")
    now = static.inputs(values, jnp.int32(0))
    observed = {k: v for k, v in values.group("start").items() if k in static.schema.states}
    seen = {k: jnp.ones(jnp.shape(v), bool) for k, v in observed.items()}
    simulator = static.simulator
    before = step_sites(
        simulator, lambda source: simulator.initial(observed, seen, now, params, source)
    )
    state = {k: jnp.zeros(tuple(spec.shape), spec.dtype) for k, spec in simulator.states.items()}

    def step(source: Any) -> Any:
        following, outputs = simulator.step(state, now, params, source)
        return simulator.observe(following, outputs, params, source)

    return before, step_sites(simulator, step)
