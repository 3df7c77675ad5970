"""Writes the three tables of this environment, the same bytes every time.

An epidemic that fills a city's hospitals, for the search of a policy: when to begin a lockdown of
20 days, and how many beds to add. G-Sim (arXiv 2506.09272) names the grid, the prices and the
optimum, and no numbers of the epidemic; those below are chosen so that the optimum lies where the
paper has it. Each day new infections are Binomial(S, 1 - exp(-beta (1 - effect lockdown) I / N));
Binomial(I, gamma) stop being infectious, of whom Binomial(., share) need a bed and the others have
recovered; Binomial(H, leave) get well and free their bed. All from the counts of the day before.

    python envs/hospital_surge/generate.py [DIRECTORY]
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

POPULATION = 500_000  # people in each city
BETA = 0.5  # per day
EFFECT = 0.7  # share of infections that a lockdown prevents
GAMMA = 0.1  # probability per day
SHARE = 0.05  # of those infected, who will need a bed
LEAVE = 0.1  # probability per day
FIRST_INFECTED = (1_000, 5_000)  # people
POLICY_INFECTED = 3_000  # people, where the search of a policy begins
LOCKDOWN_DAYS = 20
STEPS = 120
SEEDS = {"train": 20230601, "validation": 20230602, "test": 20230603}
TRAJECTORIES = {"train": 50, "validation": 25, "test": 25}


def step(rng: np.random.Generator, row: np.ndarray, lockdown: np.ndarray) -> np.ndarray:
    """The next day of some cities.

    Args:
        rng: where the draws come from.
        row: int64[n, 4], counts of S, I, H and R.
        lockdown: int64[n], 1 during a lockdown.

    Returns:
        int64[n, 4].
    """
    s, i, h, r = row.T
    force = BETA * (1 - EFFECT * lockdown) * i / row.sum(axis=1)
    infected = rng.binomial(s, 1 - np.exp(-force))
    over = rng.binomial(i, GAMMA)
    admitted = rng.binomial(over, SHARE)
    well = rng.binomial(h, LEAVE)
    following = [s - infected, i + infected - over, h + admitted - well, r + over - admitted + well]
    return np.stack(following, axis=1)


def simulate(
    rng: np.random.Generator, infected: np.ndarray, begin: np.ndarray, steps: int = STEPS
) -> tuple[np.ndarray, np.ndarray]:
    """Some cities from their first day on.

    Args:
        rng: where the draws come from.
        infected: int64[n], infected people on the first day.
        begin: int64[n], first day of the lockdown; -1 for none.
        steps: days.

    Returns:
        Counts of S, I, H and R, int64[n, steps + 1, 4], and the lockdown, int64[n, steps + 1].
    """
    days = np.arange(steps + 1)
    since = days[None, :] - begin[:, None]
    lockdown = ((begin >= 0)[:, None] & (since >= 0) & (since < LOCKDOWN_DAYS)).astype(np.int64)
    nobody = np.zeros_like(infected)
    rows = [np.stack([POPULATION - infected, infected, nobody, nobody], axis=1)]
    for t in range(steps):
        rows.append(step(rng, rows[-1], lockdown[:, t]))
    return np.stack(rows, axis=1), lockdown


def simulated(split: str) -> list[tuple[str, np.ndarray, np.ndarray, int]]:
    """Name, counts, lockdown and extra beds of each city of one split.

    Four cities in five have a lockdown, whenever it happened to begin; a few hundred to a few
    thousand beds are added. The test split has one more city, which begins as the search of a
    policy does and in which nothing is done.
    """
    rng, n = np.random.default_rng(SEEDS[split]), TRAJECTORIES[split]
    infected = rng.integers(*FIRST_INFECTED, n, endpoint=True)
    begin = np.where(rng.random(n) < 0.8, rng.integers(0, 99, n, endpoint=True), -1)
    beds = 500 * rng.integers(0, 10, n, endpoint=True)
    names = [str(k) for k in range(n)]
    if split == "test":
        infected, begin = np.append(infected, POLICY_INFECTED), np.append(begin, -1)
        beds, names = np.append(beds, 0), [*names, "policy"]
    counts, lockdown = simulate(rng, infected, begin)
    return list(zip(names, counts, lockdown, beds.tolist(), strict=True))


def write(path: Path, cities: list[tuple[str, np.ndarray, np.ndarray, int]]) -> None:
    """Writes one tidy table."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["trajectory", "t", "S", "I", "H", "R", "lockdown", "extra_beds"])
        for name, counts, lockdown, beds in cities:
            for t, (row, closed) in enumerate(zip(counts.tolist(), lockdown.tolist(), strict=True)):
                writer.writerow([name, t, *row, closed, beds])


def main() -> None:
    """Writes train.csv, validation.csv and test.csv beside this file, or where it is told."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for split in SEEDS:
        write(folder / f"{split}.csv", simulated(split))


if __name__ == "__main__":
    main()
