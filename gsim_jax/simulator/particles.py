"""Weighting and resampling of the filter's particles."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax import words

#: Width of the kernel relative to the root mean square error of the particles' predictions.
WIDTH = 0.5
_SITE = np.uint32(words.site_id("resample", 0))


def resample(
    predicted: jax.Array,
    observed: jax.Array,
    seen: jax.Array,
    key: jax.Array,
    t: jax.Array,
    sound: jax.Array,
) -> jax.Array:
    """Indices of the particles that survive a row.

    A Gaussian kernel on the observed outputs stands for the likelihood, which a simulator does
    not offer (approximate Bayesian filtering; Jasra et al., 2012, Statistics and Computing 22,
    equation 3). Its width follows the particles' own error, so that a surprising row does not
    leave a single survivor. Only forecasts are scored, hence the score stays proper whatever the
    filter does.

    Args:
        predicted: float32[R, V], each particle's prediction of the row.
        observed: float32[V].
        seen: bool[V].
        key: uint32[2] of the forecast; words do not depend on parameters.
        t: row index.
        sound: bool[R], false for particles that failed; they do not survive.

    Returns:
        int32[R]; all particles once where nothing was seen.
    """
    count = predicted.shape[0]
    error = jnp.where(seen[None], predicted - observed[None], 0.0)
    alive = (sound & jnp.isfinite(error).all(-1))[:, None]
    error = jnp.where(alive, error, 0.0)
    mean_square = jnp.sum(error**2, axis=0) / jnp.maximum(jnp.sum(alive), 1)
    width = WIDTH * jnp.sqrt(mean_square)[None]
    scaled = jnp.where(width > 0, error / jnp.where(width > 0, width, 1.0), 0.0)
    penalty = jnp.where(alive[:, 0], 0.0, 1e3)
    weight = jax.nn.softmax(-0.5 * jnp.sum(scaled**2, axis=-1) - penalty)
    # Stratified: particle r draws from stratum (a r) mod R, so that neighbours, which the score
    # pairs, do not share an ancestor more often than others.
    stride = _coprime(count)
    stratum = (np.arange(count) * stride % count).astype(np.float32)
    bits = words.threefry(key, t, jnp.asarray(_SITE + np.arange(count, dtype=np.uint32)))
    uniform = (stratum + bits.astype(jnp.float32) * np.float32(2**-32)) / count
    index = jnp.searchsorted(jnp.cumsum(weight), uniform, method="compare_all")
    index = jnp.clip(index, 0, count - 1).astype(jnp.int32)
    return jnp.where(jnp.any(seen), index, jnp.arange(count, dtype=jnp.int32))


def _coprime(count: int) -> int:
    stride = max(1, round(0.618 * count))
    while np.gcd(stride, count) != 1:
        stride += 1
    return stride
