"""Is a posterior what it says? Trials with known truths, and what they show, in plain words.

Draw parameters from the prior, simulate data, infer: over many such trials the truth is one more
draw from its posterior. So its rank among the draws is uniform (simulation-based calibration: Talts
et al., 2018, arXiv 1804.06788), as is the share of draws that lie closer to any reference point
than the truth does (TARP: Lemos et al., 2023, ICML), and intervals cover at their level. A method
that returns the prior passes all of these; contraction tells it apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import jax
import numpy as np
from scipy import stats

from gsim_jax.task import InputError, Problem

#: Levels of the central intervals whose coverage is counted.
LEVELS = (0.5, 0.8, 0.9, 0.95)
#: Trials below which a report says that it sees little.
FEW = 50


class Sampler(Protocol):
    """A posterior as the checks need it."""

    def sample(self, key: Any, n: int) -> Any:
        """Draws float[n, d]."""
        ...


@dataclass(frozen=True)
class Trials:
    """Truths, and draws from the posteriors given the data that they produced.

    Attributes:
        truths: float64[runs, d], drawn from the prior.
        draws: float64[runs, m, d], independent draws: thin those of a Markov chain.
        labels: one per parameter.
    """

    truths: np.ndarray
    draws: np.ndarray
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        runs, d = self.truths.shape
        shape = self.draws.shape
        if len(shape) != 3 or shape[0] != runs or shape[2] != d or len(self.labels) != d:
            text = (
                f"trials: expected truths [runs, d], draws [runs, m, d] and d labels; got "
                f"{list(self.truths.shape)}, {list(shape)} and {len(self.labels)} labels"
            )
            raise InputError((Problem("shape", text),))
        bad = int((~np.isfinite(self.draws)).any(axis=(1, 2)).sum())
        if bad or not np.isfinite(self.truths).all():
            text = f"trials: expected finite numbers; the draws of {bad} of {runs} trials are not"
            raise InputError((Problem("not-finite", text),))


def run_trials(
    prior: Callable[[Any], Any],
    simulate: Callable[[Any, Any], Any],
    infer: Callable[[Any, Any], Sampler],
    key: jax.Array,
    *,
    runs: int = 200,
    draws: int = 100,
    labels: Sequence[str] | None = None,
) -> Trials:
    """Simulates data with known truths and infers from each.

    Args:
        prior: `key -> theta`, float[d].
        simulate: `(theta, key) -> x`, any data.
        infer: `(x, key) -> posterior`, any object with `sample(key, n)` that gives float[n, d].
        key: a JAX key.
        runs: trials.
        draws: draws per posterior.
        labels: names of the parameters.
    """
    truths, found = [], []
    for run in range(runs):
        first, second, third, fourth = jax.random.split(jax.random.fold_in(key, run), 4)
        theta = prior(first)
        posterior = infer(simulate(theta, second), third)
        truths.append(np.ravel(np.asarray(theta, float)))
        found.append(np.asarray(posterior.sample(fourth, draws), float).reshape(draws, -1))
    names = tuple(labels or (f"theta[{i}]" for i in range(len(truths[0]))))
    return Trials(np.stack(truths), np.stack(found), names)


def ranks(trials: Trials, seed: int = 0) -> np.ndarray:
    """Where the truth falls among the draws, float64[runs, d], uniform on (0, 1) if all is well.

    Among draws equal to it (integers, choices) the truth takes a random place, and a uniform jitter
    makes the rank of finitely many draws exactly uniform.
    """
    generator = np.random.default_rng([seed, 1])
    below = (trials.draws < trials.truths[:, None]).sum(axis=1)
    equal = (trials.draws == trials.truths[:, None]).sum(axis=1)
    place = below + generator.integers(0, equal + 1)
    return (place + generator.uniform(size=place.shape)) / (trials.draws.shape[1] + 1)


def tarp(trials: Trials, seed: int = 0) -> np.ndarray:
    """Expected coverage of balls around random points, float64[runs], uniform if all is well.

    Args:
        trials: the trials.
        seed: of the reference points, uniform over the box of the truths.

    Returns:
        Share of draws closer to the reference than the truth, in units of the truths' ranges.
    """
    generator = np.random.default_rng([seed, 2])
    low, high = trials.truths.min(axis=0), trials.truths.max(axis=0)
    scale = np.where(high > low, high - low, 1.0)
    reference = generator.uniform(low, high, trials.truths.shape)
    truth = np.linalg.norm((trials.truths - reference) / scale, axis=1)
    distance = np.linalg.norm((trials.draws - reference[:, None]) / scale, axis=2)
    below = (distance < truth[:, None]).sum(axis=1)
    equal = (distance == truth[:, None]).sum(axis=1)
    place = below + generator.integers(0, equal + 1)
    return (place + generator.uniform(size=place.shape)) / (trials.draws.shape[1] + 1)


def coverage_curve(shares: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Expected coverage at credibility levels, float64[levels]: the diagonal if all is well."""
    return (shares[None] < levels[:, None]).mean(axis=1)


@dataclass(frozen=True)
class Result:
    """One test.

    Attributes:
        name: `"rank"`, `"spread"`, `"tarp"`, `"tarp spread"` or `"interval 80 %"`.
        label: the parameter, or `"all parameters"`.
        p_value: of the test alone.
        corrected: after Holm's correction over all tests of the report.
        words: what is seen.
    """

    name: str
    label: str
    p_value: float
    corrected: float
    words: str


@dataclass(frozen=True)
class CalibrationReport:
    """What the trials show.

    Attributes:
        trials: the trials.
        results: all tests.
        contraction: `{label: 1 - mean posterior variance / prior variance}`: 0 is the prior.
        error: `{label: root mean squared (posterior mean - truth) / posterior sd}`, 1 if all is
            well.
        level: share of good posteriors that a report finds fault with.
    """

    trials: Trials
    results: tuple[Result, ...]
    contraction: dict[str, float]
    error: dict[str, float]
    level: float

    @cached_property
    def faults(self) -> tuple[Result, ...]:
        """Tests that fail after correction, the clearest first."""
        found = [result for result in self.results if result.corrected < self.level]
        return tuple(sorted(found, key=lambda result: result.corrected))

    @property
    def passed(self) -> bool:
        """Whether nothing is found amiss."""
        return not self.faults

    def to_text(self) -> str:
        """For people."""
        runs = len(self.trials.truths)
        smallest = min(result.corrected for result in self.results)
        lines = [f"Calibrated, as far as {runs} trials show (smallest p-value {smallest:.2g})."]
        if not self.passed:
            lines = [f"Not calibrated ({runs} trials):"]
            lines += [f"  {fault.words}" for fault in self.faults]
        if runs < FEW:
            lines.append(f"Few trials: only gross faults are seen below {FEW}.")
        for label, share in self.contraction.items():
            kept = max(1.0 - share, 0.0) ** 0.5
            lines.append(f"{label}: the data leave {kept:.0%} of the prior's width")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        fields = ("name", "label", "p_value", "corrected", "words")
        return {
            "passed": self.passed,
            "trials": len(self.trials.truths),
            "results": [{name: getattr(r, name) for name in fields} for r in self.results],
            "contraction": self.contraction,
            "error": self.error,
        }


def check_calibration(trials: Trials, seed: int = 0, *, level: float = 0.01) -> CalibrationReport:
    """Tests ranks, joint coverage and intervals together.

    Args:
        trials: at least some dozens; hundreds see more.
        seed: of ties, jitter and reference points.
        level: share of good posteriors that is wrongly found fault with, all tests together.
    """
    where, runs = ranks(trials, seed), len(trials.truths)
    raw: list[tuple[str, str, float, str]] = []
    for k, label in enumerate(trials.labels):
        raw.append(("rank", label, _uniform(where[:, k]), _off(label, where[:, k])))
        middle = np.abs(2 * where[:, k] - 1)
        raw.append(("spread", label, _uniform(middle), _width(label, middle)))
        for share in LEVELS:
            inside = int((middle < share).sum())
            p_value = float(stats.binomtest(inside, runs, share).pvalue)
            words = (
                f"{label}: the {share:.0%} interval holds the truth in {inside / runs:.0%} of "
                f"{runs} trials"
            )
            raw.append((f"interval {share:.0%}", label, p_value, words))
    joint = tarp(trials, seed)
    raw.append(("tarp", "all parameters", _uniform(joint), _off("all parameters together", joint)))
    middle = np.abs(2 * joint - 1)
    words = _width("all parameters together", middle)
    raw.append(("tarp spread", "all parameters", _uniform(middle), words))
    corrected = holm(np.array([p for _, _, p, _ in raw]))
    results = tuple(
        Result(name, label, p, float(c), words)
        for (name, label, p, words), c in zip(raw, corrected, strict=True)
    )
    contraction, error = _contraction(trials)
    return CalibrationReport(trials, results, contraction, error, level)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's (1979) step-down correction of p-values for any dependence."""
    order = np.argsort(p_values, kind="stable")
    count = len(p_values)
    stepped = np.maximum.accumulate(p_values[order] * (count - np.arange(count)))
    corrected = np.empty(count)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def _uniform(values: np.ndarray) -> float:
    """P-value of the Cramér-von Mises test of uniformity."""
    return float(stats.cramervonmises(values, "uniform").pvalue)


def _off(label: str, where: np.ndarray) -> str:
    mean = float(where.mean())
    if abs(mean - 0.5) < 2 / np.sqrt(12 * len(where)):
        return f"{label}: the ranks of the truth are not uniform"
    side = "above" if mean > 0.5 else "below"
    return (
        f"{label}: the posteriors are off: the truth lies {side} their median in "
        f"{(where > 0.5).mean() if mean > 0.5 else (where < 0.5).mean():.0%} of {len(where)} trials"
    )


def _width(label: str, middle: np.ndarray) -> str:
    outside = float((middle > 0.5).mean())
    narrow = middle.mean() > 0.5
    return (
        f"{label}: the posteriors are too {'narrow' if narrow else 'wide'}: the truth lies outside "
        f"their middle half in {outside:.0%} of {len(middle)} trials (50% expected)"
    )


def _contraction(trials: Trials) -> tuple[dict[str, float], dict[str, float]]:
    prior = np.maximum(trials.truths.var(axis=0, ddof=1), 1e-300)
    variance = trials.draws.var(axis=1, ddof=1)
    shares = 1 - variance.mean(axis=0) / prior
    off = (trials.draws.mean(axis=1) - trials.truths) ** 2 / np.maximum(variance, 1e-300)
    errors = np.sqrt(off.mean(axis=0))
    return (
        dict(zip(trials.labels, shares.tolist(), strict=True)),
        dict(zip(trials.labels, errors.tolist(), strict=True)),
    )
