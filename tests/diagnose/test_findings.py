"""Findings: signs, sizes and words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gsim_jax.diagnose import (
    Evidence,
    Row,
    Verdict,
    from_failures,
    from_parameters,
    from_residuals,
    from_rules,
    from_table,
    judge,
    unexplained,
)
from tests.diagnose.worlds import evidence_of

ROW = Row("cases", "7", 1.0, 1.0, 0.0, 0.1, 0.0, 0.0, 0.5, 1.0, 0.0)


def verdict_of(*rows: Row, **fields: Any) -> Verdict:
    return replace(Verdict(1.0, 1.0, 0.0, 0.1, 0.5, True, rows), **fields)


class TestTable:
    def test_noise_is_no_finding(self) -> None:
        assert from_table(verdict_of(ROW, replace(ROW, z=1.9, bias=1.0, rank_z=-2.5))) == []

    @pytest.mark.parametrize(
        ("z", "words"),
        [
            (4.0, "cases 7 steps ahead scores worse than its own noise: gap +0.4"),
            (-4.0, "cases 7 steps ahead scores too good for its own noise: gap -0.4"),
        ],
    )
    def test_gaps(self, z: float, words: str) -> None:
        (found,) = from_table(verdict_of(replace(ROW, gap=0.1 * z, z=z)))
        assert (found.kind, found.z, found.amount) == ("score", z, pytest.approx(0.1 * z))
        assert found.words.startswith(words)

    @pytest.mark.parametrize(
        ("forecast_minus_data", "side"), [(2.0, "over-estimated"), (-2.0, "under-estimated")]
    )
    def test_biases_are_data_minus_forecast(self, forecast_minus_data: float, side: str) -> None:
        (found,) = from_table(verdict_of(replace(ROW, bias=forecast_minus_data)))
        assert (found.kind, found.variable, found.horizon) == ("bias", "cases", "7")
        assert found.amount == -forecast_minus_data
        assert found.z == pytest.approx(-forecast_minus_data / 0.5)
        assert found.words == f"cases is {side} 7 steps ahead by 2 ± 0.5"

    @pytest.mark.parametrize(("rank", "z", "side"), [(1.6, 5.0, "more"), (0.4, -5.0, "less")])
    def test_spreads(self, rank: float, z: float, side: str) -> None:
        (found,) = from_table(verdict_of(replace(ROW, horizon="1", rank=rank, rank_z=z)))
        assert (found.kind, found.z, found.amount) == ("spread", z, pytest.approx(rank - 1))
        assert f"cases one step ahead varies {side} than the candidate says" in found.words

    def test_data_above_the_forecast_are_under_estimated(self) -> None:
        found = from_table(judge(evidence_of(1, shift=0.5)))
        biases = [f for f in found if f.kind == "bias"]
        assert len(biases) == 6
        for bias in biases:
            assert bias.amount == pytest.approx(0.5, abs=0.3)
            assert bias.z > 3
            assert "under-estimated" in bias.words
        assert {b.words.split(" by ")[0] for b in biases if b.horizon == "free"} == {
            "x is under-estimated in free runs",
            "y is under-estimated in free runs",
        }

    def test_data_more_spread_out(self) -> None:
        found = from_table(judge(evidence_of(2, sd=1.4)))
        for kind in ("score", "spread"):
            amounts = [f.amount for f in found if f.kind == kind]
            assert len(amounts) == 6
            assert min(amounts) > 0


def residual_evidence(residuals: np.ndarray, counted: np.ndarray | None = None) -> Evidence:
    """Evidence with forecast minus data [n, T, V] in units of the spread."""
    counted = np.ones(residuals.shape, bool) if counted is None else counted
    return replace(evidence_of(0), residuals=residuals, counted=counted)


class TestResiduals:
    N, T = 6, 30

    def test_the_strongest_covariate_is_named(self) -> None:
        generator = np.random.default_rng(1)
        heat, rain = generator.normal(size=(2, self.N, self.T))
        noise = generator.normal(size=(self.N, self.T, 2))
        data_minus_forecast = noise.copy()
        data_minus_forecast[..., 1] += 1.5 * heat + 0.7 * rain
        found = from_residuals(
            residual_evidence(-data_minus_forecast), {"rain": rain, "heat": heat}
        )
        (one,) = found
        assert (one.variable, one.horizon, one.kind, one.related) == ("y", "1", "residual", "heat")
        exact = np.corrcoef(data_minus_forecast[..., 1].ravel(), heat.ravel())[0, 1]
        assert one.amount == pytest.approx(exact)
        assert one.z == pytest.approx(np.arctanh(exact) * np.sqrt(self.N * self.T - 3))
        assert one.words.startswith("y one step ahead is under-estimated where heat is large")

    def test_over_estimated_where_it_is_large(self) -> None:
        heat = np.random.default_rng(2).normal(size=(self.N, self.T))
        residuals = np.stack([heat, np.zeros_like(heat)], -1)  # forecast above the data
        (one,) = from_residuals(residual_evidence(residuals), {"heat": heat})
        assert one.amount == pytest.approx(-1.0)
        assert "over-estimated where heat is large" in one.words

    def test_only_where_forecasts_were_counted(self) -> None:
        generator = np.random.default_rng(3)
        heat = generator.normal(size=(self.N, self.T))
        residuals = generator.normal(size=(self.N, self.T, 2))
        counted = np.ones(residuals.shape, bool)
        counted[3:] = False
        residuals[3:] = 50 * heat[3:, :, None]
        assert from_residuals(residual_evidence(residuals, counted), {"heat": heat}) == []

    def test_what_says_nothing_is_passed_over(self) -> None:
        generator = np.random.default_rng(4)
        residuals = generator.normal(size=(self.N, self.T, 2))
        evidence = residual_evidence(residuals)
        assert from_residuals(evidence, {}) == []
        assert from_residuals(evidence, {"fixed": np.full((self.N, self.T), 3.0)}) == []
        few = np.zeros(residuals.shape, bool)
        few[0, :7] = True
        covariate = {"itself": residuals[..., 0]}
        assert from_residuals(residual_evidence(residuals, few), covariate) == []

    def test_significant_and_weak_is_not_worth_a_structure(self) -> None:
        generator = np.random.default_rng(5)
        heat = generator.normal(size=(400, 30))
        residuals = generator.normal(size=(400, 30, 2)) + 0.06 * heat[..., None]
        assert from_residuals(residual_evidence(residuals), {"heat": heat}) == []


class TestParameters:
    def test_at_a_bound_or_undetermined(self) -> None:
        found = from_parameters(
            ("f.low", "f.high", "f.loose", "f.fine", "f.whole"),
            np.array([0.004, 0.999, 0.4, 0.5, 0.001]),
            np.array([0.1, 0.1, 0.9, 0.2, 0.0]),
            np.array([False, False, False, False, True]),
        )
        assert [(f.variable, f.kind) for f in found] == [
            ("f.low", "bound"),
            ("f.high", "bound"),
            ("f.loose", "undetermined"),
        ]
        assert [f.words for f in found] == [
            "f.low lies at the lower end of its prior",
            "f.high lies at the upper end of its prior",
            "f.loose is hardly determined by the data",
        ]


class TestRulesAndFailures:
    RULES = (
        {"name": "S >= 0", "violated": 0, "checked": 400},
        {"name": "S + I == N", "violated": 30, "checked": 400},
    )

    def test_rules(self) -> None:
        (found,) = from_rules(list(self.RULES))
        assert (found.variable, found.kind, found.amount) == ("S + I == N", "rule", 0.075)
        assert found.words == "the rule 'S + I == N' is broken in 7.5% of simulated rows"

    def test_failures(self) -> None:
        assert from_failures(0.0) == []
        (found,) = from_failures(0.02)
        assert (found.kind, found.amount) == ("failure", 0.02)
        assert "2.0% of the free runs fail" in found.words


class TestUnexplained:
    def test_nothing(self) -> None:
        assert unexplained(verdict_of(ROW), []) == []

    def test_gaps_rules_and_failures_are_said(self) -> None:
        off = verdict_of(replace(ROW, gap=0.4, z=4.0, bias=-3.0), adequate=False)
        found = [*from_table(off), *from_rules(list(TestRulesAndFailures.RULES))]
        lines = unexplained(off, found)
        assert len(lines) == 2
        assert any("scores worse than its own noise" in line for line in lines)
        assert not any("under-estimated" in line for line in lines)

    def test_many_small_things_together(self) -> None:
        rows = [replace(ROW, z=1.8), replace(ROW, variable="deaths", horizon="free", z=-1.95)]
        (line,) = unexplained(verdict_of(*rows, adequate=False, p_value=0.004), [])
        assert "together they are unlikely (p = 0.004)" in line
        assert line.endswith("the largest is deaths in free runs")
