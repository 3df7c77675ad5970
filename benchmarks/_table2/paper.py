"""The figures of the paper, to stand beside ours: G-Sim, ICML 2025, arXiv 2506.09272.

Test W1 of next states, mean and half-width of the 95 % interval over its five seeds. Its COVID-19
and supply-chain vectors are those of this table; its hospital vector is not published, so that its
hospital column can be compared within itself only.
"""

from __future__ import annotations

from collections.abc import Mapping

SOURCE = "G-Sim, ICML 2025, arXiv 2506.09272: test W1, mean ± 95 % over five seeds"
#: Tasks whose vector is the paper's.
SAME_VECTOR = ("covid19", "supply_chain")
TASKS = ("covid19", "supply_chain", "hospital_beds")
_ROWS: Mapping[str, tuple[tuple[float, float], ...]] = {
    "DyNODE": ((65.1, 2.21), (38.3, 0.40), (231, 0.14)),
    "SINDy": ((23.9, 0.40), (18.2, 0.24), (199, 0.04)),
    "RNN": ((16.7, 1.61), (9.71, 2.21), (199, 2.49)),
    "Transformer": ((3.30, 0.15), (2.29, 0.06), (199, 0.25)),
    "Genetic program": ((63.6, 7.64), (30.7, 1.41), (231, 0.04)),
    "G-Sim-ES ZeroShot": ((1.17, 0.71), (2.63, 2.79), (102, 1.01)),
    "G-Sim-ES ZeroShotOptim": ((0.469, 0.107), (9.89, 15.3), (103, 2.06)),
    "G-Sim-ES": ((0.405, 0.060), (1.55, 1.39), (101, 17.4)),
    "G-Sim-SBI": ((0.351, 0.094), (1.22, 1.68), (5.24, 2.70)),
}
#: Structure recovery of the paper: SHD and F1 in percent.
RECOVERY: Mapping[str, tuple[float, float]] = {
    "covid19": (1.5, 95.5),
    "supply_chain": (0.33, 93.3),
    "hospital_beds": (0.0, 100.0),
}


def figure(row: str, task: str) -> tuple[float, float] | None:
    """W1 and its half-width, None where the paper has none.

    Args:
        row: the paper's name of a method.
        task: name of the task.
    """
    if row not in _ROWS or task not in TASKS:
        return None
    return _ROWS[row][TASKS.index(task)]
