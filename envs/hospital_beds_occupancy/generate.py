"""Writes the tables of this environment, the same bytes every time.

The tables of hospital_beds as a daily head count: occupied ICU beds and occupied standard beds.

    python envs/hospital_beds_occupancy/generate.py [DIRECTORY]
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

FULL = "hospital_beds"
BEDS = {"icu": "0", "standard": "1"}
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
    """Writes train.csv, validation.csv and test.csv beside this file, or where it is told."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for split in SPLITS:
        header, rows = read(split)
        slots = [column for column, name in enumerate(header) if name.startswith("bed[")]
        counted = [
            [*row[:2], *(str([row[s] for s in slots].count(bed)) for bed in BEDS.values())]
            for row in rows
        ]
        write(folder / f"{split}.csv", ["trajectory", "t", *BEDS], counted)


if __name__ == "__main__":
    main()
