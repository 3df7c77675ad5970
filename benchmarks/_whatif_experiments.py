"""The four experiments of the what-if benchmark: fitted simulator against truth, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks._whatif_worlds import ALPHAS, SCHEDULES, World
from gsim_jax.whatif import Model, Scenario, Start, add, scale, set_to, start_from, sweep
from gsim_jax.whatif.decisions import Decision, Policy, Rule
from gsim_jax.whatif.policy import Choice, choose

KEY = 11
#: Words of realisations that bands are compared with: others than those of the bands.
OTHER = 12


def lockdowns() -> list[Scenario]:
    """The forty lockdowns: four strengths by ten schedules."""
    found = []
    for alpha in ALPHAS:
        for name, days in SCHEDULES.items():
            changes = () if days is None else (scale("infection.beta", alpha, *days),)
            found.append(Scenario(f"{name}, {alpha:g}", changes))
    return found


def begin(world: World, words: str, steps: int, split: str = "test") -> Start:
    """Where lanes begin; nothing is hidden in these worlds."""
    simulator = world.truth.simulator
    return start_from(words, world.task, simulator, None, steps, split=split)


def lockdown(world: World, lanes: int = 2000, seed: int = 0) -> tuple[dict[str, Any], Any]:
    """Mean curves and bands of S, I, R under forty lockdowns.

    Bands are compared with realisations of the truth on other words. Counts are whole numbers, so
    that a band with both its ends holds more than 90 %: coverage is told as it is, and as it would
    be were ties broken at random, which is 90 % for a perfect simulator.

    Returns:
        The figures, and the sweeps of truth and fit for pictures.
    """
    steps = world.task.schema.horizon
    start = begin(world, "trajectory:0", steps)
    population = sum(float(start.states[k][0, 0]) for k in "SIR")
    draws = world.fitted.count
    options: dict[str, Any] = {"steps": steps, "keep": "paths", "memory": 8 << 30}
    # Lanes of one number meet the same words in both, so that parameters alone make a difference.
    truth = sweep(world.truth, lockdowns(), start, replicates=lanes, key=KEY + seed, **options)
    other = sweep(world.truth, lockdowns(), start, replicates=lanes, key=OTHER + seed, **options)
    fitted = sweep(
        world.fitted, lockdowns(), start, replicates=lanes // draws, key=KEY + seed, **options
    )
    rng = np.random.default_rng(seed)
    worst, plain, broken = 0.0, [], []
    for label in "SIR":
        ours = fitted[label].values.reshape(len(fitted.scenario), lanes, -1)[:, :, 1:]
        theirs = truth[label].values[:, 0, :, 1:]
        seen = other[label].values[:, 0, :, 1:]
        off = np.abs(ours.mean(1) - theirs.mean(1)) / population
        worst = max(worst, float(off.max()))
        low, high = np.quantile(ours, (0.05, 0.95), axis=1, method="inverted_cdf")
        plain.append(((seen >= low[:, None]) & (seen <= high[:, None])).mean((1, 2)))
        broken.append(_tie_broken(ours, seen, rng))
    each = np.mean(broken, axis=0)
    figures = {
        "population": population,
        "worst_mean_error": worst,
        "coverage": float(np.mean(plain)),
        "coverage_ties_broken": float(each.mean()),
        "coverage_by_scenario": [float(each.min()), float(each.max())],
        "scenarios": len(fitted.scenario),
        "lanes": lanes,
    }
    return figures, (truth, fitted)


def _tie_broken(ours: np.ndarray, seen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Share of points whose randomised rank among our lanes is within 5 .. 95 %, per scenario."""
    found = []
    for mine, theirs in zip(ours, seen, strict=True):
        inside = []
        for t in range(mine.shape[1]):
            column = np.sort(mine[:, t])
            below = np.searchsorted(column, theirs[:, t], "left")
            upto = np.searchsorted(column, theirs[:, t], "right")
            rank = (below + rng.random(len(below)) * (upto - below)) / len(column)
            # A value that no lane has lies where it would be put.
            inside.append((rank > 0.05) & (rank < 0.95))
        found.append(np.mean(inside))
    return np.asarray(found)


def hospital_policy(step_days: int = 5, step_beds: int = 500) -> Policy:
    """The paper's grid: when a lockdown of 20 days begins, how many beds are added."""
    return Policy(
        decisions=(
            Decision("begin", tuple(np.arange(0.0, 96, step_days)), unit="day"),
            Decision("beds_added", tuple(np.arange(0.0, 9501, step_beds)), unit="beds"),
        ),
        rules=(
            Rule("lockdown", "set", 1, "begin", "begin + 19"),
            Rule("extra_beds", "set", "beds_added"),
        ),
        cost="sum(overflow) + bed_price * beds_added + lockdown_price * 20",
        unit="money",
    )


def hospital(world: World, replicates: int = 5) -> tuple[dict[str, Any], tuple[Choice, Choice]]:
    """The policy found on the fitted simulator, and what it costs in truth."""
    start = begin(world, "trajectory:policy", world.task.schema.horizon)
    policy = hospital_policy()
    true = choose(world.truth, policy, start, replicates=100, key=KEY)
    found = choose(world.fitted, policy, start, replicates=replicates, key=KEY)
    price = dict(zip(true.finalists.tolist(), true.final_cost.tolist(), strict=True))
    # Both searches walk the same grid in the same order.
    paid = price.get(found.chosen, float(true.cost[found.chosen]))
    figures = {
        "true_best": true.policy,
        "true_cost": float(true.final_cost[0]),
        "true_error": float(true.final_error[0]),
        "found": found.policy,
        "found_expected_cost": float(found.final_cost[0]),
        "found_error": float(found.final_error[0]),
        "found_true_cost": paid,
        "excess": paid / float(true.final_cost[0]) - 1,
        "probability_best": float(found.best[0]),
        "regret": float(found.regret[0]),
        "policies": len(found.decisions),
    }
    return figures, (true, found)


def supply_map(world: World, lanes: int = 20_000) -> tuple[dict[str, Any], Any]:
    """Total cost over additional stock at the start and lead times, truth and fit."""
    extras, leads = (0, 5, 10, 15), tuple(range(1, 9))
    scenarios = [
        Scenario(
            f"{extra} more, lead time {lead}",
            (add("inventory", extra, 0, 0), set_to("supply.lead_time", lead)),
        )
        for extra in extras
        for lead in leads
    ]
    start = begin(world, "first", world.task.schema.horizon)
    maps = {}
    for name, model in (("truth", world.truth), ("fitted", world.fitted)):
        found = sweep(model, scenarios, start, replicates=lanes // model.count, key=KEY,
                      keep="moments")  # fmt: skip
        cost = found["mean"].sel(variable="cost").isel(scenario=slice(1, None)).sum("t").values
        maps[name] = cost.reshape(len(extras), len(leads)) + 10.0 * np.asarray(extras)[:, None]
    rank = float(spearmanr(maps["truth"].ravel(), maps["fitted"].ravel()).statistic)  # type: ignore[union-attr]
    best = [np.unravel_index(m.argmin(), m.shape) for m in maps.values()]
    figures = {
        "rank_correlation": rank,
        "best_truth": [extras[best[0][0]], leads[best[0][1]]],
        "best_fitted": [extras[best[1][0]], leads[best[1][1]]],
        "largest_relative_error": float(np.abs(maps["fitted"] / maps["truth"] - 1).max()),
        "truth": maps["truth"].tolist(),
        "fitted": maps["fitted"].tolist(),
        "extras": extras,
        "leads": leads,
    }
    return figures, maps


def lead_times(world: World, lanes: int = 20_000) -> tuple[dict[str, Any], Any]:
    """Backlogs under lead times of 1 to 6, with orders of eight units a step.

    The stock lasts for four steps of average demand: from a lead time of 4 on customers wait until
    the first orders arrive, and the orders are large enough to make up for it then: a spike.
    """
    leads = tuple(range(1, 7))
    scenarios = [
        Scenario(f"lead time {lead}", (set_to("supply.lead_time", lead), set_to("order", 8)))
        for lead in leads
    ]
    start = begin(world, "first", world.task.schema.horizon)
    curves: dict[str, np.ndarray] = {}
    for name, model in (("truth", world.truth), ("fitted", world.fitted)):
        found = sweep(model, scenarios, start, replicates=lanes // model.count, key=KEY,
                      keep="moments")  # fmt: skip
        curves[name] = found["mean"].sel(variable="backlog").isel(scenario=slice(1, None)).values
    rows = []
    for i, lead in enumerate(leads):
        own = {name: spike(curve[i]) for name, curve in curves.items()}
        rows.append({"lead": lead, **{f"{n}_{k}": v for n, s in own.items() for k, v in s.items()}})
    late = [row for row in rows if row["lead"] >= 4]
    figures = {
        "spikes": rows,
        "worst_time": max(abs(r["fitted_time"] / r["truth_time"] - 1) for r in late),
        "worst_height": max(abs(r["fitted_height"] / r["truth_height"] - 1) for r in late),
    }
    return figures, curves


def spike(curve: np.ndarray) -> Mapping[str, float]:
    """Time and height of the largest value."""
    at = int(curve.argmax())
    return {"time": float(at), "height": float(curve[at])}


def coupling(world: World, lanes: int = 4000) -> dict[str, Any]:
    """Variance of the difference to the baseline: independent words over the same words.

    Of cumulative infections at the end, for each lockdown and for beta against beta + 1 %.
    """
    schema, simulator = world.task.schema, world.truth.simulator
    steps = schema.horizon
    start = begin(world, "trajectory:0", steps)
    little = Scenario("beta + 1 %", (scale("infection.beta", 1.01),))
    changed = [s for s in lockdowns() if s.changes]
    model = Model(simulator, schema, world.truth.draws)
    options: dict[str, Any] = {"steps": steps, "replicates": lanes, "keep": "paths"}
    same = sweep(model, [*changed, little], start, key=KEY, memory=8 << 30, **options)
    paths = same["S"].values[:, 0]
    end, everywhere = {}, {}
    for i, name in enumerate(same.scenario.values[1:], start=1):
        coupled = np.var(paths[i] - paths[0], axis=0)
        independent = np.var(paths[i], axis=0) + np.var(paths[0], axis=0)
        end[str(name)] = float(independent[-1] / coupled[-1])
        everywhere[str(name)] = float(independent.sum() / coupled.sum())
    small = end.pop("beta + 1 %"), everywhere.pop("beta + 1 %")
    return {
        "lockdowns": end,
        "least": min(end.values()),
        "most": max(end.values()),
        "least_over_all_days": min(everywhere.values()),
        "little_more_beta": small[0],
        "little_more_beta_over_all_days": small[1],
        "note": "schedules without any lockdown are the baseline itself: their difference is 0",
    }
