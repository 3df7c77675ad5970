"""Rows of the table that change one thing: what is hidden, what is compiled, what is repaired."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import _worlds
from benchmarks._table2 import ablations, compiled, ours, single, spared
from benchmarks._table2.context import RECORDINGS, Clock, Context, objective_of
from benchmarks._table2.fitted import QUICK, Fitted
from gsim_jax.calibrate.objective import forecasts_for
from gsim_jax.propose import ReplayProposer
from gsim_jax.simulator.panel import is_complete
from gsim_jax.task import InputError, load_task
from tests.whatif.records import covid_program

RECORDING = RECORDINGS / "covid19" / "seed-0"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    task = load_task(_worlds.ENVS / "covid19")
    truth = _worlds.Simulator(covid_program(), {}, "truth.py")
    return Context(task, truth, 0, QUICK, tmp_path_factory.mktemp("runs"))


class TestHalfHidden:
    def test_half_of_all_but_first_rows_is_hidden(self, context: Context) -> None:
        before, after = context.task.train, ablations.half_hidden(context).task.train
        for name, mask in after.seen.items():
            np.testing.assert_array_equal(mask[:, 0], before.seen[name][:, 0])
            assert 0.47 < mask[:, 1:].mean() / before.seen[name][:, 1:].mean() < 0.53
            np.testing.assert_array_equal(
                after.states[name], np.where(mask, before.states[name], 0)
            )  # fmt: skip
        assert not is_complete(after)

    def test_outputs_are_known_where_their_states_are(self, context: Context) -> None:
        schema, data = context.task.schema, ablations.half_hidden(context).task.train
        for v, output in enumerate(schema.outputs):
            if output.label in data.seen:
                known = data.outputs_seen[..., v]
                np.testing.assert_array_equal(known, data.seen[output.label] & data.exists)
                shown = data.outputs[..., v]
                np.testing.assert_array_equal(shown[known], data.states[output.label][known])

    def test_without_particles_only_the_filter_is_missing(self, context: Context) -> None:
        task = ablations.half_hidden(context).task
        own, without = (
            forecasts_for(objective_of(task, context.truth.program, filtered), task.train)
            for filtered in (True, False)
        )
        assert own.weighted
        assert not without.weighted
        assert own.shape == without.shape


class TestRepair:
    def test_recordings_in_which_nothing_went_back_are_known(
        self, context: Context, tmp_path: Path
    ) -> None:
        assert not ours.repaired(context)
        folder = tmp_path / "covid19" / "seed-0"
        shutil.copytree(RECORDING / "chat", folder / "chat")
        again = replace(context, recordings=tmp_path)
        assert not ours.repaired(again)
        first = folder / "chat" / "r000-s00-a0.request.json"
        shutil.copy(first, first.with_name("r000-s00-a1.request.json"))
        assert ours.repaired(again)


def test_a_first_idea_is_calibrated_once(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ours.library_single(context)
    (path,) = context.folder.glob("first-idea-es.json")
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert kept["values"] == found.values

    def never(*_: object) -> None:
        raise AssertionError("calibrated again")

    monkeypatch.setattr(single, "calibrated", never)
    again = ours.library_single(context)
    assert (again.values, again.source, again.cost) == (found.values, found.source, found.cost)


def test_a_method_pays_for_its_compilation_where_another_has_compiled(tmp_path: Path) -> None:
    @jax.jit
    def long(x: jax.Array) -> jax.Array:
        for k in range(100):
            x = jnp.sin(x) * k + jnp.where(x > k, x, jnp.cos(x))
        return x

    def compiled_anew() -> float:
        jax.clear_caches()
        before = spared.seconds()
        long(jnp.arange(7.0))
        return spared.seconds() - before

    with compiled.kept(tmp_path / "compiled"):
        assert compiled_anew() == 0
        assert compiled_anew() != 0  # less the time that reading takes: small ones are a loss
    clock = Clock()
    jax.monitoring.record_event_duration_secs(spared._COMPILED, 1000.0)
    wall, cpu = clock.read()
    assert cpu >= 1000
    assert 1000 <= wall < 1100


def test_what_is_compiled_inside_is_kept_and_nothing_after_it(tmp_path: Path) -> None:
    before = jax.config.jax_compilation_cache_dir
    with compiled.kept(tmp_path / "compiled"):
        jax.jit(lambda x: jnp.sin(x) + 3)(jnp.arange(7.0))
    inside = len(list((tmp_path / "compiled").iterdir()))
    assert inside > 0
    assert jax.config.jax_compilation_cache_dir == before
    jax.jit(lambda x: jnp.cos(x) - 5)(jnp.arange(7.0))
    assert len(list((tmp_path / "compiled").iterdir())) == inside


def test_what_is_compiled_quickly_gives_the_same_numbers_and_nothing_after_it_is() -> None:
    def rate(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 20, lambda k, y: y + 0.01 * jnp.exp(-y) * k, x)

    x = jnp.linspace(0.0, 3.0, 1000)
    whole = np.asarray(jax.jit(rate)(x))
    option = "jax_disable_most_optimizations"
    with compiled.quickly():
        assert jax.config.values[option]
        again = jax.jit(lambda y: rate(y))  # another function, so that it is compiled again
        np.testing.assert_allclose(again(x), whole, rtol=1e-6)
    assert not jax.config.values[option]
    with pytest.raises(ZeroDivisionError), compiled.quickly():
        raise ZeroDivisionError
    assert not jax.config.values[option]


class TestFirstReply:
    def played(self, context: Context, folder: Path, repaired: bool) -> Fitted:
        """The recording, whose first file has an import, with or without a second attempt."""
        shutil.copytree(RECORDING / "chat", folder / "chat")
        first = folder / "chat" / "r000-s00-a0.reply.json"
        reply = json.loads(first.read_text(encoding="utf-8"))
        if repaired:
            again = {**reply, "attempt": 1}
            second = first.with_name("r000-s00-a1.reply.json")
            second.write_text(json.dumps(again), encoding="utf-8")
        said = reply["reply"]["content"]
        reply["reply"]["content"] = said.replace("```python\n", "```python\nimport os\n")
        first.write_text(json.dumps(reply), encoding="utf-8")
        alone = replace(context, folder=folder)
        return single.first_reply(alone, ReplayProposer(folder), None)

    def test_what_is_refused_goes_back(self, context: Context, tmp_path: Path) -> None:
        whole = single.first_reply(context, ReplayProposer(RECORDING), None)
        found = self.played(context, tmp_path, repaired=True)
        assert found.source == whole.source
        assert found.values == whole.values
        assert found.cost.tokens == 2 * whole.cost.tokens

    def test_a_recording_that_ends_before_a_program_is_one_message(
        self, context: Context, tmp_path: Path
    ) -> None:
        with pytest.raises(InputError, match="every attempt of the first proposal was refused"):
            self.played(context, tmp_path, repaired=False)
