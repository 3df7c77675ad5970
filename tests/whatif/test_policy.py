"""Policies: costs against NumPy, files, certainty, and the choice itself."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gsim_jax import sampling
from gsim_jax.simulator import priors
from gsim_jax.simulator.native import from_functions
from gsim_jax.task import Constant, Input, InputError
from gsim_jax.whatif import Model, Scenario, Start, scale, set_to, sweep
from gsim_jax.whatif.costs import lane_costs
from gsim_jax.whatif.decisions import Decision, Policy, Rule, cost_of, read_policy
from gsim_jax.whatif.engine import Job
from gsim_jax.whatif.policy import choose, conditional_costs
from tests.simulator.towns import INPUTS, START, town, with_params
from tests.simulator.worlds import schema_of

FILE = """
cost = "sum(max(I - beds, 0)) + 0.5 * sum(lockdown)"
unit = "money"
[[decision]]
name = "begin"
unit = "day"
values = { from = 0, to = 12, step = 4 }
[[decision]]
name = "beds"
low = 0
high = 40
integer = true
[[change]]
target = "lockdown"
set = 0.7
from = "begin"
to = "begin + 5"
"""


def town_job(replicates: int = 7) -> Job:
    schema, program = town()
    every = {
        g: {n: np.broadcast_to(v, 3) for n, v in members.items()}
        for g, members in with_params(beta=np.float32([0.3, 0.5, 0.9])).items()
    }
    return Job(program, schema, every, Start.of(START, {}, INPUTS), replicates, 20, 3)


def test_costs_of_lanes_against_numpy() -> None:
    job = town_job()
    policy = Policy((), (), "sum(max(I - 20, 0)) + 3 * sum(lockdown) + R[20] + doctors + most / 10")
    cost = cost_of(policy, job.schema, 21)
    scenarios = [Scenario("none"), Scenario("some", (set_to("lockdown", 0.5, 3, 9),
                 set_to("doctors", 4), scale("most", 0.5)))]  # fmt: skip
    found, codes = lane_costs(job, cost, scenarios, [{}, {}])
    model = Model(job.simulator, job.schema, job.draws)
    paths = sweep(model, scenarios, job.start, steps=20, replicates=7, key=3, keep="paths")
    wanted = np.maximum(paths["I"].values - 20, 0).sum(-1) + paths["R"].values[..., 20]
    wanted = wanted + np.array([1 + 100_000, 3 * 0.5 * 7 + 4 + 50_000])[:, None, None]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert (codes == 0).all()


class TestFiles:
    def test_what_is_read(self, tmp_path: Path) -> None:
        path = tmp_path / "policy.toml"
        path.write_text(FILE)
        policy = read_policy(path)
        begin, beds = policy.decisions
        assert begin.values == (0, 4, 8, 12)
        assert (beds.low, beds.high, beds.integer) == (0, 40, True)
        (changed,) = policy.scenario({"begin": 17, "beds": 3}, 20).changes
        assert (changed.start, changed.stop, changed.value) == (17, 20, 0.7)
        assert policy.scenario({"begin": 25, "beds": 3}, 20).changes == ()

    def test_every_mistake_at_once(self, tmp_path: Path) -> None:
        text = FILE.replace('to = "begin + 5"', 'to = "begn + 5"').replace("high = 40", "high = -1")
        text = text.replace("set = 0.7", "sett = 0.7").replace("to = 12", 'to = "12"')
        path = tmp_path / "policy.toml"
        path.write_text(text)
        with pytest.raises(InputError) as caught:
            read_policy(path)
        told = str(caught.value)
        for part in ("begn", "values = [...], or low and a larger high", "expected one of scale",
                     "expected a number, got '12'"):  # fmt: skip
            assert part in told

    @pytest.mark.parametrize(
        ("cost", "part"),
        [
            ("sum(II)", "did you mean 'I'"),
            ("I - 20", "expected a single number, got shape [21]: reduce it with sum"),
        ],
    )
    def test_costs_that_are_none(self, cost: str, part: str) -> None:
        with pytest.raises(InputError) as caught:
            cost_of(Policy((), (), cost), town()[0], 21)
        assert part in str(caught.value)


@cache
def jumper() -> Any:
    """x' = m + noise, whatever d is; and the schema."""
    schema = schema_of(
        "x",
        inputs={"d": Input("d", "real", default=0.0)},
        constants={"c": Constant("c", np.float32(0.5))},
    )

    def jump(state: Any, inputs: Any, params: Any, key: Any) -> dict[str, Any]:
        return {"to": params["m"] + sampling.normal(key)}

    def couple(state: Any, inputs: Any, outputs: Any, params: Any, key: Any) -> dict[str, Any]:
        return {"x": outputs["to"]}

    own = {"jump": {"m": priors.Uniform(-9.0, 9.0, guess=0.0)}}
    return from_functions(schema, own, [jump], couple), schema


def bandit(spread: float, draws: int, seed: int) -> tuple[Model, Policy]:
    """The cost (d - x)^2 / 2 - x^2 / 2 of a decision d, least at d = m in expectation."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(0, spread)  # the posterior's centre misses the truth, which is 0
    m = centre + spread * rng.standard_normal(draws)
    decision = Decision("to", tuple(np.linspace(-3, 3, 13)))
    cost = "c * (d[0] - x[1]) ** 2 - c * x[1] ** 2"
    policy = Policy((decision,), (Rule("d", "set", "to"),), cost)
    return Model(*jumper(), {"jump": {"m": m.astype(np.float32)}}), policy


START_X = Start.of({"x": np.float32(0)})


def test_the_probability_of_being_best_is_the_posteriors() -> None:
    """d is best where m lies within 0.25 of it: the share of such draws, noise notwithstanding."""
    model, policy = bandit(0.4, 2000, 1)
    found = choose(model, policy, START_X, steps=1, replicates=4)
    m = model.draws["jump"]["m"]
    assert found.policy["to"] == pytest.approx(np.round(m.mean() * 2) / 2)
    for place, stated in zip(found.finalists, found.best, strict=True):
        share = np.mean(np.abs(m - found.decisions[place]["to"]) < 0.25)
        assert stated == pytest.approx(share, abs=0.03)
    # E[cost(d) - min cost] with cost = (d^2 - 2 d m) / 2 given m
    d = np.linspace(-3, 3, 13)
    given = d[:, None] ** 2 / 2 - d[:, None] * m
    regret = (given - given.min(0)).mean(1)[list(d).index(found.policy["to"])]
    assert found.regret[0] == pytest.approx(regret, abs=0.02)


def test_stated_probabilities_are_shares() -> None:
    """Truth 0, flat knowledge before: over many data sets d = 0 is best as often as stated."""
    stated, hits = [], []
    for seed in range(60):
        model, policy = bandit(0.3, 200, 100 + seed)
        found = choose(model, policy, START_X, steps=1, replicates=2, key=seed)
        stated.append(found.best[0])
        hits.append(abs(found.policy["to"]) < 1e-6)
    p = np.asarray(stated)
    z = (np.sum(hits) - p.sum()) / np.sqrt((p * (1 - p)).sum())
    assert abs(z) < 3
    assert 0.3 < p.mean() < 0.9


def test_smoothing_leaves_what_is_not_noise() -> None:
    """A step in a parameter is no parabola: the residual is real and stays."""
    rng = np.random.default_rng(0)
    m = rng.uniform(-1, 1, 400)
    exact = np.stack([np.where(m > 0, 1.0, -1.0), np.zeros(400)])
    costs = exact[:, :, None] + 0.05 * rng.standard_normal((2, 400, 8))
    found = conditional_costs(costs, {"a": {"m": m}})
    np.testing.assert_allclose(found[0] - found[1], exact[0] - exact[1], atol=0.12)


def test_an_evolution_strategy_finds_the_grids_best() -> None:
    model, policy = bandit(0.05, 100, 4)
    free = Policy((Decision("to", low=-3, high=3),), policy.rules, policy.cost)
    found = choose(model, free, START_X, steps=1, replicates=4, generations=15, population=8)
    assert found.policy["to"] == pytest.approx(float(model.draws["jump"]["m"].mean()), abs=0.1)
    assert found.final_cost[0] <= found.final_cost.min() + 1e-9


def test_a_cost_that_no_lane_has() -> None:
    model, policy = bandit(0.1, 5, 0)
    broken = Policy(policy.decisions, policy.rules, "sum(x) / 0")
    with pytest.raises(InputError, match="every lane failed"):
        choose(model, broken, START_X, steps=1)
