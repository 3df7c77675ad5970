"""``gsim bench npe``: neural posteriors of the environments' parameters, put to the test.

Experiments, each with the truth's structure:

    single      COVID-19, the first trajectory: C2ST against the exact posterior, by seed
    all         COVID-19, all training trajectories: likewise, and the ratio of the spreads
    supply      supply chain: probability of the true lead time, spread of the demand's posterior
    hospital    hospital beds: simulation-based calibration over fresh data sets, coverage of 90 %
                intervals; one amortised posterior answers for all
    evidence    COVID-19, the first trajectory: evidence by tempered SMC against quadrature

    gsim bench npe [-- --experiments single,supply --runs 10]
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import jax
import numpy as np
from scipy.stats import binomtest

from benchmarks import _posterior_c2st
from benchmarks._calibrate import World
from benchmarks._experiments import Fields, chosen, run_each
from gsim_jax.calibrate import NeuralPosterior, exact_posterior, log_likelihood
from gsim_jax.calibrate.checks import Trials, check_calibration, holm, ranks
from gsim_jax.calibrate.npe import data_sets
from gsim_jax.simulator.sandbox import Sandbox
from gsim_jax.task import Trajectories

#: Draws of each posterior, neural and exact.
DRAWS = 10_000
#: Draws per data set of simulation-based calibration.
FEW = 200
LEVEL = 0.9


@click.command(name="gsim bench npe", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--experiments", help="With commas between; all by default.")
@click.option("--runs", type=click.IntRange(1),
              help="Seeds (hospital: data sets), instead of each one's own number.")  # fmt: skip
def _options(**options: Any) -> dict[str, Any]:
    return options


def bench(*, seed: int, out: Path | None, arguments: Sequence[str] = ()) -> Fields:
    """Runs the experiments.

    Args:
        seed: all simulations and trainings follow from it.
        out: where the JSON goes; what is there from other experiments is kept.
        arguments: see ``--help``.

    Returns:
        Results by experiment.
    """
    options = _options(list(arguments), standalone_mode=False)
    if not isinstance(options, dict):  # --help
        return {}
    names = chosen(options["experiments"], EXPERIMENTS)
    with Sandbox() as sandbox:

        def run(name: str) -> Fields:
            function, number = EXPERIMENTS[name]
            return function(sandbox, options["runs"] or number, seed)

        return run_each(names, run, out)


def single(sandbox: Sandbox, runs: int, seed: int) -> Fields:
    """One trajectory: does any seed collapse?"""
    world = World.load("covid19", sandbox)
    return _beside_exact(world, world.task.train.take([0]), runs, seed)


def everything(sandbox: Sandbox, runs: int, seed: int) -> Fields:
    """All trajectories, which a network has to learn to pool."""
    world = World.load("covid19", sandbox)
    return _beside_exact(world, world.task.train, runs, seed)


def supply(sandbox: Sandbox, runs: int, seed: int) -> Fields:
    """An integer beside a rate."""
    world = World.load("supply_chain", sandbox)
    results = _beside_exact(world, world.task.train, runs, seed)
    right = world.truth.parameters["supply.lead_time"]
    shares = [row["probabilities"]["supply.lead_time"].get(right, 0.0) for row in results["runs"]]
    return {"probability_of_true_lead_time": shares, **results}


def _beside_exact(world: World, data: Trajectories, runs: int, seed: int) -> Fields:
    """Neural posteriors of several seeds beside the exact one of the same data."""
    schema, space = world.task.schema, world.program.parameters
    likelihood = log_likelihood(world.program, schema, data)
    exact = exact_posterior(likelihood, space, seed, draws=DRAWS)
    reference = exact.values.reshape(-1, space.dimension)
    free = np.flatnonzero(~space.discrete)
    rows = []
    for number in range(seed, seed + runs):
        begin = time.perf_counter()
        found = NeuralPosterior().posterior(world.program, schema, data, number)
        trained = time.perf_counter() - begin
        key = jax.random.key(number)
        found.sample(key, DRAWS).block_until_ready()  # compiles
        begin = time.perf_counter()
        drawn = np.asarray(found.sample(key, DRAWS), float)
        sampled = time.perf_counter() - begin
        rows.append(
            {
                "c2st": _posterior_c2st.c2st(drawn[:, free], reference[:, free]),
                "mean_off_sd": _off(drawn, reference, free),
                "sd_ratio": (drawn[:, free].std(axis=0) / reference[:, free].std(axis=0)).tolist(),
                "probabilities": _probabilities(world, drawn),
                "simulations": found.info.simulations,
                "train_s": trained,
                "sample_s": sampled,
            }
        )
    ratios = np.array([row["sd_ratio"] for row in rows])
    return {
        "c2st": [row["c2st"] for row in rows],
        "largest_c2st": max(row["c2st"] for row in rows),
        "sd_ratio": [float(ratios.min()), float(ratios.max())],
        "labels": [space.labels[k] for k in free],
        "runs": rows,
    }


def _off(drawn: np.ndarray, reference: np.ndarray, free: np.ndarray) -> list[float]:
    gap = drawn[:, free].mean(axis=0) - reference[:, free].mean(axis=0)
    return (gap / reference[:, free].std(axis=0)).tolist()


def _probabilities(world: World, drawn: np.ndarray) -> dict[str, dict[float, float]]:
    space, found = world.program.parameters, {}
    for k in np.flatnonzero(space.discrete):
        values, counts = np.unique(drawn[:, k], return_counts=True)
        found[space.labels[k]] = dict(
            zip(values.tolist(), (counts / len(drawn)).tolist(), strict=True)
        )
    return found


def hospital(sandbox: Sandbox, runs: int, seed: int) -> Fields:
    """Simulation-based calibration of an amortised posterior of fourteen parameters."""
    world = World.load("hospital_beds", sandbox)
    data, schema = world.task.train, world.task.schema
    begin = time.perf_counter()
    found = replace(NeuralPosterior(), rounds=1).posterior(world.program, schema, data, seed)
    trained = time.perf_counter() - begin
    coordinates, simulate, _ = data_sets(world.program, schema, data)
    one = jax.jit(simulate)
    truths, draws, failed = [], [], 0
    key = jax.random.fold_in(jax.random.key(seed), 31)
    while len(truths) < runs:
        first, second, third = jax.random.split(jax.random.fold_in(key, len(truths) + failed), 3)
        y = coordinates.draw(first)
        x = np.asarray(one(y, second))
        if not np.isfinite(x).any():  # a simulation that failed is no data set
            failed += 1
            continue
        truths.append(np.asarray(coordinates.value(y), float))
        draws.append(np.asarray(found.sample(third, FEW, observed=x), float))
    trials = Trials(np.stack(truths), np.stack(draws), coordinates.labels)
    return {
        **_coverage(trials, seed),
        "report": check_calibration(trials, seed).to_json(),
        "data_sets": runs,
        "failed": failed,
        "simulations": found.info.simulations,
        "train_s": trained,
    }


def _coverage(trials: Trials, seed: int) -> Fields:
    """How often 90 % intervals hold the truth, and whether ranks are uniform, by parameter."""
    where = ranks(trials, seed)
    inside = (np.abs(2 * where - 1) < LEVEL).sum(axis=0)
    each = np.array([binomtest(int(k), len(where), LEVEL).pvalue for k in inside])
    return {
        "inside_90": dict(zip(trials.labels, (inside / len(where)).tolist(), strict=True)),
        "smallest_corrected_p": float(holm(each).min()),
    }


def evidence(sandbox: Sandbox, runs: int, seed: int) -> Fields:
    """Evidence by blackjax's tempered SMC against quadrature, in nats."""
    world = World.load("covid19", sandbox)
    space = world.program.parameters
    likelihood = log_likelihood(world.program, world.task.schema, world.task.train.take([0]))
    grid = exact_posterior(likelihood, space, seed, method="grid").log_evidence
    found = [
        exact_posterior(likelihood, space, number, method="smc").log_evidence
        for number in range(seed, seed + runs)
    ]
    off = np.array(found) - grid
    return {"quadrature": grid, "smc": found, "largest_off_nats": float(np.abs(off).max())}


EXPERIMENTS: dict[str, tuple[Callable[[Sandbox, int, int], Fields], int]] = {
    "single": (single, 10),
    "all": (everything, 3),
    "supply": (supply, 3),
    "hospital": (hospital, 200),
    "evidence": (evidence, 5),
}
"""Each experiment, and its number of seeds or data sets."""
