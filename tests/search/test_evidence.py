"""Evidence: the data and what a candidate would draw itself, scored alike."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from gsim_jax import sampling
from gsim_jax.calibrate import Objective, Settings, increment_scale
from gsim_jax.calibrate.objective import SHOWN
from gsim_jax.diagnose import Evidence, judge
from gsim_jax.search.evidence import Replicas, draw_replicas, gather, score_data
from gsim_jax.simulator import priors
from gsim_jax.simulator.native import from_functions
from gsim_jax.simulator.panel import build_panel
from gsim_jax.simulator.predict import Plan
from gsim_jax.task import Derived, Trajectories, Variable, parse
from gsim_jax.words import named_words
from tests.simulator.worlds import data_of, schema_of

KEEP, COUNT, ROWS, REPLICAS = 0.7, 12, 9, 40


def draw(generator: np.random.Generator) -> np.ndarray:
    """n' = Binomial(n, keep): everyone is gone in the end."""
    n = np.zeros((COUNT, ROWS), int)
    n[:, 0] = generator.integers(3, 12, COUNT)
    for t in range(1, ROWS):
        n[:, t] = generator.binomial(n[:, t - 1], KEEP)
    return n


class World:
    """A count that dies out, and a ratio over it that is undefined from then on."""

    def __init__(self) -> None:
        states = {"n": Variable("n", "count", min=0)}
        ratio = Derived("ratio", parse("10 / n", {"n": ()}))
        self.schema = schema_of(states=states, derived={"ratio": ratio})

        def stay(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
            return {"n": sampling.binomial(key, state["n"], params["keep"])}

        parameters = {"stay": {"keep": priors.Uniform(0.0, 1.0, guess=KEEP)}}
        simulator = from_functions(self.schema, parameters, [stay], lambda s, i, o, p, k: o)
        plan = Plan((3,))
        # Chunks and members that divide neither the trajectories nor the replicas.
        settings = Settings(plan, replicates=32, particles=32, members=16, chunk=5, rows=ROWS + 2)
        panel = build_panel(self.schema, self.data(0), rows=ROWS + 2)
        self.objective = Objective(simulator, self.schema, settings, increment_scale(panel, plan))

    def data(self, seed: int) -> Trajectories:
        length = np.where(np.arange(COUNT) == 4, 5, ROWS)
        return data_of(self.schema, {"n": draw(np.random.default_rng(seed))}, length=length)

    def gather(self, seed: int, keep: float = KEEP) -> tuple[Evidence, Replicas, np.ndarray]:
        u = np.array([keep])
        return gather(self.objective, u, self.data(seed), replicas=REPLICAS, seed=3)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def found(world: World) -> tuple[Evidence, Replicas, np.ndarray]:
    return world.gather(1)


class TestReplicas:
    def test_they_begin_where_the_data_begin(self, world: World, found: Any) -> None:
        _, replicas, _ = found
        data = world.data(1)
        assert replicas.states["n"].shape == (REPLICAS, COUNT, ROWS)
        assert (replicas.states["n"][:, :, 0] == data.states["n"][:, 0]).all()
        assert (np.diff(replicas.states["n"][:, 4, :5], axis=-1) <= 0).all()

    def test_each_is_drawn_from_the_candidate(self, world: World, found: Any) -> None:
        """Averages over replicas and trajectories: n0 keep^t, each with its own words."""
        _, replicas, _ = found
        share = replicas.states["n"][:, :, 1].sum(1) / replicas.states["n"][:, :, 0].sum(1)
        trials = replicas.states["n"][0, :, 0].sum()
        error = np.sqrt(KEEP * (1 - KEEP) / trials)
        assert share.mean() == pytest.approx(KEEP, abs=4 * error / np.sqrt(REPLICAS))
        assert share.std() == pytest.approx(error, rel=0.4)
        assert len(np.unique(replicas.states["n"].reshape(REPLICAS, -1), axis=0)) == REPLICAS

    def test_points_take_turns(self, world: World) -> None:
        """Each point is that of as many replicas in a row as a member shows."""
        points = np.array([[0.9], [0.5]])
        drawn = draw_replicas(world.objective, points, world.data(1), 4 * SHOWN, seed=3)
        n = drawn.states["n"]
        share = n[:, :, 1].sum(1) / n[:, :, 0].sum(1)
        error = np.sqrt(0.25 / n[0, :, 0].sum())
        expected = np.repeat([0.9, 0.5, 0.9, 0.5], SHOWN)
        np.testing.assert_allclose(share, expected, atol=5 * error)

    def test_outputs_are_those_of_the_states(self, found: Any) -> None:
        _, replicas, _ = found
        n = replicas.states["n"][:, :, 1:]
        np.testing.assert_array_equal(replicas.outputs[:, :, 1:, 0], n)
        with np.errstate(divide="ignore"):
            expected = np.where(n > 0, 10 / n, np.nan)
        np.testing.assert_allclose(replicas.outputs[:, :, 1:, 1], expected, rtol=1e-6)


class TestScores:
    def test_they_are_means_over_the_words_of_all_members(self, world: World) -> None:
        """Sixteen members with words of their own: a quarter of one member's noise."""
        data, u = world.data(1), np.array([KEEP])
        point = np.tile(u, (world.objective.settings.members, 1))
        panel = world.objective.panels(data)[0]
        keys = np.random.default_rng(0).integers(2**32, size=(len(point), 2), dtype=np.uint32)
        single = world.objective.scores(point, world.objective.shared(panel), keys).energy
        count = panel.length.shape[0]
        several = [score_data(world.objective, u, data, seed).energy[:count] for seed in range(12)]
        noise = np.asarray(single).sum((1, 2, 3)).std(ddof=1)
        assert np.sum(several, (1, 2, 3)).std(ddof=1) < 0.5 * noise


class TestEvidence:
    def test_cells_count_what_was_seen(self, world: World, found: Any) -> None:
        evidence, _, _ = found
        seen = world.data(1).outputs_seen
        assert evidence.horizons == ("1", "3", "free")
        assert evidence.variables == ("n", "ratio")
        for h, first in ((0, 1), (1, 3), (2, 1)):
            np.testing.assert_array_equal(evidence.observed.count[h], seen[:, first:].sum((0, 1)))
        # In replicas the ratio is defined as long as there is somebody.
        assert (evidence.null.count[:, :, 0] == evidence.observed.count[:, 0]).all()
        assert len(np.unique(evidence.null.count[:, 0, 1])) > 5

    def test_the_score_is_the_mean_of_its_parts(self, found: Any) -> None:
        evidence, _, parts = found
        assert parts.shape == (COUNT,)
        assert evidence.score == pytest.approx(parts.mean())
        assert evidence.failed == 0.0

    def test_the_truth_lies_within_its_own_noise(self, world: World, found: Any) -> None:
        gaps = []
        for seed in range(1, 7):
            verdict = judge((found if seed == 1 else world.gather(seed))[0])
            assert np.isfinite(verdict.gap)
            gaps.append(verdict.gap / verdict.gap_se)
        assert abs(np.mean(gaps)) < 1.5
        assert np.abs(gaps).max() < 4

    def test_a_wrong_point_does_not(self, world: World) -> None:
        verdict = judge(world.gather(1, keep=0.9)[0])
        assert verdict.gap > 2 * verdict.gap_se
        assert verdict.p_value == pytest.approx(1 / (REPLICAS + 1))

    def test_evidence_is_the_same_again(self, world: World, found: Any) -> None:
        again, _, parts = world.gather(1)
        np.testing.assert_array_equal(parts, found[2])
        np.testing.assert_array_equal(again.null_scores, found[0].null_scores)


def test_named_keys_differ() -> None:
    keys = {
        tuple(named_words(*name))
        for name in ((1, "rank"), (1, "floor"), (2, "rank"), (1, "rank", 1))
    }
    assert len(keys) == 4
