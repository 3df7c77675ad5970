"""The posterior that an exact method found: draws, evidence, density, files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from gsim_jax.calibrate.exact_target import Space
from gsim_jax.simulator.parameters import Parameter

if TYPE_CHECKING:
    import arviz

_LOG_PRIOR: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "Uniform": lambda a: stats.uniform(a["low"], a["high"] - a["low"]),
    "LogUniform": lambda a: stats.loguniform(a["low"], a["high"]),
    "Normal": lambda a: stats.norm(a["loc"], a["scale"]),
    "LogNormal": lambda a: stats.lognorm(a["scale"], scale=np.exp(a["loc"])),
    "Beta": lambda a: stats.beta(a["concentration1"], a["concentration0"]),
    "Gamma": lambda a: stats.gamma(a["concentration"], scale=1 / a["rate"]),
}


@dataclass(frozen=True, eq=False)
class ExactPosterior:
    """An exact posterior.

    Attributes:
        space: the coordinates and the parameters behind them.
        u: float64[chains, m, d], draws on the unit cube; discrete coordinates in the middle of
            their cell.
        values: float64[chains, m, d], the same in the parameters' units.
        log_evidence: log marginal likelihood of the data in nats.
        method: `"grid"`, `"nuts"`, `"smc"` or `"nested"`.
        probabilities: `{label: {value: posterior probability}}` of integers and choices, exact up
            to the evidence's error; combinations were summed out, not sampled.
        diagnostics: numbers about the run: `evidence_error` in nats, and what the method tells.
        warnings: sentences about what went amiss.
        function: `u -> float32[n]`, the log likelihood.
    """

    space: Space
    u: np.ndarray
    values: np.ndarray
    log_evidence: float
    method: str
    probabilities: Mapping[str, Mapping[float, float]]
    diagnostics: Mapping[str, float]
    warnings: tuple[str, ...]
    function: Callable[[jax.Array], jax.Array] = field(repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """One label per coordinate."""
        return self.space.labels

    @property
    def mean(self) -> dict[str, float]:
        """Posterior means by label, in the parameters' units."""
        return self._by_label(self.values.mean(axis=(0, 1)))

    @property
    def sd(self) -> dict[str, float]:
        """Posterior standard deviations by label, in the parameters' units."""
        return self._by_label(self.values.std(axis=(0, 1)))

    def _by_label(self, numbers: np.ndarray) -> dict[str, float]:
        return dict(zip(self.labels, numbers.tolist(), strict=True))

    def sample(self, key: Any, n: int = 1000) -> np.ndarray:
        """Draws in the parameters' units.

        Args:
            key: a seed or a JAX key.
            n: how many; more than there are come again.

        Returns:
            float64[n, d], columns in the order of `labels`.
        """
        return self.values.reshape(-1, len(self.labels))[self._choose(key, n)]

    def sample_unit(self, key: Any, n: int = 1000) -> np.ndarray:
        """The same draws on the unit cube, float64[n, d]."""
        return self.u.reshape(-1, len(self.labels))[self._choose(key, n)]

    def _choose(self, key: Any, n: int) -> np.ndarray:
        have = self.u.shape[0] * self.u.shape[1]
        if isinstance(key, (int, np.integer)):
            key = jax.random.key(int(key))
        if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            key = jax.random.key_data(key)
        generator = np.random.default_rng(np.asarray(key).ravel().tolist())
        return generator.choice(have, size=n, replace=n > have)

    def log_prob(self, theta: np.ndarray) -> np.ndarray:
        """Log posterior density in the parameters' units, float64[n].

        Integers and choices count as probabilities. Normalised by `log_evidence`.

        Args:
            theta: float64[n, d] or float64[d], in the parameters' units, in the order of `labels`.
        """
        theta = np.asarray(theta, float)
        rows = np.atleast_2d(theta)
        prior, u = np.zeros(len(rows)), rows.copy()
        if self.space.parameters is None:
            inside = np.all((rows > 0) & (rows < 1), axis=1)
            prior = np.where(inside, 0.0, -np.inf)
        else:
            at = 0
            for entry in self.space.parameters.entries:
                part = slice(at, at + entry.size)
                prior = prior + log_prior(entry, rows[:, part])
                u[:, part] = entry.position(rows[:, part])
                at += entry.size
        u = np.clip(u, 1e-6, 1 - 1e-6)
        likelihood = jax.lax.map(self.function, jnp.asarray(u, jnp.float32), batch_size=64)
        parts = np.asarray(likelihood, np.float64).reshape(len(rows), -1)
        total = parts.sum(axis=1) + prior - self.log_evidence
        return total[0] if theta.ndim == 1 else total

    def to_arviz(self) -> arviz.InferenceData:
        """The draws as ArviZ takes them: one variable per parameter, with the data's evidence."""
        import arviz

        posterior: dict[str, np.ndarray] = {}
        if self.space.parameters is None:
            posterior = {name: self.values[..., k] for k, name in enumerate(self.labels)}
        else:
            at = 0
            for entry in self.space.parameters.entries:
                part = self.values[..., at : at + entry.size]
                posterior[entry.key] = part.reshape(*part.shape[:2], *entry.shape)
                at += entry.size
        attrs = {
            "log_evidence": self.log_evidence,
            "method": self.method,
            **{name: float(value) for name, value in self.diagnostics.items()},
        }
        data = arviz.from_dict(posterior=posterior)
        data.posterior.attrs.update(attrs)  # pyright: ignore[reportAttributeAccessIssue]
        return data

    def save(self, path: Path | str) -> None:
        """Writes the draws as NetCDF, which `arviz.from_netcdf` opens."""
        self.to_arviz().to_netcdf(str(path), engine="h5netcdf")


def log_prior(entry: Parameter, values: np.ndarray) -> np.ndarray:
    """Log prior density (mass, where discrete) of one parameter's values.

    Args:
        entry: the parameter.
        values: float64[n, size].

    Returns:
        float64[n], summed over its entries.
    """
    a = entry.arguments
    if entry.prior == "Integer":
        inside = (values >= a["low"]) & (values <= a["high"]) & (values == np.rint(values))
        each = np.where(inside, -np.log(a["high"] - a["low"] + 1), -np.inf)
    elif entry.prior == "Choice":
        known = np.asarray(a["values"], float)
        shares = np.isclose(values[..., None], known, rtol=1e-6).sum(axis=-1) / len(known)
        with np.errstate(divide="ignore"):
            each = np.log(shares)
    else:
        each = _LOG_PRIOR[entry.prior](a).logpdf(values)
    return each.sum(axis=1)
