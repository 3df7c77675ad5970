"""The baselines of Table 2: what they may and may not see, and what all of them promise."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

pytest.importorskip("sklearn")
pytest.importorskip("diffrax")

from benchmarks._table2 import deterministic, last_value, spared, supervised, trained, twin
from benchmarks._table2.forecaster import BASELINES, FROM_PROGRAM
from benchmarks._table2.rollout import Rollout, one_step
from benchmarks._table2.supervised import (
    REACH,
    Recipe,
    StepModel,
    fit_network,
    pairs,
    scale_of,
    series,
    splits,
)
from gsim_jax.simulator._trace import trace_source
from gsim_jax.simulator.program import Program
from gsim_jax.task import InputError, Task, Trajectories, load_task
from gsim_jax.task.schema import Variable
from tests.benchmarks.baseline_worlds import (
    Straight,
    forecast_error,
    request_of,
    spiral,
    task_of,
    walk,
)
from tests.simulator.worlds import data_of, schema_of

COVID = Path(__file__).resolve().parents[2] / "envs" / "covid19"
#: The library that a baseline needs beyond those above.
NEEDS = {"sindy": "pysindy", "genetic program": "gplearn"}
#: Those that take long to compile.
COSTLY = {"dynode", "rnn", "transformer", "deterministic code", "hybrid twin"}


class Exploding(StepModel):
    """z' = z + 3 z^2."""

    def step(self, memory: Any, z: jax.Array, v: jax.Array) -> tuple[jax.Array, Any]:
        return 3 * z**2, memory


def test_forecasts_that_explode_are_clipped_and_counted_but_for_one_step() -> None:
    schema = schema_of("x")
    x = np.linspace(1.0, 5.0, 40).reshape(2, 20)
    data = data_of(schema, {"x": x})
    train = series(schema, data, "training")
    unit = scale_of(schema, train)._replace(
        mean=np.zeros(1, np.float32), sd=np.ones(1, np.float32),
        drift=np.zeros(1, np.float32), step=np.ones(1, np.float32),
    )  # fmt: skip
    found = Rollout(Exploding(), unit)
    request = request_of(schema, data, (1, 7), 10, 3)
    drawn = found.draw(request, 0)
    cells = request.cells[1]
    now = data.outputs[cells.trajectory, cells.row - 1]
    np.testing.assert_allclose(drawn[1][:, 0], now + 3 * now**2, rtol=1e-6)
    assert drawn[1].max() > 5 + REACH * x.std()
    assert drawn[7].max() == pytest.approx(5 + REACH * x.std(), rel=1e-6)
    assert found.failed == {1: 0.0, 7: 1.0}


def test_a_forecast_sees_the_inputs_up_to_the_row_before_its_target() -> None:
    task = spiral()
    assert task.test is not None
    train, _ = splits(task)
    found = Rollout(Straight(2, 1), scale_of(task.schema, train))
    request = request_of(task.schema, task.test, (3,), 10, 1)
    cells = request.cells[3]._replace(trajectory=np.arange(10), row=np.full(10, 8))
    request = request._replace(cells={3: cells})
    drawn = found.draw(request, 0)[3]
    for row, matters in ((4, False), (5, True), (7, True), (8, False)):
        u = task.test.inputs["u"].copy()
        u[:, row] += 1
        other = replace(task.test, inputs={"u": u})
        assert (found.draw(request._replace(data=other), 0)[3] != drawn).any() == matters, row


def test_missing_entries_are_refused_with_their_place() -> None:
    schema = schema_of("x", "y")
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 4, 6))
    seen = np.ones((4, 6), bool)
    seen[2, 3] = False
    gaps = data_of(schema, {"x": x, "y": y}, {"y": seen})
    for fit in (last_value.fit, BASELINES["rnn"]):
        with pytest.raises(InputError, match=r"y of trajectory site 2 is not seen at t = 3"):
            fit(task_of(schema, gaps, gaps), seed=0, quick=True, noise=False)
    whole = data_of(schema, {"x": x, "y": y}).take([0])
    with pytest.raises(InputError, match="expected validation data, or several training"):
        last_value.fit(task_of(schema, whole), seed=0, quick=True, noise=False)


def test_a_fit_that_fails_says_so() -> None:
    task, _ = walk()
    train, held = splits(task)
    scale = scale_of(task.schema, train)
    model = Straight(2, 0)
    broken = pairs(train, scale)._replace(target=np.full_like(pairs(train, scale).target, np.inf))
    with pytest.raises(InputError, match="not finite after any epoch"):
        fit_network(model, broken, broken, Recipe(epochs=2), 0)
    assert np.isfinite(one_step(model, scale, held)[1]).all()


def test_a_network_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row with noise has the network of the row without, and is charged for it all the same."""
    task, _ = walk()
    train, _ = splits(task)
    given = pairs(train, scale_of(task.schema, train))
    recipe = Recipe(epochs=3)

    def weights(seed: int) -> list[np.ndarray]:
        model, _ = fit_network(Straight(2, 0), given, given, recipe, seed)
        return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))]

    alone = weights(0)
    with trained.kept(tmp_path / "trained"):
        first = weights(0)
        other = weights(1)
        before = spared.seconds()
        monkeypatch.setattr(supervised, "_trained", lambda *a: pytest.fail("trained again"))
        again = weights(0)
    assert spared.seconds() != before
    for a, b, c in zip(alone, first, again, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(b, c)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_the_scale_knows_whole_numbers_bounds_and_constants() -> None:
    level = Variable("level", "real", min=-3.0, max=9.0)
    schema = schema_of("x", states={"n": Variable("n", "count"), "level": level})
    generator = np.random.default_rng(0)
    states = {
        "x": np.full((3, 8), 2.5),
        "n": generator.integers(0, 9, (3, 8)),
        "level": generator.normal(size=(3, 8)),
    }
    scale = scale_of(schema, series(schema, data_of(schema, states), "training"))
    labels = [output.label for output in schema.outputs]
    at = {label: labels.index(label) for label in labels}
    assert [bool(scale.whole[at[k]]) for k in ("x", "n", "level")] == [False, True, False]
    assert scale.least[at["n"]] == 0
    assert scale.most[at["n"]] == np.inf
    assert (scale.least[at["level"]], scale.most[at["level"]]) == (-3, 9)
    assert scale.least[at["x"]] == -np.inf
    assert (scale.sd[at["x"]], scale.step[at["x"]]) == (1, 0)


@cache
def covid() -> tuple[Task, Program]:
    """A few trajectories of the epidemic, and the program that made them."""
    task = load_task(COVID)
    assert task.validation is not None
    assert task.test is not None
    signature = task.schema.signature()
    source = (COVID / "truth.py").read_text(encoding="utf-8")
    few = (task.train.take(range(20)), task.validation.take(range(20)), task.test.take(range(6)))
    return task_of(task.schema, *few), Program.from_document(
        trace_source(source, signature), signature
    )


def hide_future(data: Trajectories, start: np.ndarray) -> Trajectories:
    """The same histories up to a row, and nonsense after it."""
    after = np.arange(data.rows)[None] > start[:, None]
    return replace(
        data,
        outputs=np.where(after[..., None], 999.0, data.outputs).astype(np.float32),
        states={k: np.where(after, 999, v).astype(v.dtype) for k, v in data.states.items()},
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in COSTLY)) for name in BASELINES],
)
def test_the_contract_of_every_baseline(name: str) -> None:
    pytest.importorskip(NEEDS.get(name, "sklearn"))
    task, program = covid()
    given = {"program": program, "horizons": (1, 4)} if name in FROM_PROGRAM else {}
    found = BASELINES[name](task, seed=0, quick=True, noise=True, **given)
    assert task.test is not None
    start = np.array([3, 9, 14, 5, 20, 30])
    request = request_of(task.schema, task.test, (1, 4), 6, 25)
    cells = {h: request.cells[h]._replace(trajectory=np.arange(6), row=start + h) for h in (1, 4)}
    request = request._replace(cells=cells)
    drawn = found.draw(request, 0)
    for h in (1, 4):
        assert drawn[h].shape == (6, 25, 3)
        assert drawn[h].dtype == np.float32
        np.testing.assert_array_equal(drawn[h], np.rint(drawn[h]))
        assert drawn[h].min() >= 0
        assert (drawn[h].std(axis=1).max(axis=-1) > 0).all()
    assert found.numbers > 0
    again = found.draw(request, 0)
    other = found.draw(request, 1)
    blind = found.draw(request._replace(data=hide_future(task.test, start)), 0)
    one = found.draw(request._replace(keep=(1,)), 0)
    for h in (1, 4):
        np.testing.assert_array_equal(drawn[h], again[h])
        np.testing.assert_array_equal(drawn[h], blind[h])
        np.testing.assert_array_equal(drawn[h][..., 1:2], one[h])
        assert (drawn[h] != other[h]).any()
    still = replace(found, **({"noises": None} if name in FROM_PROGRAM else {"noise": None}))
    for h, cloud in still.draw(request, 0).items():
        assert cloud.shape == (6, 25, 3), h
        assert (cloud == cloud[:, :1]).all()
        assert np.isfinite(cloud).all()


def test_deterministic_code_is_the_mean_of_its_program() -> None:
    task, program = covid()
    assert task.test is not None
    truth = {"infection.beta": 0.5, "recovery.gamma": 0.1}
    found = deterministic.fit(
        task, seed=0, quick=True, noise=False, program=program, parameters=truth
    )
    assert found.numbers == 0
    request = request_of(task.schema, task.test, (1,), 60, 2)
    cells = request.cells[1]
    s, i, r = task.test.outputs[cells.trajectory, cells.row - 1].astype(float).T
    p = 1 - np.exp(-0.5 * i / (s + i + r))
    expected = np.stack([s * (1 - p), i + s * p - 0.1 * i, r + 0.1 * i], -1)
    sd = np.sqrt(np.stack([s * p * (1 - p), s * p * (1 - p) + 0.09 * i, 0.09 * i], -1))
    made = found.draw(request, 0)[1]
    z = (made[:, 0] - expected)[sd > 0] / (sd[sd > 0] / np.sqrt(deterministic.RUNS))
    assert np.abs(z).max() < 5
    assert 0.6 < np.mean(z**2) < 1.5
    with pytest.raises(InputError, match="expected parameters out of"):
        deterministic.fit(
            task, seed=0, quick=True, noise=False, program=program, parameters={"b": 1.0}
        )


@pytest.mark.slow
def test_a_twin_mends_its_program() -> None:
    task, program = covid()
    code = deterministic.fit(task, seed=0, quick=True, noise=False, program=program)
    found = twin.fit(task, seed=0, quick=True, noise=False, program=program, horizons=(1, 5))
    assert forecast_error(found, task, 5) < 0.5 * forecast_error(code, task, 5)
    # A horizon in between is corrected like the nearest one, not refused.
    assert forecast_error(found, task, 4) < forecast_error(code, task, 4)


def test_the_nearest_horizon_is_the_nearest_factor() -> None:
    assert [deterministic.nearest(h, (1, 7, 20)) for h in (1, 2, 3, 11, 12, 60)] == [
        1, 1, 7, 7, 20, 20,
    ]  # fmt: skip
