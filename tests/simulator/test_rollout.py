"""Rollouts: the same lanes however they are cut, kept and spread, and what happens to failures."""

from __future__ import annotations

from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax import sampling, words
from gsim_jax.simulator import rollout as module
from gsim_jax.simulator.codes import INVALID, OK, OUT_OF_RANGE, RULE_BROKEN
from gsim_jax.simulator.keep import KeepLast, KeepPaths
from gsim_jax.simulator.lane_values import PerLane
from gsim_jax.simulator.native import from_functions
from gsim_jax.simulator.rollout import key_data, rollout
from gsim_jax.task import InputError
from tests.simulator.towns import INPUTS, PARAMS, START, program_of, town, with_params
from tests.simulator.worlds import schema_of

STEPS = 20


def run(lanes: Any = 64, params: Any = PARAMS, start: Any = START, **options: Any) -> Any:
    schema, program = town()
    options = {"steps": STEPS, "key": 3, "inputs": INPUTS, **options}
    return rollout(program, schema, params, start, lanes=lanes, **options)


def by_hand(lane: int, beta: float = 0.5, steps: int = STEPS) -> np.ndarray:
    """One lane of the town, one draw after the other: int[steps + 1, 3]."""
    key = words.lane_keys(jax.random.key_data(jax.random.key(3)), jnp.asarray([lane], jnp.uint32))[
        0
    ]
    s, i, r = 70, 5, 0
    rows = [(s, i, r)]
    for t in range(steps):
        force = np.float32(beta) * np.float32(i) / np.float32(s + i + r)
        bits = [
            words.threefry(key, t, np.uint32(words.site_id(f, 0)))
            for f in ("infection", "recovery")
        ]
        a = int(sampling.binomial_from_bits(bits[0], s, 1 - np.exp(-force, dtype=np.float32)))
        b = int(sampling.binomial_from_bits(bits[1], i, np.float32(0.1) * np.float32(1.1)))
        s, i, r = s - a, i + a - b, r + b
        rows.append((s, i, r))
    return np.array(rows)


class TestLanes:
    def test_they_are_the_program_run_by_hand(self) -> None:
        """A second implementation, draw by draw; a rounding of p may move one draw in millions."""
        kept = run([0, 5, 4_000_000_000]).kept
        for k, lane in enumerate((0, 5, 4_000_000_000)):
            found = np.stack([kept.states[name][k] for name in "SIR"], axis=-1)
            np.testing.assert_array_equal(found, by_hand(lane))

    def test_outputs_are_states_and_derived_values(self) -> None:
        kept = run().kept
        assert kept.outputs.shape == (64, STEPS + 1, 4)
        for v, name in enumerate("SIR"):
            np.testing.assert_array_equal(kept.outputs[..., v], kept.states[name])
        total = kept.outputs[..., :3].sum(-1)
        np.testing.assert_allclose(kept.outputs[..., 3], kept.outputs[..., 1] / total, rtol=1e-6)

    def test_a_lane_follows_from_its_number(self) -> None:
        all_of_them, some = run(32), run([30, 7, 7])
        np.testing.assert_array_equal(
            some.kept.states["I"], all_of_them.kept.states["I"][[30, 7, 7]]
        )
        assert (run(32, key=4).kept.states["I"] != all_of_them.kept.states["I"]).any()

    @pytest.mark.parametrize("keep", ["paths", "last", "moments"])
    def test_chunks_change_nothing(self, keep: str) -> None:
        beta = np.linspace(0.1, 1.0, 50).astype(np.float32)
        whole = run(50, with_params(beta=beta), keep=keep)
        pieces = run(50, with_params(beta=beta), keep=keep, memory=3000)
        assert whole.chunks == 1
        assert pieces.chunks > 3
        np.testing.assert_array_equal(whole.codes, pieces.codes)
        for a, b in zip(jax.tree.leaves(whole.kept), jax.tree.leaves(pieces.kept), strict=True):
            assert a.shape == b.shape
            if keep == "moments":
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
            else:
                np.testing.assert_array_equal(a, b)

    def test_values_for_all_for_each_and_by_table(self) -> None:
        lockdown = np.zeros((3, STEPS + 1), np.float32)
        lockdown[1, 5:] = 0.9
        lockdown[2] = 0.5
        index = np.arange(12) % 3
        beta = np.linspace(0.2, 1.3, 12).astype(np.float32)
        each = run(12, with_params(beta=beta), inputs={**INPUTS, "lockdown": lockdown[index]})
        table = PerLane(lockdown, index)
        shared = run(12, with_params(beta=beta), inputs={**INPUTS, "lockdown": table})
        np.testing.assert_array_equal(each.kept.states["I"], shared.kept.states["I"])
        for scenario in range(3):
            alone = run(
                12, with_params(beta=beta), inputs={**INPUTS, "lockdown": lockdown[scenario]}
            )
            mine = index == scenario
            np.testing.assert_array_equal(alone.kept.states["I"][mine], each.kept.states["I"][mine])

    def test_tables_share_an_index_or_have_their_own(self) -> None:
        people, ill = np.array([20, 70, 400], np.int32), np.array([1, 5, 9], np.int32)
        index = np.arange(12) % 3
        other = index[::-1].copy()
        for second in (index, other):
            start = {"S": PerLane(people, index), "I": PerLane(ill, second)}
            by_table = run(12, start={**START, **start}).kept.states
            each = run(12, start={**START, "S": people[index], "I": ill[second]}).kept.states
            for name in ("S", "I"):
                np.testing.assert_array_equal(by_table[name], each[name])

    def test_starts_and_attributes_of_their_own(self) -> None:
        people = np.array([20, 70, 400], np.int32)
        kept = run(
            3, start={**START, "S": people}, inputs={"doctors": np.array([0, 1, 5], np.int32)}
        ).kept
        np.testing.assert_array_equal(kept.states["S"][:, 0], people)
        np.testing.assert_array_equal(kept.states["I"][1], run(3).kept.states["I"][1])

    def test_common_random_numbers_couple_scenarios(self) -> None:
        """The same lanes at beta and beta + 1 %: the difference varies far less than apart."""

        def ill(beta: float, first: int) -> np.ndarray:
            kept = run(range(first, first + 3000), with_params(beta=np.float32(beta)), keep="last")
            return kept.kept.outputs[:, 2].astype(float)

        coupled = ill(0.505, 0) - ill(0.5, 0)
        apart = ill(0.505, 0) - ill(0.5, 5000)
        assert coupled.var() < apart.var() / 8


class TestKeep:
    def test_last_is_the_end_of_paths(self) -> None:
        paths, last = run().kept, run(keep="last").kept
        np.testing.assert_array_equal(last.outputs, paths.outputs[:, -1])
        np.testing.assert_array_equal(last.states["R"], paths.states["R"][:, -1])

    def test_outputs_only(self) -> None:
        kept = run(keep=KeepPaths(states=False)).kept
        assert kept.states == {}
        np.testing.assert_array_equal(kept.outputs, run().kept.outputs)

    def test_moments_are_those_of_paths_without_failed_lanes(self) -> None:
        gamma = np.where(np.arange(300) % 7 == 2, 1.5, 0.1).astype(np.float32)
        paths = run(300, with_params(gamma=gamma))
        assert 0.1 < paths.failed < 0.2
        kept = run(300, with_params(gamma=gamma), keep="moments", memory=6000)
        assert kept.chunks > 1
        moments, values = kept.kept, paths.kept.outputs.astype(float)
        np.testing.assert_array_equal(moments.count, np.isfinite(values).sum(0))
        np.testing.assert_allclose(moments.mean, np.nanmean(values, 0), rtol=1e-6)
        np.testing.assert_allclose(
            moments.variance, np.nanvar(values, 0, ddof=1), rtol=2e-5, atol=1e-12
        )
        np.testing.assert_array_equal(moments.minimum, np.nanmin(values, 0).astype(np.float32))
        np.testing.assert_array_equal(moments.maximum, np.nanmax(values, 0).astype(np.float32))

    def test_moments_of_large_values_keep_their_spread(self) -> None:
        """Sums about a lane's own value: 1e6 people and a variance of 1e5 in float32."""
        start = {"S": np.int32(990_000), "I": np.int32(10_000), "R": np.int32(0)}
        values = run(400, start=start).kept.outputs[:, 5].astype(float)
        moments = run(400, start=start, keep="moments").kept
        np.testing.assert_allclose(moments.variance[5], values.var(0, ddof=1), rtol=1e-4)

    def test_a_keep_of_ones_own(self) -> None:
        class Peak(KeepLast):
            """Number of ill people in the worst lane of the last row."""

            per_lane = False

            def row(self, row: Any) -> Any:
                return jnp.max(jnp.where(row.exists, row.states["I"], 0))

            def finish(self, stored: Any) -> Any:
                return stored[None]

            def join(self, parts: Any) -> int:
                return int(max(part.max() for part in parts))

        found = run(50, keep=Peak(), memory=3000)
        assert found.chunks > 1
        assert found.kept == run(50, keep="last").kept.states["I"].max()

    def test_no_steps(self) -> None:
        kept = run(4, steps=0).kept
        assert kept.outputs.shape == (4, 1, 4)
        np.testing.assert_array_equal(run(4, steps=0, keep="last").kept.states["S"], [70] * 4)


class TestFailures:
    def test_each_gets_its_code(self) -> None:
        gamma = np.array([0.1, 1.5, 0.1, 0.1], np.float32)
        leak = np.array([0.0, 0.0, 1.0, 69.0], np.float32)
        found = run(4, with_params(gamma=gamma, leak=leak))
        assert found.codes[0] == OK
        assert found.codes[1] & INVALID
        assert found.codes[2] == RULE_BROKEN
        assert found.codes[3] == RULE_BROKEN | OUT_OF_RANGE | INVALID  # and then draws from it
        assert found.failed == 0.75
        told = " / ".join(found.failures())
        for part in ("outside its law", "rule", "range"):
            assert part in told

    def test_outputs_are_nan_from_the_failure_on(self) -> None:
        found = run(2, with_params(leak=np.array([0.0, 1.0], np.float32)))
        assert np.isfinite(found.kept.outputs[0]).all()
        assert np.isfinite(found.kept.outputs[1, :4]).all()
        assert np.isnan(found.kept.outputs[1, 4:]).all()

    def test_rules_with_the_row_before(self) -> None:
        """Susceptible people appear: the total is broken too, but only rules say so."""
        found = run(1, with_params(leak=np.float32(-1.0)))
        assert found.codes[0] == RULE_BROKEN
        assert run(1, with_params(leak=np.float32(-1.0)), rules=False).codes[0] == 0


class TestStreams:
    def test_antithetic_lanes_mirror_each_other(self) -> None:
        found = run(4000, antithetic=True, keep="last").kept.outputs[:, 2].astype(float)
        first, second = found[::2], found[1::2]
        assert np.corrcoef(first, second)[0, 1] < -0.4
        plain = run(4000, keep="last").kept.outputs[:, 2]
        pairs = (first + second) / 2
        assert pairs.mean() == pytest.approx(plain.mean(), abs=5 * plain.std() / np.sqrt(4000))

    def test_sobol_lanes_average_better(self) -> None:
        """Mean of I at step 4 over 1024 lanes, 12 random shifts, against as many plain means."""

        def means(kind: str) -> np.ndarray:
            every = [run(1024, words=kind, steps=4, key=k, keep="moments").kept for k in range(12)]
            return np.array([m.mean[4, 1] for m in every])

        plain, sobol = means("threefry"), means("sobol")
        assert sobol.var() < plain.var() / 20
        assert sobol.mean() == pytest.approx(plain.mean(), abs=4 * plain.std() / np.sqrt(12))

    def test_the_hash_gives_the_same_law(self) -> None:
        plain, fast = (run(4000, words=kind, keep="last").kept for kind in ("threefry", "hash"))
        a, b = plain.outputs[:, 2], fast.outputs[:, 2]
        assert (a != b).any()
        assert a.mean() == pytest.approx(b.mean(), abs=5 * a.std() * np.sqrt(2 / 4000))


class TestHiddenStates:
    SOURCE = '''"""A hidden level that moves what is seen."""
PARAMS = {"drift": {"sd": Uniform(0.0, 2.0, guess=1.0)}}
LATENT = {"level": State("real")}

def initial(observed, seen, params, key):
    return {**observed, "level": normal(key, 5.0, params["drift"]["sd"])}

def drift(state, inputs, params, key):
    return {"up": state["level"]}

def couple(state, inputs, outputs, params, key):
    return {"x": state["x"] + outputs["up"], "level": state["level"]}

SUBMODULES = (drift,)
'''

    def test_initial_draws_them_per_lane(self) -> None:
        schema = schema_of("x")
        program = program_of(self.SOURCE, schema)
        params = program.parameters.values({"drift.sd": 0.5})
        for kind in ("threefry", "sobol"):
            kept = rollout(
                program, schema, params, {"x": np.float32(1)}, steps=2, lanes=2000, words=kind
            ).kept
            level = kept.states["level"]
            assert level[:, 0].mean() == pytest.approx(5.0, abs=0.06)
            assert level[:, 0].std() == pytest.approx(0.5, rel=0.08)
            np.testing.assert_allclose(kept.outputs[:, 2, 0], 1 + 2 * level[:, 0], rtol=1e-6)

    def test_given_ones_stay(self) -> None:
        schema = schema_of("x")
        program = program_of(self.SOURCE, schema)
        start = {"x": np.float32(1), "level": np.arange(3, dtype=np.float32)}
        kept = rollout(program, schema, program.parameters.values({}), start, steps=1, lanes=3).kept
        np.testing.assert_array_equal(kept.outputs[:, 1, 0], [1, 2, 3])


class TestCompilation:
    def test_numbers_do_not_recompile(self) -> None:
        compiled: list[str] = []

        def listen(event: str, duration: float, **_: Any) -> None:
            if event.endswith("backend_compile_duration"):
                compiled.append(event)

        run(40, keep="last")
        jax.monitoring.register_event_duration_secs_listener(listen)
        try:
            run(40, with_params(beta=np.float32(0.9)), keep="last")
            run(range(100, 140), keep="last", key=9, start={**START, "S": np.int32(55)})
            run(40, keep="last", inputs={"doctors": np.int32(3)})
            assert not compiled
            run(41, keep="last")
            assert compiled
        finally:
            jax.monitoring.clear_event_listeners()

    @pytest.mark.parametrize("platform", ["cuda", "tpu"])
    @pytest.mark.parametrize("keep", ["paths", "last", "moments"])
    def test_it_lowers_for_accelerators(self, platform: str, keep: str, monkeypatch: Any) -> None:
        captured: list[Any] = []
        alone = module._alone
        monkeypatch.setattr(module, "_alone", lambda *a: captured.append(a) or alone(*a))
        run(8, keep=keep, words="sobol", antithetic=True)
        static, _, *arguments = captured[0]
        exported = jax.export.export(
            jax.jit(lambda *a: module.simulate(static, *a)), platforms=[platform]
        )(*arguments)
        assert exported.platforms == (platform,)


class TestBadInput:
    def problem(self, **options: Any) -> str:
        with pytest.raises(InputError) as caught:
            run(**options)
        return str(caught.value)

    def test_every_mistake_is_named_at_once(self) -> None:
        told = self.problem(
            params={"infection": {"beta": np.zeros(5)}, "recovery": {"gama": 0.1}},
            start={"S": 1, "I": np.zeros((64, 2)), "Q": 1},
            inputs={"doctors": 1, "lockdown": np.zeros(STEPS)},
        )
        for part in (
            "params: expected",
            "missing couple.leak, recovery.gamma and unknown recovery.gama",
            "params.infection.beta: expected shape [] for all lanes, [64] for each",
            "start: expected S, I, R; missing R and unknown Q",
            "start.I: expected shape []",
            f"inputs.lockdown: expected shape [{STEPS + 1}]",
            f"({STEPS} steps have {STEPS + 1} rows); got [{STEPS}]",
        ):
            assert part in told

    def test_missing_attribute(self) -> None:
        assert "inputs: expected lockdown, doctors; missing doctors" in self.problem(inputs={})

    @pytest.mark.parametrize(
        ("options", "part"),
        [
            ({"lanes": 0}, "lanes: expected a count from 1 on"),
            ({"lanes": [0, 1 << 32]}, "numbers from 0 to 2^32 - 1"),
            ({"lanes": [0.5]}, "numbers from 0"),
            ({"key": np.zeros(3)}, "key: expected a seed"),
            ({"keep": "all"}, "'paths', 'last', 'moments' or a Keep; got 'all'"),
            ({"words": "mersenne"}, "'threefry', 'hash' or 'sobol'; got 'mersenne'"),
            ({"steps": -1}, "steps: expected 0 or more"),
            ({"words": "sobol", "steps": 11_000, "inputs": INPUTS}, "a lane takes 22000 words"),
        ],
    )
    def test_options(self, options: Any, part: str) -> None:
        assert part in self.problem(**options)

    def test_table_index_out_of_range(self) -> None:
        table = PerLane(np.ones(2, np.float32), np.full(64, 2))
        assert "indices from 0 to 1" in self.problem(params=with_params(beta=table))

    def test_keyed_functions_have_no_mirror(self) -> None:
        schema = schema_of("x")

        def walk(state: Any, inputs: Any, params: Any, key: jax.Array) -> Any:
            return {"by": jax.random.normal(key)}

        def couple(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
            return {"x": state["x"] + outputs["by"]}

        native = from_functions(schema, {}, [walk], couple)
        start = {"x": np.float32(0)}
        kept = rollout(native, schema, {}, start, steps=4, lanes=4000, keep="moments").kept
        np.testing.assert_allclose(kept.variance[1:, 0], [1, 2, 3, 4], rtol=0.12)
        with pytest.raises(InputError, match="a key hides the words"):
            rollout(native, schema, {}, start, steps=4, lanes=2, antithetic=True)


def test_labels_make_parameters() -> None:
    _, program = town()
    values = program.parameters.values({"infection.beta": 0.7})
    assert values["infection"]["beta"] == np.float32(0.7)
    assert values["recovery"]["gamma"] == np.float32(0.2)
    with pytest.raises(InputError, match="got infection\\.bta"):
        program.parameters.values({"infection.bta": 1.0})


@pytest.mark.parametrize("x64", [False, True])
def test_a_seed_is_the_key_that_jax_makes_of_it(x64: bool) -> None:
    with jax.enable_x64(x64):
        for seed in (0, 1, -1, 2**31, 2**32 - 1, 2**32 + 5, -(2**40), 2**62, np.int32(-7)):
            key = jax.random.key(int(seed), impl="threefry2x32")
            expected = jax.random.key_data(key)
            for given in (seed, key, np.asarray(expected)):
                np.testing.assert_array_equal(key_data(given), expected, err_msg=f"{given}")
    with pytest.raises(OverflowError):
        key_data(2**63)
