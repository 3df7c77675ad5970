"""Later rounds: neighbours of the parents, led by the findings."""

import pytest

from gsim_jax.propose import Finding, LibraryProposer
from gsim_jax.propose.edit_types import Context
from gsim_jax.propose.edits import edits
from gsim_jax.propose.fingerprint import fingerprint
from gsim_jax.propose.first import first_ideas
from gsim_jax.propose.rank import evidence
from gsim_jax.propose.structure import Structure
from tests.propose.cases import CASES, brief, parent


def later(case: str, findings=(), number: int = 0, **fields):
    schema, profile = CASES[case]()
    structure = first_ideas(schema, profile)[number].structure
    adequate = fields.pop("adequate", False)
    parents = (parent(structure.to_json(), tuple(findings), adequate=adequate),)
    return brief(case, round=fields.pop("round", 1), parents=parents, **fields), structure


def keys(case: str, number: int = 0) -> dict[str, Structure]:
    schema, profile = CASES[case]()
    start = first_ideas(schema, profile)[number].structure
    return {edit.key: edit.structure for edit in edits(start, Context(schema, profile))}


@pytest.mark.parametrize(
    ("case", "key"),
    [
        ("partly hidden", "stage:first"),
        ("partly hidden", "insert-lead:rest_to_first"),
        ("partly hidden", "apart"),
        ("partly hidden", "scatter:all"),
        ("partly hidden", "factor:rest_to_first:trend"),
        ("partly hidden", "branch:first_to_second:gone"),
        ("partly hidden", "also:rest_to_first:second"),
        ("partly hidden", "driver:rest_to_first:second"),
        ("closed", "law:S_to_I:saturating::I"),
        ("closed", "flow:R:S"),
        ("queue", "factor:arrivals_in_a:season7"),
        ("queue", "capacity:arrivals_in_a:beds"),
        ("queue", "law:arrivals_in_a:input_arrivals:u"),
        ("goods", "delay:goods"),
        ("reals", "term:x:gain:y"),
        ("reals", "noise:x"),
    ],
)
def test_the_edit_is_offered(case: str, key: str) -> None:
    assert key in keys(case)


def test_a_hidden_pool_can_be_put_in_and_taken_out_again() -> None:
    schema, profile = CASES["partly hidden"]()
    start = first_ideas(schema, profile)[0].structure
    grown = keys("partly hidden")["insert-lead:rest_to_first"]
    assert grown.pools["before_first"].start == "few"
    assert grown.flows[0].drivers == ("before_first",)
    shrunk = {e.key: e.structure for e in edits(grown, Context(schema, profile))}
    assert fingerprint(shrunk["merge:before_first"]) == fingerprint(start)


def test_no_hidden_pool_inside_a_sum_that_the_data_keep() -> None:
    assert not any(key.startswith("insert") for key in keys("closed"))


def test_scatter_beyond_the_forecast_calls_for_over_dispersion() -> None:
    finding = Finding("I", "1", "spread", 2.0, 9.0, "I varies more than the candidate says")
    calm, _ = later("closed", round=2, adequate=True)
    stirred, _ = later("closed", [finding], round=2, adequate=True)
    rank = {}
    for name, given in (("calm", calm), ("stirred", stirred)):
        proposals = LibraryProposer().propose(given, 40)
        scatter = [i for i, p in enumerate(proposals) if "over-dispersed" in p.title]
        rank[name] = min(scatter)
    assert rank["stirred"] == 0 < rank["calm"]


def test_mechanisms_are_tried_before_over_dispersion() -> None:
    finding = Finding("first", "1", "spread", 2.0, 9.0, "first varies more than the candidate says")
    for number, offered in ((1, False), (2, True)):
        given, _ = later("partly hidden", [finding], number=1, round=number)
        titles = [p.title for p in LibraryProposer().propose(given, 4)]
        assert any("over-dispersed" in title for title in titles) is offered


def test_a_refuted_leader_is_tried_with_scatter_in_every_flow_once_mechanisms_had_their_turn() -> (
    None
):
    given, _ = later("partly hidden", number=1, round=2)
    first = Structure.from_json(LibraryProposer().propose(given, 1)[0].structure)
    assert all(flow.draw.startswith("unsteady") for flow in first.flows)


def test_an_edit_that_did_not_help_one_parent_waits_for_the_others() -> None:
    schema, profile = CASES["partly hidden"]()
    best, other = (first_ideas(schema, profile)[i].structure for i in (1, 2))
    staged = keys("partly hidden", number=2)["stage:first"]
    parents = (parent(best.to_json(), number=0), parent(other.to_json(), number=1))
    rank = []
    for tried in ((), (fingerprint(staged),)):
        given = brief("partly hidden", round=1, parents=parents, tried=tried)
        found = [Structure.from_json(p.structure) for p in LibraryProposer().propose(given, 60)]
        goal = fingerprint(keys("partly hidden", number=1)["stage:first"])
        rank.append([fingerprint(s) for s in found].index(goal))
    assert rank[0] < rank[1]


def test_a_residual_that_goes_with_an_input_brings_the_input_in() -> None:
    schema, profile = CASES["queue"]()
    start = first_ideas(schema, profile)[0].structure
    words = "a one step ahead is under-estimated where u is large"
    given = parent(None, (Finding("a", "1", "residual", 0.5, 8.0, words, "u"),))
    found = edits(start, Context(schema, profile))
    best = max(found, key=lambda edit: evidence(edit, given))
    assert {"a", "u"} <= best.touches


def test_a_bad_one_step_fit_points_at_the_flows_of_that_variable() -> None:
    schema, profile = CASES["partly hidden"]()
    start = first_ideas(schema, profile)[0].structure
    given = parent(None, (Finding("second", "1", "score", 0.4, 9.0, "second scores worse"),))
    by_key = {edit.key: evidence(edit, given) for edit in edits(start, Context(schema, profile))}
    assert by_key["stage:second"] > by_key["factor:rest_to_first:trend"]


def test_noise_moves_nothing() -> None:
    schema, profile = CASES["partly hidden"]()
    start = first_ideas(schema, profile)[0].structure
    given = parent(None, (Finding("second", "1", "score", 0.1, 1.0, "within noise"),))
    assert all(evidence(edit, given) == 0 for edit in edits(start, Context(schema, profile)))


def test_a_share_at_its_lower_bound_is_dropped_first() -> None:
    schema, profile = CASES["partly hidden"]()
    start = first_ideas(schema, profile)[1].structure
    given = parent(None, unit={"initial.share_apart": 0.001})
    found = {edit.key: evidence(edit, given) for edit in edits(start, Context(schema, profile))}
    assert max(found, key=lambda key: found[key]) == "rejoin"


@pytest.mark.parametrize("case", CASES)
def test_rounds_are_deterministic_distinct_and_never_repeat(case: str) -> None:
    proposer = LibraryProposer()
    first = proposer.propose(brief(case), 3)
    given, _ = later(case, tried=tuple(p.fingerprint for p in first))
    once, again = proposer.propose(given, 6), LibraryProposer().propose(given, 6)
    assert once == again
    marks = [p.fingerprint for p in once]
    assert len(set(marks)) == len(marks) >= 3
    assert not set(marks) & set(given.tried)
    for proposal in once:
        assert fingerprint(Structure.from_json(proposal.structure)) == proposal.fingerprint


def test_parents_without_a_structure_are_passed_over() -> None:
    given = brief("closed", round=1, parents=(parent(None),))
    assert LibraryProposer().propose(given, 2)


def test_the_next_round_tries_regular_stays_and_pairs_of_edits() -> None:
    first = LibraryProposer().propose(brief("partly hidden"), 4)
    tried = tuple(p.fingerprint for p in first)
    given, start = later("partly hidden", number=1, tried=tried)
    proposals = LibraryProposer().propose(given, 6)
    found = [Structure.from_json(p.structure) for p in proposals]
    assert any(p.stages == 2 for s in found for p in s.pools.values())
    singles = {fingerprint(s) for s in keys("partly hidden", number=1).values()}
    assert {p.fingerprint in singles for p in proposals if p.parent is not None} == {True, False}
    assert fingerprint(start) not in {p.fingerprint for p in proposals}
