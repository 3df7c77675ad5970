"""Evidence about forecasts N(0, 1) of data N(shift, sd), from closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import norm

from gsim_jax.diagnose import Cells, Evidence

HORIZONS = ("1", "7", "free")
VARIABLES = ("x", "y")
#: Observations per cell.
COUNT = 150


def observations(
    generator: np.random.Generator, *lead: int, sd: float = 1.0, shift: float = 0.0
) -> np.ndarray:
    """Data of all cells, float64[*lead, H, V, COUNT]; variables of one row are correlated."""
    z = generator.normal(size=(*lead, len(HORIZONS), len(VARIABLES) + 1, COUNT))
    return shift + sd * (0.8 * z[..., :-1, :] + 0.6 * z[..., -1:, :])


def cells_of(y: np.ndarray) -> Cells:
    """What forecasts N(0, 1) make of data: CRPS, error and rank in closed form."""
    crps = y * (2 * norm.cdf(y) - 1) + 2 * norm.pdf(y) - 1 / np.sqrt(np.pi)
    rank = 12 * (norm.cdf(y) - 0.5) ** 2
    count = np.full(y.shape[:-1], float(y.shape[-1]))
    return Cells(count, crps.mean(-1), -y.mean(-1), rank.mean(-1))


def evidence_of(seed: int, replicas: int = 128, **options: Any) -> Evidence:
    """Evidence whose replicas are N(0, 1); `options` say what the data are."""
    generator = np.random.default_rng(seed)
    own = cells_of(observations(generator, **options))
    null = cells_of(observations(generator, replicas))
    return Evidence(
        horizons=HORIZONS,
        variables=VARIABLES,
        score=float(own.crps.mean()),
        null_scores=null.crps.mean((1, 2)),
        observed=own,
        null=null,
        residuals=np.zeros((2, 3, 2)),
        counted=np.ones((2, 3, 2), bool),
        failed=0.0,
    )
