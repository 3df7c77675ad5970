"""The verdict: right as often as it says under the null, and sharp where something is off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from gsim_jax.diagnose import Evidence, Verdict, judge
from gsim_jax.diagnose.verdict import LEVEL, LEVEL_IN_SAMPLE, NOISE
from tests.diagnose.worlds import HORIZONS, VARIABLES, evidence_of


@pytest.fixture(scope="module")
def right() -> list[Evidence]:
    """Data that come from the candidate, many times over."""
    return [evidence_of(seed) for seed in range(300)]


@pytest.fixture(scope="module")
def verdicts(right: list[Evidence]) -> list[Verdict]:
    return [judge(evidence) for evidence in right]


class TestUnderTheNull:
    def test_p_values_are_uniform(self, verdicts: list[Verdict]) -> None:
        p = np.array([v.p_value for v in verdicts])
        assert stats.kstest(p, "uniform").pvalue > 0.001
        assert p.min() >= 1 / 129
        assert abs(np.mean(p < 0.1) - 0.1) < 4 * np.sqrt(0.09 / len(p))

    def test_few_right_candidates_are_rejected(self, verdicts: list[Verdict]) -> None:
        rejected = sum(not v.adequate for v in verdicts)
        assert rejected <= stats.binom(len(verdicts), LEVEL).ppf(0.9999)

    def test_single_cells_exceed_their_noise_though(self, verdicts: list[Verdict]) -> None:
        """Which is why the verdict does not count them."""
        beyond = [not all(row.within_noise for row in v.table) for v in verdicts]
        assert np.mean(beyond) > 0.15

    def test_gaps_and_their_errors(self, verdicts: list[Verdict]) -> None:
        z = np.array([v.gap / v.gap_se for v in verdicts])
        assert abs(z.mean()) < 0.25
        assert 0.85 < z.std() < 1.15
        rows = np.array([[row.z for row in v.table] for v in verdicts])
        np.testing.assert_allclose(rows.std(0), 1.0, atol=0.15)


class TestSomethingIsOff:
    def test_data_more_spread_out_than_the_candidate(self) -> None:
        verdict = judge(evidence_of(1, sd=1.4))
        assert not verdict.adequate
        assert verdict.p_value == pytest.approx(1 / 129)
        assert verdict.gap > 3 * verdict.gap_se
        assert all(row.gap > 0 and row.rank_z > 0 for row in verdict.table)

    def test_data_less_spread_out_than_the_candidate(self) -> None:
        """Scoring better than its own floor is as wrong as scoring worse."""
        verdict = judge(evidence_of(2, sd=0.7))
        assert not verdict.adequate
        assert verdict.gap < -3 * verdict.gap_se
        assert all(row.gap < 0 and row.rank_z < 0 for row in verdict.table)

    def test_data_above_the_forecast(self) -> None:
        verdict = judge(evidence_of(3, shift=0.5))
        assert not verdict.adequate
        assert all(row.bias < -3 * row.bias_se for row in verdict.table)

    def test_one_cell_is_enough(self) -> None:
        fine = evidence_of(4)
        assert judge(fine).adequate
        crps = fine.observed.crps.copy()
        crps[2, 1] += 8 * fine.null.crps[:, 2, 1].std()
        verdict = judge(replace(fine, observed=replace(fine.observed, crps=crps)))
        assert not verdict.adequate
        (off,) = [row for row in verdict.table if abs(row.z) > 5]
        assert (off.variable, off.horizon) == ("y", "free")

    def test_more_is_asked_in_sample(self, right: list[Evidence]) -> None:
        """Between the two levels the same evidence is enough for new data only."""
        between = [e for e in right if LEVEL < judge(e).p_value <= LEVEL_IN_SAMPLE]
        assert between
        assert all(judge(evidence).adequate for evidence in between)
        assert not any(judge(evidence, in_sample=True).adequate for evidence in between)

    def test_failed_draws(self) -> None:
        verdict = judge(replace(evidence_of(5), failed=0.01))
        assert verdict.p_value > LEVEL
        assert not verdict.adequate


class TestTable:
    def test_rows_hold_what_the_cells_say(self) -> None:
        evidence = evidence_of(6)
        table = judge(evidence).table
        assert [(r.horizon, r.variable) for r in table] == [
            (h, v) for h in HORIZONS for v in VARIABLES
        ]
        row, null = table[1], evidence.null
        assert row.score == evidence.observed.crps[0, 1]
        assert row.floor == pytest.approx(null.crps[:, 0, 1].mean())
        assert row.gap == pytest.approx(row.score - row.floor)
        assert row.se == pytest.approx(null.crps[:, 0, 1].std(ddof=1))
        assert row.z == pytest.approx(row.gap / row.se / np.sqrt(1 + 1 / 128))
        assert row.bias_se == pytest.approx(null.error[:, 0, 1].std(ddof=1))
        assert row.within_noise == (abs(row.z) <= NOISE)

    def test_cells_without_forecasts_are_left_out(self) -> None:
        evidence = evidence_of(7)
        count, crps = evidence.observed.count.copy(), evidence.observed.crps.copy()
        count[1, 0], crps[1, 0] = 0, 1e6
        verdict = judge(
            replace(evidence, observed=replace(evidence.observed, count=count, crps=crps))
        )
        assert ("7", "x") not in {(r.horizon, r.variable) for r in verdict.table}
        assert len(verdict.table) == 5
        assert verdict.adequate == judge(evidence).adequate

    def test_a_cell_that_never_varies(self) -> None:
        """A variable fixed by the inputs: met exactly it says nothing, missed it says all."""
        evidence = evidence_of(8)
        null, own = evidence.null.crps.copy(), evidence.observed.crps.copy()
        null[:, 0, 0] = own[0, 0] = 0.25
        met = replace(
            evidence,
            null=replace(evidence.null, crps=null),
            observed=replace(evidence.observed, crps=own),
        )
        assert judge(met).table[0].z == 0.0
        assert judge(met).adequate
        own = own.copy()
        own[0, 0] = 0.26
        missed = judge(replace(met, observed=replace(met.observed, crps=own)))
        assert missed.table[0].z > 100
        assert not missed.adequate
