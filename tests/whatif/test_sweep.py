"""Sweeps against rollouts, re-simulations of the same words, and other cuts of the same lanes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax import sampling, words
from gsim_jax.simulator.rollout import rollout
from gsim_jax.whatif import (
    Model,
    Scenario,
    Start,
    add,
    clip,
    engine,
    replace,
    scale,
    set_to,
    sweep,
)
from tests.simulator.towns import INPUTS, SOURCE, START, program_of, town, with_params

STEPS, DRAWS, REPLICATES = 20, 3, 5
LANES = DRAWS * REPLICATES
BETA = np.float32([0.3, 0.5, 0.9])
LABELS = ("S", "I", "R", "ill")


def model(source: str | None = None, **values: Any) -> Model:
    schema, program = town()
    program = program if source is None else program_of(source, schema)
    values = {"beta": BETA, **values}
    found = with_params(**values)
    every = {
        group: {n: np.broadcast_to(v, DRAWS) for n, v in members.items()}
        for group, members in found.items()
    }
    return Model(program, schema, every)


def start(**inputs: Any) -> Start:
    return Start.of(START, inputs, INPUTS)


def swept(*changes: Any, keep: str = "paths", **options: Any) -> Any:
    """One scenario and the baseline, or scenarios as they are."""
    scenarios: Sequence[Scenario] = (Scenario("changed", tuple(changes)),)
    if not changes or isinstance(changes[0], Scenario):
        scenarios = changes
    begin = options.pop("start", start())
    of = options.pop("model", model())
    options = {"steps": STEPS, "replicates": REPLICATES, "key": 3, **options}
    return sweep(of, scenarios, begin, keep=keep, **options)


def rolled(params: Any = None, inputs: Any = None, **options: Any) -> Any:
    """The same lanes by `rollout`: every value per lane."""
    schema, program = town()
    params = with_params(beta=BETA) if params is None else params
    every = {
        group: {n: np.repeat(v, REPLICATES) if np.ndim(v) else v for n, v in members.items()}
        for group, members in params.items()
    }
    given = {**INPUTS, **(inputs or {})}
    found = rollout(
        program, schema, every, START, steps=STEPS, lanes=LANES, key=3, inputs=given, **options
    )
    return found.kept.outputs


def paths(found: Any, scenario: Any = "changed") -> np.ndarray:
    """float32[lanes, rows, V]."""
    values = [found[label].sel(scenario=scenario).values for label in LABELS]
    return np.stack(values, axis=-1).reshape(LANES, STEPS + 1, len(LABELS))


NOTHING = {
    f"{c.target} {c.operation} {c.value}": (c,)
    for c in (
        scale("infection.beta", 1.0), add("infection.beta", 0.0), clip("infection.beta", 0, 9),
        scale("lockdown", 1.0), add("I", 0), scale("S", 1), clip("R", 0),
        scale("infection.new_infections", 1.0), add("recovery.new_recoveries", 0),
        scale("doctors", 1), clip("doctors", 0, 5),
    )
}  # fmt: skip
SOMETHING = {
    "less contact": (scale("infection.beta", 0.25),),
    "lockdown": (set_to("lockdown", 0.8, 4, 11),),
    "doctors": (set_to("doctors", 7),),
    "in order": (
        set_to("lockdown", 0.25), scale("lockdown", 0.5, 0, 9), add("lockdown", 0.1, 0, 9),
        clip("lockdown", 0.3, 1, 5), scale("lockdown", -1, 8, 9), add("lockdown", 1.0, 8, 9),
    ),
    "arrivals": (add("I", 10, 4, 4), add("I", 10, 7, 7), set_to("R", 0, 9, 9)),
    "at most two": (clip("infection.new_infections", None, 2, 3),),
    "everything": (
        scale("infection.beta", 0.5), set_to("lockdown", 0.3), add("I", 2, 5, 6),
        scale("recovery.new_recoveries", 0.7, 2),
    ),
    "a rule": (add("S", 5, 4, 4),),
    "out of range": (add("S", -1000, 4, 4),),
}  # fmt: skip


@cache
def all_of_them() -> Any:
    """Every scenario above in one sweep, as one compiled program."""
    every = NOTHING | SOMETHING
    return swept(*(Scenario(name, changes) for name, changes in every.items()))


def told(scenario: str) -> np.ndarray:
    return paths(all_of_them(), scenario)


class TestNothingChanged:
    def test_the_baseline_is_the_rollout_bit_for_bit(self) -> None:
        np.testing.assert_array_equal(paths(swept(), "baseline"), rolled())

    def test_beside_scenarios_that_change_everything(self) -> None:
        np.testing.assert_array_equal(told("baseline"), rolled())

    @pytest.mark.parametrize("scenario", NOTHING)
    def test_changes_that_change_nothing(self, scenario: str) -> None:
        np.testing.assert_array_equal(told(scenario), rolled())

    def test_a_submodule_replaced_by_itself(self) -> None:
        same = program_of(SOURCE.replace("doctors shorten", "doctors do shorten"), town()[0])
        assert same != town()[1]
        found = swept(replace("infection", same), replace("recovery", same, 3, 9))
        np.testing.assert_array_equal(paths(found), rolled())


class TestSomethingChanged:
    def test_a_parameter_for_good_is_another_parameter(self) -> None:
        wanted = rolled(with_params(beta=BETA * np.float32(0.25)))
        np.testing.assert_array_equal(told("less contact"), wanted)

    def test_an_input_is_a_rollout_with_that_input(self) -> None:
        lockdown = np.zeros(STEPS + 1, np.float32)
        lockdown[4:12] = 0.8
        np.testing.assert_array_equal(told("lockdown"), rolled(inputs={"lockdown": lockdown}))

    def test_an_attribute(self) -> None:
        np.testing.assert_array_equal(told("doctors"), rolled(inputs={"doctors": np.int32(7)}))

    def test_changes_of_one_target_apply_in_order(self) -> None:
        wanted = np.full(STEPS + 1, 0.25)
        wanted[0:10] = wanted[0:10] * 0.5 + 0.1
        wanted[5:] = np.clip(wanted[5:], 0.3, 1)
        wanted[8:10] = 1 - wanted[8:10]
        wanted = wanted.astype(np.float32)
        np.testing.assert_allclose(told("in order"), rolled(inputs={"lockdown": wanted}))

    def test_states_against_a_simulation_by_hand(self) -> None:
        """A second implementation, draw by draw, with ten ill people arriving in rows 4 and 7."""
        for lane in (0, 7, 14):
            wanted = by_hand(lane, BETA[lane // REPLICATES], {4: 10, 7: 10}, {9: 0})
            np.testing.assert_array_equal(told("arrivals")[lane, :, :3], wanted)

    def test_outputs_against_a_simulation_by_hand(self) -> None:
        for lane in (1, 8):
            wanted = by_hand(lane, BETA[lane // REPLICATES], {}, {}, most=(3, 2))
            np.testing.assert_array_equal(told("at most two")[lane, :, :3], wanted)

    def test_thinned_counts_have_exact_means(self) -> None:
        """One person a day thinned by 0.3 is not nobody for ever."""
        found = sweep(
            Model.at(town()[1], town()[0], {"infection.beta": 0.0, "recovery.gamma": 0.05}),
            [Scenario("few", (scale("recovery.new_recoveries", 0.3),))],
            start(), steps=1, replicates=20_000, key=1, keep="moments",
        )  # fmt: skip
        mean = found["mean"].sel(variable="R", t=1)
        expected = 5 * 0.05 * 1.1
        error = np.sqrt(5 * 0.055 / 20_000)
        assert abs(mean.sel(scenario="baseline") - expected) < 4 * error
        assert abs(mean.sel(scenario="few") - 0.3 * expected) < 4 * error

    def test_a_replaced_submodule_over_a_window(self) -> None:
        other = SOURCE.replace("1 - jnp.exp(-force)", "0.0 * force")
        quiet = program_of(other, town()[0])
        found = paths(swept(replace("infection", quiet, 5, 8)))
        same = paths(swept(scale("infection.new_infections", 0, 5, 8)))
        np.testing.assert_array_equal(found, same)
        assert (found != rolled()).any()

    def test_parameters_of_a_replacing_submodule(self) -> None:
        """Those of its namesakes are the draws, others the guess or what is given."""
        text = SOURCE.replace(
            '"infection": {"beta": Uniform(0.0, 2.0, guess=0.4)}',
            '"infection": {"beta": Uniform(0.0, 2.0, guess=0.4), '
            '"less": Uniform(0.0, 1.0, guess=1.0)}',
        ).replace('params["beta"] *', 'params["less"] * params["beta"] *')
        other = program_of(text, town()[0])
        np.testing.assert_array_equal(paths(swept(replace("infection", other))), rolled())
        found = paths(swept(replace("infection", other, parameters={"less": 0.5})))
        np.testing.assert_array_equal(found, rolled(with_params(beta=BETA * np.float32(0.5))))


def by_hand(
    lane: int, beta: float, more: dict[int, int], recovered: dict[int, int],
    most: tuple[int, int] = (STEPS, 0),
) -> np.ndarray:  # fmt: skip
    """One lane of the town, one draw after the other: int[STEPS + 1, 3]."""
    data = jax.random.key_data(jax.random.key(3))
    key = words.lane_keys(data, jnp.asarray([lane], jnp.uint32))[0]
    s, i, r = 70, 5, 0
    rows = [(s, i, r)]
    for t in range(STEPS):
        force = np.float32(beta) * np.float32(i) / np.float32(s + i + r)
        bits = [
            words.threefry(key, t, np.uint32(words.site_id(f, 0)))
            for f in ("infection", "recovery")
        ]
        a = int(sampling.binomial_from_bits(bits[0], s, 1 - np.exp(-force, dtype=np.float32)))
        b = int(sampling.binomial_from_bits(bits[1], i, np.float32(0.1) * np.float32(1.1)))
        a = min(a, most[1]) if t >= most[0] else a
        s, i, r = s - a, i + a - b + more.get(t + 1, 0), recovered.get(t + 1, r + b)
        rows.append((s, i, r))
    return np.array(rows)


MANY = [
    Scenario(f"s{k}", (scale("infection.beta", 0.05 * k, k % 7, k % 7 + 9),)) for k in range(1, 40)
]


class TestHowItRuns:
    def test_one_compilation_for_any_scenarios_of_a_program(self) -> None:
        cache = engine._alone._jitted  # the compiled block
        cache.clear_cache()
        options = {"memory": 100_000, "keep": "moments"}
        swept(*MANY, **options)
        assert cache._cache_size() == 1
        others = [Scenario(s.name, (scale("infection.beta", 0.3, 2, 5),)) for s in MANY]
        swept(*others, **options)
        assert cache._cache_size() == 1
        same = program_of(SOURCE.replace("doctors shorten", "they shorten"), town()[0])
        swept(*others[1:], Scenario("other", (replace("infection", same),)), **options)
        assert cache._cache_size() == 3

    def test_memory_changes_nothing(self) -> None:
        whole, parts = swept(*MANY), swept(*MANY, memory=1 << 21)
        for label in (*LABELS, "code"):
            np.testing.assert_array_equal(whole[label], parts[label])

    def test_moments_and_quantiles_are_those_of_the_paths(self) -> None:
        whole = swept(*MANY[:5])
        for keep in ("quantiles", "moments"):
            found = swept(*MANY[:5], keep=keep)
            for label in LABELS:
                every = whole[label].values.reshape(6, LANES, -1)
                own = found.sel(variable=label)
                np.testing.assert_allclose(own["mean"], every.mean(1), rtol=1e-5, atol=1e-5)
                sd = every.std(1, ddof=1)
                np.testing.assert_allclose(own["sd"], sd, rtol=1e-3, atol=1e-4)
                if keep == "quantiles":
                    wanted = np.quantile(every, own["quantile"], axis=1)
                    told = own["quantiles"].transpose("quantile", ...)
                    np.testing.assert_allclose(told, wanted, rtol=1e-5, atol=1e-5)

    def test_final_and_largest_values_with_paired_errors(self) -> None:
        whole, found = swept(*MANY[:2]), swept(*MANY[:2], keep="quantiles")
        every = whole["I"].values
        for name, ends in (("final", every[..., -1]), ("peak", every.max(-1))):
            lead = (ends - ends[:1]).mean(-1)  # draws are the units
            told = found.sel(variable="I")
            np.testing.assert_allclose(told[name], ends.mean((1, 2)), rtol=1e-6)
            np.testing.assert_allclose(told[f"{name}_difference"], lead.mean(1), atol=1e-6)
            error = lead.std(1, ddof=1) / np.sqrt(DRAWS)
            np.testing.assert_allclose(told[f"{name}_difference_error"], error, atol=1e-6)

    def test_one_draw_has_errors_over_replicates(self) -> None:
        schema, program = town()
        of = Model.at(program, schema, {"infection.beta": 0.5, "recovery.gamma": 0.1})
        found = swept(MANY[3], model=of, replicates=64, keep="quantiles").sel(variable="S")
        every = swept(MANY[3], model=of, replicates=64)["S"].values[..., -1]
        lead = every[1] - every[0]
        told = found["final_difference_error"].values[1]
        np.testing.assert_allclose(told, lead.std(ddof=1) / 8, rtol=1e-6)

    @pytest.mark.parametrize("platform", ["cuda", "tpu"])
    def test_lowers_for(self, platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
        captured: list[Any] = []
        alone = engine._alone
        monkeypatch.setattr(engine, "_alone", lambda *a: captured.append(a) or alone(*a))
        swept(scale("infection.beta", 0.5), scale("I", 0.5, 3), keep="quantiles")
        static, count, *arguments = captured[0]
        exported = jax.export.export(
            jax.jit(lambda *a: engine.run_block(static, count, *a)), platforms=[platform]
        )(*arguments)
        assert exported.platforms == (platform,)


class TestFailures:
    def counts(self, scenario: str) -> Any:
        return all_of_them()["failed"].sel(scenario=scenario)

    def test_rules_are_told_apart_and_hide_nothing(self) -> None:
        counts = self.counts("arrivals")
        assert counts.sel(failure="rule: the population is constant") == LANES
        assert counts.sel(failure="rule: nobody is susceptible again") == 0
        assert counts.sel(failure="invalid") == 0
        assert np.isfinite(told("arrivals")).all()
        assert self.counts("baseline").sum() == 0

    def test_what_is_out_of_range_is_hidden(self) -> None:
        assert self.counts("out of range").sel(failure="out of range") == LANES
        assert np.isfinite(told("out of range")[:, :4]).all()
        assert np.isnan(told("out of range")[:, 4:]).all()

    def test_each_rule_is_counted(self) -> None:
        counts = self.counts("a rule")
        assert counts.sel(failure="rule: nobody is susceptible again") > 0
        assert counts.sel(failure="any") == LANES
