"""Derive the coefficient tables of ``gsim_jax/sampling/_tables.py``.

Three tables come out of here, and no number in them comes from anywhere else:

1. *Cornish-Fisher polynomials of lattice laws*, exact rationals (sympy). The cumulants of the
   binomial follow from kappa_{r+1} = p q d kappa_r / d p; with variance s^2 = n p q, v = p q and
   d = q - p they are s^2 times a polynomial in (v, d), and v = 0, d = 1 gives the Poisson,
   v = -P (1 + P), d = 1 + 2 P the negative binomial. A smooth S with S(k + 1/2) = P(X <= k) has
   the characteristic function of X times (t/2) / sin(t/2), which adds -B_r / r to cumulant r
   (Sheppard). Inverting its Edgeworth series order by order in 1/s gives x(w), the quantile in
   standard units, as in Hill and Davis, "Generalized asymptotic expansions of Cornish-Fisher
   type", Ann. Math. Stat. 39 (1968).
2. *The same expansion with orders 5 to 8 fitted* to binomial and Poisson CDFs from a mean of 8
   upward. The series is asymptotic: at a mean of 8 its truncation errs by 2e-6, the best
   polynomial of the same form by 1e-7. Orders 1 to 4 stay exact, so large means lose nothing.
3. *The same again for negative binomial and gamma*, shapes from 6 upward. With V = v / s^2 =
   -1 / shape and D = d / s every monomial stays bounded where v alone would overflow.
4. *Rationals*: the normal quantile, |w| / |2 u - 1| in L = -log(4 t (1 - t)); log Gamma(1 + a)
   / a; the remainder of Stirling's formula; the logarithm from 2/3 to 4/3.

Fits are linear least squares reweighted towards the largest error (Lawson), deterministic.

Usage: ``python tools/derive_quantiles.py`` rewrites the tables, ``--check`` only compares.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator
from math import factorial
from pathlib import Path
from typing import NamedTuple

import mpmath
import numpy as np
import scipy.special as sp
import scipy.stats as st
from sympy import QQ, bernoulli, ring

ORDER = 8
FITTED_FROM = 5
SMALL_MEAN = 8.0
SMALLEST_TAIL = 2.0**-33
LARGE_SHAPE = 6.0
OVERDISPERSED_MEAN = 10.0
TABLES = Path(__file__).resolve().parents[1] / "gsim_jax" / "sampling" / "_tables.py"

Key = tuple[int, int, int]
"""(order in 1/s, power of w, power of v); odd orders carry one factor d."""

_RING, _W, _V, _D, *_C = ring("w,v,d,c3,c4,c5,c6", QQ)


# Symbolic part --------------------------------------------------------------------------------


def _reduce(polynomial):
    """Replace d^2 by 1 - 4 v, which holds for all three families."""
    out = _RING(0)
    for (w, v, d, *rest), c in polynomial.terms():
        out += _RING({(w, v, d % 2, *rest): c}) * (1 - 4 * _V) ** (d // 2)
    return out


def cumulants(highest: int) -> dict[int, object]:
    """kappa_r / s^2 for r = 2 .. highest, as polynomials in (v, d)."""
    out = {2: _RING(1)}
    for r in range(2, highest):
        c = out[r]
        # f_r = v c_r is kappa_r / n; f_{r+1} = v df_r/dp with dv/dp = d and dd/dp = -2.
        out[r + 1] = _reduce(_D * c + _V * _D * c.diff(_V) - 2 * _V * c.diff(_D))
    return out


def _edgeworth(order: int, kappa: dict[int, object]) -> list[dict[int, object]]:
    """Exponential of the corrected cumulant series: per order of 1/s, coefficients of (i t)^j."""
    log_series: dict[int, dict[int, object]] = {}
    for r, c in kappa.items():
        if r > 2:
            log_series.setdefault(r - 2, {})[r] = c * QQ(1, factorial(r))
        if r % 2 == 0 and r <= order:
            b = bernoulli(r)
            terms = log_series.setdefault(r, {})
            terms[r] = terms.get(r, _RING(0)) - QQ(int(b.p), int(b.q) * r * factorial(r))
    series: list[dict[int, object]] = [{0: _RING(1)}]
    for n in range(1, order + 1):  # n E_n = sum_k k G_k E_{n-k}
        acc: dict[int, object] = {}
        for k in range(1, n + 1):
            for i, g in log_series.get(k, {}).items():
                for j, e in series[n - k].items():
                    acc[i + j] = acc.get(i + j, _RING(0)) + g * e * QQ(k, n)
        series.append({j: _reduce(e) for j, e in acc.items()})
    return series


def _multiply(a: list, b: list, order: int) -> list:
    out = [_RING(0)] * (order + 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b[: order + 1 - i]):
            if x != 0 and y != 0:
                out[i + j] = out[i + j] + x * y
    return [_reduce(x) for x in out]


def _quantile_series(order: int, kappa: dict[int, object]) -> list:
    """x(w) - w by order of 1/s; solves F(w + delta) = Phi(w) order by order."""
    hermite = [_RING(1), _W]
    for n in range(1, 5 * order):
        hermite.append(_W * hermite[n] - n * hermite[n - 1])
    # F = Phi - phi H: the integral of He_j phi is -He_{j-1} phi.
    edge = [
        _reduce(sum((e * hermite[j - 1] for j, e in terms.items() if j), _RING(0)))
        for terms in _edgeworth(order, kappa)
    ]
    derivatives = [edge]  # of H phi, over phi
    for _ in range(order):
        derivatives.append([h.diff(_W) - _W * h for h in derivatives[-1]])
    delta = [_RING(0)] * (order + 1)
    for n in range(1, order + 1):
        residual = -edge[n]
        power = [_RING(1)] + [_RING(0)] * order
        for m in range(1, n + 1):
            power = _multiply(power, delta, n)
            residual += power[n] * hermite[m - 1] * QQ((-1) ** (m - 1), factorial(m))
            residual -= _multiply(power, derivatives[m], n)[n] * QQ(1, factorial(m))
        delta[n] = _reduce(-residual)
    return delta


def cornish_fisher(order: int = ORDER) -> dict[Key, object]:
    """Exact coefficients of x(w) - w for the families with cumulants in (v, d)."""
    series = _quantile_series(order, cumulants(order + 2))
    return {(n, w, v): c for n, p in enumerate(series) for (w, v, *_), c in p.terms() if c}


def general_cornish_fisher(order: int = FITTED_FROM - 1) -> dict[tuple[int, ...], object]:
    """The same for any lattice law, in its cumulants c_r = kappa_r / s^2.

    Keys are (order, power of w, powers of c3, c4, c5, c6).
    """
    kappa = {2: _RING(1), **dict(enumerate(_C, start=3))}
    series = _quantile_series(order, {r: kappa[r] for r in range(2, order + 3)})
    return {
        (n, w, *rest): c for n, p in enumerate(series) for (w, _, _, *rest), c in p.terms() if c
    }


def hypergeometric_cumulants() -> list:
    """c3, c4, c5, c6 of the hypergeometric law in a large urn, as polynomials in (a, b).

    a is the share of good ones and b the share taken. The share x of good ones taken has a
    rate function with derivative theta(x) = log(x (1 - a - b + x) / ((a - x)(b - x))), and
    the cumulants per element of the urn are the derivatives of x(theta) at x = a b. With
    x = a b + z a b (1 - a) (1 - b) that becomes d z / d theta = 1 / sum t_m z^m.
    """
    _, a, b = ring("a,b", QQ)
    down, up = ((1 - a) * (1 - b), a * b), (b * (1 - a), a * (1 - b))
    t = [sum((-1) ** m * u ** (m + 1) for u in down) + sum(u ** (m + 1) for u in up)
         for m in range(5)]  # fmt: skip
    slope = [t[0]]  # one
    for n in range(1, 5):
        slope.append(-sum(t[k] * slope[n - k] for k in range(1, n + 1)))
    derivative, out = slope, []
    for _ in range(4):
        in_z = [(n + 1) * c for n, c in enumerate(derivative[1:])]
        derivative = [sum(slope[k] * in_z[n - k] for k in range(n + 1)) for n in range(len(in_z))]
        out.append(derivative[0])
    return out


# Fitted part ----------------------------------------------------------------------------------


def _lawson(design: np.ndarray, target: np.ndarray, weight: np.ndarray, rounds: int) -> np.ndarray:
    """Coefficients near the minimum of max |weight (design c - target)|."""
    importance = np.ones_like(target)
    scale = np.abs(design * weight[:, None]).max(0)
    best, best_error = np.zeros(design.shape[1]), np.inf
    for _ in range(rounds):
        row = weight * np.sqrt(importance)
        c = np.linalg.lstsq(design * row[:, None] / scale, target * row, rcond=1e-13)[0] / scale
        error = np.abs(design @ c - target) * weight
        if error.max() < best_error:
            best, best_error = c, error.max()
        importance *= error / error.mean() + 0.02
        importance /= importance.mean()
    return best


def _rational(
    x: np.ndarray, y: np.ndarray, weight: np.ndarray, degrees: tuple[int, int], rounds: int = 100
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Numerator and denominator (leading 1) near the minimum of max |weight (N / D - y)|."""
    top, bottom = degrees
    powers = x[:, None] ** np.arange(max(degrees) + 1)
    design = np.concatenate([powers[:, : top + 1], -y[:, None] * powers[:, 1 : bottom + 1]], axis=1)
    importance, denominator = np.ones_like(y), np.ones_like(y)
    best, best_error = np.zeros(top + bottom + 1), np.inf
    for _ in range(rounds):
        row = np.sqrt(importance) * weight / np.abs(denominator)
        scale = np.abs(design * row[:, None]).max(0)
        c = np.linalg.lstsq(design * row[:, None] / scale, y * row, rcond=1e-15)[0] / scale
        denominator = 1 + powers[:, 1 : bottom + 1] @ c[top + 1 :]
        error = np.abs(powers[:, : top + 1] @ c[: top + 1] / denominator - y) * weight
        if error.max() < best_error:
            best, best_error = c, error.max()
        importance *= (error / error.mean()) ** 0.7 + 0.01
        importance /= importance.mean()
    return tuple(best[: top + 1].tolist()), (1.0, *best[top + 1 :].tolist())


class _Point(NamedTuple):
    """One law to fit: distribution, its (v, d), and the largest value worth looking at."""

    law: object
    v: float
    d: float
    top: int


def _underdispersed() -> Iterator[_Point]:
    """Binomial and Poisson laws from the smallest mean upward."""
    means = [*np.arange(SMALL_MEAN, 30, 0.5), 35, 40, 50, 60, 80, 100, 150, 200, 400, 1000]
    for mean in means:
        yield _Point(st.poisson(mean), 0.0, 1.0, int(mean + 8 * mean**0.5 + 10))
        for p in (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5):
            n = int(np.ceil(mean / p))
            p = mean / n
            top = min(n, int(mean + 8 * (mean * (1 - p)) ** 0.5 + 10))
            yield _Point(st.binom(n, p), p * (1 - p), 1 - 2 * p, top)


def _overdispersed() -> Iterator[_Point]:
    """Negative binomial laws from the smallest shape and mean upward."""
    shapes = LARGE_SHAPE * np.array([*1.2 ** np.arange(12), 12, 20, 40, 100, 1000, 1e5])
    means = OVERDISPERSED_MEAN * np.array([*1.25 ** np.arange(12), 20, 50, 200, 1000, 1e4, 1e5])
    for shape, mean in itertools.product(shapes, means):
        excess = mean / shape
        law = st.nbinom(shape, 1 / (1 + excess))
        yield _Point(law, -excess * (1 + excess), 1 + 2 * excess, int(law.isf(1e-9)) + 1)


def _lattice_points(laws: Iterable[_Point], most: int) -> dict[str, np.ndarray]:
    """Normal score w, standardised threshold x and density f of P(X <= k), over laws and k."""
    columns: dict[str, list[np.ndarray]] = {name: [] for name in "wxftsvd"}
    for law, v, d, top in laws:
        low = max(0, int(law.ppf(1e-9)) - 1)
        k = np.unique(np.linspace(low, top, min(top - low + 1, most)).astype(int))
        below, above, mass = law.cdf(k), law.sf(k), law.pmf(k)
        tail = np.minimum(below, above)
        keep = (tail > 3e-9) & (k < top)
        k, below, above, tail, mass = k[keep], below[keep], above[keep], tail[keep], mass[keep]
        mean, sd = law.mean(), law.std()
        columns["w"].append(np.where(below < 0.5, sp.ndtri(below), -sp.ndtri(above)))
        columns["x"].append((k + 0.5 - mean) / sd)
        columns["t"].append(tail)
        columns["f"].append(sd * np.sqrt(mass * law.pmf(k + 1)))
        for name, value in (("s", sd), ("v", v), ("d", d)):
            columns[name].append(np.full(len(k), value))
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def _monomials(points: dict[str, np.ndarray], keys: list[Key]) -> np.ndarray:
    w, s, v, d = (points[name] for name in "wsvd")
    steps = [w**a * (v / s**2) ** b * (d / s) ** (n % 2) * s ** -(n - n % 2 - 2.0 * b)
             for n, a, b in keys]  # fmt: skip
    return np.stack(steps, axis=1)


def fitted_expansion(
    exact: dict[Key, object], points: dict[str, np.ndarray], most_v: int, weight: np.ndarray
) -> dict[Key, float]:
    """The expansion with orders from FITTED_FROM on refitted to the points.

    Args:
        exact: the symbolic expansion, which gives the lower orders.
        points: where to fit, from ``_lattice_points``.
        most_v: highest power of v in the fitted orders.
        weight: per point, one over the error of x that is as bad as any other.
    """
    low = {k: float(c) for k, c in exact.items() if k[0] < FITTED_FROM}
    keys = [
        (n, a, b)
        for n in range(FITTED_FROM, ORDER + 1)
        for a in range((n + 1) % 2, n + 2, 2)
        for b in range(min(most_v, n // 2) + 1)
    ]
    base = points["w"] + _monomials(points, list(low)) @ np.array(list(low.values()))
    c = _lawson(_monomials(points, keys), points["x"] - base, weight, rounds=25)
    return low | dict(zip(keys, c.tolist(), strict=True))


def lattice(exact: dict[Key, object]) -> dict[Key, float]:
    """Binomial and Poisson; 1e-7 of the CDF weighs as much as 2 % of the tail probability."""
    points = _lattice_points(_underdispersed(), 80)
    return fitted_expansion(exact, points, 2, points["f"] * (1e7 + 50 / points["t"]))


def overdispersed(exact: dict[Key, object]) -> dict[Key, float]:
    """Negative binomial and gamma; 1e-6 of the CDF weighs as much as 20 % of the tail."""
    points = _lattice_points(_overdispersed(), 30)
    return fitted_expansion(exact, points, ORDER // 2, points["f"] * (1e6 + 5 / points["t"]))


def normal_rational() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """|w| / |2 u - 1| as a rational in L, for t >= 2^-33."""
    t = np.exp(np.linspace(np.log(SMALLEST_TAIL), np.log(0.499), 2000))
    t = np.concatenate([t, 0.5 - np.geomspace(1e-4, 0.2, 500)])
    w, s, logit = -sp.ndtri(t), 1 - 2 * t, -np.log(4 * t * (1 - t))
    weight = s * np.exp(-(w**2) / 2) / np.sqrt(2 * np.pi) * 1e8 + s * w * 1e6
    return _rational(logit, w / s, weight, (5, 5))


def log_gamma_rational() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """log Gamma(1 + a) / a for a in (0, LARGE_SHAPE]."""
    a = LARGE_SHAPE * (1 - np.cos(np.linspace(0, np.pi, 4000))) / 2 + 1e-6
    return _rational(a, sp.gammaln(1 + a) / a, np.ones_like(a), (4, 4))


def stirling_polynomial() -> tuple[float, ...]:
    """x (log Gamma(x + 1) - (x + 1/2) log x + x - log(2 pi) / 2) in powers of 1 / x^2, x >= 1."""
    x = 1 / np.linspace(1e-3, 1, 4000)
    mpmath.mp.dps = 30
    half_log = mpmath.log(2 * mpmath.pi) / 2
    rest = [
        float(mpmath.loggamma(v + 1) - (v + 0.5) * mpmath.log(v) + v - half_log)
        for v in map(mpmath.mpf, x)
    ]
    z = 1 / x**2
    return tuple(_lawson(z[:, None] ** np.arange(7), x * np.array(rest), np.ones_like(x), 40))


def log_polynomial() -> tuple[float, ...]:
    """(log(1 + f) - f) / f^2 in powers of f, for 1 + f from 2/3 to 4/3."""
    f = -np.cos(np.linspace(0, np.pi, 4000)) / 3
    return tuple(_lawson(f[:, None] ** np.arange(8), (np.log1p(f) - f) / f**2, f**2, 60))


# The file -------------------------------------------------------------------------------------


def tables() -> dict[str, object]:
    """All tables by the name that they have in the generated module."""
    exact = cornish_fisher()
    normal, gamma = normal_rational(), log_gamma_rational()
    return {
        "CORNISH_FISHER": {k: f"{c.numerator}/{c.denominator}" for k, c in sorted(exact.items())},
        "GENERAL": {
            k: f"{c.numerator}/{c.denominator}" for k, c in sorted(general_cornish_fisher().items())
        },
        "LATTICE": dict(sorted(lattice(exact).items())),
        "OVERDISPERSED": dict(sorted(overdispersed(exact).items())),
        "NORMAL_NUMERATOR": normal[0],
        "NORMAL_DENOMINATOR": normal[1],
        "LOG_GAMMA_NUMERATOR": gamma[0],
        "LOG_GAMMA_DENOMINATOR": gamma[1],
        "STIRLING": stirling_polynomial(),
        "LOG": log_polynomial(),
        "LARGE_SHAPE": LARGE_SHAPE,
        "OVERDISPERSED_MEAN": OVERDISPERSED_MEAN,
        "SMALL_MEAN": SMALL_MEAN,
        "SMALL_TERMS": int(st.poisson.isf(SMALLEST_TAIL, SMALL_MEAN)) + 1,
    }


def render(values: dict[str, object]) -> str:
    """Source of the generated module."""
    lines = ['"""Generated by tools/derive_quantiles.py, which documents every table."""', ""]
    for name, value in values.items():
        if isinstance(value, dict):
            lines.append(f"{name} = {{")
            for key, c in value.items():
                lines.append(f"    {key}: {c if isinstance(c, float) is False else f'{c:.9e}'},")
            lines.append("}")
        elif isinstance(value, tuple):
            lines += [f"{name} = (", *(f"    {c:.9e}," for c in value), ")"]
        else:
            lines.append(f"{name} = {value}")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Write the tables, or with ``--check`` say whether they are what this script derives."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    source = render(tables())
    if parser.parse_args(argv).check:
        same = TABLES.read_text() == source
        print("equal" if same else f"{TABLES} differs from what is derived", file=sys.stderr)
        return 0 if same else 1
    TABLES.write_text(source)
    return 0


if __name__ == "__main__":
    sys.exit(main())
