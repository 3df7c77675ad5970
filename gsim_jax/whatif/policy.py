"""The search of a policy: expected costs with errors, and how sure the choice is.

Every policy meets the same draws and the same words, so policies are compared in pairs. What is
uncertain is which policy is best *given the parameters*: the cost expected under each draw is told
apart from the luck of its replicates (see `conditional_costs`), and the share of the draws under
which the chosen policy is the cheapest is the probability that it is best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from evosax.algorithms import CMA_ES
from jax.sharding import Mesh

from gsim_jax.simulator.codes import in_words
from gsim_jax.task import InputError, Problem
from gsim_jax.whatif.collect import UNITS, mean_and_error
from gsim_jax.whatif.costs import lane_costs
from gsim_jax.whatif.decisions import Policy, cost_of
from gsim_jax.whatif.engine import Job
from gsim_jax.whatif.start import Start
from gsim_jax.whatif.sweep import Model, checked

#: Policies that are looked at again with fresh words, and how many times more replicates they get.
FINALISTS, AGAIN = 12, 4


@dataclass(frozen=True, eq=False)
class Choice:
    """What a search of a policy found.

    Attributes:
        decisions: the policies looked at, `{decision: value}` each.
        cost: float64[S], expected cost of each.
        error: float64[S], its standard error (draws are the units; with one draw, replicates).
        chosen: position of the chosen one.
        finalists: int[K], positions of those looked at again with fresh words, the chosen one
            first; the numbers below are about them.
        final_cost: float64[K] and
        final_error: float64[K], expected costs on the fresh words and their errors.
        lead: float64[K], how much more each costs than the chosen one, and
        lead_error: float64[K], the standard error of that, paired.
        best: float64[K], probability that each is the best of all, over the posterior.
        regret: float64[K], expected cost above that of the policy that is best under each draw.
        failed: share of lanes without a cost.
        failures: what happened to them, in words.
        unit: unit of the costs.
    """

    decisions: list[dict[str, float]]
    cost: np.ndarray
    error: np.ndarray
    chosen: int
    finalists: np.ndarray
    final_cost: np.ndarray
    final_error: np.ndarray
    lead: np.ndarray
    lead_error: np.ndarray
    best: np.ndarray
    regret: np.ndarray
    failed: float
    failures: dict[str, int]
    unit: str = ""

    @property
    def policy(self) -> dict[str, float]:
        """The chosen decisions."""
        return self.decisions[self.chosen]


def choose(
    model: Model,
    policy: Policy,
    start: Start,
    *,
    steps: int | None = None,
    replicates: int = 10,
    key: int = 0,
    method: str | None = None,
    generations: int = 30,
    population: int = 32,
    memory: int = 1 << 30,
    mesh: Mesh | None = None,
) -> Choice:
    """Finds the policy of least expected cost.

    Args:
        model: simulator, schema and posterior draws.
        policy: decisions, what they change, cost.
        start: where lanes begin.
        steps: steps T; the task's horizon by default.
        replicates: lanes per draw and policy; finalists get `AGAIN` times as many, with other words
            (on the words that it was chosen on, the chosen one looks better than it is).
        key: seed.
        method: `"grid"` (all combinations of values) or `"es"` (CMA-ES); by default the grid, where
            no decision is a range.
        generations: of the evolution strategy.
        population: policies per generation.
        memory: bytes that are alive at a time.
        mesh: devices to spread lanes over.

    Raises:
        InputError: everything that is wrong with the policy, or every lane failed.
    """
    ranges = any(not decision.values for decision in policy.decisions)
    method = method or ("es" if ranges else "grid")
    if method not in ("grid", "es"):
        raise InputError(Problem("method", f"method: expected 'grid' or 'es'; got {method!r}"))
    horizon = model.schema.horizon if steps is None else steps
    draws = checked(model)
    job = Job(model.simulator, model.schema, draws, start, replicates, horizon, key,
              memory=memory, mesh=mesh)  # fmt: skip
    search = _Search(job, policy)
    if method == "grid":
        search.look_at(policy.grid())
    else:
        search.evolve(key, generations, population)
    return search.choice()


class _Search:
    """Policies looked at so far, with the costs of their lanes."""

    def __init__(self, job: Job, policy: Policy) -> None:
        self.job, self.policy = job, policy
        self.cost = cost_of(policy, job.schema, job.steps + 1)
        self.decisions: list[dict[str, float]] = []
        self.means: list[float] = []
        self.errors: list[float] = []
        self.failed: list[float] = []
        self.failures: dict[str, int] = {}

    def look_at(self, decisions: Sequence[Mapping[str, float]]) -> np.ndarray:
        """Expected costs of some policies, float64[S]."""
        costs = self.costs(self.job, decisions)
        mean, error = expected(costs)
        self.decisions += [dict(d) for d in decisions]
        self.means += mean.tolist()
        self.errors += error.tolist()
        return mean

    def costs(self, job: Job, decisions: Sequence[Mapping[str, float]]) -> np.ndarray:
        scenarios = [self.policy.scenario(d, job.steps) for d in decisions]
        costs, codes = lane_costs(job, self.cost, scenarios, decisions)
        self.failed.append(float(np.isnan(costs).mean()))
        kinds, counts = np.unique(codes[codes != 0], return_counts=True)
        for code, count in zip(kinds, counts, strict=True):
            words = in_words(int(code))
            self.failures[words] = self.failures.get(words, 0) + int(count)
        if not np.isfinite(costs).any():
            text = f"cost: every lane failed: {', '.join(self.failures) or 'it is not known'}"
            raise InputError(Problem("all-failed", text, file=self.policy.file))
        return costs

    def evolve(self, seed: int, generations: int, population: int) -> None:
        """CMA-ES over decisions scaled to [0, 1]; all generations meet the same words."""
        decisions = self.policy.decisions
        size = len(decisions)
        strategy = CMA_ES(population_size=population, solution=jnp.zeros(size))
        params = strategy.default_params.replace(std_init=0.3)
        key = jax.random.key(seed)
        state = strategy.init(key, jnp.full(size, 0.5), params)
        for g in range(generations):
            ask, tell = jax.random.split(jax.random.fold_in(key, g))
            with jax.numpy_rank_promotion("allow"):  # evosax broadcasts
                points, state = strategy.ask(ask, state, params)
            inside = np.clip(np.asarray(points, float), 0, 1)
            found = self.look_at([_decided(decisions, point) for point in inside])
            found = np.where(np.isfinite(found), found, np.nanmax(found) + 1)
            # Points beyond a bound count as if at it, and pay for the distance.
            off = np.square(np.asarray(points, float) - inside).sum(1)
            worse = found + off * max(float(np.ptp(found)), 1e-6)
            scaled = (worse - worse.min()) / max(float(np.ptp(worse)), 1e-30)
            fitness = jnp.asarray(scaled, jnp.float32)
            with jax.numpy_rank_promotion("allow"):
                state, _ = strategy.tell(tell, points, fitness, state, params)

    def choice(self) -> Choice:
        """The finalists on fresh words, and the one that is chosen."""
        mean, error = np.asarray(self.means), np.asarray(self.errors)
        distinct = {tuple(d.values()): i for i, d in reversed(list(enumerate(self.decisions)))}
        order = [i for i in np.argsort(mean, kind="stable") if i in set(distinct.values())]
        finalists = np.asarray(order[:FINALISTS])
        again = replace(
            self.job,
            replicates=self.job.replicates * AGAIN,
            key=np.asarray([self.job.key, 0x0F1A], np.uint32),
        )
        costs = self.costs(again, [self.decisions[i] for i in finalists])
        conditional = conditional_costs(costs, self.job.draws)
        final, final_error = expected(costs)
        # The chosen one: cheapest on the fresh words, in expectation.
        by_cost = np.argsort(np.where(np.isfinite(final), final, np.inf), kind="stable")
        finalists, costs, conditional = finalists[by_cost], costs[by_cost], conditional[by_cost]
        lead, lead_error = expected(costs - costs[:1])
        least = conditional.min(axis=0)
        wins = conditional.argmin(axis=0)
        best = np.bincount(wins, minlength=len(finalists)) / conditional.shape[1]
        if conditional.shape[1] == 1:  # a point: no posterior to be unsure over
            best = best * np.nan
        return Choice(
            self.decisions, mean, error, int(finalists[0]), finalists, final[by_cost],
            final_error[by_cost], lead, lead_error, best, (conditional - least).mean(axis=1),
            float(np.mean(self.failed)), self.failures, self.policy.unit,
        )  # fmt: skip


def _decided(decisions: Sequence[Any], point: np.ndarray) -> dict[str, float]:
    """Decisions at a point of [0, 1]^n; nearest whole number or value where only those will do."""
    found = {}
    for decision, share in zip(decisions, point, strict=True):
        if decision.values:
            place = min(int(share * len(decision.values)), len(decision.values) - 1)
            found[decision.name] = decision.values[place]
        else:
            value = decision.low + share * (decision.high - decision.low)
            found[decision.name] = float(round(value)) if decision.integer else float(value)
    return found


def expected(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of costs [S, D, R] and its standard error, float64[S] each.

    Lanes of one draw share its parameters, so draws are the units; with one draw batches of
    replicates are.
    """
    if costs.shape[1] == 1:
        batch = -(-costs.shape[2] // UNITS)
        costs = costs[:, 0, : costs.shape[2] // batch * batch]
        costs = costs.reshape(len(costs), -1, batch)
    fine = np.isfinite(costs)
    return mean_and_error(np.where(fine, costs, 0).sum(-1), fine.sum(-1))


def conditional_costs(costs: np.ndarray, draws: Mapping[str, Mapping[str, Any]]) -> np.ndarray:
    """The cost expected under each draw, without most of the luck of its replicates.

    The mean over the few replicates of a draw is noisy, and noise makes a policy win under draws
    where it does not, so that certainty would be understated. A quadratic regression of the costs
    on the parameters (Strong, Oakley and Brennan, 2014, Medical Decision Making 34, section on
    regression) smooths it away; as much of the residual is added back as is larger than the noise
    within draws explains, so that nothing is smoothed that is not noise.

    Args:
        costs: float64[S, D, R]; failed lanes are left out.
        draws: `{group: {name: [D, *shape]}}`.

    Returns:
        float64[S, D].
    """
    # Differences to the mean over policies: what they have in common decides nothing.
    common = np.nanmean(costs, axis=0, keepdims=True)
    lead = costs - common
    with np.errstate(invalid="ignore"):
        raw = np.nanmean(lead, axis=2)
    raw = np.where(np.isfinite(raw), raw, np.nanmax(raw))
    count, replicates = costs.shape[1:]
    features = _features(draws, count)
    if count < 2 * features.shape[1]:
        features = features[:, :1]  # too few draws for a regression
    solution = np.linalg.lstsq(features, raw.T, rcond=None)[0]
    smooth = (features @ solution).T
    left = raw - smooth
    freedom = max(count - features.shape[1], 1)
    between = np.square(left).sum(axis=1) / freedom
    if replicates > 1 and count > 1:
        within = np.nanmean(np.nanvar(lead, axis=2, ddof=1), axis=1) / replicates
    else:
        within = between if count > 1 else np.zeros(len(raw))
    share = np.clip(1 - within / np.maximum(between, 1e-300), 0, 1)
    if count == 1:
        return raw + np.nanmean(common)
    return smooth + share[:, None] * left + np.nanmean(common, axis=2)


def _features(draws: Mapping[str, Mapping[str, Any]], count: int) -> np.ndarray:
    """1, the parameters, their squares and products; standardised, float64[D, F]."""
    columns = [
        np.asarray(value, float).reshape(count, -1)
        for members in draws.values()
        for value in members.values()
    ]
    x = np.concatenate([np.zeros((count, 0)), *columns], axis=1)
    spread = x.std(axis=0)
    x = (x - x.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    parts = [np.ones((count, 1)), x]
    pairs = [x[:, i : i + 1] * x[:, i:] for i in range(x.shape[1])]
    full = np.concatenate(parts + pairs, axis=1)
    return full if count >= 2 * full.shape[1] else np.concatenate(parts, axis=1)
