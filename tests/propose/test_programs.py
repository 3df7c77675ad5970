"""The contract of every generated program: it traces, and a step keeps what must be kept."""

import random
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax import words
from gsim_jax.propose import mechanisms
from gsim_jax.propose.edit_types import Context
from gsim_jax.propose.edits import edits
from gsim_jax.propose.first import first_ideas
from gsim_jax.propose.render import render
from gsim_jax.propose.scales import Scales
from gsim_jax.propose.structure import Structure
from gsim_jax.simulator._trace import trace_source
from gsim_jax.simulator.lanes import BEFORE, lane_words
from gsim_jax.simulator.program import Program
from tests.propose.cases import CASES

LANES = 8
STEPS = 6


def program_of(structure: Structure, schema, profile) -> Program:
    scales = Scales.read(schema, profile, structure.whole)
    signature = schema.signature()
    return Program.from_document(
        trace_source(render(structure, schema, scales), signature), signature
    )


def start(schema, profile, rng) -> dict[str, np.ndarray]:
    found = {}
    for name, state in schema.states.items():
        seen = profile.variables.get(name) or profile.variables[f"{name}[0]"]
        values = rng.uniform(seen.minimum, seen.maximum / 3 + 1, (LANES, *state.shape))
        found[name] = values.astype(state.dtype)
    return found


def surroundings(schema) -> dict[str, np.ndarray]:
    found = {"t": np.int32(3)}
    found |= {name: np.asarray(2, given.dtype) for name, given in schema.inputs.items()}
    found |= {name: np.asarray(45, given.dtype) for name, given in schema.attributes.items()}
    found |= {name: constant.value for name, constant in schema.constants.items()}
    return found | {name: np.int32(5) for name in schema.calendar_inputs}


def run(program: Program, schema, profile, seed: int):
    """Initial state and `STEPS` more, arrays [1 + STEPS, LANES, ...], at random parameters."""
    rng = np.random.default_rng(seed)
    observed, inputs = start(schema, profile, rng), surroundings(schema)
    dimension = program.parameters.dimension
    u = rng.uniform(0.02, 0.98, (LANES, dimension)).astype(np.float32)
    keys = words.lane_keys(jnp.asarray([seed, 1], jnp.uint32), jnp.arange(LANES, dtype=jnp.uint32))

    def one(key, u, observed):
        params = program.parameters.from_unit(u)
        given = {**observed, **{k: v for k, v in inputs.items() if k != "t"}}
        seen = {name: jnp.ones(np.shape(v), bool) for name, v in observed.items()}
        state = program.initial(given, seen, inputs, params, lane_words(key, BEFORE))

        def step(state, t):
            following, _ = program.step(state, {**inputs, "t": t}, params, lane_words(key, t))
            return following, following

        _, path = jax.lax.scan(step, state, jnp.arange(STEPS, dtype=jnp.int32))
        return state, path

    first, path = jax.jit(jax.vmap(one))(keys, u, observed)
    return jax.tree.map(
        lambda a, b: np.concatenate([np.asarray(a)[:, None], np.asarray(b)], axis=1), first, path
    )


def check(structure: Structure, schema, profile, seed: int) -> None:
    program = program_of(structure, schema, profile)
    path = run(program, schema, profile, seed)
    assert set(path) == set(program.states)
    for name, spec in program.states.items():
        assert np.isfinite(path[name].astype(float)).all(), name
        if name in structure.levels and schema.states[name].min is None:
            continue
        if spec.kind in ("count", "flag", "category"):
            assert path[name].min() >= 0, f"{name} is negative"
        if name in schema.states and schema.states[name].max is not None:
            assert path[name].max() <= schema.states[name].max
    if structure.conserved:
        total = sum(path[name] for name in structure.conserved)
        assert (total == total[:, :1]).all()
    if structure.whole:
        stored = [n for n, p in structure.pools.items() if p.start != "rest"]
        whole = int(schema.constants[structure.whole].value)
        total = sum(path[name] for name in stored)
        fits = total[:, 0] <= whole
        assert (total[fits] <= whole).all()
        assert (np.diff(total, axis=1) >= 0).all() or structure.entering(structure.rest)


def walk(case: str, length: int, seed: int) -> list[Structure]:
    """First ideas, then a random walk of edits from each of some of them."""
    schema, profile = CASES[case]()
    context = Context(schema, profile)
    rng = random.Random(seed)
    ideas = [idea.structure for idea in first_ideas(schema, profile)]
    here, found = rng.choice(ideas), []
    for _ in range(length):
        steps = edits(here, context)
        here = rng.choice(steps).structure
        found.append(here)
    return found


@pytest.mark.parametrize("case", CASES)
def test_first_ideas_run_and_keep_what_must_be_kept(case: str) -> None:
    schema, profile = CASES[case]()
    for number, idea in enumerate(first_ideas(schema, profile)[:2]):
        check(idea.structure, schema, profile, number)


@pytest.mark.parametrize("case", CASES)
def test_all_single_edits_of_the_first_idea_trace(case: str) -> None:
    schema, profile = CASES[case]()
    first = first_ideas(schema, profile)[0].structure
    for edit in edits(first, Context(schema, profile)):
        source = render(edit.structure, schema, Scales.read(schema, profile, first.whole))
        document = trace_source(source, schema.signature())
        assert document["submodules"], edit.key


@pytest.mark.parametrize("case", CASES)
def test_far_along_a_random_walk_of_edits_programs_still_run(case: str) -> None:
    schema, profile = CASES[case]()
    seed = zlib.crc32(case.encode())
    check(walk(case, 10, seed)[-1], schema, profile, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", CASES)
def test_every_step_of_a_random_walk_of_edits_runs(case: str, seed: int) -> None:
    schema, profile = CASES[case]()
    for structure in walk(case, 6, seed):
        check(structure, schema, profile, seed)


def test_every_mechanism_appears_in_some_generated_program() -> None:
    used: set[str] = set()
    for case in CASES:
        schema, profile = CASES[case]()
        context = Context(schema, profile)
        for idea in first_ideas(schema, profile):
            for structure in (
                idea.structure,
                *(e.structure for e in edits(idea.structure, context)),
            ):
                used |= _mechanisms(structure)
    known = {f"{family}_{n}" for family in FAMILIES for n in mechanisms.names(family)}
    assert known - used == {"factor_crowd"} - used


FAMILIES = ("rate", "draw", "factor", "term", "noise")


def _mechanisms(structure: Structure) -> set[str]:
    found = {f"rate_{f.law}" for f in structure.flows}
    found |= {f"draw_{f.draw}" for f in structure.flows if f.draw != "exact"}
    found |= {f"factor_{x.kind}" for f in structure.flows for x in f.factors}
    found |= {f"term_{t.law}" for level in structure.levels.values() for t in level.terms}
    return found | {f"noise_{level.noise}" for level in structure.levels.values()}


def test_implied_returns_the_draws_that_were_made() -> None:
    schema, profile = CASES["closed"]()
    program = program_of(first_ideas(schema, profile)[0].structure, schema, profile)
    before = {"S": 60, "I": 30, "R": 10}
    inputs = surroundings(schema)
    key = jnp.asarray([3, 4], jnp.uint32)
    params = program.parameters.from_unit(jnp.full(2, 0.4))
    state = {name: jnp.int32(value) for name, value in before.items()}
    after, outputs = program.step(state, inputs, params, lane_words(key, 0))
    implied = program.implied(state, after, inputs)
    assert set(implied) == set(outputs)
    for name in outputs:
        assert int(implied[name]) == int(outputs[name]) > 0


def test_an_inconsistent_structure_is_refused_with_the_reasons() -> None:
    schema, profile = CASES["closed"]()
    good = first_ideas(schema, profile)[0].structure
    bad = Structure(good.pools, (*good.flows, good.flows[0]), conserved=good.conserved)
    with pytest.raises(ValueError, match="two flows are called S_to_I"):
        render(bad, schema, Scales())
