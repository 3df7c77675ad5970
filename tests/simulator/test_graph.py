"""Causal graphs: who reaches whom, with and without what never changes."""

from __future__ import annotations

from typing import Any

import pytest

from gsim_jax.simulator._trace import trace_source
from gsim_jax.simulator.graph import CausalGraph
from gsim_jax.simulator.program import Program
from tests.simulator.sources import FILES, signature


def graph_of(source: str, given: dict[str, Any]) -> CausalGraph:
    return Program.from_document(trace_source(source, given), given).graph


def edges(graph: CausalGraph) -> set[str]:
    """Edges as texts `source>target`."""
    return {f"{source}>{target}" for source, target in graph.edges}


def file(step: str, states: str, **shapes: Any) -> CausalGraph:
    """The graph of a file whose only submodule puts out `x`, and some of whose states are set."""
    source = (
        f"def move(state, inputs, params, key):\n{step}\n"
        f"def couple(state, inputs, outputs, params, key):\n"
        f"    x = outputs['x']\n    return {{**state, {states}}}\nSUBMODULES = (move,)\n"
    )
    given = signature({"u": "float32"}, **(shapes or dict.fromkeys("SIR", ("count", ()))))
    return graph_of(source, given)


def test_sir() -> None:
    graph = graph_of(*FILES["sir"])
    both = {"S>S", "I>S", "R>S", "S>I", "I>I", "R>I"}
    assert edges(graph) == both | {"I>R", "R>R"}
    assert graph.modules == {
        "infection": (frozenset("SIR"), frozenset("SI")),
        "recovery": (frozenset("I"), frozenset("IR")),
    }


def test_a_constant_population_carries_no_influence() -> None:
    graph = graph_of(*FILES["sir"]).modulo([{"S": 1, "I": 1, "R": 1}])
    assert edges(graph) == {"S>S", "I>S", "S>I", "I>I", "I>R", "R>R"}
    assert graph.modules["infection"] == (frozenset("SI"), frozenset("SI"))
    # Multiples are invariant too, other forms are not.
    whole = graph_of(*FILES["sir"])
    assert whole.modulo([{"S": 2.5, "I": 2.5, "R": 2.5, "": 7}]).edges == graph.edges
    assert whole.modulo([{"S": 1, "I": 2, "R": 1}]).edges == whole.edges
    assert whole.modulo([]) == whole


def test_latent_states_inputs_and_earlier_outputs() -> None:
    graph = graph_of(*FILES["seir"])
    infection = {f"{source}>{target}" for source in ("S", "I", "lockdown", "population")
                 for target in ("S", "E", "I")}  # fmt: skip
    assert edges(graph) == infection | {"E>E", "E>I", "I>R", "R>R"}
    assert graph.modules["onset"] == (frozenset({"E", "I", "exposures"}), frozenset("EIR"))


def test_loops_carry_influence() -> None:
    graph = graph_of(*FILES["stock"])
    assert {"stock>sold", "price>sold", "pipe>stock"} <= edges(graph)
    assert "pipe>sold" not in edges(graph)
    assert not [edge for edge in edges(graph) if edge.startswith("sold>")]


def test_carries_grow_until_nothing_is_added() -> None:
    # Each turn hands a value one place on, so a source needs three turns to reach the end.
    graph = file(
        "    def turn(c, _):\n        return (state['S'] * 1, c[0], c[1]), None\n"
        "    c = lax.scan(turn, (0, 0, state['I']), None, length=5)[0]\n"
        "    return {'x': c[2]}",
        "'R': x",
    )
    assert edges(graph) == {"S>S", "I>I", "S>R", "I>R"}


CASES = [
    # operations of the submodule, states set, edges beside those of states that stay as they are
    ("    return {'x': state['S'] - state['S']}", "'R': x", set()),
    ("    return {'x': jnp.where(state['S'] > 2, 1, 0)}", "'R': x", {"S>R"}),
    ("    return {'x': poisson(key, 0.1 * state['I'])}", "'R': x", {"I>R"}),
    ("    return {'x': (inputs['u'] > 0.5).astype(jnp.int32)}", "'R': x", {"u>R"}),
    ("    return {'x': jnp.arange(9)[state['S']]}", "'R': x", {"S>R"}),
    ("    return {'x': inputs['t'] % 7}", "'R': x", {"t>R"}),
    ("    return {'x': 3}", "'R': x", set()),
    ("    return {'x': state['S'] + state['I']}", "'R': x - state['S']", {"I>R"}),
]


@pytest.mark.parametrize(("step", "states", "expected"), CASES)
def test_edges(step: str, states: str, expected: set[str]) -> None:
    assert edges(file(step, states)) == {"S>S", "I>I"} | expected


TOTAL = [{"S": 1.0, "I": 1.0, "R": 1.0}]
FORMS = [
    # values that are (multiples of) S + I + R, and how they are written
    ("state['S'] + state['I'] + state['R']", True),
    ("sum([state['R'], state['S'], state['I']])", True),
    ("sum(state.values())", True),
    ("jnp.sum(jnp.stack([state['S'], state['I'], state['R']]))", True),
    ("jnp.concatenate([jnp.array([v]) for v in state.values()]).sum()", True),
    ("(state['S'] + state['I'] + state['R']).astype(jnp.float32) / 2 * 3", True),
    ("-(0.5 * state['S'] + 0.5 * (state['I'] + state['R']))", True),
    ("jnp.cumsum(jnp.stack([state['S'], state['I'], state['R']]))[2]", True),
    ("jnp.stack([state['S'], state['I'], state['R']])[::-1].reshape(1, 3).sum((0, 1))", True),
    ("jnp.maximum(state['S'] + state['I'] + state['R'], 1)", True),
    ("state['S'] + state['I']", False),
    ("state['S'] + state['I'] - state['R']", False),
    ("state['S'] * state['I'] + state['R']", False),
    ("state['S'] + state['I'] + jnp.floor(0.5 * state['R']).astype(jnp.int32)", False),
    ("state['S'] + state['I'] + (state['R'] // 2) * 2", False),
]


@pytest.mark.parametrize(("form", "constant"), FORMS)
def test_forms_that_never_change(form: str, constant: bool) -> None:
    graph = file(f"    return {{'x': jnp.exp(-0.1 * ({form}))}}", "'S': poisson(key, x)")
    assert {"S>S", "I>S"} <= edges(graph)
    reduced = edges(graph.modulo(TOTAL))
    assert reduced == ({"I>I", "R>R"} if constant else edges(graph))


def test_inputs_beside_an_invariant_still_count() -> None:
    step = "    return {'x': state['S'] + state['I'] + state['R'] + inputs['u']}"
    graph = file(step, "'S': poisson(key, jnp.abs(x))").modulo(TOTAL)
    assert edges(graph) == {"I>I", "R>R", "u>S"}


def test_invariants_of_array_entries() -> None:
    step = "    return {'x': jnp.exp(-jnp.sum(state['a'])) * state['a'][0]}"
    given = {"a": ("real", (3,)), "b": ("real", ())}
    graph = file(step, "'b': x", **given)
    assert edges(graph) == {"a>a", "a>b"}
    step = "    return {'x': jnp.exp(-jnp.sum(state['a']))}"
    graph = file(step, "'b': x", **given)
    assert edges(graph) == {"a>a", "a>b"}
    labels = [{"a[0]": 1, "a[1]": 1, "a[2]": 1}]
    assert edges(graph.modulo(labels)) == {"a>a"}
    assert edges(graph.modulo([{"a[0]": 1, "a[1]": 1}])) == {"a>a", "a>b"}


def test_unknown_labels_are_named() -> None:
    with pytest.raises(ValueError, match=r"expected labels of I, R, S; got 'Q'"):
        graph_of(*FILES["sir"]).modulo([{"Q": 1}])


def test_states_that_a_program_never_reads_may_be_in_an_invariant() -> None:
    graph = file("    return {'x': 1}", "'S': x, 'I': 0, 'R': 0")
    assert edges(graph.modulo(TOTAL)) == edges(graph) == set()


def test_long_chains_of_carries_are_cut_short() -> None:
    # What enters at one end takes 60 turns to the other: the graph may say more, never less.
    graph = file(
        "    def turn(c, _):\n        return (state['S'] * 1, *c[:-1]), None\n"
        "    c = lax.scan(turn, (0,) * 60, None, length=60)[0]\n"
        "    return {'x': c[59]}",
        "'R': x",
    )
    assert {"S>R"} <= edges(graph)
