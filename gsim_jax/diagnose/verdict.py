"""Is the candidate adequate? The gap between its score and its noise floor, with errors.

The floor is the score that the candidate would get were the data drawn from itself (parametric
bootstrap). The gap is read two-sided: an over-dispersed candidate scores better than its floor.
The verdict is one test of all cells together, the largest |z| against its own bootstrap
distribution, because among many cells some exceed two standard errors by chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gsim_jax.diagnose.evidence import Evidence

#: Level of the test of adequacy on data that calibration has not seen. A search tests many
#: candidates and stops at the first that passes; a right structure that is rejected by chance costs
#: more than a wrong one caught a round later.
LEVEL = 0.01
#: Level in-sample: replicas are not calibrated anew, the data were, so their p-value is too large.
LEVEL_IN_SAMPLE = 0.05
#: A cell is named as unexplained beyond this |z|.
NOISE = 2.0


@dataclass(frozen=True)
class Row:
    """One cell of the table.

    Attributes:
        variable: label.
        horizon: `"1"`, `"7"`, `"free"`.
        score: CRPS of the data in units of the scale.
        floor: mean CRPS of the replicas.
        gap: score minus floor.
        se: standard deviation of the CRPS over replicas.
        z: gap / se.
        bias: mean forecast minus observation, natural units.
        bias_se: standard deviation of that over replicas.
        rank: see `Cells.rank`.
        rank_z: its distance from the replicas' mean in their standard deviations.
    """

    variable: str
    horizon: str
    score: float
    floor: float
    gap: float
    se: float
    z: float
    bias: float
    bias_se: float
    rank: float
    rank_z: float

    @property
    def within_noise(self) -> bool:
        """Whether |z| is at most `NOISE`."""
        return abs(self.z) <= NOISE


@dataclass(frozen=True)
class Verdict:
    """Overall figures and the table of cells.

    Attributes:
        score: score of the data, smaller is better.
        floor: mean score of the replicas.
        gap: score minus floor.
        gap_se: standard deviation of the score over replicas.
        p_value: share of replicas (and the data itself) whose largest |z| is at least the data's.
        adequate: p_value above the level, and no failed draws.
        table: rows, horizons outermost; cells without forecasts are left out.
    """

    score: float
    floor: float
    gap: float
    gap_se: float
    p_value: float
    adequate: bool
    table: tuple[Row, ...]


def judge(evidence: Evidence, *, in_sample: bool = False) -> Verdict:
    """The verdict on a candidate.

    Args:
        evidence: scores of the data and of replicas.
        in_sample: whether the data are those that the candidate was calibrated on.
    """
    level = LEVEL_IN_SAMPLE if in_sample else LEVEL
    null, own = evidence.null, evidence.observed
    used = own.count > 0
    z, null_z = _standardise(own.crps, null.crps)
    largest = np.abs(np.where(used, z, 0.0)).max(initial=0.0)
    null_largest = np.abs(np.where(used, null_z, 0.0)).max(axis=(-2, -1), initial=0.0)
    count = len(evidence.null_scores)
    p_value = float((1 + np.sum(null_largest >= largest)) / (count + 1))
    floor = float(evidence.null_scores.mean())
    return Verdict(
        score=evidence.score,
        floor=floor,
        gap=evidence.score - floor,
        gap_se=float(evidence.null_scores.std(ddof=1)),
        p_value=p_value,
        adequate=p_value > level and evidence.failed == 0.0,
        table=_table(evidence, z, used),
    )


def _standardise(own: np.ndarray, null: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centre, spread = null.mean(axis=0), null.std(axis=0, ddof=1)
    # A cell that never varies (a variable fixed by the inputs) has no noise to compare with.
    floor = np.maximum(1e-9, 1e-6 * np.abs(centre))
    spread = np.maximum(spread, floor)
    # The centre's own Monte-Carlo error belongs to the data's distance, not to a replica's.
    wider = np.sqrt(1.0 + 1.0 / len(null))
    return (own - centre) / (spread * wider), (null - centre) / spread


def _table(evidence: Evidence, z: np.ndarray, used: np.ndarray) -> tuple[Row, ...]:
    own, null = evidence.observed, evidence.null
    rank_z, _ = _standardise(own.rank, null.rank)
    rows = []
    for h, horizon in enumerate(evidence.horizons):
        for v, variable in enumerate(evidence.variables):
            if not used[h, v]:
                continue
            floor = float(null.crps[:, h, v].mean())
            rows.append(
                Row(
                    variable=variable,
                    horizon=horizon,
                    score=float(own.crps[h, v]),
                    floor=floor,
                    gap=float(own.crps[h, v]) - floor,
                    se=float(null.crps[:, h, v].std(ddof=1)),
                    z=float(z[h, v]),
                    bias=float(own.error[h, v]),
                    bias_se=float(null.error[:, h, v].std(ddof=1)),
                    rank=float(own.rank[h, v]),
                    rank_z=float(rank_z[h, v]),
                )
            )
    return tuple(rows)
