"""The what-if benchmark's own arithmetic: its exact posterior, its coverage, its verdicts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks import _whatif_experiments as experiments
from benchmarks import _whatif_probability as probability
from benchmarks._whatif_worlds import ALPHAS, SCHEDULES, World
from gsim_jax.whatif import Model
from tests.envs.folders import task_of
from tests.whatif.records import covid_program


def test_draws_are_the_exact_posterior() -> None:
    """Recoveries: a Beta cut off at the prior's range; infections: by quadrature."""
    rng = np.random.default_rng(1)
    seen = {"S": np.array([[80, 76, 70, 63]]), "I": np.array([[4, 7, 12, 17]]),
            "R": np.array([[0, 1, 2, 4]])}  # fmt: skip
    draws = probability.exact_draws(seen, 20_000, rng)
    gamma = stats.beta(1 + 4, 1 + 23 - 4)
    low, high = probability.GAMMA
    inside = gamma.cdf(high) - gamma.cdf(low)
    wanted = lambda x: (gamma.cdf(x) - gamma.cdf(low)) / inside  # noqa: E731
    assert stats.kstest(draws["recovery"]["gamma"], wanted).statistic < 0.02
    beta = np.linspace(*probability.BETA, 4001)
    p = -np.expm1(-beta[:, None] * seen["I"][0, :3] / 84)
    log = stats.binom.logpmf(-np.diff(seen["S"][0]), seen["S"][0, :3], p).sum(1)
    density = np.exp(log - log.max())
    mean = (beta * density).sum() / density.sum()
    sd = np.sqrt(((beta - mean) ** 2 * density).sum() / density.sum())
    assert draws["infection"]["beta"].mean() == pytest.approx(mean, abs=4 * sd / 20_000**0.5)
    assert draws["infection"]["beta"].std() == pytest.approx(sd, rel=0.03)


def test_verdicts_on_stated_probabilities() -> None:
    rng = np.random.default_rng(2)
    p = rng.uniform(0.2, 0.9, 4000)
    honest = probability.told(p.tolist(), (rng.random(4000) < p).tolist())
    assert abs(honest["z"]) < 3
    assert honest["brier"] == pytest.approx(honest["brier_expected"], abs=0.01)
    boastful = probability.told(np.sqrt(p).tolist(), (rng.random(4000) < p).tolist())
    assert boastful["z"] < -10


def test_ties_broken_at_random_cover_nine_in_ten() -> None:
    rng = np.random.default_rng(3)
    ours, seen = rng.poisson(1.5, (2, 4000, 5)), rng.poisson(1.5, (2, 4000, 5))
    covered = experiments._tie_broken(ours, seen, rng)
    np.testing.assert_allclose(covered, 0.9, atol=0.015)


def test_forty_lockdowns_of_the_truth_against_itself() -> None:
    scenarios = experiments.lockdowns()
    assert len(scenarios) == len(ALPHAS) * len(SCHEDULES) == 40
    task = task_of("covid19")
    truth = Model.at(covid_program(), task.schema, {"infection.beta": 0.5, "recovery.gamma": 0.1})
    figures, _ = experiments.lockdown(World(task, truth, truth, {}, 0.0), lanes=400)
    assert figures["worst_mean_error"] == 0
    assert 0.87 < figures["coverage_ties_broken"] < 0.93
    assert figures["coverage"] >= figures["coverage_ties_broken"]
