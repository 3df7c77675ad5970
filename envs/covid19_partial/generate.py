"""Writes the tables of this environment, the same bytes every time.

The tables of covid19 as two offices saw them: one counted the susceptible and the infected up to
day 40, the other those who have recovered from day 20 on.

    python envs/covid19_partial/generate.py [DIRECTORY]
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

FULL = "covid19"
# Name of the table -> its variables, and the first and the last day.
PARTS = {"cases": (("S", "I"), 0, 40), "recovered": (("R",), 20, 60)}
SPLITS = ("train", "validation", "test")


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


def main() -> None:
    """Writes two tables per split beside this file, or where it is told."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for split in SPLITS:
        header, rows = read(split)
        for part, (variables, first, last) in PARTS.items():
            columns = [header.index(name) for name in ("trajectory", "t", *variables)]
            inside = [row for row in rows if first <= int(row[header.index("t")]) <= last]
            table = [[row[column] for column in columns] for row in inside]
            write(folder / f"{split}_{part}.csv", [header[column] for column in columns], table)


if __name__ == "__main__":
    main()
