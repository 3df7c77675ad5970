"""Checks of posteriors, on posteriors that are exact, too narrow, shifted, or the prior."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

from gsim_jax.calibrate import exact_posterior
from gsim_jax.calibrate.checks import (
    Trials,
    check_calibration,
    coverage_curve,
    holm,
    ranks,
    run_trials,
    tarp,
)
from gsim_jax.sampling import LAWS
from gsim_jax.task import InputError

LABELS = ("a", "b")


def normal_trials(
    seed: int, runs: int = 300, m: int = 100, *, width: float = 1.0, shift: float = 0.0
) -> Trials:
    """A standard normal prior, one observation with a known correlated error per parameter."""
    generator = np.random.default_rng(seed)
    truths = generator.standard_normal((runs, 2))
    noise = np.array([[0.5, 0.3], [0.3, 0.4]])
    x = truths + generator.multivariate_normal([0, 0], noise, runs)
    covariance = np.linalg.inv(np.linalg.inv(noise) + np.eye(2))
    mean = x @ np.linalg.inv(noise) @ covariance
    spread = generator.multivariate_normal([0, 0], covariance, (runs, m))
    draws = mean[:, None] + shift * np.sqrt(np.diag(covariance)) + width * spread
    return Trials(truths, draws, LABELS)


def test_exact_posteriors_pass_at_the_stated_level() -> None:
    passed = [check_calibration(normal_trials(seed), seed, level=0.1).passed for seed in range(120)]
    # Holm keeps the share of false faults below the level, and the tests overlap.
    assert sum(passed) >= stats.binom(120, 0.9).ppf(0.001)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"width": 0.6}, "too narrow: the truth lies outside their middle half in"),
        ({"width": 1.6}, "too wide: the truth lies outside their middle half in"),
        ({"shift": 0.5}, "a: the posteriors are off: the truth lies below their median in"),
    ],
)
def test_wrong_posteriors_are_found_and_described(options: dict[str, float], text: str) -> None:
    for seed in range(5):
        report = check_calibration(normal_trials(seed, **options), seed)
        assert not report.passed
        assert text in report.to_text()


def test_tarp_is_the_diagonal_on_exact_posteriors_and_not_on_narrow_ones() -> None:
    levels = np.linspace(0.05, 0.95, 19)
    exact = tarp(normal_trials(1, 4000))
    np.testing.assert_allclose(coverage_curve(exact, levels), levels, atol=4 * 0.5 / 4000**0.5)
    narrow = coverage_curve(tarp(normal_trials(1, 4000, width=0.5)), levels)
    # Too narrow: the truth is closer or further than nearly all draws too often.
    assert narrow[0] > 0.05 + 0.05
    assert narrow[-1] < 0.95 - 0.05


def test_tarp_sees_a_wrong_correlation_that_marginals_hide() -> None:
    """Only the sum of two parameters is seen, so that their posterior is a ridge."""
    generator = np.random.default_rng(3)
    runs, m = 500, 100
    truths = generator.standard_normal((runs, 2))
    x = truths.sum(axis=1) + 0.1 * generator.standard_normal(runs)
    covariance = np.linalg.inv(np.eye(2) + np.ones((2, 2)) / 0.01)
    mean = (x[:, None] / 0.01) * covariance.sum(axis=1)
    draws = mean[:, None] + generator.multivariate_normal([0, 0], covariance, (runs, m))
    assert check_calibration(Trials(truths, draws, LABELS)).passed
    # The second parameter's draws are shuffled: marginals stay right, the ridge is lost.
    order = generator.permuted(np.arange(m)[None].repeat(runs, 0), axis=1)
    draws[..., 1] = np.take_along_axis(draws[..., 1], order, axis=1)
    report = check_calibration(Trials(truths, draws, LABELS))
    assert {fault.label for fault in report.faults} == {"all parameters"}


def test_ranks_of_integers_are_uniform_though_tied() -> None:
    generator = np.random.default_rng(4)
    truths = generator.integers(0, 3, (3000, 1)).astype(float)
    draws = generator.integers(0, 3, (3000, 20, 1)).astype(float)
    where = ranks(Trials(truths, draws, ("n",)))[:, 0]
    assert stats.kstest(where, "uniform").pvalue > 0.01


def test_contraction_tells_the_prior_from_knowledge() -> None:
    generator = np.random.default_rng(5)
    truths = generator.standard_normal((400, 1))
    idle = check_calibration(Trials(truths, generator.standard_normal((400, 50, 1)), ("a",)))
    assert idle.passed
    assert abs(idle.contraction["a"]) < 0.15
    report = check_calibration(normal_trials(6, 2000))
    covariance = np.linalg.inv(np.linalg.inv([[0.5, 0.3], [0.3, 0.4]]) + np.eye(2))
    for k, label in enumerate(LABELS):
        assert report.contraction[label] == pytest.approx(1 - covariance[k, k], abs=0.03)
        assert report.error[label] == pytest.approx(1.0, abs=0.06)
    assert "the data leave" in report.to_text()


def test_exact_posterior_of_a_coin_is_calibrated() -> None:
    """The whole way: prior, simulation, inference by quadrature, check."""

    def prior(key: Any) -> Any:
        return jax.random.uniform(key, (1,))

    def simulate(theta: Any, key: Any) -> Any:
        return np.random.default_rng(np.asarray(jax.random.key_data(key))).binomial(30, theta[0])

    def infer(x: Any, key: Any) -> Any:
        del key
        return _Coin(int(x))

    trials = run_trials(prior, simulate, infer, jax.random.key(0), runs=120, labels=("p",))
    report = check_calibration(trials)
    assert report.passed, report.to_text()
    assert report.to_json()["trials"] == 120


class _Coin:
    """The conjugate posterior, as any object with `sample`."""

    def __init__(self, hits: int) -> None:
        self.law = stats.beta(1 + hits, 31 - hits)

    def sample(self, key: Any, n: int) -> np.ndarray:
        seed = np.asarray(jax.random.key_data(key))
        return self.law.rvs((n, 1), random_state=np.random.default_rng(seed))


@pytest.mark.slow
def test_quadrature_is_calibrated() -> None:
    found: dict[int, Any] = {}

    def infer(x: Any, key: Any) -> Any:
        del key
        if int(x) not in found:
            found[int(x)] = exact_posterior(
                lambda u: LAWS["binomial"].log_prob(x, 8, u[0]), ("p",), draws=4000
            )
        return found[int(x)]

    def simulate(theta: Any, key: Any) -> Any:
        return np.random.default_rng(np.asarray(jax.random.key_data(key))).binomial(8, theta[0])

    trials = run_trials(
        lambda key: jax.random.uniform(key, (1,)), simulate, infer, jax.random.key(1), runs=300
    )
    assert check_calibration(trials).passed


def test_holm_is_the_step_down_procedure() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])


def test_shapes_that_do_not_fit_are_told() -> None:
    with pytest.raises(InputError, match=r"draws \[runs, m, d\].*got \[5, 2\], \[5, 9, 3\]"):
        Trials(np.zeros((5, 2)), np.zeros((5, 9, 3)), LABELS)
    with pytest.raises(InputError, match="the draws of 1 of 2 trials are not"):
        Trials(np.zeros((2, 1)), np.array([[[0.0]], [[np.nan]]]), ("a",))
