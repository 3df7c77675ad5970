"""The quadratic fit against quadratics, and its covariance against exact ones."""

from __future__ import annotations

import numpy as np
import pytest

from gsim_jax.calibrate import quadratic

#: A long and narrow valley: curvatures 100 to 1, not along the axes.
HESSIAN = np.array([[51.0, 49.0], [49.0, 51.0]]) / 10


def quadratics(points: np.ndarray, centres: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Scores [Q, n] of units whose own minima lie at `centres` [n, d]."""
    off = points[:, None] - centres[None]
    return 1.5 + 0.5 * np.einsum("qni,ij,qnj->qn", off, hessian, off)


class TestCloud:
    def test_pairs_mirror_one_another(self) -> None:
        points = quadratic.cloud(3, 32, seed=4)
        np.testing.assert_array_equal(points[:16], -points[16:])
        assert points.shape == (32, 3)
        assert np.abs(points).max() <= 1.0
        np.testing.assert_array_equal(points, quadratic.cloud(3, 32, seed=4))

    @pytest.mark.parametrize("dimension", [1, 2, 5, quadratic.MAX_DIMENSION])
    def test_there_are_points_for_every_coefficient(self, dimension: int) -> None:
        size = quadratic.cloud_size(dimension, 16)
        assert size % 16 == 0
        assert size >= 2 * (dimension + 1) * (dimension + 2) // 2

    def test_the_shape_follows_the_errors(self) -> None:
        covariance = np.array([[1.0, 0.9], [0.9, 1.0]]) * 0.01
        shape = quadratic.cloud_shape(covariance, 0.001, 10.0)
        np.testing.assert_allclose(shape @ shape.T, quadratic.WIDTH**2 * covariance)
        clipped = np.linalg.norm(quadratic.cloud_shape(covariance, 0.1, 0.2), axis=0)
        np.testing.assert_allclose(np.sort(clipped), [0.1, 0.2])


class TestFit:
    @pytest.mark.parametrize("minimum", [(0.3, -0.8), (1.0, 1.0), (0.9, -0.9), (0.0, 0.0)])
    def test_an_exact_quadratic_is_recovered(self, minimum: tuple[float, float]) -> None:
        points = quadratic.cloud(2, 32, seed=1)
        centres = np.array(minimum) + np.array([[0.2, -0.1], [-0.2, 0.1], [0.0, 0.0]])
        got = quadratic.fit(points, quadratics(points, centres, HESSIAN))
        np.testing.assert_allclose(got.step, minimum, atol=1e-9)
        np.testing.assert_allclose(got.hessian, HESSIAN, atol=1e-9)
        np.testing.assert_allclose(got.slopes, -centres @ HESSIAN, atol=1e-9)

    def test_steps_are_no_longer_than_the_reach(self) -> None:
        points = quadratic.cloud(2, 32, seed=2)
        far = quadratics(points, np.array([[30.0, -40.0]]), HESSIAN)
        step = quadratic.fit(points, far).step
        assert np.linalg.norm(step) == pytest.approx(2.0)
        assert step @ np.array([30.0, -40.0]) > 0

    @pytest.mark.parametrize("curvature", [-0.5, 0.0])
    def test_a_saddle_or_a_plain_is_left_downhill(self, curvature: float) -> None:
        points = quadratic.cloud(2, 32, seed=3)
        scores = (
            4.0 * points[:, :1] ** 2 + 0.5 * curvature * points[:, 1:] ** 2 + 0.3 * points[:, 1:]
        )
        got = quadratic.fit(points, scores)
        assert got.step[0] == pytest.approx(0.0, abs=1e-9)
        assert -2.0 <= got.step[1] < -1.0
        np.testing.assert_allclose(got.hessian, np.diag([8.0, 0.0]), atol=1e-9)

    def test_noise_of_the_scores_averages_out(self) -> None:
        generator = np.random.default_rng(4)
        points = quadratic.cloud(2, 64, seed=4)
        steps = []
        for _ in range(200):
            scores = quadratics(points, np.array([[0.4, -0.2]]), np.diag([3.0, 1.0]))
            steps.append(quadratic.fit(points, scores + 0.1 * generator.normal(size=(64, 1))).step)
        error = np.std(steps, axis=0) / np.sqrt(200)
        np.testing.assert_allclose(np.mean(steps, 0), [0.4, -0.2], atol=4 * error.max() + 0.005)


class TestCovariance:
    """A Gaussian location model: unit i scores (x - y_i)' A (x - y_i) / 2, whatever A says.

    Its minimum is the mean of the y_i, and that varies like Cov(y) / n.
    """

    SPREAD = np.array([[0.04, 0.03], [0.03, 0.09]])

    def stated(self, y: np.ndarray, shape: np.ndarray, hessian: np.ndarray) -> np.ndarray:
        """The covariance that a fit around the mean of y states."""
        points = quadratic.cloud(2, 32, seed=5)
        scores = quadratics(points @ shape.T, y - y.mean(axis=0), hessian)
        return quadratic.covariance(quadratic.fit(points, scores), shape, len(y))

    def test_the_sandwich_with_the_prior(self) -> None:
        y = np.random.default_rng(6).multivariate_normal([0, 0], self.SPREAD, size=40)
        shape = quadratic.cloud_shape(self.SPREAD / 40, 0.02, 0.5)
        own = np.cov(y.T) / 40 * 39 / 38  # two means were fitted
        expected = np.linalg.inv(np.linalg.inv(own) + np.eye(2))
        for hessian in (np.eye(2), HESSIAN, np.array([[2.0, -0.7], [-0.7, 0.5]])):
            np.testing.assert_allclose(self.stated(y, shape, hessian), expected, rtol=1e-6)

    def test_stated_errors_are_those_of_the_estimate(self) -> None:
        generator = np.random.default_rng(7)
        shape = quadratic.cloud_shape(self.SPREAD / 20, 0.02, 0.5)
        samples = generator.multivariate_normal([0, 0], self.SPREAD, size=(400, 20))
        stated = np.mean([self.stated(y, shape, HESSIAN) for y in samples], axis=0)
        np.testing.assert_allclose(stated, self.SPREAD / 20, rtol=0.12)

    def test_the_clouds_shape_does_not_matter(self) -> None:
        y = np.random.default_rng(8).multivariate_normal([0, 0], self.SPREAD, size=30)
        round_ = self.stated(y, 0.2 * np.eye(2), HESSIAN)
        long = self.stated(y, quadratic.cloud_shape(self.SPREAD, 0.02, 0.5), HESSIAN)
        np.testing.assert_allclose(round_, long, rtol=1e-6)

    def test_what_the_data_do_not_determine_keeps_the_priors_spread(self) -> None:
        generator = np.random.default_rng(9)
        points = quadratic.cloud(2, 32, seed=9)
        scores = quadratics(points[:, :1], generator.normal(0, 0.1, (20, 1)), np.eye(1))
        scores = scores + 1e-6 * generator.normal(size=(32, 20))
        shape = np.diag([0.3, 0.7])
        got = quadratic.covariance(quadratic.fit(points, scores), shape, 20)
        assert np.sqrt(got[0, 0]) < 0.02
        # No more than FLAT radii are read from one fit: the next cloud is wider.
        flat = (quadratic.FLAT * 0.7) ** 2
        assert got[1, 1] == pytest.approx(flat / (1 + flat), rel=0.02)
        assert np.sqrt(got[1, 1]) > 0.7
        assert np.linalg.eigvalsh(got).min() >= 0

    def test_a_direction_without_curvature_and_with_steep_slopes(self) -> None:
        generator = np.random.default_rng(10)
        points = quadratic.cloud(2, 32, seed=10)
        scores = quadratics(points, generator.normal(0, 1.0, (20, 2)), np.diag([1.0, -1e-3]))
        got = quadratic.covariance(quadratic.fit(points, scores), 0.1 * np.eye(2), 20)
        assert np.isfinite(got).all()
        assert np.linalg.eigvalsh(got).min() >= 0
        assert got[1, 1] > got[0, 0]
