"""Distances against closed forms, SciPy, and brute force."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import linear_sum_assignment

from gsim_jax.diagnose.distances import (
    energy_distance,
    mmd,
    mmd_squared,
    mse,
    wasserstein,
    wasserstein_1d,
    wasserstein_each,
)


def by_assignment(a: np.ndarray, b: np.ndarray) -> float:
    """W1 of clouds of equal size: the best one-to-one matching."""
    cost = np.linalg.norm(a[:, None] - b[None], axis=-1)
    return float(cost[linear_sum_assignment(cost)].mean())


@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize("counts", [False, True])
def test_exact_w1_is_the_best_matching(d: int, counts: bool) -> None:
    generator = np.random.default_rng(d)
    a, b = generator.normal(size=(2, 60, d)) * 2
    if counts:  # many draws at the same points, some of them in both clouds
        a, b = np.round(a), np.round(b + 0.3)
    assert wasserstein(a, b) == pytest.approx(by_assignment(a, b), rel=1e-9)
    assert wasserstein(b, a) == pytest.approx(wasserstein(a, b), rel=1e-9)


def test_exact_w1_of_clouds_of_unequal_sizes() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.poisson(3, (12, 2)), generator.poisson(4, (18, 2))
    # Each draw repeated until both clouds have 36.
    repeated = by_assignment(np.repeat(a, 3, axis=0), np.repeat(b, 2, axis=0))
    assert wasserstein(a, b) == pytest.approx(repeated, rel=1e-9)
    x, y = generator.normal(size=(7, 1)), generator.normal(size=(11, 1))
    assert wasserstein(x, y) == pytest.approx(stats.wasserstein_distance(x[:, 0], y[:, 0]))


def test_a_shift_moves_everything_that_far() -> None:
    a = np.random.default_rng(2).normal(size=(50, 2))
    assert wasserstein(a, a + np.array([3.0, 4.0])) == pytest.approx(5.0, rel=1e-9)
    assert wasserstein(a, a[::-1]) == 0.0


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.integers(1, 3))
def test_cancelling_common_mass_changes_nothing(seed: int, n: int, d: int) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.integers(0, 3, (2, n, d)).astype(float)
    assert wasserstein(a, b) == pytest.approx(by_assignment(a, b), rel=1e-9, abs=1e-12)


def test_stacks_of_clouds_with_and_without_threads() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.poisson(5.0, (2, 40, 30, 2)).astype(float)
    one = wasserstein_each(a, b)
    assert one.tolist() == [wasserstein(x, y) for x, y in zip(a, b, strict=True)]
    assert wasserstein_each(a, b, workers=3).tolist() == one.tolist()
    assert wasserstein_each(a[:0], b[:0]).shape == (0,)
    with pytest.raises(ValueError, match="as many first as second clouds; got 40 and 39"):
        wasserstein_each(a, b[1:])


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (np.zeros((3, 2)), np.zeros((3, 1)), "same variables; got 2 and 1 columns"),
        (np.zeros(3), np.zeros((3, 1)), r"first cloud as \[draws, variables\]; got shape \(3,\)"),
        (np.zeros((3, 1)), np.zeros((0, 1)), r"second cloud .* got shape \(0, 1\)"),
        (np.zeros((3, 1)), np.array([[0.0], [np.nan]]), "1 of 2 in the second cloud are not"),
    ],
)
def test_what_is_no_pair_of_clouds_is_refused(a: np.ndarray, b: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        wasserstein(a, b)


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 25), (1, 30)])
def test_w1_per_variable_is_scipys(n: int, m: int) -> None:
    generator = np.random.default_rng(n + m)
    a, b = generator.gamma(2.0, 3.0, (n, 3)), generator.poisson(5.0, (m, 3)).astype(float)
    found = np.asarray(jax.jit(wasserstein_1d)(jnp.float32(a), jnp.float32(b)))
    expected = [stats.wasserstein_distance(a[:, v], b[:, v]) for v in range(3)]
    np.testing.assert_allclose(found, expected, rtol=2e-5)


@pytest.mark.parametrize("sigma", [0.2, 1.0, 3.0])
def test_mmd_by_definition(sigma: float) -> None:
    generator = np.random.default_rng(5)
    a, b = generator.normal(size=(15, 2)), 0.5 + generator.normal(size=(20, 2))

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.array([[np.exp(-((p - q) @ (p - q)) / (2 * sigma**2)) for q in y] for p in x])

    v = kernel(a, a).mean() + kernel(b, b).mean() - 2 * kernel(a, b).mean()
    off = [k[~np.eye(len(k), dtype=bool)].mean() for k in (kernel(a, a), kernel(b, b))]
    u = sum(off) - 2 * kernel(a, b).mean()
    x, y = jnp.float32(a), jnp.float32(b)
    assert float(mmd_squared(x, y, sigma)) == pytest.approx(v, abs=1e-6)
    assert float(mmd_squared(x, y, sigma, unbiased=True)) == pytest.approx(u, abs=1e-6)
    assert float(mmd(x, y, sigma)) == pytest.approx(np.sqrt(v), abs=1e-5)


def test_unbiased_mmd_of_two_normals_has_its_closed_form_as_mean() -> None:
    # For N(0, 1) and N(m, 1): 2 σ / √(σ² + 2) · (1 - exp(-m² / (2 (σ² + 2)))).
    sigma, shift = 1.0, 1.5
    expected = 2 * sigma / np.sqrt(sigma**2 + 2) * (1 - np.exp(-(shift**2) / (2 * (sigma**2 + 2))))
    generator = np.random.default_rng(6)
    a, b = generator.normal(size=(2, 400, 100, 1)).astype(np.float32)
    found = np.asarray(
        jax.jit(jax.vmap(lambda x, y: mmd_squared(x, y, sigma, unbiased=True)))(a, b + shift)
    )
    assert found.mean() == pytest.approx(expected, abs=4 * found.std() / np.sqrt(len(found)))
    same = np.asarray(jax.vmap(lambda x, y: mmd_squared(x, y, sigma, unbiased=True))(a, b))
    assert same.mean() == pytest.approx(0.0, abs=4 * same.std() / np.sqrt(len(same)))
    assert (same < 0).any()


def test_mmd_of_counts_at_the_papers_bandwidth_compares_probabilities() -> None:
    generator = np.random.default_rng(7)
    a, b = generator.poisson(2.0, (2, 200, 1))
    top = int(max(a.max(), b.max())) + 1
    p, q = (np.bincount(x[:, 0], minlength=top) / len(x) for x in (a, b))
    expected = np.sqrt(((p - q) ** 2).sum())
    assert float(mmd(jnp.asarray(a), jnp.asarray(b))) == pytest.approx(expected, rel=1e-3)


def test_energy_distance_is_the_square_of_scipys() -> None:
    generator = np.random.default_rng(8)
    a, b = generator.normal(size=(30, 1)), generator.normal(0.4, 2.0, size=(45, 1))
    found = float(jax.jit(energy_distance)(jnp.float32(a), jnp.float32(b)))
    assert found == pytest.approx(stats.energy_distance(a[:, 0], b[:, 0]) ** 2, rel=1e-4)


def test_energy_distance_in_several_dimensions() -> None:
    generator = np.random.default_rng(9)
    a, b = generator.normal(size=(2, 25, 3))

    def mean(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean([np.linalg.norm(p - q) for p in x for q in y]))

    expected = 2 * mean(a, b) - mean(a, a) - mean(b, b)
    x, y = jnp.float32(a), jnp.float32(b)
    assert float(energy_distance(x, y)) == pytest.approx(expected, abs=1e-5)
    assert float(energy_distance(x, x)) == pytest.approx(0.0, abs=1e-6)
    # A loss must have a slope, though draws meet themselves at distance 0.
    assert np.isfinite(np.asarray(jax.grad(energy_distance)(x, y))).all()


def test_mse_is_variance_plus_squared_bias() -> None:
    generator = np.random.default_rng(10)
    draws, target = generator.normal(size=(50, 3)), np.array([0.0, 1.0, 5.0])
    each = draws.var(axis=0) + (draws.mean(axis=0) - target) ** 2
    x, y = jnp.float32(draws), jnp.float32(target)
    assert float(mse(x, y)) == pytest.approx(each.mean(), rel=1e-5)
    seen = jnp.asarray([True, True, False])
    assert float(jax.jit(mse)(x, y, seen)) == pytest.approx(each[:2].mean(), rel=1e-5)
    assert np.isnan(float(mse(x, y, jnp.zeros(3, bool))))


def test_all_but_exact_w1_map_over_stacks() -> None:
    clouds = np.random.default_rng(11).normal(size=(2, 6, 20, 2)).astype(np.float32)
    for distance in (wasserstein_1d, mmd, energy_distance):
        many = np.asarray(jax.jit(jax.vmap(distance))(*clouds))
        for i in range(6):
            one = np.asarray(distance(jnp.asarray(clouds[0, i]), jnp.asarray(clouds[1, i])))
            np.testing.assert_allclose(many[i], one, rtol=1e-4, atol=1e-6)
