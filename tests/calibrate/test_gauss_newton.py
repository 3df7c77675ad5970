"""Equations of several looks at the data, solved together."""

from __future__ import annotations

import numpy as np
import pytest

from gsim_jax.calibrate.gauss_newton import Look, held, join, longest, solve
from gsim_jax.calibrate.moments import Equation

UNITS, D = 40, 3


def linear(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Slopes of units that are linear in x: g - H x; float64[n, d] and float64[d, d]."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(D, D))
    return rng.normal(size=(UNITS, D)), root @ root.T + np.eye(D)


def look(g: np.ndarray, h: np.ndarray, centre: np.ndarray, shape: np.ndarray) -> Look:
    units = (g - h @ centre) @ shape
    information = len(g) * shape.T @ h @ shape
    found = Equation(units.sum(axis=0), information, units, 0.01 * np.eye(D))
    return Look(found, centre, shape, len(g) / UNITS)


@pytest.mark.parametrize("seed", range(4))
def test_looks_at_parts_from_other_places_add_up_to_one_look_at_everything(seed: int) -> None:
    g, h = linear(seed)
    rng = np.random.default_rng(100 + seed)
    centres, shapes = rng.normal(size=(3, D)), rng.normal(size=(3, D, D)) + 2 * np.eye(D)
    cuts = (slice(0, 10), slice(10, 25), slice(25, 40))
    parts = [look(g[cut], h, c, s) for cut, c, s in zip(cuts, centres, shapes, strict=True)]
    whole = look(g, h, centres[-1], shapes[-1]).equation
    found = join(parts)
    np.testing.assert_allclose(found.slope, whole.slope, rtol=1e-9)
    np.testing.assert_allclose(found.information, whole.information, rtol=1e-9)
    np.testing.assert_allclose(found.units, whole.units, rtol=1e-9, atol=1e-9)
    assert np.linalg.eigvalsh(found.noise).min() > 0


def test_the_prior_counts_once() -> None:
    """Averages of posterior means of parts would be drawn to the prior by every one of them."""
    g, h = linear(0)
    g = g + h @ np.array([1.0, -0.5, 0.8])  # far from the prior's middle
    centre, shape = np.array([0.9, -0.4, 0.7]), 0.3 * np.eye(D)
    parts = [look(g[k : k + 4], h, centre, shape) for k in range(0, UNITS, 4)]
    whole, _ = solve(look(g, h, centre, shape).equation, centre, shape, UNITS)
    joined, _ = solve(join(parts), centre, shape, UNITS)
    np.testing.assert_allclose(joined, whole, atol=0.01)
    alone = np.mean([solve(part.equation, centre, shape, 4)[0] for part in parts], axis=0)
    assert np.linalg.norm(centre + alone) < np.linalg.norm(centre + whole)


def test_steps_are_as_long_as_the_cloud_or_the_error() -> None:
    np.testing.assert_allclose(longest(np.diag([0.25, 1.0, 25.0])), [2.0, 2.0, 5.0])


def test_information_of_runs_that_explode_leaves_a_solvable_system() -> None:
    along = np.random.default_rng(2).normal(size=8)
    information, prior = 3e16 * np.outer(along, along), 0.09 * np.eye(8)
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(information + prior)
    slope = information @ (1e-3 * along)
    step = np.linalg.solve(held(information, prior), slope)
    assert step == pytest.approx(1e-3 * along, rel=1e-3)
    units = np.tile(slope / 10, (10, 1))
    found = Equation(slope, information, units, np.zeros((8, 8)), 1.0)
    step, covariance = solve(found, np.zeros(8), 0.3 * np.eye(8), trajectories=10)
    assert np.isfinite(step).all()
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_nothing_is_added_to_ordinary_information() -> None:
    information, prior = np.diag([1e6, 1.0, 0.0]), 4e-4 * np.eye(3)
    np.testing.assert_array_equal(held(information, prior), information + prior)
