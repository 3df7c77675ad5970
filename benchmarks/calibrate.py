"""``gsim bench calibrate``: how well and how fast parameters are found, truth's structure given.

Experiments, each on data drawn afresh from a known truth:

    covid       100 trajectories: distance to the exact posterior mean, by simulated forecasts alone
                and with the exact likelihood; test metric; seconds
    single      one trajectory: distance to the exact posterior mean
    coverage    small data sets: do stated 90 % intervals cover?
    supply      demand and lead time of the supply chain; test metric
    hospital    all fourteen parameters of the hospital; stays, deaths, test metric
    occupancy   the hospital when only the two occupancies are shown; test metric
    seir        an epidemic whose susceptible and exposed people nobody sees, against SIR
    sizes       simulators of 20, 50 and 100 parameters
    rival       EvoTorch's genetic algorithm on the mean squared error, vectorised (extra `bench`)

    gsim bench calibrate [-- --experiments covid,supply --sets 10]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import _calibrate, _calibrate_made, _calibrate_rival
from benchmarks._calibrate import World
from benchmarks._experiments import Fields, chosen, run_each
from gsim_jax.calibrate import Evolution
from gsim_jax.simulator.sandbox import Sandbox

SIMULATED = Evolution(score="energy")


@click.command(
    name="gsim bench calibrate", context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option("--experiments", help="With commas between; all by default.")
@click.option("--sets", type=click.IntRange(1), help="Data sets, instead of each one's own number.")
@click.option("--states", type=click.IntRange(10), default=500, show_default=True,
              help="States of the test metric.")  # fmt: skip
def _options(**options: Any) -> dict[str, Any]:
    return options


def bench(*, seed: int, out: Path | None, arguments: Sequence[str] = ()) -> Fields:
    """Runs the experiments.

    Args:
        seed: all data and calibrations follow from it.
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
            return function(sandbox, options["sets"] or number, seed, options["states"])

        return run_each(names, run, out)


def _runs(world: World, sets: int, size: int, seed: int, method: Evolution) -> tuple[list, list]:
    """(data, calibration) of fresh data sets, and the seconds of each after compilation."""
    pairs, seconds = [], []
    for number in range(sets):
        data = world.draw(1000 * seed + number, size)
        found, spent = world.calibrate(data, number, method)
        pairs.append((data, found))
        seconds.append(spent)
    return pairs, seconds


def _spread(values: Sequence[float]) -> list[float]:
    return [float(x) for x in np.quantile(values, [0.0, 0.5, 1.0])]


def _ratios(rows: list[list[Fields]]) -> Fields:
    """Ratio to the floor per horizon: mean over calibrations, largest, and the mean error."""
    table = {}
    for each in zip(*rows, strict=True):
        ratio = [m["ratio"] for m in each]
        error = float(np.mean([m["ratio_se"] for m in each]))
        table[str(each[0]["horizon"])] = {
            "mean": float(np.mean(ratio)), "largest": max(ratio), "se": error,
        }  # fmt: skip
    return table


def covid(sandbox: Sandbox, sets: int, seed: int, states: int) -> Fields:
    """Distances to the exact answer on 100 trajectories."""
    world = World.load("covid19", sandbox)
    results: Fields = {}
    for name, method in (("simulated", SIMULATED), ("exact", Evolution(score="log"))):
        pairs, seconds = _runs(world, sets, 100, seed, method)
        found = [each for _, each in pairs]
        results[name] = {
            "distance": _calibrate.distances(world, pairs),
            "recovery": _calibrate.recovery(world, found),
            "seconds": _spread(seconds[1:] or seconds),
        }
        if name == "simulated":
            measured = _calibrate.metric(world, found[:10], (1,), states, seed)
            results[name]["ratio_to_floor"] = _ratios(measured)
    return results


def single(sandbox: Sandbox, sets: int, seed: int, states: int) -> Fields:
    """Distances to the exact answer on one trajectory."""
    del states
    world = World.load("covid19", sandbox)
    pairs, seconds = _runs(world, sets, 1, seed, SIMULATED)
    return {
        "distance": _calibrate.distances(world, pairs),
        "recovery": _calibrate.recovery(world, [each for _, each in pairs]),
        "seconds": _spread(seconds),
    }


def coverage(sandbox: Sandbox, sets: int, seed: int, states: int) -> Fields:
    """Coverage of 90 % intervals on ten trajectories."""
    del states
    world = World.load("covid19", sandbox)
    pairs, _ = _runs(world, sets, 10, seed, SIMULATED)
    return {"recovery": _calibrate.recovery(world, [each for _, each in pairs])}


def supply(sandbox: Sandbox, sets: int, seed: int, states: int) -> Fields:
    """Lead time and demand."""
    world = World.load("supply_chain", sandbox)
    pairs, seconds = _runs(world, sets, 100, seed, SIMULATED)
    found = [each for _, each in pairs]
    return {
        "distance": _calibrate.distances(world, pairs),
        "recovery": _calibrate.recovery(world, found),
        "ratio_to_floor": _ratios(_calibrate.metric(world, found, (1,), states, seed)),
        "seconds": _spread(seconds),
    }


def hospital(sandbox: Sandbox, sets: int, seed: int, states: int) -> Fields:
    """All parameters of the hospital, everything seen."""
    world = World.load("hospital_beds", sandbox)
    pairs, seconds = _runs(world, sets, 100, seed, SIMULATED)
    found = [each for _, each in pairs]
    true = world.truth.parameters
    stays = [
        max(abs(each.parameters[k] - true[k]) for k in true if k.startswith("arrivals.stay"))
        for each in found
    ]
    deaths = [_calibrate_made.deaths_per_patient_day(world, each) for each in found]
    expected = _calibrate_made.deaths_per_patient_day(world, None)
    return {
        "recovery": _calibrate.recovery(world, found),
        "largest_error_of_stays": stays,
        "deaths_per_patient_day_ratio": [d / expected for d in deaths],
        "ratio_to_floor": _ratios(_calibrate.metric(world, found, (1, 7, 20), states, seed)),
        "seconds": _spread(seconds),
    }


def occupancy(sandbox: Sandbox, sets: int, seed: int, states: int) -> Fields:
    """The hospital seen through its occupancies only: patients are latent."""
    world = World.load("hospital_beds_occupancy", sandbox)
    pairs, seconds = _runs(world, sets, 100, seed, SIMULATED)
    found = [each for _, each in pairs]
    return {
        "recovery": _calibrate.recovery(world, found),
        "ratio_to_floor": _ratios(_calibrate.metric(world, found, (1, 7), states, seed)),
        "points": [each.parameters for each in found],
        "seconds": _spread(seconds),
    }


def seir(sandbox: Sandbox, sets: int, seed: int, states: int) -> Fields:
    """Susceptible and exposed people hidden: is the true structure told from SIR, and found?"""
    del states
    world, rival = _calibrate_made.seir_worlds(sandbox)
    found, leads = [], []
    for number in range(sets):
        data = world.draw(1000 * seed + number, 40)
        ours, _ = world.calibrate(data, number, SIMULATED)
        theirs, _ = replace(world, truth=rival).calibrate(data, number, SIMULATED)
        found.append(ours)
        leads.append(theirs.score - ours.score)
    return {
        "recovery": _calibrate.recovery(world, found),
        "better_than_sir": int(np.sum(np.array(leads) > 0)),
        "of": sets,
        "lead": _spread(leads),
    }


def sizes(sandbox: Sandbox, sets: int, seed: int, states: int) -> Fields:
    """Score, time and error against the number of parameters."""
    del states
    results: Fields = {}
    for name, world in _calibrate_made.wide_worlds(sandbox).items():
        pairs, seconds = _runs(world, sets, 40, seed, SIMULATED)
        space = world.program.parameters
        truth = space.to_unit(world.truth.parameters)
        errors = np.abs(np.stack([found.u for _, found in pairs]) - truth)
        results[name] = {
            "parameters": space.dimension,
            "error_in_prior_ranges": {
                "rms": float(np.sqrt(np.mean(errors**2))),
                "p90": float(np.quantile(errors, 0.9)),
                "largest": float(errors.max()),
            },
            "score": [found.score for _, found in pairs],
            "seconds": _spread(seconds),
        }
    return results


def rival(sandbox: Sandbox, sets: int, seed: int, states: int) -> Fields:
    """Seconds and errors beside EvoTorch's, taking turns in one process."""
    del states
    methods = {"default": Evolution(), "simulated": SIMULATED}
    return _calibrate_rival.compare(World.load("covid19", sandbox), sets, seed, methods)


EXPERIMENTS: dict[str, tuple[Callable[[Sandbox, int, int, int], Fields], int]] = {
    "covid": (covid, 20),
    "single": (single, 20),
    "coverage": (coverage, 200),
    "supply": (supply, 10),
    "hospital": (hospital, 10),
    "occupancy": (occupancy, 10),
    "seir": (seir, 20),
    "sizes": (sizes, 1),
    "rival": (rival, 10),
}
"""Each experiment and its number of data sets."""
