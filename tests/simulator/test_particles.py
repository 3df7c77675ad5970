"""The filter's particles, against the exact filter of a linear Gaussian world."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax.simulator.panel import build_panel
from gsim_jax.simulator.particles import WIDTH, resample
from gsim_jax.simulator.predict import Plan, predict
from tests.simulator.worlds import KEY, at, data_of, hidden_level, schema_of

Law = tuple[np.ndarray, np.ndarray]

#: (x, l)' = F (x, l) + noise of covariance Q, as `hidden_level` at its guesses has it.
F = np.array([[0.6, 1.0], [0.0, 0.9]])
Q = np.diag([0.5**2, 0.4**2])
FIRST: Law = np.array([0.0, 1.0]), np.diag([2.0**2, 0.5**2])
ROWS, PARTICLES = 26, 2048


def ahead(law: Law, steps: int = 1) -> Law:
    """The law `steps` steps later."""
    mean, cov = law
    for _ in range(steps):
        mean, cov = F @ mean, F @ cov @ F.T + Q
    return mean, cov


def update(law: Law, y: float, extra: float) -> Law:
    """The law after x was seen as y, with observation noise of variance `extra` in the weights.

    The data overwrite x itself, whatever the weights say of it.
    """
    mean, cov = law
    gain = cov[1, 0] / (cov[0, 0] + extra)
    level = mean[1] + gain * (y - mean[0])
    return np.array([y, level]), np.diag([0.0, cov[1, 1] - gain * cov[1, 0]])


def exact(law: Law, y: float) -> float:
    """No noise: the Kalman filter."""
    return 0.0


def kernel(law: Law, y: float) -> float:
    """What the particles' kernel amounts to: its variance follows their mean squared error."""
    mean, cov = law
    return WIDTH**2 * (cov[0, 0] + (mean[0] - y) ** 2)


@dataclass(frozen=True)
class Reference:
    """Means and standard deviations of x, float64[T, 3] for horizons 1, 7 and free."""

    mean: np.ndarray
    sd: np.ndarray


def reference(x: np.ndarray, seen: np.ndarray, noise: Callable[[Law, float], float]) -> Reference:
    """Predictive laws of one trajectory from the filter with that observation noise."""
    mean, cov = FIRST
    law = (np.array([x[0] if seen[0] else mean[0], mean[1]]), cov * [[not seen[0], 1], [1, 1]])
    free = law
    filtered, found = [law], []
    for target in range(1, len(x)):
        back = filtered[max(target - 7, 0)]
        laws = [ahead(filtered[-1]), ahead(back, min(7, target)), ahead(free, target)]
        found.append([(m[0], np.sqrt(c[0, 0])) for m, c in laws])
        law = laws[0]
        filtered.append(update(law, x[target], noise(law, x[target])) if seen[target] else law)
    return Reference(*np.moveaxis(np.array(found), -1, 0))


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Data, mask, and draws[n, T, R, H]: complete, with gaps, and without a first row."""
    generator = np.random.default_rng(3)
    n = 3
    x, level = np.zeros((n, ROWS)), np.full(n, 1.0)
    for t in range(1, ROWS):
        x[:, t] = 0.6 * x[:, t - 1] + level + 0.5 * generator.normal(size=n)
        level = 0.9 * level + 0.4 * generator.normal(size=n)
    seen = np.ones((n, ROWS), bool)
    seen[1, [3, 4, 8, 15, 16, 17, 18]] = False
    seen[2, :3] = False
    schema = schema_of("x")
    simulator = hidden_level(schema)
    panel = build_panel(schema, data_of(schema, {"x": x}, {"x": seen}))

    def run(params: Any, panel: Any) -> jax.Array:
        plan = Plan((7,))
        return predict(
            simulator, schema, params, panel, plan, KEY, replicates=PARTICLES, weighted=True
        )

    draws = jax.jit(run)(at(simulator), panel)
    return x, seen, np.asarray(draws)[..., 0]


def test_the_kernels_own_filter(world: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """Gaussian weights on Gaussian particles: the same filter in closed form, at all horizons."""
    x, seen, draws = world
    for i in range(3):
        law = reference(x[i], seen[i], kernel)
        mean, sd = draws[i].mean(1), draws[i].std(1)
        rows = np.arange(1, ROWS)[:, None] >= np.array([1, 7, 1])[None]
        z = np.where(rows, (mean - law.mean) / law.sd * np.sqrt(PARTICLES), 0.0)
        ratio = np.where(rows, sd / law.sd, 1.0)
        # Resampling adds up over the rows: the noise is some times that of independent draws.
        assert np.sqrt(np.mean(z**2)) < 2.2
        assert np.abs(z).max() < 6.0
        np.testing.assert_allclose(ratio, 1.0, atol=0.07)
        assert ratio.mean() == pytest.approx(1.0, abs=0.006)
        assert np.isnan(draws[i, :6, :, 1]).all()


def test_close_to_the_exact_filter(world: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    """The kernel costs a little information, and no more than that."""
    x, seen, draws = world
    for i in range(3):
        best = reference(x[i], seen[i], exact)
        blind = reference(x[i], np.zeros_like(seen[i]), exact)
        mean, sd = draws[i].mean(1)[:, 0], draws[i].std(1)[:, 0]
        off = np.sqrt(np.mean(((mean - best.mean[:, 0]) / best.sd[:, 0]) ** 2))
        lost = np.sqrt(np.mean(((blind.mean[:, 0] - best.mean[:, 0]) / best.sd[:, 0]) ** 2))
        assert off < 0.3
        assert off < 0.35 * lost
        assert np.mean(sd / best.sd[:, 0]) < 1.08


def indices(
    predicted: np.ndarray,
    observed: np.ndarray,
    seen: np.ndarray | None = None,
    sound: np.ndarray | None = None,
    t: int = 5,
) -> np.ndarray:
    """Survivors of one row."""
    seen = np.ones(len(observed), bool) if seen is None else seen
    sound = np.ones(len(predicted), bool) if sound is None else sound
    arguments = (predicted.astype(np.float32), observed.astype(np.float32), seen, KEY, t, sound)
    return np.asarray(jax.jit(resample)(*map(jnp.asarray, arguments)))


def test_survivors_follow_their_weights() -> None:
    count = 512
    predicted = np.random.default_rng(0).normal(size=(count, 2)) * [1.0, 5.0] + [0.0, 3.0]
    observed = np.array([0.7, 1.0])
    error = predicted - observed
    weight = np.exp(-0.5 * np.sum(error**2 / (WIDTH**2 * np.mean(error**2, 0)), 1))
    expected = count * weight / weight.sum()
    got = np.bincount(indices(predicted, observed), minlength=count)
    assert got.sum() == count
    # Stratified: no count strays from its expectation by two or more.
    assert np.abs(got - expected).max() < 2
    over = [np.bincount(indices(predicted, observed, t=t), minlength=count) for t in range(40)]
    np.testing.assert_allclose(np.mean(over, 0), expected, atol=4.5 * 0.71 / np.sqrt(40))


def test_a_mask_takes_a_variable_out() -> None:
    predicted = np.random.default_rng(1).normal(size=(64, 2))
    observed = np.array([0.3, 40.0])
    seen = np.array([True, False])
    alone = indices(predicted[:, :1], observed[:1])
    np.testing.assert_array_equal(indices(predicted, observed, seen), alone)


def test_all_survive_a_row_that_nobody_saw() -> None:
    predicted = np.random.default_rng(2).normal(size=(32, 1))
    got = indices(predicted, np.zeros(1), np.zeros(1, bool))
    np.testing.assert_array_equal(got, np.arange(32))


def test_the_failed_do_not_survive() -> None:
    predicted = np.random.default_rng(4).normal(size=(64, 1))
    predicted[::4] = np.nan
    sound = np.arange(64) % 8 != 1
    got = indices(predicted, np.zeros(1), sound=sound)
    assert not set(got) & {*range(0, 64, 4), *range(1, 64, 8)}


def test_particles_survive_alike_where_all_agree_or_all_failed() -> None:
    for predicted in (np.full((16, 1), 2.0), np.full((16, 1), np.nan)):
        got = indices(predicted, np.array([2.0]))
        np.testing.assert_array_equal(np.sort(got), np.arange(16))


def test_neighbours_rarely_share_an_ancestor() -> None:
    """The energy score pairs replicates at fixed distances: ancestors are spread over the ring."""
    predicted = np.random.default_rng(5).normal(size=(256, 1))
    got = indices(predicted, np.array([0.2]))
    shared = [np.mean(got == np.roll(got, k)) for k in (1, 85, 128, 170)]
    alike = np.sum((np.bincount(got, minlength=256) / 256) ** 2)
    assert np.mean(shared) < 2 * alike + 0.02
