"""Ranking: noise is no progress, and of equals the simplest wins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gsim_jax.propose import Finding
from gsim_jax.search import archive
from gsim_jax.search.record import Stored
from tests.search.stored import candidate

UNITS = 40
NOISE = np.random.default_rng(1).normal(size=UNITS)
NOISE = (NOISE - NOISE.mean()) / NOISE.std(ddof=1)
BASE = np.random.default_rng(2).gamma(4.0, 0.25, size=UNITS)


def shifted(number: int, z: float, **fields: Any) -> Stored:
    """A candidate z paired standard errors worse than `BASE`."""
    return candidate(number, BASE + 0.1 * (NOISE + z / np.sqrt(UNITS)), **fields)


def sound(number: int, z: float, **fields: Any) -> Stored:
    """The same, adequate."""
    return shifted(number, z, **({"adequate": True} | fields))


BEST = candidate(0, BASE, parameters=3, adequate=True)


def ids(candidates: list[Stored]) -> list[int]:
    return [c.id for c in archive.rank(candidates, UNITS)]


def test_differences_are_paired() -> None:
    gap, error = archive.difference(shifted(1, 3.0), BEST, UNITS)
    assert gap / error == pytest.approx(3.0)
    unpaired = np.hypot(*(c.contributions.std() for c in (shifted(1, 3.0), BEST))) / np.sqrt(UNITS)
    assert error < 0.3 * unpaired


class TestRank:
    """Of adequate candidates that are tied with the best the simplest wins; else the best does."""

    def test_clear_differences_are_ranked_by_score(self) -> None:
        worse, worst = sound(1, 5.0, parameters=1), sound(2, 9.0, parameters=1)
        assert ids([worst, BEST, worse]) == [0, 1, 2]

    def test_a_tie_goes_to_fewer_parameters(self) -> None:
        assert ids([BEST, sound(1, 1.9, parameters=2)]) == [1, 0]
        assert ids([BEST, sound(1, 2.1, parameters=2)]) == [0, 1]

    def test_the_others_follow_by_score(self) -> None:
        tied, clear = sound(1, 1.5, parameters=1), sound(2, 4.0, parameters=1)
        between = sound(3, 1.0, parameters=2)
        assert ids([clear, tied, between, BEST]) == [1, 0, 3, 2]

    def test_then_to_lower_cost_then_to_score(self) -> None:
        assert ids([BEST, sound(1, 1.0, parameters=3, cost=10)]) == [1, 0]
        assert ids([BEST, sound(1, 1.0, parameters=3)]) == [0, 1]

    def test_equal_candidates_keep_their_order(self) -> None:
        twin = candidate(5, BASE, parameters=3, adequate=True)
        assert ids([twin, BEST]) == [0, 5]

    def test_what_breaks_rules_is_not_simpler(self) -> None:
        broken = [{"name": "r", "violated": 2, "checked": 9}]
        assert ids([BEST, sound(1, 1.0, parameters=1, rules=broken)]) == [0, 1]

    def test_what_is_not_adequate_wins_no_tie(self) -> None:
        assert ids([BEST, shifted(1, 1.0, parameters=1)]) == [0, 1]

    def test_what_is_adequate_wins_a_tie_against_what_is_not(self) -> None:
        lowest = candidate(0, BASE, parameters=1)
        assert ids([lowest, sound(1, 1.0, parameters=3)]) == [1, 0]
        assert ids([lowest, sound(1, 3.0, parameters=3)]) == [0, 1]

    def test_without_an_adequate_one_the_lowest_score_leads(self) -> None:
        lowest = candidate(0, BASE, parameters=3)
        assert ids([shifted(1, 0.5, parameters=1), lowest]) == [0, 1]

    def test_what_cannot_be_scored_does_not_compete(self) -> None:
        assert ids([candidate(1, np.full(UNITS, np.nan)), BEST]) == [0]
        assert archive.rank([], UNITS) == []


class TestImproves:
    def test_only_beyond_two_standard_errors(self) -> None:
        assert archive.improves(BEST, shifted(1, 2.1), UNITS)
        assert not archive.improves(BEST, shifted(1, 1.9), UNITS)
        assert not archive.improves(shifted(1, 5.0), BEST, UNITS)
        assert not archive.improves(BEST, BEST, UNITS)

    def test_noise_is_hardly_ever_read_as_progress(self) -> None:
        """Two candidates that are equally good on average: one in 40 comparisons at most."""
        generator = np.random.default_rng(3)
        pairs = [candidate(i, BASE + 0.2 * generator.normal(size=UNITS)) for i in range(400)]
        gains = [
            archive.improves(a, b, UNITS) for a, b in zip(pairs[::2], pairs[1::2], strict=True)
        ]
        assert np.mean(gains) < 0.07


class TestParents:
    def test_equal_structures_are_shown_once(self) -> None:
        twin = shifted(1, 1.0)
        other = shifted(2, 2.0, edges=[["S", "I"], ["S", "S"]])
        assert [p.id for p in archive.parents([BEST, twin, other])] == [0, 2]

    def test_submodules_tell_structures_apart(self) -> None:
        elsewhere = shifted(1, 1.0, parameters=0)
        elsewhere.diagnosis["parameters"] = {"other.p": 0.5}
        assert [p.id for p in archive.parents([BEST, elsewhere])] == [0, 1]

    def test_there_are_no_more_than_the_brief_has_room_for(self) -> None:
        many = [shifted(i, float(i), edges=[["S", str(i)]]) for i in range(9)]
        assert len(archive.parents(many)) == archive.SHOWN

    def test_a_parent_in_the_proposers_terms(self) -> None:
        finding = {
            "variable": "S", "horizon": "1", "kind": "bias", "amount": 2.0, "z": 4.0,
            "words": "S is under-estimated", "related": None,
        }  # fmt: skip
        (parent,) = archive.parents([shifted(3, 1.0, findings=[finding], adequate=True)])
        assert parent.id == 3
        assert parent.source == "# 3"
        assert parent.structure == {"number": 3}
        assert parent.parameters == {"flow.p0": 0.5, "flow.p1": 0.5}
        assert parent.adequate
        assert parent.findings == (Finding(**finding),)
