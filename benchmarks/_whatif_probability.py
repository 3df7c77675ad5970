"""Whether the stated probability of being the best policy is the share in which it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import logsumexp

from benchmarks._whatif_experiments import begin, hospital_policy
from benchmarks._whatif_worlds import World, fit, load, objective_of
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import Task, Trajectories
from gsim_jax.task.outputs import observed_outputs
from gsim_jax.whatif import Model, Start, sweep
from gsim_jax.whatif.decisions import Decision, Policy, Rule
from gsim_jax.whatif.policy import Choice, choose

#: Range of transmission rate and daily probability of recovery of the small epidemics.
BETA, GAMMA = (0.3, 0.7), (0.05, 0.2)
#: Trajectories and days that their posterior is made of, few: the choice is to be uncertain.
SEEN, DAYS = 3, 15


def told(stated: list[float], hits: list[bool]) -> dict[str, Any]:
    """Stated probabilities against what happened."""
    p, hit = np.asarray(stated), np.asarray(hits, float)
    spread = float(np.sqrt(max((p * (1 - p)).sum(), 1e-12)))
    return {
        "worlds": len(p),
        "mean_stated": float(p.mean()),
        "share_best": float(hit.mean()),
        "z": float((hit - p).sum() / spread) if spread > 1e-5 else 0.0,
        "brier": float(((hit - p) ** 2).mean()),
        "brier_expected": float((p * (1 - p)).mean()),
        "stated": p.round(3).tolist(),
        "was_best": hit.astype(int).tolist(),
    }


def agrees(found: Choice, true: Choice) -> bool:
    """Whether the chosen policy is the cheapest in truth."""
    return found.policy == true.policy


def epidemics(sandbox: Sandbox, seeds: int, first: int = 0) -> dict[str, Any]:
    """Small epidemics whose posterior is known exactly: the policy search alone is on trial.

    Parameters are drawn from their prior, data from them, draws from the exact posterior; the
    policy is the day on which a lockdown of ten days begins, its cost the days that people are ill
    beyond 20 at a time.
    """
    task, truth = load("covid19", sandbox)
    policy = Policy(
        (Decision("begin", tuple(np.arange(0.0, 29, 2)), unit="day"),),
        (Rule("infection.beta", "scale", 0.2, "begin", "begin + 9"),),
        "sum(max(I - 20, 0))",
    )
    start = Start.of({"S": np.int32(80), "I": np.int32(4), "R": np.int32(0)})
    stated, hits = [], []
    for seed in range(first, first + seeds):
        rng = np.random.default_rng([seed, 5])
        beta, gamma = rng.uniform(*BETA), rng.uniform(*GAMMA)
        values = {"infection.beta": float(beta), "recovery.gamma": float(gamma)}
        model = Model.at(truth.simulator, task.schema, values)
        paths = sweep(model, [], start, steps=DAYS, replicates=SEEN, key=1000 + seed, keep="paths")
        seen = {k: paths[k].values[0, 0].astype(int) for k in "SIR"}
        draws = exact_draws(seen, 200, rng)
        fitted = Model(truth.simulator, task.schema, draws)
        found = choose(fitted, policy, start, replicates=10, key=seed)
        true = choose(model, policy, start, replicates=4000, key=5000 + seed)
        stated.append(float(found.best[0]))
        hits.append(agrees(found, true))
    return told(stated, hits)


def exact_draws(
    seen: dict[str, np.ndarray], count: int, rng: np.random.Generator
) -> dict[str, dict[str, np.ndarray]]:
    """Draws from the exact posterior of the chain-binomial SIR, uniform priors on the ranges.

    Args:
        seen: int[n, rows] of S, I and R.
        count: draws D.
        rng: where they come from.
    """
    s, i, r = (seen[k][:, :-1] for k in "SIR")
    infected = s - seen["S"][:, 1:]
    recovered = seen["R"][:, 1:] - r
    grids = [np.linspace(*limits, 2001)[1:-1] for limits in (BETA, GAMMA)]
    force = i / (s + i + r)
    p = -np.expm1(-grids[0][:, None, None] * force)
    with np.errstate(divide="ignore", invalid="ignore"):
        gained = np.where(infected > 0, infected * np.log(p), 0)
    logs = [
        (gained - grids[0][:, None, None] * force * (s - infected)).sum((1, 2)),
        recovered.sum() * np.log(grids[1]) + (i - recovered).sum() * np.log1p(-grids[1]),
    ]
    picked = [
        rng.choice(grid, count, p=np.exp(log - logsumexp(log)))
        for grid, log in zip(grids, logs, strict=True)
    ]
    return {
        "infection": {"beta": picked[0].astype(np.float32)},
        "recovery": {"gamma": picked[1].astype(np.float32)},
    }


def cities(sandbox: Sandbox, seeds: int, data: int = 12, days: int = 60) -> dict[str, Any]:
    """Towns like the cities of `hospital_surge`, with other parameters, calibrated on few of them.

    Calibration and the policy search are on trial together. The towns have a hundredth of the
    people, and the grid is finer than the paper's: on that one, with those cities, the best policy
    is never in doubt.
    """
    task, truth = load("hospital_surge", sandbox)
    world = World(task, truth, truth, {}, 0.0)
    start = begin(world, "trajectory:policy", task.schema.horizon)
    policy = replace(
        hospital_policy(),
        decisions=(
            Decision("begin", tuple(np.arange(0.0, 31, 1)), unit="day"),
            Decision("beds_added", tuple(np.arange(0.0, 9501, 250)), unit="beds"),
        ),
    )
    few = shortened(task, data, days, 100)
    objective = objective_of(replace(task, train=few, validation=None), truth)
    stated, hits, excess, off = [], [], [], []
    for seed in range(seeds):
        model = jittered(truth, np.random.default_rng([seed, 6]))
        simulated = redrawn(task, model, few, 9000 + seed)
        fitted, _ = fit(objective, simulated, seed, draws=100)
        found = choose(fitted, policy, start, replicates=3, key=seed)
        true = choose(model, policy, start, replicates=60, key=7000 + seed)
        stated.append(float(found.best[0]))
        hits.append(agrees(found, true))
        off.append(deviations(fitted, model))
        places = true.finalists.tolist()
        price = (
            true.final_cost[places.index(found.chosen)]
            if found.chosen in places
            else true.cost[found.chosen]
        )
        excess.append(float(price / true.final_cost[0] - 1))
    cost = {"largest_excess": max(excess), "mean_excess": float(np.mean(excess))}
    # 1 for errors of calibration that are right.
    scatter = np.sqrt(np.mean(np.square(off), axis=0))
    told_off = dict(zip(truth.simulator.parameters.labels, scatter.tolist(), strict=True))
    return told(stated, hits) | cost | {"deviation_in_errors": told_off}


def deviations(fitted: Model, model: Model) -> list[float]:
    """How far off each parameter is, in standard errors of its draws."""
    found = []
    for entry in model.simulator.parameters.entries:
        draws = np.asarray(fitted.draws[entry.group][entry.name], float)
        true = float(model.draws[entry.group][entry.name][0])
        found.append(float((draws.mean() - true) / draws.std(ddof=1)))
    return found


def jittered(truth: Model, rng: np.random.Generator) -> Model:
    """The truth with every parameter up to 10 % off."""
    draws = {
        group: {
            name: (value * rng.uniform(0.9, 1.1)).astype(value.dtype)
            for name, value in members.items()
        }
        for group, members in truth.draws.items()
    }
    return replace(truth, draws=draws)


def shortened(task: Task, count: int, days: int, part: int) -> Trajectories:
    """The first rows of a few trajectories with a lockdown, with one in `part` of the people."""
    train, rows = task.train, days + 1
    inside = np.flatnonzero(train.inputs["lockdown"][:, :rows].sum(1) > 5)[:count]
    picked = train.take(inside)

    def cut(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: array[:, :rows] for name, array in arrays.items()}

    states = {name: array // part for name, array in cut(picked.states).items()}
    seen, inputs = cut(picked.seen), cut(picked.inputs)
    # The scale of the scores comes from these: they must be of the same towns as the states.
    outputs, outputs_seen = observed_outputs(
        task.schema, states, seen, inputs, picked.attributes, {}
    )
    return replace(
        picked, length=np.full(count, rows, np.int32), states=states, seen=seen, inputs=inputs,
        outputs=outputs, outputs_seen=outputs_seen,
    )  # fmt: skip


def redrawn(task: Task, model: Model, like: Trajectories, key: int) -> Trajectories:
    """Trajectories from the same first rows under the same inputs, of another world."""
    start = Start(
        {name: values[None, :, 0] for name, values in like.states.items()},
        dict(like.inputs),
        dict(like.attributes),
        np.zeros(len(like), np.int32),
    )
    found = sweep(
        model, [], start, steps=like.rows - 1, replicates=len(like), key=key, keep="paths"
    )
    states = {name: found[name].values[0, 0].astype(v.dtype) for name, v in like.states.items()}
    outputs, outputs_seen = observed_outputs(
        task.schema, states, like.seen, like.inputs, like.attributes, {}
    )
    return replace(like, states=states, outputs=outputs, outputs_seen=outputs_seen)
