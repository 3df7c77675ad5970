"""Writes the three tables of this environment, the same bytes every time.

Three diseases, ICU and standard beds, as in G-Sim (arXiv 2506.09272), one patient after the other.
Each day every patient in hospital dies with probability clip(base + factor * day, 0, 1), else has
one day less to stay and is discharged when none is left. Then patients arrive, disease by disease,
Poisson(rate) of each, to stay max(1, int(Normal(stay, 1))) days. Diseases 0 and 1 are given an ICU
bed, else a standard one; disease 2 a standard bed, else one in the ICU; where both are full the
patient is turned away. The hospital is empty at first.

    python envs/hospital_beds/generate.py [DIRECTORY]
"""

from __future__ import annotations

import csv
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

ICU, STANDARD, NO_BED, NO_DISEASE = 0, 1, 2, 3
DISEASES, SLOTS = 3, 40
STEPS = 60
TRAJECTORIES = 100
SEEDS = {"train": 20220501, "validation": 20220502, "test": 20220503}
ATTRIBUTES = ("bed", "disease", "remaining", "day")
EMPTY = (NO_BED, NO_DISEASE, 0, 0)
COLUMNS = (
    *(f"{name}[{slot}]" for name in ATTRIBUTES for slot in range(SLOTS)),
    *(f"{name}[{disease}]" for name in ("deaths", "discharges") for disease in range(DISEASES)),
)


@dataclass(frozen=True)
class Parameters:
    """What the hospital and its patients are like; tuples have one entry per disease.

    Attributes:
        rate: mean arrivals, patients per day.
        stay: mean length of stay before it is cut to whole days, days.
        base: daily probability of dying, whatever the day.
        factor: what each day in hospital adds to that probability.
        icu: ICU beds.
        standard: standard beds.
    """

    rate: tuple[float, ...] = (1.0, 2.0, 1.5)
    stay: tuple[float, ...] = (5.0, 6.0, 4.0)
    base: tuple[float, ...] = (0.01, 0.005, 0.008)
    factor: tuple[float, ...] = (0.002, 0.001, 0.0015)
    icu: int = 5
    standard: int = 20


@dataclass(frozen=True)
class Patient:
    """One patient in a bed."""

    bed: int
    disease: int
    remaining: int
    day: int


@dataclass(frozen=True)
class Ward:
    """Who lies in which slot, and who has left so far, by disease."""

    slots: tuple[Patient | None, ...] = (None,) * SLOTS
    deaths: tuple[int, ...] = (0,) * DISEASES
    discharges: tuple[int, ...] = (0,) * DISEASES


def next_day(rng: np.random.Generator, ward: Ward, p: Parameters) -> Ward:
    """The ward one day later."""
    slots, deaths, discharges = list(ward.slots), list(ward.deaths), list(ward.discharges)
    for slot, patient in enumerate(ward.slots):
        if patient is None:
            continue
        d = patient.disease
        risk = min(max(p.base[d] + p.factor[d] * patient.day, 0.0), 1.0)
        if rng.random() < risk:
            slots[slot], deaths[d] = None, deaths[d] + 1
        elif patient.remaining == 1:
            slots[slot], discharges[d] = None, discharges[d] + 1
        else:
            remaining, day = patient.remaining - 1, patient.day + 1
            slots[slot] = replace(patient, remaining=remaining, day=day)
    capacity = {ICU: p.icu, STANDARD: p.standard}
    for d in range(DISEASES):
        for _ in range(rng.poisson(p.rate[d])):
            stay = max(1, int(rng.normal(p.stay[d], 1.0)))
            for bed in (STANDARD, ICU) if d == 2 else (ICU, STANDARD):
                if sum(other is not None and other.bed == bed for other in slots) < capacity[bed]:
                    slots[slots.index(None)] = Patient(bed, d, stay, 1)
                    break
    return Ward(tuple(slots), tuple(deaths), tuple(discharges))


def row_of(ward: Ward) -> list[int]:
    """The values of `COLUMNS`."""
    patients = [
        EMPTY if who is None else (who.bed, who.disease, who.remaining, who.day)
        for who in ward.slots
    ]
    slots = [value for attribute in zip(*patients, strict=True) for value in attribute]
    return [*slots, *ward.deaths, *ward.discharges]


def simulate(rng: np.random.Generator) -> list[list[int]]:
    """One trajectory: `STEPS` + 1 rows of `COLUMNS`."""
    ward, rows = Ward(), [row_of(Ward())]
    for _ in range(STEPS):
        ward = next_day(rng, ward, Parameters())
        rows.append(row_of(ward))
    return rows


def simulated(split: str) -> list[list[list[int]]]:
    """The trajectories of one split."""
    rng = np.random.default_rng(SEEDS[split])
    return [simulate(rng) for _ in range(TRAJECTORIES)]


def write(path: Path, trajectories: list[list[list[int]]]) -> None:
    """Writes one tidy table."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["trajectory", "t", *COLUMNS])
        for name, rows in enumerate(trajectories):
            for t, row in enumerate(rows):
                writer.writerow([name, t, *row])


def main() -> None:
    """Writes train.csv, validation.csv and test.csv beside this file, or where it is told."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for split in SEEDS:
        write(folder / f"{split}.csv", simulated(split))


if __name__ == "__main__":
    main()
