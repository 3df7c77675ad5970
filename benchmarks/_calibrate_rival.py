"""EvoTorch's genetic algorithm with the paper's settings, its fitness vectorised.

Population 200, ten generations, tournaments of four, simulated binary crossover (eta 8), Gaussian
mutation of 0.03, the mean squared error between simulated and observed trajectories as fitness
(arXiv 2506.09272). The paper loops over trajectories and steps in Python; here one NumPy expression
simulates the whole population on all trajectories at once.
"""

from __future__ import annotations

import importlib.util
import time
from typing import Any

import numpy as np

from benchmarks._calibrate import World
from gsim_jax.calibrate import Evolution
from gsim_jax.task import Trajectories

POPULATION, GENERATIONS = 200, 10


def compare(world: World, sets: int, seed: int, methods: dict[str, Evolution]) -> dict[str, Any]:
    """All on the same data sets of COVID-19, in turn; ours warm, compilation told apart.

    Args:
        world: the truth.
        sets: data sets.
        seed: of data and searches.
        methods: our calibrators by name.

    Returns:
        Median seconds and root mean square errors of all, and the ratios of median seconds.
    """
    if importlib.util.find_spec("evotorch") is None:
        return {"left_out": "evotorch is not installed: make install EXTRAS=dev,bench"}
    labels = world.program.parameters.labels
    truth = np.array([world.truth.parameters[label] for label in labels])
    for method in methods.values():
        world.calibrate(world.draw(seed + 999, 100), 0, method)  # compiles
    points: dict[str, list[Any]] = {name: [] for name in (*methods, "evotorch")}
    seconds: dict[str, list[float]] = {name: [] for name in points}
    for number in range(sets):
        data = world.draw(1000 * seed + number, 100)
        for name, method in methods.items():
            found, taken = world.calibrate(data, number, method)
            points[name].append([found.parameters[label] for label in labels])
            seconds[name].append(taken)
        begin = time.perf_counter()
        points["evotorch"].append(_genetic(data, number))
        seconds["evotorch"].append(time.perf_counter() - begin)

    def error(points: list[Any]) -> dict[str, float]:
        rms = np.sqrt(np.mean((np.array(points) - truth) ** 2, axis=0))
        return dict(zip(labels, rms.tolist(), strict=True))

    typical = {name: float(np.median(each)) for name, each in seconds.items()}
    return {
        "seconds": typical,
        "ratio": {name: typical[name] / typical["evotorch"] for name in methods},
        "rmse": {name: error(each) for name, each in points.items()},
    }


def _genetic(data: Trajectories, seed: int) -> np.ndarray:
    """The best solution ever evaluated: (beta, gamma)."""
    import torch  # pyright: ignore[reportMissingImports]
    from evotorch import Problem  # pyright: ignore[reportMissingImports]
    from evotorch.algorithms import GeneticAlgorithm
    from evotorch.operators import GaussianMutation, SimulatedBinaryCrossOver

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    observed = np.stack([data.states[name] for name in ("S", "I", "R")], axis=-1).astype(float)

    def fitness(solutions: Any) -> Any:
        return torch.as_tensor(_errors(solutions.numpy(), observed, rng), dtype=torch.float32)

    problem = Problem(
        "min", fitness, solution_length=2, vectorized=True,
        bounds=(torch.tensor([0.0, 0.0]), torch.tensor([2.0, 1.0])),
        initial_bounds=(torch.tensor([0.0, 0.0]), torch.tensor([2.0, 1.0])),
    )  # fmt: skip
    operators = [
        SimulatedBinaryCrossOver(problem, tournament_size=4, eta=8),
        GaussianMutation(problem, stdev=0.03),
    ]
    search = GeneticAlgorithm(problem, operators=operators, popsize=POPULATION)
    search.run(GENERATIONS)
    return search.status["best"].values.numpy().astype(float)


def _errors(points: np.ndarray, observed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mean squared error of one simulated trajectory per point and observed one, float64[P]."""
    beta = np.clip(points[:, :1], 0.0, 2.0)
    gamma = np.broadcast_to(np.clip(points[:, 1:], 0.0, 1.0), (len(points), len(observed)))
    shape = gamma.shape
    s, i, r = (np.broadcast_to(observed[:, 0, k], shape).astype(np.int64) for k in range(3))
    total = np.maximum(s + i + r, 1)
    error = np.zeros(shape)
    for t in range(1, observed.shape[1]):
        infected = rng.binomial(s, 1.0 - np.exp(-beta * i / total))
        recovered = rng.binomial(i, gamma)
        s, i, r = s - infected, i + infected - recovered, r + recovered
        for k, state in enumerate((s, i, r)):
            error += (state - observed[:, t, k]) ** 2
    return error.mean(axis=1) / (3 * (observed.shape[1] - 1))
