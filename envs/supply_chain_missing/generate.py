"""Writes the tables of this environment, the same bytes every time.

The tables of supply_chain with a fifth of the entries left out, each on its own and by chance. The
first row of each trajectory stays whole, and so do the orders: who decides knows what was decided.

    python envs/supply_chain_missing/generate.py [DIRECTORY]
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np

FULL = "supply_chain"
SHARE = 0.2  # of the entries after the first row
KNOWN = ("trajectory", "t", "order")
SEEDS = {"train": 20210411, "validation": 20210412, "test": 20210413}


def read(split: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a complete table, as text."""
    path = Path(__file__).parents[1] / FULL / f"{split}.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    return header, rows


def write(path: Path, header: list[str], rows: list[list[str]]) -> None:
    """Writes one tidy table."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def emptied(rng: np.random.Generator, header: list[str], rows: list[list[str]]) -> list[list[str]]:
    """The rows with `SHARE` of the entries left out, at random; first rows stay whole."""
    chance = rng.random((len(rows), len(header))) < SHARE
    keys = [name in KNOWN for name in header]
    at = header.index("t")
    return [
        [
            "" if hit and not key and row[at] != "0" else cell
            for cell, hit, key in zip(row, hits, keys, strict=True)
        ]
        for row, hits in zip(rows, chance.tolist(), strict=True)
    ]


def main() -> None:
    """Writes train.csv, validation.csv and test.csv beside this file, or where it is told."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for split, seed in SEEDS.items():
        header, rows = read(split)
        write(folder / f"{split}.csv", header, emptied(np.random.default_rng(seed), header, rows))


if __name__ == "__main__":
    main()
