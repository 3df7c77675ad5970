"""Scores of causal graphs: sets of edges, matched latent states, wrong programs."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, cast

import pytest

from gsim_jax.diagnose.graph_scores import (
    best_matching,
    compare,
    edges_of,
    graph_score,
    states_behind,
)
from gsim_jax.simulator._trace import trace_source
from gsim_jax.simulator.program import Program
from gsim_jax.task import Schema, Variable
from gsim_jax.task.expr import parse
from gsim_jax.task.load import load_schema
from gsim_jax.task.schema import Derived, Input
from tests.diagnose.wrong_programs import ENVS, WRONG, Wrong, edges, right
from tests.simulator.sources import FILES
from tests.simulator.worlds import ar1, schema_of

TASKS = ("covid19", "supply_chain", "hospital_beds")


def program_of(source: str, schema: Schema) -> Program:
    signature = schema.signature()
    return Program.from_document(trace_source(source, signature), signature)


@cache
def task(name: str) -> tuple[Schema, Program]:
    """Schema and truth of an environment."""
    schema = load_schema(ENVS / name)
    return schema, program_of((ENVS / name / "truth.py").read_text(encoding="utf-8"), schema)


def counts(*names: str, **more: Variable) -> dict[str, Variable]:
    return {name: Variable(name, "count") for name in names} | more


def test_scores_of_sets_of_edges() -> None:
    truth = edges(("a > a b c", "b > b"))
    found = compare(edges(("a > a b", "b > a")), truth)
    assert (found.shd, found.precision, found.recall) == (3, 2 / 3, 0.5)
    assert found.f1 == pytest.approx(4 / 7)
    assert found.missing == (("a", "c"), ("b", "b"))
    assert found.extra == (("b", "a"),)
    nothing = compare([], truth)
    assert (nothing.shd, nothing.f1, nothing.precision, nothing.recall) == (4, 0.0, 0.0, 0.0)
    assert compare([], []).f1 == compare([], []).precision == compare([], []).recall == 1.0
    assert compare(truth, []).f1 == 0.0


@pytest.mark.parametrize("slots", ["derived", "arrays"])
def test_another_program_of_the_same_structure_has_the_same_graph(
    slots: Literal["derived", "arrays"],
) -> None:
    schema, truth = task("hospital_beds")
    other = program_of(right("hospital_beds"), schema)
    assert graph_score(other, truth, schema, slots=slots).f1 == 1.0


@pytest.mark.parametrize("slots", ["derived", "arrays"])
@pytest.mark.parametrize("name", TASKS)
def test_a_truth_has_its_own_graph(name: str, slots: Literal["derived", "arrays"]) -> None:
    schema, truth = task(name)
    found = graph_score(truth, truth, schema, slots=slots)
    assert (found.f1, found.shd, found.missing, found.extra) == (1.0, 0, (), ())


def test_the_graph_of_the_epidemic() -> None:
    schema, truth = task("covid19")
    # The population is constant, so that R does not reach S and I through S + I + R.
    assert edges_of(truth, schema) == edges(("S I > S I", "I R > R")) - {("S", "R")}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: f"{w.env}: {w.name}, {w.slots}")
def test_wrong_programs_lose_what_they_should(wrong: Wrong) -> None:
    schema, truth = task(wrong.env)
    slots = cast(Literal["derived", "arrays"], wrong.slots)
    found = graph_score(program_of(wrong.source, schema), truth, schema, slots=slots)
    missing, extra = edges(wrong.missing), edges(wrong.extra)
    assert set(found.missing) == missing
    assert set(found.extra) == extra
    hits = len(edges_of(truth, schema, slots=slots)) - len(missing)
    assert found.f1 == pytest.approx(2 * hits / (2 * hits + len(missing) + len(extra)))
    assert found.shd == len(missing) + len(extra)
    assert (found.f1 < 1) == bool(missing or extra)


def test_each_environment_has_three_wrong_programs_that_are_told_apart() -> None:
    for name in TASKS:
        assert len([w for w in WRONG if w.env == name and w.slots == "derived" and
                    (w.missing or w.extra)]) >= 3  # fmt: skip


def slot_schema() -> Schema:
    """Patients in slots, beds as a state of its own, two derived values and one made of both."""
    states = counts(
        "beds",
        kind=Variable("kind", "category", (4,), exchangeable="slot"),
        left=Variable("left", "count", (4,), exchangeable="slot"),
        age=Variable("age", "count", (4,), exchangeable="slot"),
    )
    shapes = {name: state.shape for name, state in states.items()} | dict.fromkeys(
        ("full", "x"), ()
    )
    derived = {
        "full": Derived("full", parse("sum(kind > 0)", shapes)),
        "days": Derived("days", parse("full + sum(left)", shapes)),
        "free": Derived("free", parse("beds - full", shapes)),
        "twice": Derived("twice", parse("2 * beds", shapes)),
    }
    return Schema("ward", "", "day", 9, states, derived, {"x": Input("x", "real")})


SLOTS = """
def move(state, inputs, params, key):
    return {"n": jnp.sum(state["left"]) + (inputs["x"] > 0)}
def couple(state, inputs, outputs, params, key):
    return {"beds": state["beds"] + outputs["n"], "kind": state["kind"] * (state["beds"] > 3),
            "left": state["left"] - 1, "age": state["age"] + state["kind"]}
SUBMODULES = (move,)
"""


def test_derived_values_stand_in_for_slots() -> None:
    schema = slot_schema()
    assert states_behind(schema, "days") == {"kind", "left"}
    found = edges_of(program_of(SLOTS, schema), schema)
    # left > left beds; kind > kind age; beds > beds kind; x > beds. Nothing is made of age. Both
    # full and free are made of kind, days of kind and left; twice is made of no slot at all.
    assert found == edges(
        (
            "x > beds free",
            "beds > beds full days free",
            "full free > full days free",
            "days free > beds",
        )
    ) | edges(("days > full days free",))
    arrays = edges_of(program_of(SLOTS, schema), schema, slots="arrays")
    assert arrays == edges(
        ("x > beds", "left > left beds", "kind > kind age", "beds > beds kind", "age > age")
    )


LATENT = """
LATENT = {{"{e}": State("count"), "{f}": State("count")}}
def initial(observed, seen, params, key):
    return {{**observed, "{e}": observed["I"], "{f}": observed["I"]}}
def move(state, inputs, params, key):
    return {{"n": poisson(key, 1.0 * state["I"])}}
def couple(state, inputs, outputs, params, key):
    return {{"I": state["{f}"], "R": state["R"] + state["I"],
            "{e}": state["{e}"] + outputs["n"], "{f}": state["{e}"]}}
SUBMODULES = (move,)
"""


def test_latent_states_are_matched_by_what_they_do() -> None:
    schema = schema_of(states=counts("I", "R"))
    truth = program_of(LATENT.format(e="E", f="F"), schema)
    # The same program under other names, one of them the name of the other's counterpart.
    other = program_of(LATENT.format(e="F", f="waiting"), schema)
    found = graph_score(other, truth, schema)
    assert (found.f1, found.shd) == (1.0, 0)
    assert found.latent == {"E": "F", "F": "waiting"}


ONE_LATENT = """
LATENT = {"E": State("count")}
def initial(observed, seen, params, key):
    return {**observed, "E": observed["I"]}
def move(state, inputs, params, key):
    return {"n": poisson(key, 1.0 * state["I"])}
def couple(state, inputs, outputs, params, key):
    return {"I": state["E"], "R": state["R"] + state["I"], "E": outputs["n"]}
SUBMODULES = (move,)
"""


def test_latent_states_that_only_one_side_has_are_mistakes() -> None:
    schema = schema_of(states=counts("I", "R"))
    two = program_of(LATENT.format(e="E", f="F"), schema)
    one = program_of(ONE_LATENT, schema)
    # two: I > E R, R > R, E > E F, F > I; one: I > E R, R > R, E > I.
    less = graph_score(one, two, schema)
    # As E: I > E fits, E > I does not. As F: F > I fits, I > F does not. The first one is taken.
    assert less.latent == {"E": "E"}
    assert set(less.missing) == edges(("E > E F", "F > I"))
    assert less.extra == (("E", "I"),)
    more = graph_score(two, one, schema)
    assert more.latent == {"E": "E"}
    free = "F (latent)"
    assert set(more.extra) == {("E", "E"), ("E", free), (free, "I")}
    assert more.missing == (("E", "I"),)
    assert more.shd == less.shd == 4
    none = program_of(ONE_LATENT.replace('"E"', '"Q"'), schema)
    assert graph_score(none, one, schema).f1 == 1.0


def test_many_latent_states_are_assigned_pair_by_pair() -> None:
    count = 9  # 362,880 matchings
    truth = [f"a{i}" for i in range(count)]
    own = [f"b{(i + 4) % count}" for i in range(count)]
    # Each is told by which observed states it reaches: the bits of its number.
    wanted = {(truth[i], f"x{bit}") for i in range(count) for bit in range(4) if i >> bit & 1}
    wanted |= {("y", truth[i]) for i in range(count)}
    names = dict(zip(own, truth, strict=True))
    back = {mate: name for name, mate in names.items()}
    given = {(back.get(a, a), back.get(b, b)) for a, b in wanted}
    matched = best_matching(given, own, wanted, truth)
    assert sorted(matched.values()) == sorted(truth)
    assert {(matched.get(a, a), matched.get(b, b)) for a, b in given} == wanted


def test_constants_are_no_nodes_but_inputs_are() -> None:
    source, given = FILES["seir"]
    found = {
        edge[0] for edge in Program.from_document(trace_source(source, given), given).graph.edges
    }
    assert {"lockdown", "population"} <= found
    schema = schema_of(states=counts("I", "R"), inputs={"lockdown": Input("lockdown", "real")},
                       constants=_constant("population", 500))  # fmt: skip
    program = program_of(source, schema)
    sources = {edge[0] for edge in edges_of(program, schema)}
    assert "lockdown" in sources
    assert "population" not in sources


def _constant(name: str, value: int) -> dict[str, Any]:
    import numpy as np

    from gsim_jax.task.schema import Constant

    return {name: Constant(name, np.asarray(value, np.int32))}


def test_native_functions_have_no_graph() -> None:
    schema = schema_of("x")
    with pytest.raises(ValueError, match="expected a program, whose causal graph can be read"):
        edges_of(ar1(schema), schema)
