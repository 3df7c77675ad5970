"""Linear forms of the observed variables that never change along a trajectory."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

LARGEST_DENOMINATOR = 24
ROWS_PER_VARIABLE = 3


@dataclass(frozen=True)
class Invariant:
    """A linear form that the data keep constant.

    Attributes:
        coefficients: label -> coefficient; whole numbers where the data allow.
        constant_over: ``trajectory`` (each has its own value) or ``all`` (one value everywhere).
        value: that one value, None where trajectories differ.
        words: one sentence.
    """

    coefficients: dict[str, int | float]
    constant_over: Literal["trajectory", "all"]
    value: float | None
    words: str


def find_invariants(
    labels: tuple[str, ...], values: np.ndarray, seen: np.ndarray
) -> tuple[Invariant, ...]:
    """The null space of the pooled increments, reduced to small whole numbers where possible.

    Every form is checked on the data before it is stated: exactly for whole numbers, up to
    rounding of float32 for reals.

    Args:
        labels: the k variables.
        values: float64[n, rows, k].
        seen: bool[n, rows, k].
    """
    chosen = _jointly_seen(values, seen)
    if len(chosen) < 2:
        return ()
    levels = values[..., chosen]
    steps = np.asarray(seen[..., chosen].all(axis=-1))
    both = steps[:, 1:] & steps[:, :-1]
    increments = (levels[:, 1:] - levels[:, :-1])[both]
    found = []
    for form in _null_space(increments):
        reduced = _reduced(form)
        if _holds(reduced, increments, levels[steps]):
            names = [labels[i] for i in chosen]
            found.append(_described(names, reduced, levels, steps))
    return tuple(found)


@dataclass(frozen=True)
class Balance:
    """A linear form that changes by a linear form of the step's inputs, exactly.

    Attributes:
        coefficients: label -> coefficient of the form; whole numbers where the data allow.
        inputs: input -> coefficient of what the form changes by in a step.
        words: one sentence.
    """

    coefficients: dict[str, int | float]
    inputs: dict[str, int | float]
    words: str


def find_balances(
    labels: tuple[str, ...],
    values: np.ndarray,
    seen: np.ndarray,
    inputs: dict[str, np.ndarray],
    exists: np.ndarray,
) -> tuple[Balance, ...]:
    """Forms whose change from t to t + 1 the inputs in row t account for.

    They are the invariants in which running sums of inputs take part: stock on hand, on order and
    sold, less what has been ordered so far.

    Args:
        labels: the k variables.
        values: float64[n, rows, k].
        seen: bool[n, rows, k].
        inputs: name -> float64[n, rows].
        exists: bool[n, rows], False in padding.
    """
    given = {name: u for name, u in inputs.items() if u[exists].std() > 0}
    if not given or not labels:
        return ()
    sums = [np.cumsum(u, axis=1) - u for u in given.values()]  # what came in before the row
    everything = np.concatenate([values, np.stack(sums, axis=-1)], axis=-1)
    known = np.stack([exists] * len(given), axis=-1)
    marks = {f"inputs/{name}": name for name in given}  # an input and a state may share letters
    names = (*labels, *marks)
    found = []
    for form in find_invariants(names, everything, np.concatenate([seen, known], axis=-1)):
        parts = form.coefficients
        moved = {marks[name]: -c for name, c in parts.items() if name in marks}
        held = {name: c for name, c in parts.items() if name not in marks}
        if not moved or not held:
            continue
        if next(iter(moved.values())) < 0:
            moved = {name: -c for name, c in moved.items()}
            held = {name: -c for name, c in held.items()}
        words = f"{_sum_of(held)} changes by {_sum_of(moved)} in every step"
        found.append(Balance(held, moved, words))
    return tuple(found)


def _jointly_seen(values: np.ndarray, seen: np.ndarray) -> list[int]:
    """Variables that change, and are seen together in enough consecutive rows."""
    chosen = []
    for v in range(values.shape[-1]):
        both = seen[:, 1:, v] & seen[:, :-1, v]
        if np.any(both & (values[:, 1:, v] != values[:, :-1, v])):
            chosen.append(v)
    while len(chosen) > 1:
        together = np.asarray(seen[..., chosen].all(axis=-1))
        if np.sum(together[:, 1:] & together[:, :-1]) >= ROWS_PER_VARIABLE * len(chosen):
            break
        rarest = min(chosen, key=lambda v: int(seen[..., v].sum()))
        chosen.remove(rarest)
    return chosen


def _null_space(increments: np.ndarray) -> list[np.ndarray]:
    """A sparse basis of what the increments leave unchanged, from reduced row echelon form."""
    scale = np.sqrt(np.mean(increments**2, axis=0))
    if np.any(scale == 0):
        kept = np.flatnonzero(scale > 0)  # a variable that changes, but never with the others seen
        inner = _null_space(increments[:, kept]) if len(kept) > 1 else []
        return [np.bincount(kept, form, len(scale)) for form in inner]
    _, singular, right = np.linalg.svd(increments / scale, full_matrices=False)
    basis = right[singular < 1e-5 * singular[0]] / scale
    rows = [row / np.abs(row).max() for row in basis]
    return _echelon(np.asarray(rows)) if rows else []


def _echelon(matrix: np.ndarray) -> list[np.ndarray]:
    matrix = matrix.copy()
    done = 0
    for column in range(matrix.shape[1]):
        if done == len(matrix):
            break
        pivot = done + int(np.argmax(np.abs(matrix[done:, column])))
        if abs(matrix[pivot, column]) < 1e-4:
            continue
        matrix[[done, pivot]] = matrix[[pivot, done]]
        matrix[done] /= matrix[done, column]
        for other in range(len(matrix)):
            if other != done:
                matrix[other] -= matrix[other, column] * matrix[done]
        done += 1
    return list(matrix[:done])


def _reduced(form: np.ndarray) -> np.ndarray:
    """Small whole numbers in the same proportion, or the form with its noise cut off."""
    fractions = [Fraction(float(c)).limit_denominator(LARGEST_DENOMINATOR) for c in form]
    if all(abs(float(f) - c) < 1e-4 for f, c in zip(fractions, form, strict=True)):
        common = math.lcm(*(f.denominator for f in fractions))
        whole = [int(f * common) for f in fractions]
        divisor = math.gcd(*whole) or 1
        if max(abs(w) for w in whole) // divisor <= 10 * LARGEST_DENOMINATOR:
            return np.asarray([w // divisor for w in whole], np.float64)
    return np.where(np.abs(form) < 1e-6, 0.0, form)


def _holds(form: np.ndarray, increments: np.ndarray, levels: np.ndarray) -> bool:
    """Whether the form is constant in every row, and not for want of movement."""
    residual = np.abs(increments @ form)
    if np.sum(form != 0) < 2:
        return False
    if np.all(increments == np.floor(increments)) and np.all(form == np.floor(form)):
        return bool(np.all(residual == 0))
    rounding = 4e-7 * np.abs(levels * form).sum(axis=1).max()
    moved = np.sqrt(np.mean((increments * form) ** 2, axis=0))
    slowest = moved[form != 0].min()
    return bool(np.all(residual <= rounding) and rounding < 1e-2 * slowest)


def _described(
    names: list[str], form: np.ndarray, levels: np.ndarray, steps: np.ndarray
) -> Invariant:
    values = (levels @ form)[steps]
    whole = bool(np.all(form == np.floor(form)))
    coefficients: dict[str, int | float] = {
        name: int(c) if whole else float(f"{c:.6g}")
        for name, c in zip(names, form, strict=True)
        if c != 0
    }
    spread, size = float(np.ptp(values)), float(np.abs(levels[steps] * form).sum(axis=1).max())
    everywhere = spread <= 4e-7 * size
    value = float(np.mean(values)) if everywhere else None
    if value is not None and abs(value) <= 4e-7 * size:
        value = 0.0
    text = _sum_of(coefficients)
    end = f"is {value:.6g} in every row" if everywhere else "is constant along each trajectory"
    return Invariant(coefficients, "all" if everywhere else "trajectory", value, f"{text} {end}")


def _sum_of(coefficients: dict[str, int | float]) -> str:
    terms = " ".join(_term(name, c) for name, c in coefficients.items())
    return terms.replace("- ", "-", 1) if terms[0] == "-" else terms[2:]


def _term(name: str, coefficient: int | float) -> str:
    sign = "-" if coefficient < 0 else "+"
    size = abs(coefficient)
    return f"{sign} {name}" if size == 1 else f"{sign} {size:g} {name}"
