"""Writes the three tables of this environment, the same bytes every time.

Chain-binomial SIR in larger populations, which the text of G-Sim names (arXiv 2506.09272): S0 is
uniform on 900..1000, I0 uniform on 1..20, R0 = 0. Each day new infections are Binomial(S, 1 -
exp(-beta I / N)) and recoveries Binomial(I, gamma), both from the counts of the day before.

    python envs/covid19_large/generate.py [DIRECTORY]
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

BETA = 0.5  # per day
GAMMA = 0.1  # probability per day
STEPS = 60
TRAJECTORIES = 100
SEEDS = {"train": 20200311, "validation": 20200312, "test": 20200313}


def simulate(rng: np.random.Generator, trajectories: int, steps: int) -> np.ndarray:
    """Counts of S, I and R, int64[trajectories, steps + 1, 3]."""
    susceptible = rng.integers(900, 1000, trajectories, endpoint=True)
    infected = rng.integers(1, 20, trajectories, endpoint=True)
    state = np.stack([susceptible, infected, np.zeros_like(infected)], axis=1)
    rows = [state]
    for _ in range(steps):
        s, i, r = rows[-1].T
        infections = rng.binomial(s, 1 - np.exp(-BETA * i / (s + i + r)))
        recoveries = rng.binomial(i, GAMMA)
        rows.append(np.stack([s - infections, i + infections - recoveries, r + recoveries], axis=1))
    return np.stack(rows, axis=1)


def write(path: Path, counts: np.ndarray) -> None:
    """Writes one tidy table."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["trajectory", "t", "S", "I", "R"])
        for trajectory, rows in enumerate(counts.tolist()):
            for t, row in enumerate(rows):
                writer.writerow([trajectory, t, *row])


def main() -> None:
    """Writes train.csv, validation.csv and test.csv beside this file, or where it is told."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for split, seed in SEEDS.items():
        counts = simulate(np.random.default_rng(seed), TRAJECTORIES, STEPS)
        write(folder / f"{split}.csv", counts)


if __name__ == "__main__":
    main()
