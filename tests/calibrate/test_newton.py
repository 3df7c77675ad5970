"""Newton's method on the log posterior density against closed forms and quadrature."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.special import xlog1py, xlogy
from scipy.stats import norm

from gsim_jax.calibrate import newton
from gsim_jax.calibrate.fitness import X_EDGE, LogDensity
from gsim_jax.calibrate.newton import maximise, neighbours

CONTINUOUS = np.zeros(1, int)


def density_of(likelihood: Callable[[jax.Array], jax.Array], members: int = 8) -> LogDensity:
    return LogDensity(lambda u: likelihood(u)[None], members)


def binomial(successes: int, trials: int) -> Callable[[jax.Array], jax.Array]:
    """Log mass up to a constant of u = p."""
    return lambda u: successes * jnp.log(u[0]) + (trials - successes) * jnp.log1p(-u[0])


def exact_binomial(successes: int, trials: int) -> tuple[float, float]:
    """Mode in x of Beta(s + 1, n - s + 1) in p = Phi(x), and its Laplace deviation, in float64."""

    def minus(x: float) -> float:
        p = norm.cdf(x)
        return 0.5 * x * x - xlogy(successes, p) - xlog1py(trials - successes, -p)

    mode = minimize_scalar(minus, bounds=(-X_EDGE, X_EDGE), method="bounded",
                           options={"xatol": 1e-10}).x  # fmt: skip
    h = 1e-3
    curvature = (minus(mode + h) - 2 * minus(mode) + minus(mode - h)) / h**2
    return float(mode), float(1 / np.sqrt(curvature))


@pytest.fixture(params=["differences", pytest.param("automatic", marks=pytest.mark.slow)])
def derivatives(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few parameters and many take their derivatives in different ways."""
    if request.param == "automatic":
        monkeypatch.setattr(newton, "DIFFERENCES", 0)


@pytest.mark.usefixtures("derivatives")
class TestBinomial:
    @pytest.mark.parametrize(("successes", "trials"), [(3, 10), (40, 200), (0, 25), (600, 1000)])
    @pytest.mark.parametrize("start", [0.0, X_EDGE, -X_EDGE])
    def test_mode_and_curvature(self, successes: int, trials: int, start: float) -> None:
        density = density_of(binomial(successes, trials))
        found = maximise(density, np.array([start]), CONTINUOUS)
        mode, deviation = exact_binomial(successes, trials)
        # Stops within 1e-3 nats of the top: sqrt(2e-3) deviations.
        assert found.x[0] == pytest.approx(mode, abs=0.05 * deviation)
        assert np.sqrt(found.covariance[0, 0]) == pytest.approx(deviation, rel=0.03)
        assert found.warnings == ()

    def test_with_much_data_it_is_the_beta_posterior(self) -> None:
        """Laplace in x against the posterior's own deviation by quadrature."""
        successes, trials = 400, 2000
        found = maximise(density_of(binomial(successes, trials)), np.zeros(1), CONTINUOUS)
        posterior = stats.beta(successes + 1, trials - successes + 1)

        def moment(power: int) -> float:
            at = 0.2 + np.linspace(-0.08, 0.08, 9)
            return quad(lambda p: norm.ppf(p) ** power * posterior.pdf(p), at[0], at[-1],
                        points=at[1:-1])[0]  # fmt: skip

        mean = moment(1)
        deviation = np.sqrt(moment(2) - mean**2)
        assert found.x[0] == pytest.approx(mean, abs=0.1 * deviation)
        assert np.sqrt(found.covariance[0, 0]) == pytest.approx(deviation, rel=0.02)


@pytest.mark.usefixtures("derivatives")
def test_a_quadratic_takes_one_step_whatever_its_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newton, "STEPS", 1)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    precision = turn @ np.diag([50.0, 8.0, 3.0]) @ turn.T
    top = np.array([0.4, -0.3, 0.2])
    # What Phi undoes is quadratic in x; with the prior the precision is one more.
    given = jnp.asarray(precision, jnp.float32)

    def likelihood(u: jax.Array) -> jax.Array:
        gap = jax.scipy.special.ndtri(u) - jnp.asarray(top, jnp.float32)
        return -0.5 * gap @ given @ gap

    found = maximise(density_of(likelihood), np.zeros(3), np.zeros(3, int))
    expected = np.linalg.inv(precision + np.eye(3))
    np.testing.assert_allclose(found.covariance, expected, rtol=0.01, atol=1e-3)
    np.testing.assert_allclose(found.x, expected @ precision @ top, atol=2e-3)


def test_what_the_data_do_not_tell_keeps_the_prior() -> None:
    density = density_of(lambda u: binomial(40, 200)(u[:1]) + 0.0 * u[1])
    found = maximise(density, np.array([0.0, 1.7]), np.zeros(2, int))
    assert found.x[1] == pytest.approx(0.0, abs=0.05)
    assert found.covariance[1, 1] == pytest.approx(1.0, abs=1e-3)
    assert abs(found.covariance[0, 1]) < 1e-3


class TestDiscrete:
    """k out of 12 cells, and p: 30 of 100 observed, each with probability p (k + 1) / 12."""

    CELLS = np.array([12, 0])

    def likelihood(self, u: jax.Array) -> jax.Array:
        k = jnp.clip(jnp.floor(u[0] * 12), 0, 11)
        # k itself is measured too, so that it is identified: 7.2 with deviation 0.7.
        p = u[1] * (k + 1) / 12
        return 30 * jnp.log(p) + 70 * jnp.log1p(-p) - 0.5 * ((k - 7.2) / 0.7) ** 2

    @pytest.mark.parametrize("start", [0, 5, 11])
    @pytest.mark.parametrize("members", [4, 16])
    def test_the_best_cell_is_found_with_the_rest_climbed_in_each(
        self, start: int, members: int
    ) -> None:
        density = density_of(self.likelihood, members)
        x = np.array([norm.ppf((start + 0.5) / 12), 1.0])
        found = maximise(density, x, self.CELLS)

        def minus(k: int, x: float) -> float:
            p = norm.cdf(x) * (k + 1) / 12
            middle = norm.ppf((k + 0.5) / 12)
            mass = 30 * np.log(p) + 70 * np.log1p(-p) - 0.5 * ((k - 7.2) / 0.7) ** 2
            return 0.5 * x * x + 0.5 * middle**2 - mass

        tops = [
            minimize_scalar(lambda x, k=k: minus(k, x), bounds=(-3, 3), method="bounded")
            for k in range(12)
        ]
        best = int(np.argmin([top.fun for top in tops]))
        assert np.floor(norm.cdf(found.x[0]) * 12) == best
        assert found.x[1] == pytest.approx(tops[best].x, abs=0.02)
        assert not found.covariance[0].any()
        assert found.covariance[1, 1] > 0

    def test_neighbours_stand_in_the_middle_of_cells_nearest_first(self) -> None:
        x = np.array([0.3, norm.ppf(2.5 / 5)])
        found = neighbours(x, 1, 5, 3)
        np.testing.assert_array_equal(found[:, 0], 0.3)
        cells = norm.cdf(found[:, 1]) * 5 - 0.5
        np.testing.assert_allclose(np.abs(cells - 2), [1, 1, 2])
        assert len(neighbours(x, 1, 5, 99)) == 4

    def test_without_free_parameters_nothing_is_differentiated(self) -> None:
        density = density_of(lambda u: -((jnp.floor(u[0] * 9) - 6.0) ** 2))
        found = maximise(density, np.array([norm.ppf(0.5 / 9)]), np.array([9]))
        assert np.floor(norm.cdf(found.x[0]) * 9) == 6
        np.testing.assert_array_equal(found.covariance, [[0.0]])


class TestImpossible:
    def beyond(self, edge: float) -> None:
        """The mode where the support ends at p = edge, approached from far away."""

        def likelihood(u: jax.Array) -> jax.Array:
            return jnp.where(u[0] < edge, binomial(40, 100)(u), -jnp.inf)

        found = maximise(density_of(likelihood), np.array([-3.0]), CONTINUOUS)
        mode, deviation = exact_binomial(40, 100)
        assert found.x[0] == pytest.approx(mode, abs=0.05 * deviation)
        assert np.sqrt(found.covariance[0, 0]) == pytest.approx(deviation, rel=0.03)

    def test_a_step_into_the_impossible_is_shortened(self) -> None:
        self.beyond(0.6)

    def test_a_support_that_ends_one_deviation_behind_the_mode(self) -> None:
        self.beyond(0.45)

    def test_where_everything_is_impossible_the_start_stays(self) -> None:
        found = maximise(density_of(lambda u: -jnp.inf * u[0]), np.array([0.3]), CONTINUOUS)
        np.testing.assert_array_equal(found.x, [0.3])
        np.testing.assert_array_equal(found.covariance, [[1.0]])

    def test_impossible_cells_are_passed_over(self) -> None:
        """Only every third cell can have made the data; the start is one of them."""

        def likelihood(u: jax.Array) -> jax.Array:
            k = jnp.floor(u[0] * 10)
            fits = binomial(30, 100)(u[1:]) - (k - 6.0) ** 2
            return jnp.where(k % 3 == 0, fits, -jnp.inf)

        found = maximise(density_of(likelihood), np.array([norm.ppf(0.05), 0.0]), np.array([10, 0]))
        assert np.floor(norm.cdf(found.x[0]) * 10) == 6
        assert found.x[1] == pytest.approx(exact_binomial(30, 100)[0], abs=0.01)


@pytest.mark.usefixtures("derivatives")
def test_curvature_of_the_wrong_sign_does_not_climb_down() -> None:
    """A Cauchy tail is convex: plain Newton steps would run off."""

    def likelihood(u: jax.Array) -> jax.Array:
        x = jax.scipy.special.ndtri(u[0])
        return -20 * jnp.log1p(((x - 0.5) / 0.1) ** 2)

    found = maximise(density_of(likelihood, 16), np.array([-2.0]), CONTINUOUS)
    assert found.x[0] == pytest.approx(0.5, abs=0.01)
    assert found.covariance[0, 0] == pytest.approx(0.1**2 / 40, rel=0.05)
