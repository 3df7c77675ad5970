"""Products of matrices in place of sums over rows: the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from gsim_jax.calibrate.contractions import by_horizon, crossed, grams, regressed


@pytest.mark.parametrize("shape", [(4, 5, 2, 6, 3, 2), (1, 7, 1, 1, 2, 1), (3, 1, 3, 4, 8, 5)])
def test_they_are_the_sums(shape: tuple[int, ...]) -> None:
    n, t, h, q, f, d = shape
    rng = np.random.default_rng(1)
    known, precision = rng.normal(size=(n, t, h, q)), rng.random((n, t, h, f))
    slopes, coefficients = rng.normal(size=(n, t, h, f, d)), rng.normal(size=(h, q, f, d))
    by_hand = {
        "gram": np.einsum("nthq,nthf,nthr->hfqr", known, precision, known),
        "crossed": np.einsum("nthq,nthf,nthfd->hqfd", known, precision, slopes),
        "regressed": np.einsum("nthq,hqfd->hntfd", known, coefficients).reshape(h, n * t, f, d),
        "rows": np.stack([slopes[:, :, k].reshape(n * t, f, d) for k in range(h)]),
    }
    found = {
        "gram": grams(known, precision),
        "crossed": crossed(known, precision, slopes),
        "regressed": regressed(known, coefficients),
        "rows": by_horizon(slopes),
    }
    for name, expected in by_hand.items():
        assert found[name].shape == expected.shape
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, atol=1e-12)
