"""Neural posteriors against exact ones, and what a fit reports, refuses and stores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import arviz as az
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from gsim_jax.calibrate import Posterior, fit_posterior
from gsim_jax.calibrate.coordinates import coordinates_of
from gsim_jax.calibrate.posterior import _density, _sample
from gsim_jax.calibrate.simulations import Source
from gsim_jax.calibrate.store import describe, restore
from gsim_jax.calibrate.train import Recipe, _train_online, _train_stored, begin
from gsim_jax.simulator.parameters import ParameterSpace
from gsim_jax.task import InputError

SMALL: dict[str, Any] = {"layers": 1, "bins": 6, "width": 24, "blocks": 1, "context": 8}
NORMAL = dist.Normal(jnp.zeros(2), jnp.array([1.0, 2.0])).to_event(1)


def simulate(theta: jax.Array, key: jax.Array) -> jax.Array:
    return theta + jnp.array([0.5, 1.0]) * jax.random.normal(key, (2,))


_PLAIN = {"shape": [], "unit": "", "doc": ""}
#: A share and an integer.
INTEGER = ParameterSpace.from_json(
    {
        "a": {
            "x": {"prior": "Uniform", "arguments": {"low": 0, "high": 1}, "guess": 0.5, **_PLAIN}
        },
        "b": {"k": {"prior": "Integer", "arguments": {"low": 1, "high": 8}, "guess": 4, **_PLAIN}},
    }
)
OBSERVED = np.array([[1.0, -2.0], [0.0, 3.0]], np.float32)


@pytest.fixture(scope="module")
def normal() -> Posterior:
    return fit_posterior(simulate, NORMAL, OBSERVED, jax.random.key(0), simulations=4000, **SMALL)


def test_a_conjugate_normal_is_recovered_for_each_observation(normal: Posterior) -> None:
    mean, sd = 0.8 * OBSERVED, np.sqrt(0.8) * np.array([0.5, 1.0])
    drawn = np.asarray(normal.sample(jax.random.key(1), 4000), float)
    assert drawn.shape == (2, 4000, 2)
    np.testing.assert_array_less(np.abs(drawn.mean(axis=1) - mean), 0.25 * np.stack([sd, sd]))
    np.testing.assert_allclose(drawn.std(axis=1), np.stack([sd, sd]), rtol=0.15)
    new = np.asarray(normal.sample(jax.random.key(1), 4000, observed=np.array([-1.0, 1.0])), float)
    np.testing.assert_array_less(np.abs(new.mean(axis=0) - [-0.8, 0.8]), 0.25 * sd)


def test_sampling_again_compiles_nothing(normal: Posterior) -> None:
    normal.sample(jax.random.key(1), 500)
    before = normal.coordinates.values._cache_size()  # type: ignore[attr-defined]
    normal.sample(jax.random.key(2), 500)
    assert normal.coordinates.values._cache_size() == before > 0  # type: ignore[attr-defined]


def test_its_density_integrates_to_one(normal: Posterior) -> None:
    mean, sd = 0.8 * OBSERVED[0], np.sqrt(0.8) * np.array([0.5, 1.0])
    at = np.linspace(-10, 10, 401)
    grid = np.stack(np.meshgrid(mean[0] + sd[0] * at, mean[1] + sd[1] * at), -1).reshape(-1, 2)
    density = np.exp(np.asarray(normal.log_prob(grid, observed=OBSERVED[0]), float))
    assert density.sum() * (at[1] - at[0]) ** 2 * sd.prod() == pytest.approx(1.0, abs=0.01)


def test_it_survives_a_file_and_another_process(normal: Posterior, tmp_path: Path) -> None:
    path = normal.save(tmp_path / "posterior.nc", n=50)
    data = az.from_netcdf(str(path))
    assert {"posterior", "observed_data"} <= set(data.groups())
    assert data["posterior"]["theta[0]"].shape == (1, 50, 2)
    code = (
        "import sys, jax, numpy as np; from gsim_jax.calibrate import Posterior;"
        "p = Posterior.load(sys.argv[1]);"
        "np.savez(sys.argv[2], drawn=p.sample(jax.random.key(3), 20),"
        " log_prob=p.log_prob(np.zeros((1, 2))))"
    )
    out = tmp_path / "out.npz"
    subprocess.run([sys.executable, "-c", code, str(path), str(out)], check=True)
    found = np.load(out)
    np.testing.assert_array_equal(found["drawn"], normal.sample(jax.random.key(3), 20))
    np.testing.assert_array_equal(found["log_prob"], normal.log_prob(np.zeros((1, 2))))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "no.nc"
    path.write_text("nothing")
    with pytest.raises(InputError, match=r"expected a NetCDF file that Posterior\.save wrote"):
        Posterior.load(path)


@pytest.mark.slow
def test_the_same_key_gives_the_same_posterior() -> None:
    runs = [
        fit_posterior(simulate, NORMAL, OBSERVED[0], jax.random.key(5), simulations=400, **SMALL)
        for _ in range(2)
    ]
    np.testing.assert_array_equal(runs[0].weights, runs[1].weights)


@pytest.mark.slow
def test_truncated_rounds_zoom_in_and_stay_exact() -> None:
    """A Beta-binomial, whose posterior is a hundredth of the prior wide."""
    prior = dist.Uniform(0.0, 1.0).expand([1]).to_event(1)

    def simulate(theta: jax.Array, key: jax.Array) -> jax.Array:
        return dist.Binomial(2000, theta[0]).sample(key)[None].astype(jnp.float32)

    found = fit_posterior(
        simulate, prior, np.array([300.0]), jax.random.key(0), simulations=6000, rounds=2, **SMALL
    )
    exact = stats.beta(301, 1701)
    drawn = np.asarray(found.sample(jax.random.key(1), 8000), float)[:, 0]
    assert found.info.volume < 0.3
    assert abs(drawn.mean() - exact.mean()) < 0.2 * exact.std()
    assert drawn.std() == pytest.approx(exact.std(), rel=0.15)
    assert stats.kstest(drawn, exact.cdf).statistic < 0.08
    assert float(found.log_prob(np.array([0.9]))[()]) == -np.inf


def test_failing_simulations_leave_no_bias() -> None:
    """x is lost above 1: the posterior of a smaller x must be as without the loss."""
    prior = dist.Normal(0.0, 1.0).expand([1]).to_event(1)

    def simulate(theta: jax.Array, key: jax.Array) -> jax.Array:
        x = theta + 0.5 * jax.random.normal(key, (1,))
        return jnp.where(x > 1.0, jnp.nan, x)

    found = fit_posterior(
        simulate, prior, np.array([0.9]), jax.random.key(0), simulations=4000, **SMALL
    )
    lost = stats.norm.sf(1.0, 0, np.sqrt(1.25))
    assert found.info.invalid == pytest.approx(lost, abs=0.03)
    drawn = np.asarray(found.sample(jax.random.key(1), 4000), float)
    assert drawn.mean() == pytest.approx(0.72, abs=0.12)
    assert drawn.std() == pytest.approx(np.sqrt(0.2), rel=0.15)


@pytest.mark.slow
def test_missing_entries_are_conditioned_on_what_is_there() -> None:
    """The second of two looks is missing half of the time."""
    prior = dist.Normal(0.0, 1.0).expand([1]).to_event(1)

    def simulate(theta: jax.Array, key: jax.Array) -> jax.Array:
        noise, gone = jax.random.split(key)
        x = theta + 0.5 * jax.random.normal(noise, (2,))
        lost = jnp.array([False, True]) & jax.random.bernoulli(gone)
        return jnp.where(lost, jnp.nan, x)

    observed = np.array([[1.0, np.nan], [1.0, 1.0]])
    found = fit_posterior(simulate, prior, observed, jax.random.key(0), simulations=5000, **SMALL)
    drawn = np.asarray(found.sample(jax.random.key(1), 4000), float)[..., 0]
    np.testing.assert_allclose(drawn.mean(axis=1), [0.8, 8 / 9], atol=0.12)
    np.testing.assert_allclose(drawn.std(axis=1), [np.sqrt(1 / 5), 1 / 3], rtol=0.17)
    assert found.info.partial == pytest.approx(0.5, abs=0.05)


class TestCoordinates:
    PRIORS = (
        dist.Uniform(jnp.array([-1.0, 2.0]), jnp.array([1.0, 5.0])).to_event(1),
        dist.LogNormal(jnp.zeros(2), 0.5 * jnp.ones(2)).to_event(1),
        dist.MultivariateNormal(jnp.ones(2), jnp.array([[2.0, 0.5], [0.5, 1.0]])),
        dist.Dirichlet(jnp.array([2.0, 3.0, 4.0])),
        dist.Gamma(2.0, 3.0),
    )

    @pytest.mark.slow
    @pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: type(prior).__name__)
    def test_prior_draws_and_densities_come_through(self, prior: dist.Distribution) -> None:
        space = coordinates_of(prior)
        keys = jax.random.split(jax.random.key(0), 4000)
        y = jax.vmap(space.draw)(keys)
        theta = np.asarray(jax.vmap(space.value)(y))
        others = jax.random.split(jax.random.key(1), 4000)
        exact = np.asarray(jax.vmap(prior.sample)(others)).reshape(4000, -1)
        for k in range(exact.shape[1]):
            assert stats.ks_2samp(theta.reshape(4000, -1)[:, k], exact[:, k]).pvalue > 1e-4
        np.testing.assert_allclose(space.locate(theta), y, atol=5e-3, rtol=5e-3)
        if space.uniform:  # then the prior's density in y is known
            bounded = np.asarray(space.bounded)
            base = np.where(bounded, 0.0, stats.norm.logpdf(np.asarray(y))).sum(axis=1)
            density = np.asarray([prior.log_prob(row) for row in theta[:20]]).reshape(20, -1)
            total = base[:20] + np.asarray(space.slope(theta))[:20]
            np.testing.assert_allclose(total, density.sum(axis=1), atol=5e-3, rtol=1e-3)

    def test_outside_of_the_support_is_nowhere(self) -> None:
        space = coordinates_of(self.PRIORS[0])
        assert bool(jnp.all(jnp.isnan(space.locate(np.array([2.0, 9.0])))))

    @pytest.mark.slow
    def test_boxes_go_back_and_forth(self) -> None:
        space = coordinates_of(NORMAL)
        low, high = jnp.array([-1.0, 4.0]), jnp.array([0.5, 6.0])
        share = jax.random.uniform(jax.random.key(0), (50, 2), minval=0.05, maxval=0.95)
        y = space.from_box(share, low, high)
        assert bool(jnp.all((y > low[None]) & (y < high[None])))
        back, rise = space.to_box(y, low, high)
        np.testing.assert_allclose(back, share, atol=2e-3)
        mass = stats.norm.cdf(np.asarray(high)) - stats.norm.cdf(np.asarray(low))
        mass[1] = stats.norm.sf(4.0) - stats.norm.sf(6.0)
        exact = (stats.norm.logpdf(np.asarray(y)) - np.log(mass)).sum(axis=1)
        np.testing.assert_allclose(rise, exact, atol=2e-3)

    @pytest.mark.slow
    def test_spaces_of_simulators(self) -> None:
        entry = {"guess": 0.5, "shape": [], "unit": "", "doc": ""}
        space = ParameterSpace.from_json(
            {
                "a": {"x": {"prior": "LogUniform", "arguments": {"low": 0.1, "high": 10}, **entry}},
                "b": {"y": {"prior": "Normal", "arguments": {"loc": 1, "scale": 2}, **entry}},
            }
        )
        found = coordinates_of(space)
        assert found.bounded == (True, False)
        theta = np.array([[1.0, 3.0]])
        np.testing.assert_allclose(found.locate(theta), [[0.5, 1.0]], atol=1e-3)
        exact = -np.log(1.0 * np.log(100.0)) - np.log(2.0)
        np.testing.assert_allclose(found.slope(theta), [exact], atol=2e-2)

    def test_boxes_of_integers_end_on_the_edges_of_cells(self) -> None:
        found = coordinates_of(INTEGER)
        assert found.cells == (0, 8)
        y = jnp.array([[0.21, 0.3], [0.29, 0.6], [0.25, 0.4]])  # values 3, 5 and 4
        box = found.whole_cells(np.asarray(y), np.array([[0.2, 0.1], [0.3, 0.9]]), 1e-3)
        np.testing.assert_allclose(box, [[0.2, 2 / 8], [0.3, 5 / 8]])
        share, rise = found.to_box(y, *jnp.asarray(box, jnp.float32))
        np.testing.assert_allclose(share[:, 0], [0.1, 0.9, 0.5], atol=1e-4)
        np.testing.assert_array_equal(share[:, 1], y[:, 1])
        np.testing.assert_allclose(rise, -np.log(0.1), atol=1e-4)
        np.testing.assert_allclose(found.from_box(share, *jnp.asarray(box)), y, atol=1e-6)

    @pytest.mark.parametrize("prior", PRIORS, ids=lambda prior: type(prior).__name__)
    def test_priors_are_described_in_plain_words(self, prior: dist.Distribution) -> None:
        again = restore(describe(prior) or {})
        theta = prior.sample(jax.random.key(0))
        np.testing.assert_allclose(again.log_prob(theta), prior.log_prob(theta), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [1, 2])
def test_probabilities_of_an_integer_are_the_exact_ones(rounds: int) -> None:
    def noisy(theta: jax.Array, key: jax.Array) -> jax.Array:
        first, second = jax.random.normal(key, (2, 1))
        return jnp.concatenate([theta[1] + 0.7 * first, theta[0] + 0.1 * theta[1] + 0.2 * second])

    observed = np.array([3.4, 0.8])
    found = fit_posterior(
        noisy, INTEGER, observed, jax.random.key(0), simulations=16_000, rounds=rounds
    )
    drawn = np.asarray(found.sample(jax.random.key(1), 20_000), float)
    whole, share = np.arange(1, 9), np.linspace(0.0005, 0.9995, 1000)
    likelihood = stats.norm.pdf(observed[0], whole, 0.7)[:, None] * stats.norm.pdf(
        observed[1], share + 0.1 * whole[:, None], 0.2
    )
    exact = likelihood.sum(axis=1) / likelihood.sum()
    counted = np.array([(drawn[:, 1] == value).mean() for value in whole])
    np.testing.assert_allclose(counted, exact, atol=0.03)
    for value in (3, 4):
        given = likelihood[value - 1] / likelihood[value - 1].sum()
        assert drawn[drawn[:, 1] == value, 0].mean() == pytest.approx(given @ share, abs=0.03)


class TestBadInput:
    def told(self, **changes: Any) -> str:
        given = {"prior": NORMAL, "observed": OBSERVED[0], "simulations": 400} | changes
        prior, observed = given.pop("prior"), given.pop("observed")
        with pytest.raises(InputError) as caught:
            fit_posterior(simulate, prior, observed, jax.random.key(0), **given, **SMALL)
        return str(caught.value)

    def test_each_is_named(self) -> None:
        assert "expected simulations= or seconds=" in self.told(simulations=None)
        assert "observed: expected shape [2]" in self.told(observed=np.zeros(3))
        assert "data set 0 has none" in self.told(observed=np.full(2, np.nan))
        assert "prior: expected a numpyro distribution" in self.told(prior=3.0)
        assert "continuous distribution" in self.told(prior=dist.Poisson(jnp.ones(2)).to_event(1))
        assert "rounds: expected 1 for several data sets" in self.told(observed=OBSERVED, rounds=2)
        assert "embedding: expected one of" in self.told(embedding="graph")
        assert "simulations: expected" in self.told(simulations=20)

    def test_a_simulator_that_never_succeeds(self) -> None:
        with pytest.raises(InputError, match="400 of 400 data sets from the prior hold none"):
            fit_posterior(
                lambda theta, key: theta * jnp.nan, NORMAL, OBSERVED[0], jax.random.key(0),
                simulations=400, **SMALL,
            )  # fmt: skip


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_it_lowers_for_accelerators(normal: Posterior, platform: str) -> None:
    estimator, recipe = normal.estimator, Recipe(batch=8)
    source = Source(
        lambda key, box: jax.random.normal(key, (2,)), lambda y, box, key: simulate(y, key)
    )
    weights, box = jnp.asarray(normal.weights[0]), jnp.zeros((2, 2))

    def all_of_it(weights: jax.Array, x: jax.Array, key: jax.Array) -> Any:
        share, ready = jnp.array([0.0, 0.1]), estimator.network(weights, normal.fixed).prepare(x)
        online = _train_online(
            estimator, recipe, source, 2, begin(weights), normal.fixed, box, share, key
        )
        rows = jnp.zeros((3, 8), jnp.int32)
        stored = _train_stored(
            estimator, recipe, 1, begin(weights), normal.fixed, (x, ready), rows, share
        )
        drawn = _sample(estimator, 8, weights, normal.fixed, x[0], key)
        return online, stored, drawn, _density(estimator, weights[None], normal.fixed, x[0], drawn)

    exported = jax.export.export(jax.jit(all_of_it), platforms=[platform])(
        weights, jnp.zeros((8, 2)), jax.random.key(0)
    )
    assert exported.platforms == (platform,)
