"""From the verdict's cells to findings: what is off, by how much, and what it goes along with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gsim_jax.diagnose.evidence import Evidence
from gsim_jax.diagnose.verdict import NOISE, Row, Verdict

#: Bias and spread inherit the error of the calibrated point, so they are named later than gaps.
CLEAR = 3.0
#: u closer to 0 or 1 than this counts as "at a bound".
AT_BOUND = 0.02
#: A standard deviation of x = Phi^-1(u) above this (the prior's is 1) counts as undetermined.
UNDETERMINED = 0.7
#: Correlations weaker than this are not worth a structure, however significant.
WEAK = 0.1


@dataclass(frozen=True)
class Misfit:
    """One thing that is off.

    Attributes:
        variable: label of a scored variable, rule or parameter.
        horizon: `"1"`, `"7"`, `"free"`, or "" where it does not apply.
        kind: `"score"`, `"bias"`, `"spread"`, `"residual"`, `"rule"`, `"bound"`, `"failure"`.
        amount: size in natural units (bias: data minus forecast), squared rank minus 1 (spread:
            positive when the data vary more), correlation (residual), share (rule, failure).
        z: in standard errors, signed as `amount`.
        words: one sentence.
        related: variable or input that the residual goes along with.
    """

    variable: str
    horizon: str
    kind: str
    amount: float
    z: float
    words: str
    related: str | None = None


def _ahead(horizon: str) -> str:
    if horizon == "free":
        return "in free runs"
    return "one step ahead" if horizon == "1" else f"{horizon} steps ahead"


def from_table(verdict: Verdict) -> list[Misfit]:
    """Gaps, biases and spreads that are not noise."""
    found: list[Misfit] = []
    for row in verdict.table:
        found += _gap(row) + _bias(row) + _spread(row)
    return found


def _gap(row: Row) -> list[Misfit]:
    if row.within_noise:
        return []
    side = "worse than its own noise" if row.gap > 0 else "too good for its own noise"
    words = (
        f"{row.variable} {_ahead(row.horizon)} scores {side}: gap {row.gap:+.3g} ± {row.se:.2g} "
        f"scales"
    )
    return [Misfit(row.variable, row.horizon, "score", row.gap, row.z, words)]


def _bias(row: Row) -> list[Misfit]:
    z = row.bias / max(row.bias_se, 1e-12)
    if abs(z) < CLEAR or row.bias_se == 0.0:
        return []
    side = "over-estimated" if row.bias > 0 else "under-estimated"
    words = (
        f"{row.variable} is {side} {_ahead(row.horizon)} by {abs(row.bias):.3g} ± {row.bias_se:.2g}"
    )
    return [Misfit(row.variable, row.horizon, "bias", -row.bias, -z, words)]


def _spread(row: Row) -> list[Misfit]:
    if abs(row.rank_z) < CLEAR:
        return []
    narrow = row.rank_z > 0
    words = (
        f"{row.variable} {_ahead(row.horizon)} varies {'more' if narrow else 'less'} than the "
        f"candidate says (squared rank {row.rank:.2f}, 1 when calibrated)"
    )
    return [Misfit(row.variable, row.horizon, "spread", row.rank - 1.0, row.rank_z, words)]


def from_residuals(evidence: Evidence, covariates: Mapping[str, np.ndarray]) -> list[Misfit]:
    """Correlations of one-step residuals with states, inputs and time at the origin.

    Args:
        evidence: residuals float64[n, T, V].
        covariates: `{name: float[n, T]}`, values at the row from which the step was made.

    Returns:
        For each variable the strongest covariate beyond `CLEAR`, if any.
    """
    found = []
    for v, variable in enumerate(evidence.variables):
        ok = evidence.counted[:, :, v]
        r = -evidence.residuals[:, :, v][ok]
        if len(r) < 8 or r.std() == 0:
            continue
        scored = [(name, _correlation(r, x[ok])) for name, x in covariates.items()]
        if not scored:
            continue
        name, c = max(scored, key=lambda item: abs(item[1]))
        z = np.arctanh(np.clip(c, -0.999999, 0.999999)) * np.sqrt(max(len(r) - 3, 1))
        if abs(z) < CLEAR or abs(c) < WEAK:
            continue
        side = "under" if c > 0 else "over"
        words = (
            f"{variable} one step ahead is {side}-estimated where {name} is large "
            f"(correlation {c:+.2f} of data minus forecast, z {z:+.1f})"
        )
        found.append(Misfit(variable, "1", "residual", float(c), float(z), words, name))
    return found


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    spread = a.std() * b.std()
    return float(np.mean((a - a.mean()) * (b - b.mean())) / spread) if spread > 1e-12 else 0.0


def from_parameters(
    labels: tuple[str, ...], u: np.ndarray, deviation: np.ndarray, discrete: np.ndarray
) -> list[Misfit]:
    """Parameters at a bound of their prior, or left undetermined by the data.

    Args:
        labels: one per coordinate.
        u: float64[d] on the unit cube.
        deviation: float64[d], standard deviation of x = Phi^-1(u).
        discrete: bool[d].
    """
    found = []
    for label, at, sd, whole in zip(labels, u, deviation, discrete, strict=True):
        if whole:
            continue
        if min(at, 1 - at) < AT_BOUND:
            end = "lower" if at < 0.5 else "upper"
            words = f"{label} lies at the {end} end of its prior"
            found.append(Misfit(label, "", "bound", float(at), 0.0, words))
        elif sd > UNDETERMINED:
            words = f"{label} is hardly determined by the data"
            found.append(Misfit(label, "", "undetermined", float(sd), 0.0, words))
    return found


def from_rules(rules: list[dict]) -> list[Misfit]:
    """Rules that free runs break; `rules` holds name, violated and checked."""
    found = []
    for rule in rules:
        if rule["violated"]:
            share = rule["violated"] / max(rule["checked"], 1)
            words = f"the rule '{rule['name']}' is broken in {share:.1%} of simulated rows"
            found.append(Misfit(rule["name"], "free", "rule", share, np.inf, words))
    return found


def from_failures(failed: float) -> list[Misfit]:
    """Draws that failed."""
    if failed == 0:
        return []
    words = f"{failed:.1%} of the free runs fail (values not finite or outside the schema's range)"
    return [Misfit("", "free", "failure", failed, np.inf, words)]


def unexplained(verdict: Verdict, found: list[Misfit]) -> list[str]:
    """Sentences for people: what stays beyond noise; empty when nothing does."""
    lines = [m.words for m in found if m.kind in ("score", "rule", "failure")]
    if not lines and not verdict.adequate:
        worst = max(verdict.table, key=lambda row: abs(row.z))
        lines = [
            f"no single cell is beyond {NOISE:g} standard errors, yet together they are unlikely "
            f"(p = {verdict.p_value:.3f}); the largest is {worst.variable} {_ahead(worst.horizon)}"
        ]
    return lines
