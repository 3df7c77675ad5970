"""Exact posteriors against conjugate ones, quadrature and each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import arviz
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from gsim_jax import load_task
from gsim_jax.calibrate import log_likelihood
from gsim_jax.calibrate.exact import Exact, exact_posterior
from gsim_jax.calibrate.objective import Objective, settings_for
from gsim_jax.calibrate.score import increment_scale
from gsim_jax.sampling import LAWS
from gsim_jax.simulator.panel import build_panel
from gsim_jax.simulator.parameters import ParameterSpace
from gsim_jax.simulator.program import Program
from gsim_jax.task import InputError, SimulatorError, Task
from tests.calibrate.programs import program_of

SLOW = pytest.mark.slow
METHODS = ("grid", *(pytest.param(name, marks=SLOW) for name in ("nuts", "smc", "nested")))
ENVS = Path(__file__).parents[2] / "envs"


def coins(tries: np.ndarray, hits: np.ndarray) -> Any:
    """Binomial trials with one unknown probability, uniform prior."""
    n, k = jnp.asarray(tries), jnp.asarray(hits)
    return lambda u: LAWS["binomial"].log_prob(k, n, u[0])


@pytest.mark.parametrize("method", METHODS)
def test_beta_binomial(method: str) -> None:
    tries, hits = np.array([20, 50, 10, 400]), np.array([3, 9, 4, 61])
    a, b = 1 + hits.sum(), 1 + (tries - hits).sum()
    binomials = (special.gammaln(tries + 1) - special.gammaln(hits + 1)
                 - special.gammaln(tries - hits + 1)).sum()  # fmt: skip
    evidence = binomials + special.betaln(a, b)
    found = exact_posterior(coins(tries, hits), ("p",), 3, method=method)
    law = stats.beta(a, b)
    tolerance = {"grid": 1e-3, "nuts": 0.02, "smc": 0.1, "nested": 0.2}[method]
    assert found.log_evidence == pytest.approx(evidence, abs=tolerance)
    draws = found.values.reshape(-1)
    # Four standard errors at an effective size of a quarter of the draws.
    error = 4 * law.std() / np.sqrt(len(draws) / 4)
    assert abs(draws.mean() - law.mean()) < error
    assert draws.std() == pytest.approx(law.std(), rel=0.15)


def test_grid_draws_follow_the_posterior() -> None:
    tries, hits = np.array([60]), np.array([7])
    found = exact_posterior(coins(tries, hits), ("p",), 1, draws=4000)
    assert stats.kstest(found.values.ravel(), stats.beta(8, 54).cdf).pvalue > 0.01
    theta = np.array([[0.05], [0.12], [0.3]])
    np.testing.assert_allclose(
        found.log_prob(theta), stats.beta(8, 54).logpdf(theta[:, 0]), atol=1e-3
    )
    assert np.isneginf(found.log_prob(np.array([1.2])))


def rates_space() -> ParameterSpace:
    gamma = {"prior": "Gamma", "arguments": {"concentration": 3.0, "rate": 0.5}, "guess": 5.0}
    return ParameterSpace.from_json({"sale": {"rate": gamma}})


@pytest.mark.parametrize("method", ["grid", pytest.param("smc", marks=SLOW)])
def test_gamma_poisson(method: str) -> None:
    counts = np.array([4, 7, 3, 9, 5, 6])
    space = rates_space()

    def function(u: jax.Array) -> jax.Array:
        return LAWS["poisson"].log_prob(jnp.asarray(counts), space.from_unit(u)["sale"]["rate"])

    a, b = 3.0 + counts.sum(), 0.5 + len(counts)
    evidence = (
        3.0 * np.log(0.5) - special.gammaln(3.0) + special.gammaln(a) - a * np.log(b)
        - special.gammaln(counts + 1).sum()
    )  # fmt: skip
    found = exact_posterior(function, space, 5, method=method)
    law = stats.gamma(a, scale=1 / b)
    assert found.log_evidence == pytest.approx(evidence, abs=0.005 if method == "grid" else 0.1)
    assert found.mean["sale.rate"] == pytest.approx(law.mean(), abs=4 * law.std() / np.sqrt(500))
    theta = np.array([4.0, 6.0, 8.0])[:, None]
    np.testing.assert_allclose(
        found.log_prob(theta), law.logpdf(theta[:, 0]), atol=0.01 if method == "grid" else 0.1
    )


@pytest.mark.parametrize("method", ["grid", pytest.param("nuts", marks=SLOW)])
def test_correlated_normal_in_three_dimensions(method: str) -> None:
    root = np.array([[0.05, 0.0, 0.0], [0.06, 0.02, 0.0], [-0.03, 0.01, 0.04]])
    precision, centre = np.linalg.inv(root @ root.T), np.array([0.5, 0.45, 0.6])

    def function(u: jax.Array) -> jax.Array:
        z = u - jnp.asarray(centre, jnp.float32)
        return -0.5 * z @ jnp.asarray(precision, jnp.float32) @ z

    evidence = 1.5 * np.log(2 * np.pi) + np.log(np.abs(np.diag(root))).sum()
    found = exact_posterior(function, ("a", "b", "c"), 2, method=method)
    assert found.log_evidence == pytest.approx(evidence, abs=0.02)
    covariance = np.cov(found.values.reshape(-1, 3).T)
    np.testing.assert_allclose(covariance, root @ root.T, atol=5e-4)
    assert found.warnings == ()


def test_two_peaks_far_apart_are_both_integrated() -> None:
    def function(u: jax.Array) -> jax.Array:
        left = -0.5 * ((u[0] - 0.2) / 0.01) ** 2
        right = -0.5 * ((u[0] - 0.8) / 0.01) ** 2 + jnp.log(3.0)
        return jnp.logaddexp(left, right)

    evidence = np.log(4 * 0.01 * np.sqrt(2 * np.pi))
    found = exact_posterior(function, ("x",), 0)
    assert found.log_evidence == pytest.approx(evidence, abs=1e-3)
    assert (found.values > 0.5).mean() == pytest.approx(0.75, abs=0.01)


def test_prior_that_cuts_the_posterior_off() -> None:
    found = exact_posterior(lambda u: -0.5 * ((u[0] + 0.02) / 0.05) ** 2, ("x",), 0)
    mass, _ = integrate.quad(lambda x: np.exp(-0.5 * ((x + 0.02) / 0.05) ** 2), 0, 1)
    assert found.log_evidence == pytest.approx(np.log(mass), abs=2e-3)
    law = stats.truncnorm(0.4, np.inf, loc=-0.02, scale=0.05)
    assert stats.kstest(found.values.ravel(), law.cdf).pvalue > 0.01


@SLOW
def test_chains_are_apart_and_come_again() -> None:
    function = coins(np.array([60]), np.array([7]))
    first, second = (exact_posterior(function, ("p",), 7, method="nuts", draws=400) for _ in "ab")
    assert first.u.shape == (4, 100, 1)
    np.testing.assert_array_equal(first.u, second.u)
    assert first.diagnostics["divergences"] == 0


def discrete_space() -> ParameterSpace:
    return ParameterSpace.from_json({
        "demand": {
            "rate": {"prior": "Uniform", "arguments": {"low": 0.0, "high": 10.0}, "guess": 5.0},
            "packs": {"prior": "Choice", "arguments": {"values": [1, 2, 4]}, "guess": 1},
        }
    })  # fmt: skip


@pytest.mark.parametrize("method", ["grid", pytest.param("nuts", marks=SLOW)])
def test_choices_are_summed_out_with_their_probabilities(method: str) -> None:
    """Demand comes in packs of unknown size: counts 4, 8, 4, 0 are packs of 1, 2 or 4."""
    counts = np.array([4, 8, 4, 0])
    space = discrete_space()

    def function(u: jax.Array) -> jax.Array:
        values = space.from_unit(u)["demand"]
        packs = jnp.asarray(counts) / values["packs"]
        return LAWS["poisson"].log_prob(packs, values["rate"])

    found = exact_posterior(function, space, 4, method=method)
    logs = []
    for size in (1, 2, 4):
        each = counts / size
        total = each.sum()
        # The integral of a gamma density up to the prior's end, times the normalising constants.
        log = special.gammaln(total + 1) - (total + 1) * np.log(4) - special.gammaln(each + 1).sum()
        logs.append(log + np.log(stats.gamma(total + 1, scale=1 / 4).cdf(10.0)) - np.log(10.0))
    shares = np.exp(np.asarray(logs) - special.logsumexp(logs))
    tolerance = 2e-3 if method == "grid" else 0.02
    for size, share in zip((1, 2, 4), shares, strict=True):
        assert found.probabilities["demand.packs"][size] == pytest.approx(share, abs=tolerance)
        drawn = (found.values[..., space.labels.index("demand.packs")] == size).mean()
        assert drawn == pytest.approx(share, abs=0.05)
    evidence = special.logsumexp(logs) - np.log(3)
    assert found.log_evidence == pytest.approx(evidence, abs=0.005 if method == "grid" else 0.05)


def test_draws_are_the_same_for_the_same_seed_and_files_open(tmp_path: Path) -> None:
    arguments = {"low": 0.0, "high": 20.0}
    prior = {"prior": "Uniform", "arguments": arguments, "guess": 5.0}
    space = ParameterSpace.from_json({"sale": {"rate": prior}})

    def function(u: jax.Array) -> jax.Array:
        return LAWS["poisson"].log_prob(jnp.asarray([4, 7]), space.from_unit(u)["sale"]["rate"])

    first, second = (exact_posterior(function, space, 7, draws=400) for _ in "ab")
    np.testing.assert_array_equal(first.u, second.u)
    path = tmp_path / "posterior.nc"
    first.save(path)
    read = arviz.from_netcdf(str(path))
    np.testing.assert_allclose(read.posterior["sale.rate"].values, first.values[..., 0])
    assert read.posterior.attrs["log_evidence"] == first.log_evidence
    assert arviz.summary(read, kind="stats").loc["sale.rate", "mean"] == pytest.approx(
        first.mean["sale.rate"], abs=1e-3
    )
    drawn = first.sample(jax.random.key(1), 300)
    assert drawn.shape == (300, 1)
    assert len(np.unique(drawn)) == 300
    assert first.sample(jax.random.key(1), 1000).shape == (1000, 1)


def test_bad_requests_are_told_in_words() -> None:
    with pytest.raises(InputError, match="expected one of auto, grid, nuts, smc, nested; got 'mc'"):
        exact_posterior(lambda u: u.sum(), ("a",), method="mc")
    with pytest.raises(InputError, match="at most 3 continuous parameters; got 4"):
        exact_posterior(lambda u: u.sum(), tuple("abcd"), method="grid")
    with pytest.raises(InputError, match="impossible at all of 128 points of the prior"):
        exact_posterior(lambda u: jnp.log(u.sum() * 0), ("a",))


def covid() -> tuple[Task, Program]:
    task = load_task(ENVS / "covid19")
    source = (ENVS / "covid19" / "truth.py").read_text(encoding="utf-8")
    return task, program_of(source, task.schema)


def test_calibrator_of_a_task() -> None:
    task, program = covid()
    data = task.train.take(np.arange(12))
    settings = settings_for(task)
    scale = increment_scale(build_panel(task.schema, data), settings.plan)
    objective = Objective(program, task.schema, settings, scale)
    found = Exact(draws=500).calibrate(objective, data, 0)
    model = log_likelihood(program, task.schema, data)
    best = model.total(found.u)
    # The mean of a near-normal posterior: nowhere one standard error away is it more likely.
    for k, label in enumerate(program.parameters.labels):
        for sign in (-1, 1):
            values = found.parameters | {
                label: found.parameters[label] + 1.5 * sign * found.errors[label]
            }
            assert model.total(program.parameters.to_unit(values)) < best, (k, sign)
    assert found.draws is not None
    assert found.draws.shape == (500, 2)
    assert found.evidence < best
    assert np.isfinite(found.score)
    assert found.warnings == ()


def test_calibrator_refuses_what_has_no_likelihood() -> None:
    task, program = covid()
    settings = settings_for(task)
    scale = np.ones((3, 3), np.float32)
    gaps = task.train.seen["I"].copy()
    gaps[0, 3] = False
    holed = type(task.train)(**{**vars(task.train), "seen": {**task.train.seen, "I": gaps}})
    objective = Objective(program, task.schema, settings, scale)
    with pytest.raises(InputError, match=r"entries are missing of I \(1\)"):
        Exact().calibrate(objective, holed, 0)
    source = (ENVS / "hospital_surge" / "truth.py").read_text(encoding="utf-8")
    surge = load_task(ENVS / "hospital_surge")
    objective = Objective(program_of(source, surge.schema), surge.schema, settings, scale)
    with pytest.raises(SimulatorError, match="cannot be read off two complete rows"):
        Exact().calibrate(objective, surge.train, 0)


@pytest.mark.slow
def test_smc_evidence_on_covid_is_that_of_quadrature() -> None:
    task, program = covid()
    model = log_likelihood(program, task.schema, task.train)
    grid = exact_posterior(model, program.parameters, 0, method="grid")
    smc = exact_posterior(model, program.parameters, 1, method="smc", draws=1000)
    assert grid.diagnostics["evidence_error"] < 1e-3
    assert smc.log_evidence == pytest.approx(grid.log_evidence, abs=0.1)
    # scipy's two-dimensional quadrature of scipy's masses, in float64.
    s, i, r = (np.asarray(task.train.states[name], float) for name in "SIR")
    new, gone = (s[:, :-1] - s[:, 1:]).ravel(), (r[:, 1:] - r[:, :-1]).ravel()
    share = (i / (s + i + r))[:, :-1].ravel()
    s, i = s[:, :-1].ravel(), i[:, :-1].ravel()

    def beta(b: float) -> float:
        return stats.binom.logpmf(new, s, 1 - np.exp(-b * share)).sum()

    def gamma(g: float) -> float:
        return stats.binom.logpmf(gone, i, g).sum()

    total = 0.0
    for log, low, high, width in ((beta, 0.45, 0.55, 2.0), (gamma, 0.092, 0.109, 1.0)):
        top = log((low + high) / 2)
        x = np.linspace(low, high, 401)
        values = np.exp(np.array([log(v) for v in x]) - top)
        total += top + np.log(integrate.simpson(values, x=x) / width)
    assert grid.log_evidence == pytest.approx(total, abs=0.01)
