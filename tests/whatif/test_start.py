"""Where what-ifs begin: rows of the data, the inputs that follow, and what is hidden there."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax.task import Input, InputError, Task
from gsim_jax.whatif import Model, Scenario, Start, set_to, start_from, sweep
from tests.envs.folders import task_of
from tests.simulator.worlds import data_of, hidden_level, schema_of
from tests.whatif.records import covid_program

#: Two draws, both of them the truth of `hidden_level`.
DRAWS = {
    "move": {k: np.float32([v, v]) for k, v in {"a": 0.6, "s": 0.5, "phi": 0.9, "q": 0.4}.items()}
}


class TestRows:
    def test_first_last_and_a_row_in_between(self) -> None:
        task, program = task_of("covid19"), covid_program()
        data = task.train
        first = start_from("first", task, program, None, 5)
        np.testing.assert_array_equal(first.states["I"][0], data.states["I"][:, 0])
        last = start_from("last", task, program, None, 5)
        np.testing.assert_array_equal(last.states["R"][0], data.states["R"][:, 60])
        assert (last.t == 60).all()
        one = start_from("trajectory:7@12", task, program, None, 5, split="test")
        assert task.test is not None
        at = task.test.ids.index("7")
        np.testing.assert_array_equal(one.states["S"], task.test.states["S"][at, 12][None, None])
        assert one.t == [12]

    def test_trajectories_are_dealt_to_lanes(self) -> None:
        """All of them are met, even where a draw has fewer replicates than there are."""
        task, program = task_of("covid19"), covid_program()
        model = Model.of_unit(program, task.schema, np.full((50, 2), 0.3))
        start = start_from("first", task, program, None, 1)
        found = sweep(model, [], start, steps=1, replicates=5, keep="paths")
        wanted = task.train.states["S"][np.arange(250) % 100, 0]
        np.testing.assert_array_equal(found["S"].values[0, :, :, 0].ravel(), wanted)

    @pytest.mark.parametrize(
        ("words", "split", "part"),
        [
            ("now", None, "expected first, last, trajectory:ID or trajectory:ID@t; got 'now'"),
            ("trajectory:1000", None, "no trajectory '1000'"),
            ("trajectory:3@61", None, "expected a row from 0 to 60 of trajectory 3; got 61"),
            ("last", "future", "expected one of train, validation, test; got 'future'"),
        ],
    )
    def test_mistakes(self, words: str, split: str | None, part: str) -> None:
        with pytest.raises(InputError, match=part.replace("?", r"\?")):
            start_from(words, task_of("covid19"), covid_program(), None, 5, split=split)


class TestInputs:
    def test_beyond_the_data(self) -> None:
        """Defaults where there are any; else things stay as they were."""
        task, program = task_of("hospital_surge"), covid_program()
        assert task.test is not None
        found = start_from("trajectory:policy@118", task, program, None, 5, split="test")
        assert found.inputs["lockdown"].tolist() == [[0] * 6]
        schema = replace(schema_of("x"), inputs={"u": Input("u", "real", default=None)})
        data = data_of(schema, {"x": np.zeros((2, 4))}, inputs={"u": np.arange(8.0).reshape(2, 4)})
        task = Task(task.path, schema, data)
        found = start_from("trajectory:site 1@2", task, hidden_level(schema), DRAWS, 3)
        assert found.inputs["u"].tolist() == [[6, 7, 7, 7]]

    def test_the_clock_goes_on(self) -> None:
        """`t` counts the rows of the data, windows those of the what-if."""
        task = task_of("covid19")
        program = covid_program()
        start = start_from("trajectory:0@10", task, program, None, 3)
        model = Model.at(program, task.schema, {"infection.beta": 0.0, "recovery.gamma": 0.0})
        found = sweep(model, [Scenario("x", (set_to("R", 3, 2, 2),))], start, steps=3, keep="paths")
        told = found["R"].sel(scenario="x").values.ravel()
        was = task.train.states["R"][0, 10]
        assert told.tolist() == [was, was, 3, 3]


class TestHidden:
    def test_particles_are_those_of_the_exact_filter(self) -> None:
        """A linear Gaussian pair of which one is hidden, against the Kalman filter."""
        schema = schema_of("x")
        simulator = hidden_level(schema)
        rng = np.random.default_rng(3)
        rows, level, x = 25, 1.0 + 0.5 * rng.normal(), 0.0
        seen = [x]
        for _ in range(rows - 1):
            x, level = 0.6 * x + level + 0.5 * rng.normal(), 0.9 * level + 0.4 * rng.normal()
            seen.append(x)
        task = Task(task_of("covid19").path, schema, data_of(schema, {"x": np.array([seen])}))
        found = start_from("last", task, simulator, DRAWS, 4, replicates=2000)
        assert found.whole
        assert found.states["l"].shape == (2, 2000)
        np.testing.assert_array_equal(found.states["x"], np.float32(seen[-1]))
        mean, variance = 1.0, 0.25
        for now, then in pairwise(seen):
            gain = variance / (variance + 0.25)
            mean += gain * (then - 0.6 * now - mean)
            variance *= 1 - gain
            mean, variance = 0.9 * mean, 0.81 * variance + 0.16
        # The kernel that weighs particles widens the filter: its mean is right, roughly.
        assert found.states["l"].mean() == pytest.approx(mean, abs=0.35 * variance**0.5)
        assert np.sqrt(variance) < found.states["l"].std() < 1.6 * np.sqrt(variance)
        model = Model(simulator, schema, DRAWS)
        ahead = sweep(model, [], found, steps=4, replicates=2000, keep="paths")
        np.testing.assert_allclose(ahead["x"].values[0, :, :, 0], np.float32(seen[-1]))
        told = float(ahead["x"].values[0, :, :, 1].mean())
        wanted = 0.6 * seen[-1] + float(found.states["l"].mean())
        assert told == pytest.approx(wanted, abs=4 * 1.0 / 4000**0.5)

    def test_each_lane_continues_its_own_trajectory(self) -> None:
        """Three sites, two draws: what is seen is the site's, the hidden level follows it."""
        schema = schema_of("x")
        x = np.array([[0.0] * 15, [5.0] * 15, [2.0] * 15])  # held there by a level of 0.4 x
        task = Task(task_of("covid19").path, schema, data_of(schema, {"x": x}))
        simulator = hidden_level(schema)
        found = start_from("last", task, simulator, DRAWS, 4, replicates=40)
        sites = (np.arange(80) % 3).reshape(2, 40)
        np.testing.assert_array_equal(found.states["x"], np.float32(x[:, -1])[sites])
        level = found.states["l"]
        for site, wanted in enumerate((0.0, 1.64, 0.66)):  # of the Kalman filter, sd 0.51
            assert level[sites == site].mean() == pytest.approx(wanted, abs=0.4)
        assert len(np.unique(level)) > 60  # no few particles for all
        ahead = sweep(Model(simulator, schema, DRAWS), [], found, steps=1, replicates=40,
                      keep="paths")  # fmt: skip
        np.testing.assert_array_equal(ahead["x"].values[0, :, :, 0], found.states["x"])

    def test_states_given_by_hand(self) -> None:
        start = Start.of({"x": jnp.float32(1)}, {"u": np.zeros(3)}, {"size": 4})
        assert start.states["x"].shape == (1, 1)
        assert start.inputs["u"].shape == (1, 3)
        assert start.attributes["size"].shape == (1,)
