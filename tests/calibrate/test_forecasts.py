"""The draws that calibration runs on: those of `predict`, whatever pieces and devices make them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax.calibrate import Evolution, Objective, Settings, forecasts, increment_scale
from gsim_jax.calibrate.forecasts import LANES, Forecasts, Shape, energies, shape_for
from gsim_jax.calibrate.score import energy_score
from gsim_jax.simulator.panel import build_panel
from gsim_jax.simulator.predict import Plan, predict
from gsim_jax.task import Trajectories
from tests.calibrate.fitting import POOL, counts, draw_thinning, forecasts_of, thinning
from tests.simulator.worlds import ar1, data_of, draw_ar1, schema_of

ROOT = Path(__file__).parents[2]
COUNT, ROWS, MEMBERS, REPLICATES = 7, 9, 4, 8
PLAN = Plan((3,))
SCHEMA = schema_of("x", "y")
WORLD = thinning()
POINTS = np.random.default_rng(0).uniform(0.1, 0.9, (MEMBERS, 1))
KEYS = np.random.default_rng(1).integers(0, 2**32, (MEMBERS, 2), dtype=np.uint32)


def pools(seed: int, count: int = COUNT) -> Trajectories:
    return counts(draw_thinning(0.2, count, ROWS, seed))


def made(data: Trajectories, chunk: int, plan: Plan = PLAN) -> Forecasts:
    shape = Shape(plan, MEMBERS, REPLICATES, chunk)
    return Forecasts(WORLD, POOL, data, shape, weighted=False)


@pytest.fixture(scope="module")
def whole() -> tuple[Forecasts, np.ndarray]:
    found = made(pools(1), COUNT)
    draws, code = found.draws(POINTS, 0, KEYS)
    assert not np.asarray(code).any()
    return found, np.asarray(draws)


class TestDraws:
    def test_they_are_those_of_predict(self, whole: tuple[Forecasts, np.ndarray]) -> None:
        found, draws = whole
        assert draws.shape == (MEMBERS, COUNT, ROWS - 1, 1, 3, REPLICATES)

        @jax.jit
        def one(u: jax.Array, key: jax.Array) -> jax.Array:
            params = WORLD.parameters.from_unit(u)
            return predict(WORLD, POOL, params, found.panels[0], PLAN, key,
                           replicates=REPLICATES, weighted=False)  # fmt: skip

        for member, (u, key) in enumerate(zip(POINTS.astype(np.float32), KEYS, strict=True)):
            expected = np.moveaxis(np.asarray(one(u, key)), (2, 3, 4), (4, 3, 2))
            reached = np.isfinite(expected)
            assert not reached[:, :2, :, 1].any()
            assert reached[:, 2:].all()
            np.testing.assert_array_equal(draws[member][reached], expected[reached])

    @pytest.mark.parametrize("chunk", [4])
    def test_pieces_and_padding_leave_a_trajectory_alone(
        self, whole: tuple[Forecasts, np.ndarray], chunk: int
    ) -> None:
        found = made(pools(1), chunk)
        pieces = [found.draws(POINTS, k, KEYS)[0] for k in range(len(found.panels))]
        assert [int((p.length > 0).sum()) for p in found.panels][-1] == COUNT % chunk
        np.testing.assert_array_equal(np.concatenate(pieces, axis=1)[:, :COUNT], whole[1])
        seen = np.concatenate([found.seen(k)[1] for k in range(len(pieces))])
        np.testing.assert_array_equal(seen[:COUNT], whole[0].seen(0)[1])
        assert not seen[COUNT:].any()

    def test_members_with_the_same_words_share_their_noise(
        self, whole: tuple[Forecasts, np.ndarray]
    ) -> None:
        found, _ = whole
        same = np.asarray(found.draws(np.full((MEMBERS, 1), 0.3), 0, KEYS[0])[0])
        for member in same[1:]:
            np.testing.assert_array_equal(member, same[0])
        own = np.asarray(found.draws(np.full((MEMBERS, 1), 0.3), 0, KEYS)[0])
        np.testing.assert_array_equal(own[0], same[0])
        assert all((member != own[0]).any() for member in own[1:])

    def test_other_data_of_the_same_shapes_compiles_no_more(
        self, whole: tuple[Forecasts, np.ndarray], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        compiled: list[str] = []

        def listen(event: str, seconds: float, **_: Any) -> None:
            if "backend_compile" in event:
                compiled.append(event)

        others = [made(pools(seed), COUNT) for seed in (2, 3)]
        longer = made(pools(4, 2 * COUNT), COUNT)
        narrow = made(pools(1), 2, Plan((), free=False))
        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            for other in (*others, longer):
                draws = np.asarray(other.draws(POINTS, 0, KEYS)[0])
                assert (draws != whole[1]).any()
                assert other.compile_seconds < 0.1
            assert not compiled
            monkeypatch.setattr(forecasts, "_KEPT", 1)  # only the last executables are kept
            narrow.draws(POINTS, 0, KEYS)
            assert compiled
            assert len(forecasts._compiled) == 1
        finally:
            jax.monitoring.clear_event_listeners()
        assert (longer.calls, len(longer.panels), longer.count) == (1, 2, 2 * COUNT)


def test_energies_are_energy_scores_of_what_was_seen() -> None:
    """Per row and horizon, with gaps in one variable, a failed lane, and an unequal scale."""
    generator = np.random.default_rng(5)
    draws = generator.normal(size=(2, 3, 4, 2, 2, 6)).astype(np.float32)
    draws[1, 2, 0, 1, 0, 3] = np.nan
    target = generator.normal(size=(3, 4, 2)).astype(np.float32)
    seen = generator.uniform(size=(3, 4, 2, 2)) < 0.7
    seen[0, 0] = False
    scale = np.array([[0.5, 2.0], [1.0, 3.0]], np.float32)
    found, count = energies(draws, target, seen, scale)
    expected = np.zeros((2, 3, 2))
    score = jax.jit(energy_score)
    for p, n, t, h in np.ndindex(2, 3, 4, 2):
        if seen[n, t, :, h].any():
            one = score(draws[p, n, t, :, h].T, target[n, t], seen[n, t, :, h], scale[h])
            expected[p, n, h] += float(one)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(count, seen.any(axis=2).sum(axis=1))


@pytest.mark.slow
def test_energies_are_those_of_the_ranking_objective() -> None:
    """Two compiled paths to one score: draws handed out and scored, or scored in the scan."""
    schema = schema_of("x")
    path = draw_ar1(0.7, 0.5, 5, 8, 2)
    seen = np.random.default_rng(3).uniform(size=path.shape) < 0.8
    data = data_of(schema, {"x": path}, {"x": seen}, length=np.array([8, 8, 3, 8, 5]))
    settings = Settings(PLAN, REPLICATES, REPLICATES, MEMBERS, 5, 8)
    scale = np.array([[0.5], [0.8], [1.2]], np.float32)
    objective = Objective(ar1(schema), schema, settings, scale, complete=False)
    shape = Shape(PLAN, MEMBERS, REPLICATES, 5)
    found = Forecasts(objective.simulator, schema, data, shape, weighted=True)
    u = np.random.default_rng(4).uniform(0.2, 0.8, (MEMBERS, 2))
    key = np.array([7, 8], np.uint32)
    got, count = energies(found.draws(u, 0, key)[0], *found.seen(0), scale)
    panel = objective.shared(build_panel(schema, data))
    scores = objective.scores(u, panel, key)
    np.testing.assert_allclose(got, np.asarray(scores.energy).sum(2), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(count, np.asarray(scores.valid)[0].sum(1))


class TestShape:
    @pytest.mark.parametrize("count", [1, 3, 20, 100, 700])
    @pytest.mark.parametrize("cost", [30, 5_000])
    @pytest.mark.parametrize("particles", [None, 128])
    def test_calls_are_bounded_and_pieces_alike(
        self, count: int, cost: int, particles: int | None
    ) -> None:
        got = shape_for(PLAN, count, 61, cost, 16, particles)
        assert got.replicates == (particles or got.replicates)
        assert 8 <= got.replicates <= 128
        assert 1 <= got.chunk <= count
        each = 16 * got.replicates * len(PLAN.tracks[0])
        assert got.chunk == 1 or got.chunk * each <= LANES
        assert -(-count // got.chunk) * got.chunk - count < -(-count // got.chunk)

    def test_few_trajectories_get_more_draws(self) -> None:
        draws = [shape_for(PLAN, n, 61, 30, 16, None).replicates for n in (1, 20, 50, 500)]
        assert draws == sorted(draws, reverse=True)
        assert draws[0] > draws[-1]


SPREAD = """
import sys
import jax, numpy as np
from tests.calibrate.test_forecasts import {made}
assert jax.device_count() == 8, jax.devices()
np.savez(sys.argv[1], **{made}())
"""


def mesh() -> jax.sharding.Mesh | None:
    devices = np.array(jax.devices())
    return jax.sharding.Mesh(devices, ("members",)) if len(devices) > 1 else None


def drawn() -> dict[str, np.ndarray]:
    """Draws over all devices there are, and their scores."""
    shape = Shape(Plan((), free=False), 16, REPLICATES, COUNT)
    found = Forecasts(WORLD, POOL, pools(1), shape, weighted=False, mesh=mesh())
    u = np.random.default_rng(1).uniform(0.1, 0.9, (16, 1))
    draws, _ = found.draws(u, 0, KEYS[0])
    assert len(draws.sharding.device_set) == jax.device_count()
    scores, _ = energies(draws, *found.seen(0), np.ones((1, 1), np.float32))
    return {"draws": np.asarray(draws), "scores": np.asarray(scores)}


def calibrated() -> dict[str, np.ndarray]:
    """A short calibration over all devices there are."""
    schema = schema_of("x")
    data = data_of(schema, {"x": draw_ar1(0.7, 0.5, 12, 9, 2)})
    settings = Settings(Plan((), free=False), 16, 16, 16, 12, 9)
    scale = increment_scale(build_panel(schema, data), settings.plan)
    objective = Objective(ar1(schema), schema, settings, scale)
    plan = Evolution(score="energy", explore=1, restarts=1, steps=2, passes=2, mesh=mesh())
    found = plan.calibrate(objective, data, 1)
    return {"history": np.asarray(found.history), "u": found.u, "covariance": found.covariance}


def on_eight(file: Path, made: str) -> dict[str, np.ndarray]:
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", SPREAD.format(made=made), str(file)], cwd=ROOT,
        env={**os.environ, **flags}, text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    with np.load(file) as found:
        return dict(found)


@pytest.mark.slow
def test_eight_devices_give_the_bits_of_one(tmp_path: Path) -> None:
    eight, one = on_eight(tmp_path / "found.npz", "drawn"), drawn()
    for name, value in one.items():
        np.testing.assert_array_equal(eight[name], value, err_msg=name)


@pytest.mark.slow
def test_a_calibration_on_eight_devices_is_that_on_one(tmp_path: Path) -> None:
    eight, one = on_eight(tmp_path / "found.npz", "calibrated"), calibrated()
    np.testing.assert_array_equal(eight["history"], one["history"])
    # Moments are sums over members, which devices add up in an order of their own.
    np.testing.assert_allclose(eight["u"], one["u"], rtol=1e-6)
    np.testing.assert_allclose(eight["covariance"], one["covariance"], rtol=1e-4, atol=1e-8)


def test_rows_and_operations_are_counted() -> None:
    found = forecasts_of(WORLD, POOL, pools(1), chunk=4, members=MEMBERS, replicates=REPLICATES)
    assert found.rows == ROWS
    assert found.operations == MEMBERS * 4 * REPLICATES * (ROWS - 1) * WORLD.cost
    values, shown = found.seen(1)
    assert values.shape == (4, ROWS - 1, 1)
    assert shown.shape == (4, ROWS - 1, 1, 1)
    np.testing.assert_array_equal(np.asarray(jnp.all(shown, axis=(1, 2, 3))), [1, 1, 1, 0])
