"""Exact posteriors: from a likelihood in closed form, without simulation.

The likelihood comes from `log_likelihood`, or is a function of your own. Integers and choices are
summed out by enumeration; the continuous parameters of each combination are integrated on a grid,
or sampled by NUTS, tempered SMC or nested sampling. What comes out is a reference for everything
that approximates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from gsim_jax.calibrate.calibration import Calibration
from gsim_jax.calibrate.exact_grid import TOLERANCE, Piece, integrate
from gsim_jax.calibrate.exact_nuts import nuts
from gsim_jax.calibrate.exact_result import ExactPosterior
from gsim_jax.calibrate.exact_smc import nested, tempered
from gsim_jax.calibrate.exact_target import X_EDGE, Space, Target
from gsim_jax.calibrate.likelihood import log_likelihood
from gsim_jax.calibrate.objective import Objective
from gsim_jax.simulator.parameters import ParameterSpace
from gsim_jax.task import InputError, Problem, SimulatorError, Trajectories

METHODS = ("auto", "grid", "nuts", "smc", "nested")
#: Combinations whose best likelihood is so far below the best of all (in nats) hold no mass.
_HOPELESS = 60.0
_GRID_MOST = 3
#: `auto` takes the grid up to this many continuous parameters.
_GRID_AUTO = 2
_CHAINS = 4


def exact_posterior(
    function: Callable[[jax.Array], jax.Array],
    parameters: ParameterSpace | Sequence[str],
    seed: int = 0,
    *,
    method: str = "auto",
    draws: int = 2000,
    progress: Callable[[float], None] | None = None,
) -> ExactPosterior:
    """The posterior under a likelihood in closed form.

    Args:
        function: `u -> float32[n]`, log likelihood of each trajectory (or one number) at a point
            of the unit cube: `log_likelihood(...)`, or your own, e.g.
            `lambda u: mine(space.from_unit(u))`. JAX must be able to trace it.
        parameters: the parameters with their priors; or labels alone, which stand for uniform
            parameters on (0, 1).
        seed: everything random follows from it.
        method: `"grid"` (quadrature, up to 3 continuous parameters), `"nuts"`, `"smc"`, `"nested"`,
            or `"auto"`: the grid up to 2 continuous parameters, else NUTS.
        draws: posterior draws, and particles of SMC.
        progress: called with the share of the work that is done.

    Returns:
        Draws, evidence and diagnostics.

    Raises:
        InputError: an unknown method, too many dimensions or combinations, or data that are
            impossible all over the prior.
    """
    space = Space.of(parameters if isinstance(parameters, ParameterSpace) else tuple(parameters))
    method = _method(method, len(space.free))
    target = Target(function, space, seed)
    target.refine()
    generator = np.random.default_rng([seed, 1])
    pieces: list[Piece | None] = []
    for number in range(len(target.cells)):
        hopeless = _best(target, number) < -_HOPELESS
        run = None if hopeless else _run(target, number, method, draws, seed, generator)
        pieces.append(run)
        if progress is not None:
            progress((number + 1) / len(target.cells))
    return _join(target, pieces, method, draws, generator)


def _method(method: str, free: int) -> str:
    if method not in METHODS:
        text = f"method: expected one of {', '.join(METHODS)}; got {method!r}"
        raise InputError((Problem("method", text),))
    if method == "auto":
        method = "grid" if free <= _GRID_AUTO else "nuts"
    if not free:
        return "grid"  # nothing to integrate: a sum over combinations
    if method == "grid" and free > _GRID_MOST:
        text = (
            f"method: a grid takes at most {_GRID_MOST} continuous parameters; got {free}: use "
            "nuts, smc or nested"
        )
        raise InputError((Problem("method", text),))
    return method


def _best(target: Target, number: int) -> float:
    peaks = target.modes(number)
    return float(target.values(peaks).max(initial=-np.inf)) if len(peaks) else -np.inf


def _run(
    target: Target,
    number: int,
    method: str,
    draws: int,
    seed: int,
    generator: np.random.Generator,
) -> Piece:
    if method == "grid":
        return integrate(target, number, draws, generator)
    if method == "nuts":
        return nuts(target, number, draws, seed + number, _CHAINS)
    if method == "smc":
        return tempered(target, number, draws, seed + number)
    return nested(target, number, draws, seed + number)


def _join(
    target: Target,
    pieces: list[Piece | None],
    method: str,
    draws: int,
    generator: np.random.Generator,
) -> ExactPosterior:
    """One posterior out of those of all combinations of discrete values."""
    logs = np.asarray([-np.inf if piece is None else piece.log_evidence for piece in pieces])
    total = float(np.logaddexp.reduce(logs))
    shares = np.exp(logs - total)
    # Combinations are equally probable before the data.
    evidence = total - float(np.log(len(pieces))) + target.offset
    chains = _CHAINS if method == "nuts" and len(pieces) == 1 else 1
    chosen = generator.multinomial(draws, shares / shares.sum())
    parts = []
    for piece, count in zip(pieces, chosen.tolist(), strict=True):
        if piece is not None and count:
            have = len(piece.draws)
            kept = slice(None) if count == have else generator.choice(have, count, replace=False)
            parts.append(piece.draws[:have][kept])
    u = np.concatenate(parts)
    if chains == 1 and len(parts) > 1:
        u = u[generator.permutation(len(u))]
    if chains > 1:
        only = next(piece for piece in pieces if piece is not None)
        u = only.draws
    u = u.reshape(chains, -1, u.shape[1])
    diagnostics = _diagnostics(pieces, shares)
    return ExactPosterior(
        target.space,
        u,
        _values(target.space, u),
        evidence,
        method,
        _probabilities(target, shares),
        diagnostics,
        _warnings(diagnostics, method),
        target.function,
    )


def _values(space: Space, u: np.ndarray) -> np.ndarray:
    """Points of the cube in the parameters' units, float64 of the same shape."""
    if space.parameters is None:
        return u.copy()
    values = jax.jit(jax.vmap(space.parameters.from_unit))(
        jnp.asarray(u.reshape(-1, u.shape[-1]), jnp.float32)
    )
    columns = [
        np.asarray(values[entry.group][entry.name], float).reshape(u.shape[0] * u.shape[1], -1)
        for entry in space.parameters.entries
    ]
    return np.concatenate(columns, axis=1).reshape(u.shape)


def _probabilities(target: Target, shares: np.ndarray) -> dict[str, dict[float, float]]:
    space = target.space
    cells = np.stack(target.cells)[None]
    values = _values(space, cells)[0]
    found: dict[str, dict[float, float]] = {}
    for k in np.flatnonzero(space.counts):
        table: dict[float, float] = {}
        for value, share in zip(values[:, k].tolist(), shares.tolist(), strict=True):
            table[value] = table.get(value, 0.0) + share
        found[space.labels[k]] = dict(sorted(table.items()))
    return found


#: How what each combination tells about its run is combined over combinations.
_COMBINE = {"r_hat": np.max, "effective_draws": np.min, "accepted": np.min}


def _diagnostics(pieces: list[Piece | None], shares: np.ndarray) -> dict[str, float]:
    """What the runs tell, over the combinations that matter."""
    runs = [
        (piece.info, share)
        for piece, share in zip(pieces, shares.tolist(), strict=True)
        if piece is not None and share > 1e-3
    ]
    found: dict[str, float] = {}
    for name in runs[0][0]:
        numbers = [info[name] for info, _ in runs if name in info]
        if name == "evidence_error":
            weighted = [info[name] * share for info, share in runs]
            found[name] = float(np.sqrt(np.sum(np.square(weighted))))
        else:
            found[name] = float(_COMBINE.get(name, np.sum)(numbers))
    return found


def _warnings(diagnostics: dict[str, float], method: str) -> tuple[str, ...]:
    found = []
    if diagnostics.get("divergences", 0) > 0:
        found.append(
            f"NUTS: {int(diagnostics['divergences'])} divergent transitions: parts of the "
            "posterior may be missing; compare with smc"
        )
    if diagnostics.get("r_hat", 1.0) > 1.02:
        found.append(
            f"NUTS: the chains disagree (R-hat {diagnostics['r_hat']:.3f}, expected below 1.02): "
            "take more draws, or smc where there are several peaks"
        )
    error = diagnostics["evidence_error"]
    if method == "grid" and error > TOLERANCE:
        found.append(
            f"grid: the evidence changes by {error:.2g} nats when every second point is left out "
            f"(expected below {TOLERANCE}): use nuts or smc"
        )
    elif error > 0.5:
        found.append(f"{method}: the log evidence is uncertain by {error:.2g} nats")
    return tuple(found)


@dataclass(frozen=True)
class Exact:
    """The exact posterior as a calibrator of tasks; nothing is simulated to fit.

    Attributes:
        method: see `exact_posterior`.
        draws: posterior draws.
    """

    name: str = "exact"
    method: str = "auto"
    draws: int = 2000

    def calibrate(
        self,
        objective: Objective,
        data: Trajectories,
        seed: int,
        *,
        start: np.ndarray | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Calibration:
        """The posterior of `objective.simulator` given `data`.

        The point is the posterior mean; integers and choices stand at their most probable
        combination, and the mean is that given it.

        Args:
            objective: its simulator must have a likelihood in closed form, see `log_likelihood`.
            data: complete training data.
            seed: everything random follows from it.
            start: not needed.
            progress: called with the share of the work that is done.

        Raises:
            SimulatorError: the simulator has no likelihood in closed form.
            InputError: the data have missing entries.
        """
        del start
        space = objective.simulator.parameters
        try:
            function = log_likelihood(objective.simulator, objective.schema, data)
            found = exact_posterior(
                function, space, seed, method=self.method, draws=self.draws, progress=progress
            )
        except InputError as error:
            if any(p.code in ("missing-entries", "method") for p in error.problems):
                raise
            raise SimulatorError(error.problems) from error
        return _calibration(objective, data, found, seed)


def _calibration(
    objective: Objective, data: Trajectories, found: ExactPosterior, seed: int
) -> Calibration:
    u = found.u.reshape(-1, found.u.shape[-1])
    discrete = found.space.counts > 0
    likely = u
    for k in np.flatnonzero(discrete):
        cells, counts = np.unique(likely[:, k], return_counts=True)
        likely = likely[likely[:, k] == cells[int(counts.argmax())]]
    space = objective.simulator.parameters
    x = np.clip(norm.ppf(likely), -X_EDGE, X_EDGE)
    point = norm.cdf(x.mean(axis=0))
    covariance = np.zeros((len(point), len(point)))
    free = found.space.free
    if len(free):
        covariance[np.ix_(free, free)] = np.atleast_2d(np.cov(x[:, free].T))
    values = _values(found.space, u[None])[0]
    errors = np.where(discrete, 0.0, values.std(axis=0))
    words = np.random.SeedSequence([seed, 2]).generate_state(2, np.uint32)
    score, evaluations, cost = objective.score_at(point, data, words)
    probable = [
        f"{label}: " + ", ".join(f"{value:g} with probability {p:.3f}" for value, p in table.items()
                                 if p > 5e-4)
        for label, table in found.probabilities.items()
        if max(table.values()) < 0.999
    ]  # fmt: skip
    return Calibration(
        u=point,
        parameters=space.flat(point),
        errors=dict(zip(space.labels, errors.tolist(), strict=True)),
        covariance=covariance,
        score=score,
        evaluations=evaluations,
        cost=cost,
        draws=u,
        evidence=found.log_evidence,
        warnings=(*found.warnings, *probable),
    )
