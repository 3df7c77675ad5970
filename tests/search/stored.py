"""Candidates as the record holds them, made of numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from gsim_jax.calibrate import Calibration
from gsim_jax.search.record import RunRecord, Stored


def calibration(**parameters: float) -> Calibration:
    """A calibrated point with these values."""
    d = len(parameters)
    return Calibration(
        u=np.linspace(0.2, 0.7, d),
        parameters=dict(parameters),
        errors=dict.fromkeys(parameters, 0.125),
        covariance=0.01 * np.eye(d),
        score=1.5,
        evaluations=320,
        cost=1e9,
        history=(2.0, 1.75, 1.5),
    )


def diagnosis(score: float = 1.0, parameters: int = 2, **fields: Any) -> dict[str, Any]:
    """What the archive reads of a diagnosis."""
    names = [f"flow.p{i}" for i in range(parameters)]
    return {
        "parameters": dict.fromkeys(names, 0.5),
        "errors": dict.fromkeys(names, 0.1),
        "unit": dict.fromkeys(names, 0.5),
        "score": score,
        "gap": 0.1,
        "gap_se": 0.05,
        "adequate": False,
        "rules": [],
        "failed": 0.0,
        "cost": 100,
        "edges": [["S", "S"]],
        "findings": [],
    } | fields


def candidate(number: int, contributions: np.ndarray, **fields: Any) -> Stored:
    """A stored candidate; its score is the mean of its contributions."""
    proposal = {"structure": {"number": number}, "title": f"number {number}"}
    found = diagnosis(float(contributions.mean()), **fields)
    return Stored(number, f"# {number}", found, proposal, np.zeros(2), contributions)


def store(record: RunRecord, number: int, **parameters: float) -> None:
    """Stores a candidate with these parameter values."""
    record.store(
        number,
        source="PARAMS = {}\n",
        program=b'{"format":"gsim-program"}',
        proposal={"title": "one", "structure": None},
        calibration=calibration(**parameters),
        labels=tuple(parameters),
        contributions=np.array([0.1, 0.2, 0.3]) / 3,
        diagnosis={"id": number, "score": np.float64(0.1) + 0.2, "counts": np.arange(3)},
        bands={"horizon": "free", "trajectories": []},
    )
