"""SINDy: sparse regression on polynomials of order two (Brunton et al. 2016; arXiv 2506.09272).

PySINDy fits the increments, which is the method with forward differences. States and inputs are
divided by their standard deviations and not centred, so that a product of two stays one term. The
paper gives the order and no threshold; that of the sequentially thresholded least squares is chosen
by the one-step error on validation data, from `THRESHOLDS`.
"""

from __future__ import annotations

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks._table2.extras import need
from benchmarks._table2.rollout import Rollout, one_step, rollout
from benchmarks._table2.supervised import Pairs, Series, StepModel, pairs, scale_of, splits
from gsim_jax.task import InputError, Problem, Task

ORDER = 2
#: In units of increments over units of states, largest first.
THRESHOLDS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.005)
#: Ridge penalty: derived values are sums of others, which least squares cannot tell apart.
PENALTY = 1e-3


class Polynomial(StepModel):
    """A sparse polynomial of state and inputs.

    Args:
        powers: int[F, V + U], exponents of each term.
        coefficients: float[V, F].
    """

    def __init__(self, powers: np.ndarray, coefficients: np.ndarray) -> None:
        # Each term as the product of at most ORDER factors; the last one stands for 1.
        factors = [np.repeat(np.arange(len(row)), row) for row in powers]
        one = powers.shape[1]
        padded = [np.pad(f, (0, ORDER - len(f)), constant_values=one) for f in factors]
        self.factors = nnx.Variable(jnp.asarray(np.array(padded, np.int32)))
        self.weights = nnx.Param(jnp.asarray(coefficients, jnp.float32))

    def step(self, memory: Any, z: jax.Array, v: jax.Array) -> tuple[jax.Array, Any]:
        """The polynomial's value."""
        x = jnp.concatenate([z, v, jnp.ones(1)])
        return self.weights[...] @ jnp.prod(x[self.factors[...]], -1), memory

    @property
    def numbers(self) -> int:
        """Terms that are left."""
        return int((np.asarray(self.weights[...]) != 0).sum())


def fit(task: Task, *, seed: int, quick: bool, noise: bool) -> Rollout:
    """Fits it on the steps of the training data.

    Args:
        task: the task.
        seed: of the noise's fit; the polynomial has nothing random.
        quick: makes no difference.
        noise: whether residual noise is fitted on the validation data.

    Raises:
        InputError: entries are missing, PySINDy is not installed, or no threshold gives a finite
            prediction.
    """
    del quick
    need("pysindy")
    train, held = splits(task)
    scale = scale_of(task.schema, train, center=False)
    # The mean increment is a term like the others.
    scale = scale._replace(drift=np.zeros_like(scale.drift))
    powers, terms, targets = compressed(train, pairs(train, scale))
    best, kept = np.inf, None
    unit = np.where(scale.step > 0, scale.step, 1.0)
    for threshold in THRESHOLDS:
        model = Polynomial(powers, regress(terms, targets, threshold))
        _, mean, ahead = one_step(model, scale, held)
        error = np.mean(((ahead - mean) / unit) ** 2)
        if error < best:
            best, kept = error, model
    if kept is None:
        text = "no sparse polynomial predicts held-out data with a finite error: the fit has failed"
        raise InputError((Problem("failed-fit", text),))
    return rollout(kept, scale, held, noise=noise, seed=seed)


def compressed(train: Series, steps: Pairs) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The regression's rows, as few as there are columns.

    Least squares, penalised or not, with any of the columns, only see products of columns; the
    triangular factor of all columns together has the same ones. This is exact, and a hundred times
    as fast as PySINDy on all the rows.

    Args:
        train: which steps exist.
        steps: the steps in scaled units.

    Returns:
        Exponents int[F, V + U] of the terms, terms float64[R, F], targets float64[R, V].
    """
    import pysindy

    library = pysindy.PolynomialLibrary(degree=ORDER)
    x = np.concatenate([steps.z, steps.v], -1)[train.steps].astype(np.float64)
    library.fit(x)  # pyright: ignore[reportArgumentType]
    powers = np.asarray(library.powers_, int)
    terms = np.stack([np.prod(x[:, np.flatnonzero(p)] ** p[p > 0], -1) for p in powers], -1)
    rows = np.asarray(np.linalg.qr(np.concatenate([terms, steps.target[train.steps]], -1), "r"))
    return powers, rows[:, : len(powers)], rows[:, len(powers) :]


def regress(terms: np.ndarray, targets: np.ndarray, threshold: float) -> np.ndarray:
    """Coefficients by sequentially thresholded least squares, float64[V, F].

    Args:
        terms: float[R, F], see `compressed`.
        targets: float[R, V].
        threshold: smaller coefficients are left out.
    """
    import pysindy

    with warnings.catch_warnings():
        # Nothing left of a variable's polynomial is an answer too: it is compared like the others.
        warnings.filterwarnings("ignore", message="Sparsity parameter is too big")
        solver = pysindy.STLSQ(threshold=threshold, alpha=PENALTY).fit(terms, targets)
    return np.asarray(solver.coef_)
