"""Writes the three tables of this environment, the same bytes every time.

A one-stage beer game as in G-Sim (arXiv 2506.09272), one shipment at a time. In each step demand is
Poisson(5); every shipment comes one step nearer and those with no time left arrive; the backlog is
served first, then the demand of the step, and what cannot be served joins the backlog; an order of
more than nothing becomes a shipment that is two steps away. Orders are uniform on 0..10 whatever
the stock, the inventory is uniform on 15..25 at first, nothing is on order or owed.

    python envs/supply_chain/generate.py [DIRECTORY]
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

DEMAND = 5.0  # units per step
LEAD_TIME = 2  # steps
LONGEST = 8  # entries of the pipeline: lead times that the table has room for
LARGEST_ORDER = 10  # units
FIRST_INVENTORY = (15, 25)  # units
STEPS = 60
TRAJECTORIES = 100
SEEDS = {"train": 20210401, "validation": 20210402, "test": 20210403}
COLUMNS = (
    "inventory",
    "backlog",
    *(f"pipeline[{k}]" for k in range(LONGEST)),
    "demanded",
)


def step(
    rng: np.random.Generator,
    row: list[int],
    order: int,
    rate: float = DEMAND,
    lead: int = LEAD_TIME,
) -> list[int]:
    """The next row, one shipment after the other.

    Args:
        rng: where the demand comes from.
        row: values of `COLUMNS`.
        order: units ordered in this step.
        rate: mean demand, units per step.
        lead: steps from an order to its arrival.

    Returns:
        The values of `COLUMNS` one step later.
    """
    inventory, backlog = row[0], row[1]
    shipments = [(quantity, k + 1) for k, quantity in enumerate(row[2 : 2 + LONGEST]) if quantity]
    demand = int(rng.poisson(rate))
    underway = []
    for quantity, time_remaining in shipments:
        if time_remaining - 1 == 0:
            inventory += quantity
        else:
            underway.append((quantity, time_remaining - 1))
    owed = min(inventory, backlog)
    inventory, backlog = inventory - owed, backlog - owed
    sold = min(inventory, demand)
    inventory, backlog = inventory - sold, backlog + demand - sold
    if order > 0:
        underway.append((order, lead))
    pipeline = [0] * LONGEST
    for quantity, time_remaining in underway:
        pipeline[time_remaining - 1] += quantity
    return [inventory, backlog, *pipeline, row[-1] + demand]


def simulate(rng: np.random.Generator) -> tuple[list[list[int]], list[int]]:
    """One trajectory: `STEPS` + 1 rows of `COLUMNS`, and the order of each row."""
    rows = [[int(rng.integers(*FIRST_INVENTORY, endpoint=True)), 0, *[0] * LONGEST, 0]]
    orders = rng.integers(0, LARGEST_ORDER, STEPS + 1, endpoint=True).tolist()
    for t in range(STEPS):
        rows.append(step(rng, rows[-1], orders[t]))
    return rows, orders


def write(path: Path, trajectories: list[tuple[list[list[int]], list[int]]]) -> None:
    """Writes one tidy table."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["trajectory", "t", *COLUMNS, "order"])
        for name, (rows, orders) in enumerate(trajectories):
            for t, row in enumerate(rows):
                writer.writerow([name, t, *row, orders[t]])


def simulated(split: str) -> list[tuple[list[list[int]], list[int]]]:
    """The trajectories of one split."""
    rng = np.random.default_rng(SEEDS[split])
    return [simulate(rng) for _ in range(TRAJECTORIES)]


def main() -> None:
    """Writes train.csv, validation.csv and test.csv beside this file, or where it is told."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for split in SEEDS:
        write(folder / f"{split}.csv", simulated(split))


if __name__ == "__main__":
    main()
