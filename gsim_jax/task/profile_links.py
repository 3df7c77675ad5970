"""How things hang together: transfers between variables, delayed effects of inputs."""

from __future__ import annotations

import numpy as np

from gsim_jax.task.profile_series import Course, effective_size

MIN_STRENGTH = 0.15
MIN_Z = 5.0
LONGEST_LAG = 14


def find_transfers(
    labels: tuple[str, ...],
    residuals: np.ndarray,
    means: np.ndarray,
    courses: list[Course | None],
) -> tuple[tuple[str, str, float], ...]:
    """Pairs where what one loses the other gains.

    Judged on the *surprises* (increments minus their one-step fit): a transfer makes one fall by
    just what the other rises by. The raw increments of S and R in an epidemic are correlated too,
    though nobody passes from one to the other; their surprises are not.

    Args:
        labels: the k variables.
        residuals: float64[m, k], NaN where unknown.
        means: float64[k], mean increments; with `courses` they tell the direction.
        courses: what `profile_series.monotone` says of each.

    Returns:
        (source, target, strength), the strongest first; strength is minus the correlation.
    """
    found = []
    for a in range(len(labels)):
        for b in range(a + 1, len(labels)):
            both = np.isfinite(residuals[:, a]) & np.isfinite(residuals[:, b])
            strength, z = _opposition(residuals[both, a], residuals[both, b])
            if strength < MIN_STRENGTH or z < MIN_Z:
                continue
            source, target = (a, b) if _flows_out(a, b, means, courses) else (b, a)
            found.append((labels[source], labels[target], round(strength, 3)))
    return tuple(sorted(found, key=lambda link: -link[2]))


def _opposition(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Minus the correlation, and how many standard errors it is from 0."""
    if len(a) < 10 or a.std() == 0 or b.std() == 0:
        return 0.0, 0.0
    strength = -float(np.corrcoef(a, b)[0, 1])
    pairs = min(effective_size(a), effective_size(b))
    return strength, float(np.arctanh(min(strength, 1 - 1e-12)) * np.sqrt(max(pairs - 3, 0)))


def _flows_out(a: int, b: int, means: np.ndarray, courses: list[Course | None]) -> bool:
    """Whether a is the source: it only falls, or b only rises, else by the mean increments."""
    if courses[a] == "decreasing" or courses[b] == "increasing":
        return True
    if courses[b] == "decreasing" or courses[a] == "increasing":
        return False
    return bool(means[a] < means[b])


def find_lags(
    inputs: dict[str, np.ndarray],
    labels: tuple[str, ...],
    values: np.ndarray,
    seen: np.ndarray,
    exists: np.ndarray,
) -> tuple[tuple[str, str, int, float], ...]:
    """Inputs on which increments depend, and after how many steps.

    The increment t -> t + 1 is regressed on all variables at t and on one lag of the input, the
    strongest lag first; further ones are added while they still count. Lag 0 is the input in row t.

    Args:
        inputs: name -> float64[n, rows].
        labels: the k variables.
        values: float64[n, rows, k].
        seen: bool[n, rows, k].
        exists: bool[n, rows], False in padding.

    Returns:
        (input, label, lag, partial correlation), in the order of the inputs and labels.
    """
    rows = values.shape[1]
    longest = min(LONGEST_LAG, (rows - 1) // 3)
    found = []
    for name, series in inputs.items():
        if series[exists].std() == 0:
            continue
        for v, label in enumerate(labels):
            usable = seen[:, 1:, v] & seen[:, :-1, v]
            usable[:, :longest] = False  # every lag is judged on the same rows
            beside = seen[:, :-1][usable].mean(axis=0) > 0.95
            usable &= seen[:, :-1][..., beside].all(axis=-1)
            features = values[:, :-1][..., beside][usable]
            target = (values[:, 1:, v] - values[:, :-1, v])[usable]
            lagged = {
                lag: np.roll(series, lag, axis=1)[:, :-1][usable] for lag in range(longest + 1)
            }
            found += [(name, label, lag, r) for lag, r in _select(features, target, lagged)]
    return tuple(found)


def _select(
    features: np.ndarray, target: np.ndarray, lagged: dict[int, np.ndarray]
) -> list[tuple[int, float]]:
    """Up to three lags by forward selection, with their partial correlations."""
    base = np.column_stack([np.ones(len(target)), features])
    chosen: list[tuple[int, float]] = []
    free = len(target) - base.shape[1] - 3
    if free < 20:
        return chosen
    for _ in range(3):
        rest = _residual(base, target)
        scores = {
            lag: _correlation(_residual(base, u), rest, float(np.sum(u**2)))
            for lag, u in lagged.items()
            if lag not in dict(chosen)
        }
        lag = max(scores, key=lambda key: abs(scores[key]))
        r = scores[lag]
        z = abs(np.arctanh(min(abs(r), 1 - 1e-12))) * np.sqrt(free)
        if abs(r) < MIN_STRENGTH or z < MIN_Z:
            break
        chosen.append((lag, round(r, 3)))
        base = np.column_stack([base, lagged[lag]])
    return chosen


def _residual(design: np.ndarray, target: np.ndarray) -> np.ndarray:
    return target - design @ np.linalg.lstsq(design, target, rcond=None)[0]


def _correlation(a: np.ndarray, b: np.ndarray, original: float) -> float:
    """Correlation of two residuals; 0 where the design explains a series up to rounding."""
    if np.sum(a**2) <= 1e-12 * original or np.sum(b**2) == 0:
        return 0.0
    return float(np.sum(a * b) / np.sqrt(np.sum(a**2) * np.sum(b**2)))
