"""Embeddings: scales from a pilot, invariances, masks, any length."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gsim_jax.calibrate.embedding import SetEmbedding, Standardiser, VectorEmbedding
from gsim_jax.calibrate.trajectory import (
    TrajectoryEmbedding,
    fill_forward,
    moments,
    transition_sums,
)


def random() -> np.random.Generator:
    return np.random.default_rng(0)


def test_normal_scores_of_a_skewed_column_are_normal() -> None:
    pilot = np.exp(2.0 * random().normal(size=(4000, 1)))
    columns = Standardiser(1, masked=False)
    columns.fit(pilot)
    _, scores = np.asarray(columns(jnp.asarray(pilot, jnp.float32))).T
    inner = np.abs(scores) < 2
    rank = stats.norm.ppf((stats.rankdata(pilot[:, 0]) - 0.5) / 4000)
    assert np.abs(scores - rank)[inner].max() < 0.2
    assert np.diff(scores[np.argsort(pilot[:, 0])]).min() > -1e-4


def test_missing_entries_are_zero_with_a_mask() -> None:
    columns = Standardiser(2, masked=True)
    columns.fit(random().normal(3.0, 2.0, (500, 2)))
    found = np.asarray(columns(jnp.array([[jnp.nan, 5.0]])))[0]
    np.testing.assert_allclose(found[[0, 2, 4]], 0.0, atol=1e-6)
    np.testing.assert_allclose(found[1], 1.0, atol=0.1)
    assert found[5] == 1.0


def test_constant_and_unseen_columns_do_no_harm() -> None:
    columns = Standardiser(2, masked=True)
    columns.fit(np.stack([np.full(50, 7.0), np.full(50, np.nan)], axis=1))
    found = columns(jnp.array([[7.0, jnp.nan], [8.0, 1.0]]))
    assert bool(jnp.all(jnp.isfinite(found)))


def test_a_vector_of_any_shape_is_flattened() -> None:
    found = VectorEmbedding((2, 3), False, 4, 8, random())
    x = random().normal(size=(50, 2, 3)).astype(np.float32)
    found.fit(x)
    ready = found.prepare(jnp.asarray(x[:5]))
    assert ready[0].shape == (5, found.summary)
    assert found.learn(ready).shape == (5, found.size)


@pytest.mark.slow
def test_a_set_has_no_order() -> None:
    found = SetEmbedding((6, 2), False, 4, 8, random())
    x = random().normal(size=(100, 6, 2)).astype(np.float32)
    found.fit(x)
    both = jnp.asarray(np.stack([x[0], x[0][[3, 1, 5, 0, 2, 4]]]))
    ready = found.prepare(both)
    for rows in (ready[0], found.learn(ready)):
        np.testing.assert_allclose(rows[0], rows[1], atol=1e-4)
    other = found.learn(found.prepare(jnp.asarray(x[1:2])))
    assert float(jnp.max(jnp.abs(other - found.learn(ready)[:1]))) > 0.1


def test_increments_reach_back_to_the_last_row_seen() -> None:
    x = jnp.array([[1.0], [jnp.nan], [4.0], [6.0], [jnp.nan]])
    np.testing.assert_allclose(fill_forward(x)[:, 0], [1.0, 1.0, 4.0, 6.0, 6.0])
    sums, counts = transition_sums(x, masked=True)
    # Levels before each step, steps, their sizes and squares; then products.
    np.testing.assert_allclose(sums[:4], [1 + 1 + 4 + 6, 3 + 2, 5, 13])
    np.testing.assert_allclose(counts[:4], [4, 2, 2, 2])
    np.testing.assert_allclose(sums[4:], [1 + 1 + 16 + 36, 3 * 1 + 2 * 4])


def test_moments_of_what_is_complete_are_the_same_with_and_without_masks() -> None:
    x = jnp.asarray(random().normal(size=(9, 3)), jnp.float32)
    for masked, plain in zip(transition_sums(x, True), transition_sums(x, False), strict=True):
        np.testing.assert_allclose(masked, plain, rtol=1e-5)


def test_nothing_seen_is_not_a_number() -> None:
    assert bool(jnp.all(jnp.isnan(moments(*transition_sums(jnp.full((5, 2), jnp.nan), True)))))


def test_trajectories_have_no_order_and_padding_says_nothing() -> None:
    shape = (4, 12, 2)
    found = TrajectoryEmbedding(shape, True, 4, 16, random())
    x = random().poisson(5.0, (60, *shape)).astype(np.float32)
    x[:, :, 8:] = np.nan
    found.fit(x)
    one = x[0]
    ready = found.prepare(jnp.asarray(np.stack([one, one[[2, 0, 3, 1]]])))
    context = found.learn(ready)
    np.testing.assert_allclose(context[0], context[1], atol=1e-3)
    assert bool(jnp.all(jnp.isfinite(context)))


def test_ratios_of_sums_are_linear_in_the_summary() -> None:
    """Logarithms of pooled moments hold log(sum of increments) - log(sum of levels)."""
    generator = random()
    rate = generator.uniform(0.05, 0.5, 400)
    x = np.zeros((400, 30, 2), np.float32)
    x[:, 0, 0] = generator.integers(50, 500, 400)
    for t in range(29):
        moved = generator.binomial(x[:, t, 0].astype(int), rate)
        x[:, t + 1, 0], x[:, t + 1, 1] = x[:, t, 0] - moved, x[:, t, 1] + moved
    found = TrajectoryEmbedding((30, 2), False, 4, 8, random())
    found.fit(x)
    summary = np.asarray(jax.jit(found.prepare)(jnp.asarray(x))[0], float)
    columns = np.concatenate([summary, np.ones((400, 1))], axis=1)
    fitted = columns @ np.linalg.lstsq(columns, np.log(rate), rcond=1e-6)[0]
    assert np.std(np.log(rate) - fitted) < 0.1 * np.std(np.log(rate))
