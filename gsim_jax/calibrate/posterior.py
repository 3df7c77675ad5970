"""Neural posterior estimation: from a simulator and a prior to draws, without a likelihood.

`fit_posterior` trains a conditional density on simulations (Papamakarios and Murray 2016;
Greenberg et al. 2019); the result answers for the observation it was asked about, and for any
other of the same shape (amortised). Truncated rounds (Deistler et al. 2022) zoom into the region
where the posterior is, and stay exact there, because the prior inside of the region is unchanged.

Simulations that fail (all NaN) are left out. That is no bias: whether x is usable is a function
of x, so p(theta | x, usable) = p(theta | x) for every usable x; only their number is told. Entries
of x that are missing (some NaN) stay in, as a mask beside the values: the mask is part of x, and
may say something about theta.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gsim_jax.calibrate.coordinates import Coordinates
from gsim_jax.calibrate.train import Estimator
from gsim_jax.compilation import lanes_jit
from gsim_jax.task import InputError, Problem

#: Draws that go through the flow together; more fit no cache.
_BATCH = 2000


@dataclass(frozen=True)
class Info:
    """What a fit cost and met.

    Attributes:
        simulations: data sets simulated.
        invalid: share of them in which nothing was finite.
        partial: share of the pilot's data sets with some missing entries.
        rounds: rounds of truncation.
        volume: prior mass of the region that the last round drew from.
        seconds: wall time of it all, compilation included.
        losses: training losses of the last round's first network, nats.
        held_out: its losses on held-out simulations; empty online.
        warnings: sentences about what was found amiss.
    """

    simulations: int = 0
    invalid: float = 0.0
    partial: float = 0.0
    rounds: int = 1
    volume: float = 1.0
    seconds: float = 0.0
    losses: tuple[float, ...] = ()
    held_out: tuple[float, ...] = ()
    warnings: tuple[str, ...] = ()


def _sample(
    estimator: Estimator, count: int, weights: jax.Array, fixed: Any, x: jax.Array, key: jax.Array
) -> jax.Array:
    """Draws y[count, d] for one x, of one network, a batch at a time."""
    d = len(estimator.plan.bounded)
    network = estimator.network(weights, fixed)
    ready = network.prepare(x[None])
    context, summary = network.embedding.learn(ready), ready[0]
    size = min(count, _BATCH)
    batches = -(-count // size)
    base = jax.random.uniform(key, (batches, size, d))
    drawn = jax.lax.map(lambda b: network.flow.transform(b, context, summary), base)
    return jnp.reshape(drawn, (batches * size, d))[:count]


def _density(
    estimator: Estimator, weights: jax.Array, fixed: Any, x: jax.Array, y: jax.Array
) -> jax.Array:
    """Log density float32[M, n] of y[n, d] for one x, of M networks."""

    def one(flat: jax.Array) -> jax.Array:
        network = estimator.network(flat, fixed)
        return network.log_prob(y, network.prepare(x[None]))

    return jax.lax.map(one, weights)


sample_network = lanes_jit(_sample, static_argnums=(0, 1))
"""`_sample`, compiled: one program per estimator and number of draws."""
density = lanes_jit(_density, static_argnums=(0,))
"""`_density`, compiled."""


@dataclass(frozen=True, eq=False)
class Posterior:
    """A posterior as a mixture of trained networks.

    Attributes:
        coordinates: the prior, and the coordinates that the networks work on.
        estimator: structure of the networks.
        weights: float32[M, P], their weights.
        fixed: numbers that all share.
        box: float32[2, d], region of the coordinates that was drawn from; None for all.
        observed: the observation, or several stacked.
        info: what the fit cost and met.
    """

    coordinates: Coordinates
    estimator: Estimator
    weights: np.ndarray
    fixed: Any
    box: np.ndarray | None
    observed: np.ndarray
    info: Info = field(default_factory=Info)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return self.coordinates.labels

    def sample(self, key: jax.Array, n: int = 1000, *, observed: Any = None) -> jax.Array:
        """Draws from the posterior.

        Args:
            key: a JAX key.
            n: how many.
            observed: x, or several stacked; by default what the fit was asked about.

        Returns:
            theta float32[n, d]; [k, n, d] for k stacked observations.

        Raises:
            InputError: an observation of another shape, or one in which nothing is finite.
        """
        y = self.sample_coordinates(key, n, observed=observed)
        flat = jnp.reshape(y, (-1, y.shape[-1]))
        return jnp.reshape(self.coordinates.values(flat), y.shape)

    def sample_coordinates(
        self, key: jax.Array, n: int = 1000, *, observed: Any = None
    ) -> jax.Array:
        """Draws of the coordinates y, shaped as those of `sample`."""
        several, data = self._data(observed)
        members = len(self.weights)
        each = -(-n // members)
        found = []
        for k, x in enumerate(data):
            parts = [
                sample_network(
                    self.estimator, each, self.weights[m], self.fixed, x,
                    jax.random.fold_in(jax.random.fold_in(key, k), m),
                )
                for m in range(members)
            ]  # fmt: skip
            # Draws of all networks in turn, so that any first few are of the mixture.
            y = jnp.reshape(jnp.stack(parts, axis=1), (-1, parts[0].shape[1]))[:n]
            found.append(y)
        y = jnp.stack(found)
        if self.box is not None:
            y = self.coordinates.from_box(y, *jnp.asarray(self.box))
        return y if several else y[0]

    def log_prob(self, theta: Any, *, observed: Any = None) -> jax.Array:
        """Log density of the posterior, normalised, in nats.

        Args:
            theta: float[n, d], or [d] for one.
            observed: x; by default what the fit was asked about.

        Returns:
            float32[n], or a scalar; -inf outside of the prior's support. With k stacked
            observations [k, n], or [k].

        Raises:
            InputError: theta of another length, or parameters that are integers or choices.
        """
        several, data = self._data(observed)
        theta = np.asarray(theta, np.float32)
        alone = theta.ndim == (0 if self.coordinates.dimension == 1 else 1)
        rows = np.reshape(theta, (-1, self.coordinates.dimension))
        y = self.coordinates.locate(rows)
        slope = self.coordinates.slope(rows)
        if self.box is not None:
            y, rise = self.coordinates.to_box(y, *jnp.asarray(self.box))
            slope = slope + rise
        inside = jnp.all(jnp.isfinite(y), axis=-1)
        y = jnp.where(inside[:, None], y, 0.5)
        found = []
        for x in data:
            parts = density(self.estimator, self.weights, self.fixed, x, y)
            mixed = jax.nn.logsumexp(parts, axis=0) - np.log(len(self.weights))
            found.append(jnp.where(inside, mixed + slope, -jnp.inf))
        out = jnp.stack(found)
        out = out[:, 0] if alone else out
        return out if several else out[0]

    def to_arviz(self, n: int = 1000, key: jax.Array | None = None) -> Any:
        """Draws as ArviZ reads them: posterior (n draws), observed data, and the density.

        Returns:
            `arviz.InferenceData`; parameters under their names, one chain.
        """
        from gsim_jax.calibrate.store import inference_data

        return inference_data(self, n, jax.random.key(0) if key is None else key)

    def save(self, path: str | Path, n: int = 1000, key: jax.Array | None = None) -> Path:
        """Writes a NetCDF file that ArviZ opens, the networks in a group of their own.

        Args:
            path: the file.
            n: number of draws in it.
            key: of the draws.
        """
        from gsim_jax.calibrate.store import save

        return save(self, Path(path), n, jax.random.key(0) if key is None else key)

    @staticmethod
    def load(path: str | Path, prior: Any = None) -> Posterior:
        """Reads what `save` wrote; no code is run from the file.

        Args:
            path: the file.
            prior: the prior, where it is of a kind that the file could not hold.

        Raises:
            InputError: not such a file.
        """
        from gsim_jax.calibrate.store import load

        return load(Path(path), prior)

    def _data(self, observed: Any) -> tuple[bool, list[jax.Array]]:
        x = np.asarray(self.observed if observed is None else observed, np.float32)
        return split_observed(x, self.estimator.plan.x)


def split_observed(x: np.ndarray, shape: tuple[int, ...]) -> tuple[bool, list[jax.Array]]:
    """Whether several data sets are stacked, and each of them.

    Raises:
        InputError: wrong shape, or a data set in which nothing is finite.
    """
    several = x.ndim == len(shape) + 1 and x.shape[1:] == shape
    if not several and x.shape != shape:
        text = (
            f"observed: expected shape {list(shape)}, what the simulator returns (or several "
            f"stacked); got {list(x.shape)}"
        )
        raise InputError((Problem("observed", text),))
    rows = x if several else x[None]
    empty = [k for k, row in enumerate(rows) if not np.isfinite(row).any()]
    if empty:
        text = f"observed: expected finite numbers; data set {empty[0]} has none"
        raise InputError((Problem("observed", text),))
    return several, [jnp.asarray(np.where(np.isfinite(row), row, np.nan)) for row in rows]
