"""What the alarm looks at: statistics of standardised residuals, their names and their words."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

_HORIZONS = ("1", "free")


def names_of(labels: Sequence[str]) -> tuple[str, ...]:
    """Names in the order of `statistics`: `kind|horizon|variable|other`."""
    found = []
    for horizon in _HORIZONS:
        for kind in ("bias", "scatter", "trend", "sites"):
            found += [f"{kind}|{horizon}|{label}|" for label in labels]
    for kind in ("memory", "tails"):
        found += [f"{kind}|1|{label}|" for label in labels]
    found += [f"level|1|{label}|{other}" for label in labels for other in labels]
    for a, label in enumerate(labels):
        found += [f"together|1|{label}|{other}" for other in labels[a + 1 :]]
    return tuple(found)


def statistics(z: jax.Array, counted: jax.Array, levels: jax.Array, seen: jax.Array) -> jax.Array:
    """All statistics of one data set.

    Args:
        z: float32[n, T, V, H], residuals in units of the forecast's spread, 0 where not counted;
            H is one step ahead, then the free run.
        counted: bool[n, T, V, H].
        levels: float32[n, T, V], the values in the rows that the steps start from.
        seen: bool[n, T, V].

    Returns:
        float32[M], in the order of `names_of`.
    """
    found = []
    for h in range(len(_HORIZONS)):
        found += _marginal(z[..., h], counted[..., h])
    one, here = z[..., 0], counted[..., 0]
    pairs = here[:, 1:] & here[:, :-1]
    found.append(_mean(one[:, 1:] * one[:, :-1], pairs))
    found.append(jnp.log1p(_mean(one**4, here)))
    found.append(_with_levels(one, here, levels, seen).ravel())
    both = jnp.einsum("ntv,ntw->vw", one, one) / jnp.maximum(
        jnp.einsum("ntv,ntw->vw", here.astype(one.dtype), here.astype(one.dtype)), 1.0
    )
    rows, columns = np.triu_indices(one.shape[-1], 1)
    found.append(both[rows, columns])
    return jnp.concatenate(found)


def _mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    total = jnp.sum(jnp.where(mask, values, 0.0), axis=(0, 1))
    return total / jnp.maximum(jnp.sum(mask, axis=(0, 1)), 1)


def _marginal(z: jax.Array, counted: jax.Array) -> list[jax.Array]:
    """Bias, scatter, trend over the rows, and differences between trajectories; [V] each."""
    t = jnp.linspace(-1.0, 1.0, z.shape[1])[None, :, None]
    rows = jnp.sum(counted, axis=1)
    means = jnp.sum(z, axis=1) / jnp.maximum(rows, 1)
    # Times its number of rows: 1 for independent residuals, more where a trajectory leans.
    leaning = jnp.sum(means**2 * rows, axis=0) / jnp.maximum(jnp.sum(rows > 0, axis=0), 1)
    return [
        _mean(z, counted),
        jnp.log(_mean(z**2, counted) + 1e-3),
        _mean(z * t, counted),
        jnp.log(leaning + 1e-3),
    ]


def _with_levels(z: jax.Array, counted: jax.Array, levels: jax.Array, seen: jax.Array) -> jax.Array:
    """Mean product of residual v and standardised level w, float32[V, V]."""
    count = jnp.maximum(jnp.sum(seen, axis=(0, 1)), 1)
    mean = jnp.sum(jnp.where(seen, levels, 0.0), axis=(0, 1)) / count
    centred = jnp.where(seen, levels - mean[None, None], 0.0)
    sd = jnp.sqrt(jnp.sum(centred**2, axis=(0, 1)) / count)
    scaled = centred / jnp.maximum(sd, 1e-6)[None, None]
    both = jnp.einsum("ntv,ntw->vw", counted.astype(z.dtype), seen.astype(z.dtype))
    return jnp.einsum("ntv,ntw->vw", z, scaled) / jnp.maximum(both, 1.0)


def describe(name: str, observed: float, expected: float, z: float) -> str:
    """A statistic that is out of line, in plain words.

    Args:
        name: from `names_of`.
        observed: its value in the data.
        expected: its mean over replicas.
        z: the deviation in standard deviations of replicas.
    """
    kind, horizon, label, other = name.split("|")
    ahead = "one step ahead" if horizon == "1" else "in free runs"
    more = z > 0
    sentence = {
        "bias": f"{label} {ahead} is {'higher' if more else 'lower'} than the simulator says",
        "scatter": (
            f"{label} {ahead} scatters {np.exp(0.5 * (observed - expected)):.2g} times as much as "
            "the simulator says"
        ),
        "trend": (
            f"{label} {ahead} is too {'low' if more else 'high'} early and too "
            f"{'high' if more else 'low'} late"
        ),
        "sites": (
            f"trajectories of {label} differ {'more' if more else 'less'} from one another than "
            f"the simulator says ({ahead})"
        ),
        "memory": (
            f"errors of {label} {ahead} {'go on' if more else 'turn over'} from one step to the "
            f"next{': something with a memory is missing' if more else ''}"
        ),
        "tails": (
            f"{label} {ahead} has {'more' if more else 'fewer'} extreme values than the simulator"
        ),
        "level": (
            f"{label} {ahead} is too {'low' if more else 'high'} where {other} is small, and too "
            f"{'high' if more else 'low'} where {other} is large"
        ),
        "together": (
            f"changes of {label} and {other} go together {'more' if more else 'less'} than the "
            "simulator says"
        ),
    }[kind]
    return f"{sentence} ({z:+.1f} standard deviations of replicas)"
