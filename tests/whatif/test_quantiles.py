"""The sketch of quantiles against the exact ones."""

from __future__ import annotations

import numpy as np
import pytest

from gsim_jax.whatif.quantiles import POINTS, Sketch

LEVELS = (0.0, 0.05, 0.25, 0.5, 0.95, 1.0)


def test_one_chunk_is_exact() -> None:
    values = np.random.default_rng(0).normal(size=(3, 4, 101)).astype(np.float32)
    values[0, 0, 50:] = np.nan
    values[0, 1] = np.nan
    sketch = Sketch()
    sketch.add(np.sort(values, -1), np.isfinite(values).sum(-1))
    with np.errstate(all="ignore"):
        wanted = np.moveaxis(np.nanquantile(values[:, 2:], LEVELS, axis=-1), 0, -1)
    np.testing.assert_allclose(sketch.quantiles(LEVELS)[:, 2:], wanted, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        sketch.quantiles(LEVELS)[0, 0], np.nanquantile(values[0, 0], LEVELS), rtol=1e-6, atol=1e-7
    )
    assert np.isnan(sketch.quantiles(LEVELS)[0, 1]).all()


@pytest.mark.parametrize("chunks", [2, 40])
def test_ranks_are_as_exact_as_promised(chunks: int) -> None:
    """Chunks of different laws and lengths: ranks of the answers in the whole sample."""
    rng = np.random.default_rng(chunks)
    parts = [rng.normal(0.1 * k, 1 + k % 3, 5000 + 100 * (k % 7)) for k in range(chunks)]
    sketch = Sketch()
    for part in parts:
        ordered = np.sort(part).astype(np.float32)[None]
        sketch.add(ordered, np.array([ordered.shape[1]]))
    whole = np.sort(np.concatenate(parts))
    levels = np.linspace(0.01, 0.99, 33)
    ranks = np.searchsorted(whole, sketch.quantiles(levels)[0]) / len(whole)
    times = 1 if chunks < 17 else 1 + -(-chunks // 16)
    assert np.abs(ranks - levels).max() < (times + 1) / (2 * POINTS) + 1e-3
