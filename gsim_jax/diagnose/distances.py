"""Distances between clouds of draws, and from draws to an observation.

A cloud is an array [N, d]: N draws of d variables, all of equal weight, in natural units. What ends
in a number for a loop on the device (`wasserstein_1d`, `mmd`, `energy_distance`, `mse`) is pure JAX
for one pair of clouds: jit it, vmap it. Exact W1 in several dimensions is a linear program and runs
on the host (`wasserstein`, `wasserstein_each`).

Two clouds of one law are not at distance 0. None of these numbers means anything without its floor,
the same number for two independent clouds of the truth: see `gsim_jax.diagnose.next_state`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

#: Bandwidth of the RBF kernel in G-Sim (arXiv 2506.09272), in units of the variables.
PAPER_SIGMA = 0.2
#: Solves handed to a thread at once.
_BATCH = 16
_UNROLLED = 8


def wasserstein(a: np.ndarray, b: np.ndarray) -> float:
    """Exact 1-Wasserstein (earth mover's) distance with Euclidean cost, on the host.

    W1(P, Q) = min over couplings of E|X - Y|, for the empirical laws of the two clouds (Villani,
    Optimal Transport, 2009, definition 6.1), by the network simplex of POT (`ot.emd2`). Mass that
    both clouds have at the same point stays there first, which by the triangle inequality changes
    nothing: clouds of counts become small problems.

    Args:
        a: [N, d].
        b: [M, d].

    Returns:
        The distance in the units of the variables; 0 for equal clouds.

    Raises:
        ValueError: the clouds have no draws, different numbers of variables, or values that are
            not finite.
        RuntimeError: the linear program was not solved.
    """
    import ot  # half a second, which whoever needs no transport should not wait for

    a, b = _cloud(a, "first"), _cloud(b, "second")
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"expected clouds of the same variables; got {a.shape[1]} and {b.shape[1]} columns"
        )
    points, where = np.unique(np.concatenate([a, b]), axis=0, return_inverse=True)
    where = where.reshape(-1)
    # In whole units of 1 / (N M) equal masses cancel without a remainder.
    count = len(b) * np.bincount(where[: len(a)], minlength=len(points))
    count = count - len(a) * np.bincount(where[len(a) :], minlength=len(points))
    more, less = count > 0, count < 0
    if not more.any():
        return 0.0
    moved = float(count[more].sum())
    cost = np.linalg.norm(points[more][:, None] - points[less][None], axis=-1)
    value, log = ot.emd2(
        count[more] / moved, -count[less] / moved, cost, log=True, numItermax=10_000_000
    )
    if log["warning"] is not None:
        raise RuntimeError(
            f"expected exact transport between the clouds; POT says {log['warning']}"
        )
    return float(value) * moved / (len(a) * len(b))


def wasserstein_each(a: np.ndarray, b: np.ndarray, *, workers: int = 1) -> np.ndarray:
    """`wasserstein` of each of S pairs of clouds.

    Args:
        a: [S, N, d].
        b: [S, M, d].
        workers: threads; the linear program runs outside of Python's lock, what prepares it does
            not, so that threads help dense clouds (reals, N in the thousands) and not small ones.

    Returns:
        float64[S].

    Raises:
        ValueError: as `wasserstein`, or the stacks differ in length.
    """
    if len(a) != len(b):
        raise ValueError(f"expected as many first as second clouds; got {len(a)} and {len(b)}")

    def batch(start: int) -> list[float]:
        stop = start + _BATCH
        return [wasserstein(x, y) for x, y in zip(a[start:stop], b[start:stop], strict=True)]

    starts = range(0, len(a), _BATCH)
    if workers <= 1:
        parts = [batch(start) for start in starts]
    else:
        with ThreadPoolExecutor(workers) as pool:
            parts = list(pool.map(batch, starts))
    return np.asarray([value for part in parts for value in part], float)


def _cloud(x: np.ndarray, which: str) -> np.ndarray:
    x = np.asarray(x, float)
    if x.ndim != 2 or not len(x):
        raise ValueError(f"expected the {which} cloud as [draws, variables]; got shape {x.shape}")
    if not np.isfinite(x).all():
        bad = int((~np.isfinite(x).all(axis=1)).sum())
        text = f"expected finite draws; {bad} of {len(x)} in the {which} cloud are not"
        raise ValueError(f"{text}: leave failed draws out, and count them")
    return x


def wasserstein_1d(a: jax.Array, b: jax.Array) -> jax.Array:
    """W1 of each variable by itself; jit and vmap.

    In one dimension W1 is the area between the two distribution functions (Vallender, 1974); for
    clouds of equal size that is the mean distance of the order statistics.

    Args:
        a: float[N, d].
        b: float[M, d].

    Returns:
        float32[d], in the unit of each variable.
    """
    a, b = jnp.sort(a.astype(jnp.float32), axis=0), jnp.sort(b.astype(jnp.float32), axis=0)
    if a.shape[0] == b.shape[0]:
        return jnp.abs(a - b).mean(axis=0)

    def one(x: jax.Array, y: jax.Array) -> jax.Array:
        z = jnp.sort(jnp.concatenate([x, y]))
        below_x = jnp.searchsorted(x, z[:-1], side="right") / x.shape[0]
        below_y = jnp.searchsorted(y, z[:-1], side="right") / y.shape[0]
        return jnp.sum(jnp.abs(below_x - below_y) * jnp.diff(z))

    return jax.vmap(one, in_axes=1)(a, b)


def mmd_squared(
    a: jax.Array, b: jax.Array, sigma: float | jax.Array = PAPER_SIGMA, *, unbiased: bool = False
) -> jax.Array:
    """Squared maximum mean discrepancy with the kernel k(x, y) = exp(-|x - y|² / (2 σ²)).

    E k(X, X') + E k(Y, Y') - 2 E k(X, Y) (Gretton et al., 2012, JMLR 13, lemma 6); jit and vmap.

    Args:
        a: float[N, d].
        b: float[M, d].
        sigma: bandwidth in the units of the variables. With σ = 0.2 two different counts are as
            good as unrelated (k = 4e-6), however near: it compares probabilities point by point.
        unbiased: leave out pairs of a draw with itself (equation 3 there; N, M > 1): the floor is
            then 0, and values may be negative. Else the V-statistic (equation 5), which is not
            negative.

    Returns:
        float32 scalar, without unit.
    """
    scale = -0.5 / (jnp.asarray(sigma, jnp.float32) ** 2)

    def mean(x: jax.Array, y: jax.Array, own: bool) -> jax.Array:
        kernel = jnp.exp(scale * _squared(x, y))
        if own and unbiased:  # k(x, x) = 1
            n = x.shape[0]
            return (_mean(kernel) * n - 1) / (n - 1)
        return _mean(kernel)

    return mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False)


def mmd(a: jax.Array, b: jax.Array, sigma: float | jax.Array = PAPER_SIGMA) -> jax.Array:
    """Maximum mean discrepancy: the root of the V-statistic of `mmd_squared`.

    Args:
        a: float[N, d].
        b: float[M, d].
        sigma: bandwidth in the units of the variables.

    Returns:
        float32 scalar in 0..√2.
    """
    return jnp.sqrt(jnp.maximum(mmd_squared(a, b, sigma), 0.0))


def energy_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    """Energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| with Euclidean norms; jit and vmap.

    Székely and Rizzo (2013), J. Stat. Plan. Inference 143, equation 2.1, as V-statistic: not
    negative, and 0 for equal clouds. In one dimension it is twice the integral of (F - G)², the
    square of what `scipy.stats.energy_distance` calls by this name.

    Args:
        a: float[N, d].
        b: float[M, d].

    Returns:
        float32 scalar, in the unit of the variables.
    """

    def mean(x: jax.Array, y: jax.Array) -> jax.Array:
        squared = _squared(x, y)
        # The root has no slope at 0, where every draw meets itself.
        near = squared == 0
        return _mean(jnp.where(near, 0.0, jnp.sqrt(jnp.where(near, 1.0, squared))))

    return 2 * mean(a, b) - mean(a, a) - mean(b, b)


def _squared(x: jax.Array, y: jax.Array) -> jax.Array:
    """|x_i - y_j|², float32[N, M]; by differences, for |x|² + |y|² - 2xy cancels in float32."""
    x, y = x.astype(jnp.float32), y.astype(jnp.float32)
    if x.shape[1] > _UNROLLED:
        return jnp.sum((x[:, None, :] - y[None, :, :]) ** 2, axis=-1)
    # One term per variable fuses with what comes after it; a sum over an axis would be stored.
    return sum((x[:, None, v] - y[None, :, v]) ** 2 for v in range(x.shape[1]))  # pyright: ignore


def _mean(matrix: jax.Array) -> jax.Array:
    """Mean of all entries of [N, M], as a product with ones.

    Fused with a plain sum, XLA on CPU computes the entries one by one: five times slower.
    """
    n, m = matrix.shape
    ones = jnp.ones(n, matrix.dtype), jnp.ones(m, matrix.dtype)
    by_row = jnp.matmul(matrix, ones[1], precision="highest")
    return jnp.matmul(ones[0], by_row, precision="highest") / (n * m)


def mse(draws: jax.Array, target: jax.Array, seen: jax.Array | None = None) -> jax.Array:
    """Mean squared difference between draws and what was observed; jit and vmap.

    Of a stochastic simulator this is variance plus squared bias: it is smallest for one that always
    says the mean, so it measures and does not rank.

    Args:
        draws: float[N, d].
        target: float[d].
        seen: bool[d], entries of `target` that were observed; all by default.

    Returns:
        float32 scalar in squared units, averaged over draws and seen variables; NaN where nothing
        is seen.
    """
    squared = ((draws - target[None]).astype(jnp.float32) ** 2).mean(axis=0)
    if seen is None:
        return squared.mean()
    return jnp.sum(jnp.where(seen, squared, 0.0)) / jnp.sum(seen)
