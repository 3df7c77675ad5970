"""Parameters on the unit cube: a coordinate per scalar entry, a prior's quantile function between.

Calibrators work on `u` in (0, 1)^d. A prior's quantile function maps `u` to the value that a
simulator receives, so that bounds need no logic, integers and choices fall out as floors, and
"at a bound" reads as `u` near 0 or 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from scipy import stats
from scipy.stats import qmc

from gsim_jax.task.problems import InputError, Problem, SimulatorError

#: `u` is kept this far from 0 and 1, where quantiles of unbounded priors leave float32.
EDGE = 1e-6
#: Nodes of the tabulated quantile functions (priors without a closed inverse).
_NODES = 1025

Values = dict[str, dict[str, jax.Array]]


def sobol(dimension: int, count: int, seed: int) -> np.ndarray:
    """The first `count` points of a scrambled Sobol sequence in (0, 1)^d, float64[count, d]."""
    # scipy before 1.15 knows no `rng`, its successors' stubs know no `seed`.
    sequence = qmc.Sobol(max(dimension, 1), seed=seed)  # pyright: ignore[reportCallIssue]
    # Whole powers of two: scipy warns of anything else, and the first points are the same.
    return sequence.random_base2(max(count - 1, 0).bit_length())[:count, :dimension]


_DISCRETE = ("Integer", "Choice")


@dataclass(frozen=True)
class Parameter:
    """One declared parameter.

    Attributes:
        group: the submodule (or `couple`, `observe`) that sees it.
        name: its name in that group.
        prior: name of the prior, e.g. `"Uniform"`.
        arguments: the prior's arguments by numpyro's names.
        guess: value that is used before any calibration, a scalar or one entry per element.
        shape: shape of the value; `()` for a scalar.
        unit: unit in words, e.g. `"1/day"`.
        doc: what it means.
    """

    group: str
    name: str
    prior: str
    arguments: Mapping[str, Any]
    guess: float | tuple[float, ...]
    shape: tuple[int, ...] = ()
    unit: str = ""
    doc: str = ""

    @property
    def key(self) -> str:
        """`group.name`, the name that reports and scenarios use."""
        return f"{self.group}.{self.name}"

    @property
    def size(self) -> int:
        """Number of coordinates on the unit cube."""
        return math.prod(self.shape)

    @property
    def discrete(self) -> bool:
        """Whether values are integers or choices."""
        return self.prior in _DISCRETE

    @property
    def cells(self) -> int:
        """How many values an integer or a choice has; 0 for a continuous prior."""
        if self.prior == "Integer":
            return int(self.arguments["high"]) - int(self.arguments["low"]) + 1
        return len(self.arguments["values"]) if self.prior == "Choice" else 0

    @property
    def dtype(self) -> str:
        """`int32` for integers and choices among integers, else `float32`."""
        whole = self.prior == "Choice" and np.issubdtype(
            np.asarray(self.arguments["values"]).dtype, np.integer
        )
        return "int32" if whole or self.prior == "Integer" else "float32"

    @property
    def labels(self) -> tuple[str, ...]:
        """One label per coordinate: `beta` or `beta[0]`, with the group in front."""
        if not self.shape:
            return (self.key,)
        cells = np.ndindex(*self.shape)
        return tuple(f"{self.key}[{','.join(map(str, cell))}]" for cell in cells)

    def quantile(self, u: jax.Array) -> jax.Array:
        """Values at `u`, any shape, in the parameter's unit; int32 for integers."""
        u = jnp.clip(u, EDGE, 1 - EDGE)
        return _QUANTILES[self.prior](self.arguments, u)

    def position(self, value: np.ndarray) -> np.ndarray:
        """The inverse of `quantile` on the host, float64 in (0, 1); middle of a discrete cell."""
        u = _POSITIONS[self.prior](self.arguments, np.asarray(value, float))
        return np.clip(u, EDGE, 1 - EDGE)


def _table(frozen: Any) -> tuple[np.ndarray, np.ndarray]:
    # Nodes even in the logit of u: quantiles of Beta and Gamma are smooth there, tails included.
    logit = np.linspace(-14.0, 14.0, _NODES)
    return logit, frozen.ppf(1.0 / (1.0 + np.exp(-logit)))


def _tabulated(frozen: Any, u: jax.Array) -> jax.Array:
    nodes, values = _table(frozen)
    logit = jnp.log(u) - jnp.log1p(-u)
    return jnp.interp(logit, np.float32(nodes), np.float32(values))


def _beta(a: Mapping[str, Any]) -> Any:
    return stats.beta(a["concentration1"], a["concentration0"])


def _gamma(a: Mapping[str, Any]) -> Any:
    return stats.gamma(a["concentration"], scale=1.0 / a["rate"])


def _integer(a: Mapping[str, Any], u: jax.Array) -> jax.Array:
    count = a["high"] - a["low"] + 1
    step = jnp.floor(u * count).astype(jnp.int32)
    return a["low"] + jnp.clip(step, 0, count - 1)


def _choice(a: Mapping[str, Any], u: jax.Array) -> jax.Array:
    values = np.asarray(a["values"])
    values = values.astype(np.int32 if np.issubdtype(values.dtype, np.integer) else np.float32)
    index = jnp.clip(jnp.floor(u * len(values)).astype(jnp.int32), 0, len(values) - 1)
    return jnp.asarray(values)[index]


def _choice_position(a: Mapping[str, Any], v: np.ndarray) -> np.ndarray:
    values = np.asarray(a["values"], float)
    return (np.abs(v[..., None] - values).argmin(-1) + 0.5) / len(values)


_QUANTILES = {
    "Uniform": lambda a, u: a["low"] + (a["high"] - a["low"]) * u,
    "LogUniform": lambda a, u: jnp.exp(
        math.log(a["low"]) + (math.log(a["high"]) - math.log(a["low"])) * u
    ),
    "Normal": lambda a, u: a["loc"] + a["scale"] * ndtri(u),
    "LogNormal": lambda a, u: jnp.exp(a["loc"] + a["scale"] * ndtri(u)),
    "Beta": lambda a, u: _tabulated(_beta(a), u),
    "Gamma": lambda a, u: _tabulated(_gamma(a), u),
    "Integer": _integer,
    "Choice": _choice,
}
_POSITIONS = {
    "Uniform": lambda a, v: (v - a["low"]) / (a["high"] - a["low"]),
    "LogUniform": lambda a, v: (
        (np.log(np.maximum(v, 1e-300)) - math.log(a["low"]))
        / (math.log(a["high"]) - math.log(a["low"]))
    ),
    "Normal": lambda a, v: stats.norm.cdf(v, a["loc"], a["scale"]),
    "LogNormal": lambda a, v: stats.norm.cdf(np.log(np.maximum(v, 1e-300)), a["loc"], a["scale"]),
    "Beta": lambda a, v: _beta(a).cdf(v),
    "Gamma": lambda a, v: _gamma(a).cdf(v),
    "Integer": lambda a, v: (v - a["low"] + 0.5) / (a["high"] - a["low"] + 1),
    "Choice": _choice_position,
}


@dataclass(frozen=True)
class ParameterSpace:
    """All parameters of a simulator as a box of coordinates.

    Attributes:
        entries: the parameters, in the order of the file.
    """

    entries: tuple[Parameter, ...]

    @classmethod
    def from_json(cls, groups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> ParameterSpace:
        """Builds the space from a document's `parameters`.

        Args:
            groups: `{group: {name: {"prior", "arguments", "guess", "shape", "unit", "doc"}}}`.

        Raises:
            SimulatorError: a prior's name is unknown.
        """
        entries = []
        for group, members in groups.items():
            for name, entry in members.items():
                if entry["prior"] not in _QUANTILES:
                    known = ", ".join(_QUANTILES)
                    text = f"{group}.{name}: expected one of {known}; got prior {entry['prior']!r}"
                    raise SimulatorError((Problem("unknown-prior", text),))
                guess, arguments = entry["guess"], dict(entry["arguments"])
                if entry["prior"] not in _DISCRETE:
                    # Written as an integer, 3e9 would be one that JAX cannot hold.
                    arguments = {key: float(value) for key, value in arguments.items()}
                entries.append(
                    Parameter(
                        group,
                        name,
                        entry["prior"],
                        arguments,
                        tuple(np.ravel(guess).tolist()) if np.ndim(guess) else guess,
                        tuple(entry.get("shape", ())),
                        entry.get("unit", ""),
                        entry.get("doc", ""),
                    )
                )
        return cls(tuple(entries))

    @property
    def dimension(self) -> int:
        """Number of coordinates d."""
        return sum(entry.size for entry in self.entries)

    @property
    def labels(self) -> tuple[str, ...]:
        """One label per coordinate, `group.name` or `group.name[i]`."""
        return tuple(label for entry in self.entries for label in entry.labels)

    @property
    def discrete(self) -> np.ndarray:
        """bool[d]: which coordinates stand for integers or choices."""
        flags = [entry.discrete for entry in self.entries for _ in range(entry.size)]
        return np.asarray(flags, bool)

    @property
    def cells(self) -> np.ndarray:
        """int[d]: how many values a discrete coordinate has; 0 where it is continuous."""
        counts = [entry.cells for entry in self.entries for _ in range(entry.size)]
        return np.asarray(counts, int)

    def from_unit(self, u: jax.Array) -> Values:
        """Values at one point of the cube, for use under jit and vmap.

        Args:
            u: float32[d] in (0, 1).

        Returns:
            `{group: {name: value}}`, values of the declared shapes and units.
        """
        values: Values = {}
        at = 0
        for entry in self.entries:
            cell = jnp.reshape(u[at : at + entry.size], entry.shape)
            values.setdefault(entry.group, {})[entry.name] = entry.quantile(cell)
            at += entry.size
        return values

    def to_unit(self, values: Mapping[str, float]) -> np.ndarray:
        """The point of the cube for values by label; parameters without one stand at their guess.

        Args:
            values: `{label: value}` in the parameters' units.

        Returns:
            float64[d].
        """
        u = self.guess()
        at = {label: i for i, label in enumerate(self.labels)}
        for entry in self.entries:
            for label in entry.labels:
                if label in values:
                    u[at[label]] = entry.position(np.asarray(values[label]))
        return u

    def values(self, by_label: Mapping[str, float]) -> dict[str, dict[str, np.ndarray]]:
        """Values by label as a simulator takes them; parameters without one have their guess.

        Args:
            by_label: `{label: value}` in the parameters' units, such as `{"infection.beta": 0.5}`.

        Returns:
            `{group: {name: array}}`, exactly these values.

        Raises:
            InputError: a label that no parameter has.
        """
        unknown = sorted(set(by_label) - set(self.labels))
        if unknown:
            text = f"expected parameters out of {', '.join(self.labels)}; got {', '.join(unknown)}"
            raise InputError((Problem("unknown-parameter", text),))
        found: dict[str, dict[str, np.ndarray]] = {}
        for entry in self.entries:
            default = np.broadcast_to(entry.guess, (entry.size,))
            cells = zip(entry.labels, default, strict=True)
            flat = [by_label.get(label, guess) for label, guess in cells]
            found.setdefault(entry.group, {})[entry.name] = np.asarray(flat, entry.dtype).reshape(
                entry.shape
            )
        return found

    def guess(self) -> np.ndarray:
        """The declared guesses as a point of the cube, float64[d]."""
        parts = [
            np.broadcast_to(entry.position(np.ravel(entry.guess)), (entry.size,))
            for entry in self.entries
        ]
        return np.concatenate([np.zeros(0), *parts])

    def flat(self, u: np.ndarray) -> dict[str, float | int]:
        """Values by label at one point, as plain Python numbers."""
        values = self._from_unit(np.asarray(u, np.float32)) if self.dimension else {}
        out: dict[str, float | int] = {}
        for entry in self.entries:
            cells = np.ravel(np.asarray(values[entry.group][entry.name]))
            out.update(zip(entry.labels, cells.tolist(), strict=True))
        return out

    @cached_property
    def _from_unit(self) -> Any:
        return jax.jit(self.from_unit)

    def slopes(self, u: np.ndarray) -> np.ndarray:
        """d(value)/du per coordinate, float64[d]; 0 for discrete coordinates."""
        u = np.asarray(u, float)
        if not len(u):
            return np.zeros(0)
        step = np.minimum(1e-3, 0.25 * np.minimum(u, 1 - u))
        high = np.array(list(self.flat(u + step).values()), float)
        low = np.array(list(self.flat(u - step).values()), float)
        return np.where(self.discrete, 0.0, (high - low) / (2 * step))
