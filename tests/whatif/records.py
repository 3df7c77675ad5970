"""A run record of one candidate, as the search writes it, without running a search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gsim_jax.calibrate import Calibration
from gsim_jax.search.record import RunRecord
from gsim_jax.simulator._trace import trace_source
from gsim_jax.simulator.program import Program
from tests.envs.folders import ENVS, source_of, task_of

U = {"infection.beta": 0.25, "recovery.gamma": 0.1}  # beta 0.5, gamma 0.1


def covid_program() -> Program:
    """The truth of covid19, traced in this process."""
    signature = task_of("covid19").schema.signature()
    return Program.from_document(trace_source(source_of("covid19"), signature), signature)


def write_record(folder: Path, spread: float = 0.02, **fields: Any) -> Path:
    """A finished run on covid19, whose winner is the truth at its parameters.

    Args:
        folder: where it goes.
        spread: standard deviation of x = Phi^-1(u).
        **fields: of the calibration, in the place of what is written otherwise.
    """
    program = covid_program()
    labels = program.parameters.labels
    u = np.array([U[label] for label in labels])
    values = program.parameters.flat(u)
    given: dict[str, Any] = {
        "u": u, "parameters": values, "errors": dict.fromkeys(labels, 0.01),
        "covariance": spread**2 * np.eye(len(u)), "score": 1.0, "evaluations": 1, "cost": 1.0,
    }  # fmt: skip
    record = RunRecord.create(
        folder, {"task": {"name": "covid19", "path": str(ENVS / "covid19"), "title": "covid"}}
    )
    record.store(
        0,
        source=source_of("covid19"),
        program=program.to_bytes(),
        proposal={"title": "SIR"},
        calibration=Calibration(**(given | fields)),
        labels=labels,
        contributions=np.zeros(3),
        diagnosis={"id": 0},
        bands={"horizon": "free", "trajectories": []},
    )
    record.append({"event": "round", "round": 0, "best": 0})
    record.append({"event": "end", "best": 0})
    return folder
