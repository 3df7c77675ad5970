"""A permutation test of whether two samples come from one law."""

from __future__ import annotations

import numpy as np


def p_value(a: np.ndarray, b: np.ndarray, rng: np.random.Generator, permutations: int) -> float:
    """Exact permutation test on the energy distance (Székely and Rizzo 2013, section 6).

    Args:
        a: float64[n, k], one sample.
        b: float64[n, k], the other, of the same size.
        rng: source of the permutations.
        permutations: how many; the least p is 1 / (permutations + 1).

    Returns:
        Share of relabellings, the given one included, that lie at least as far apart.
    """
    n = len(a)
    both = np.concatenate([a, b])
    scale = both.std(axis=0)
    moving = scale > 0
    both = both[:, moving] / scale[moving]
    squares = np.sum(both**2, axis=1)
    gram = squares[:, None] + squares[None, :] - 2 * both @ both.T
    distance = np.sqrt(np.maximum(gram, 0.0))
    # With labels +1 and -1 the energy distance of samples of one size is -z D z / n^2.
    labels = np.repeat([1.0, -1.0], n)
    shuffled = np.stack([rng.permutation(labels) for _ in range(permutations)])
    apart = -np.einsum("bi,bi->b", shuffled @ distance, shuffled)
    observed = -labels @ distance @ labels
    tolerance = 1e-9 * np.abs(distance).sum()
    return float((1 + np.sum(apart >= observed - tolerance)) / (1 + permutations))
