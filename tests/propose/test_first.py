"""What a first round proposes."""

import pytest

from gsim_jax.propose import LibraryProposer, Proposer
from gsim_jax.propose.first import chain_order, first_ideas, whole_of
from gsim_jax.propose.structure import Structure
from tests.propose.cases import CASES, brief


def structures(case: str, count: int = 4) -> list[Structure]:
    proposals = LibraryProposer().propose(brief(case), count)
    return [Structure.from_json(p.structure) for p in proposals]


def edges(structure: Structure) -> list[tuple]:
    return [(f.source, f.target, f.law, f.drivers) for f in structure.flows]


def test_it_is_a_proposer() -> None:
    assert isinstance(LibraryProposer(), Proposer)


def test_an_invariant_and_transfers_give_a_closed_chain_driven_from_within() -> None:
    first = structures("closed")[0]
    assert edges(first) == [("S", "I", "contact", ("I",)), ("I", "R", "share", ())]
    assert set(first.conserved) == {"S", "I", "R"}
    assert not any(pool.latent for pool in first.pools.values())


def test_a_constant_above_the_counts_gives_a_rest_that_feeds_the_plain_chain() -> None:
    first = structures("partly hidden")[0]
    assert first.whole == "everybody"
    assert first.pools[first.rest].start == "rest"
    assert edges(first) == [
        ("rest", "first", "contact", ("first",)),
        ("first", "second", "share", ()),
        ("second", "gone", "share", ()),
    ]


def test_hidden_drivers_and_partial_participation_are_among_the_first_four() -> None:
    found = structures("partly hidden")
    hidden = [s for s in found if any(p.start == "few" for p in s.pools.values())]
    apart = [s for s in found if any(p.start == "share" for p in s.pools.values())]
    assert hidden
    assert apart
    assert all(s.flows[0].drivers == (s.flows[0].target,) for s in hidden)


def test_an_input_that_lifts_one_count_makes_it_a_stock() -> None:
    first = structures("goods")[0]
    assert list(first.stocks) == ["goods"]
    assert first.stocks["goods"].waiting == "owed"
    assert first.stocks["goods"].delayed


def test_counts_without_a_whole_arrive_and_depart() -> None:
    first = structures("queue")[0]
    assert [(f.source, f.target) for f in first.flows] == [(None, "a"), ("a", "b"), ("b", None)]


def test_reals_are_levels_and_meet_each_other() -> None:
    found = structures("reals")
    assert all(set(s.levels) == {"x", "y"} for s in found)
    assert any({t.law for t in s.levels["x"].terms} >= {"growth", "loss"} for s in found)


@pytest.mark.parametrize("case", CASES)
def test_every_state_is_spoken_of_in_every_idea(case: str) -> None:
    schema, profile = CASES[case]()
    for idea in first_ideas(schema, profile):
        structure = idea.structure
        waiting = {stock.waiting for stock in structure.stocks.values()}
        known = {*structure.pools, *structure.levels, *structure.stocks, *waiting}
        assert set(schema.states) <= known
        assert structure.problems() == []


def test_the_order_of_a_chain_follows_transfers_and_trends() -> None:
    _, profile = CASES["closed"]()
    assert chain_order(["R", "S", "I"], profile) == ["S", "I", "R"]


def test_no_whole_where_no_constant_is_large_enough() -> None:
    schema, profile = CASES["partly hidden"]()
    assert whole_of(schema, profile, ["first", "second"]) == "everybody"
    schema, profile = CASES["queue"]()
    assert whole_of(schema, profile, ["a", "b"]) == ""
