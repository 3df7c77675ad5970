"""The alarm on data of the right and of the wrong structure, with posteriors that are exact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gsim_jax.calibrate import Calibration
from gsim_jax.calibrate.alarm import AlarmReport, check_data
from gsim_jax.calibrate.around import posterior_draws
from gsim_jax.task import InputError
from tests.calibrate.programs import SIR, data_of, program_of, schema_of, simulate_sir

COUNTS = schema_of(S="count", I="count", R="count")
SALES = """
PARAMS = {"demand": {"rate": Uniform(0.0, 20.0, guess=8.0)}}
def demand(state, inputs, params, key):
    return {"sold": poisson(key, params["rate"])}
def couple(state, inputs, outputs, params, key):
    return {"total": state["total"] + outputs["sold"]}
SUBMODULES = (demand,)
"""
TOTALS = schema_of(total="count")
SIR_PROGRAM, SALES_PROGRAM = program_of(SIR, COUNTS), program_of(SALES, TOTALS)


def seir(seed: int, n: int = 10, rows: int = 61) -> dict[str, np.ndarray]:
    """SIR whose infected pass four days, on average, before they pass it on; counted among S."""
    generator = np.random.default_rng(seed)
    s, e, i, r = np.full(n, 92), np.zeros(n, int), np.full(n, 8), np.zeros(n, int)
    path = [(s + e, i, r)]
    for _ in range(rows - 1):
        new = generator.binomial(s, 1 - np.exp(-0.6 * i / 100))
        ripe = generator.binomial(e, 0.25)
        gone = generator.binomial(i, 0.12)
        s, e, i, r = s - new, e + new - ripe, i + ripe - gone, r + gone
        path.append((s + e, i, r))
    return {name: np.stack([row[k] for row in path], axis=1) for k, name in enumerate("SIR")}


def sir_posterior(x: dict[str, np.ndarray], seed: int) -> np.ndarray:
    """Draws of the exact posterior on the unit cube: conjugate for gamma, a grid for beta.

    Rows without anyone infected say nothing about beta, unless (wrong structure) someone falls ill
    all the same, which no beta explains.
    """
    generator = np.random.default_rng([seed, 9])
    s, i = x["S"][:, :-1].ravel(), x["I"][:, :-1].ravel()
    new, gone = -np.diff(x["S"], axis=1).ravel(), np.diff(x["R"], axis=1).ravel()
    gamma = stats.beta(1 + gone.sum(), 1 + (i - gone).sum()).rvs(99, random_state=generator)
    grid = np.linspace(0.01, 1.99, 800)
    force = (i / (x["S"] + x["I"] + x["R"])[:, :-1].ravel())[:, None]
    known = i > 0
    force, new, s = force[known], new[known], s[known]
    logs = new[:, None] * np.log(-np.expm1(-grid * force))
    logs = (logs - (s - new)[:, None] * grid * force).sum(axis=0)
    weights = np.exp(logs - logs.max())
    beta = generator.choice(grid, size=99, p=weights / weights.sum())
    labels = SIR_PROGRAM.parameters.labels
    columns = {"infection.beta": beta / 2.0, "recovery.gamma": gamma}
    return np.stack([columns[label] for label in labels], axis=1)


def sir_report(x: dict[str, np.ndarray], seed: int) -> AlarmReport:
    return check_data(SIR_PROGRAM, COUNTS, data_of(COUNTS, **x), sir_posterior(x, seed), seed)


def sales(seed: int, dispersion: float | None) -> np.ndarray:
    """Cumulative sales of five shops over 60 days, mean 5 a day."""
    generator = np.random.default_rng(seed)
    rate: Any = 5.0
    if dispersion is not None:
        rate = generator.gamma(dispersion, 5.0 / dispersion, (5, 60))
    sold = generator.poisson(rate, (5, 60))
    return np.concatenate([np.zeros((5, 1), int), sold.cumsum(axis=1)], axis=1)


def sales_report(total: np.ndarray, seed: int) -> AlarmReport:
    law = stats.gamma(1 + total[:, -1].sum(), scale=1 / (5 * 60))
    draws = law.rvs(99, random_state=np.random.default_rng([seed, 9]))[:, None] / 20.0
    return check_data(SALES_PROGRAM, TOTALS, data_of(TOTALS, total=total), draws, seed)


def test_wrong_structures_fire_and_say_why() -> None:
    report = sir_report(seir(0), 0)
    assert report.fires
    assert report.to_text().startswith("Alarm: this simulator does not produce such data")
    assert report.to_json()["fires"]
    report = sales_report(sales(1, 5.0), 1)
    assert report.fires
    told = " ".join(deviation.words for deviation in report.deviations)
    # Negative binomial with mean 5 and dispersion 5 has twice the variance of Poisson.
    ratio = float(told.split("total one step ahead scatters ")[1].split(" times")[0])
    assert ratio == pytest.approx(2**0.5, rel=0.2)


def test_right_structures_are_quiet() -> None:
    report = sir_report(simulate_sir(0.5, 0.1, 10, 61, 2), 2)
    assert not report.fires
    assert report.failed == 0.0
    assert "such as this simulator produces" in report.to_text()
    again = sir_report(simulate_sir(0.5, 0.1, 10, 61, 2), 2)
    assert report.statistics == again.statistics
    assert not sales_report(sales(3, None), 3).fires


def test_hidden_entries_are_copied_by_the_replicas() -> None:
    data = data_of(COUNTS, **simulate_sir(0.5, 0.1, 6, 31, 4))
    seen = dict(data.seen)
    seen["I"] = seen["I"] & (np.arange(31) % 3 == 0)
    states = {**data.states, "I": np.where(seen["I"], data.states["I"], 0)}
    shown = data.outputs_seen & np.stack([seen[name] for name in COUNTS.states], axis=-1)
    outputs = np.where(shown, data.outputs, 0)
    holed = replace(data, seen=seen, states=states, outputs=outputs, outputs_seen=shown)
    draws = sir_posterior(simulate_sir(0.5, 0.1, 6, 31, 4), 4)
    report = check_data(SIR_PROGRAM, COUNTS, holed, draws, 4)
    assert all(np.isfinite(value) for value in report.statistics.values())
    assert not report.fires


def test_draws_of_a_calibration() -> None:
    covariance = np.array([[0.04, 0.01, 0.0], [0.01, 0.02, 0.0], [0.0, 0.0, 0.0]])
    u = stats.norm.cdf([0.3, -0.5, 0.2])
    point = Calibration(u, {}, {}, covariance, 0.0, 0, 0.0)
    draws = posterior_draws(point, 4000, 0)
    x = stats.norm.ppf(draws[:, :2])
    np.testing.assert_allclose(np.cov(x.T), covariance[:2, :2], atol=0.004)
    np.testing.assert_allclose(x.mean(axis=0), [0.3, -0.5], atol=0.015)
    assert (draws[:, 2] == u[2]).all()
    known = replace(point, draws=np.arange(12.0).reshape(4, 3) / 12)
    assert {tuple(row) for row in posterior_draws(known, 4, 0)} == {tuple(r) for r in known.draws}


def test_bad_requests_are_told() -> None:
    data = data_of(TOTALS, total=sales(0, None))
    with pytest.raises(InputError, match=r"points of the unit cube \[m, 1\]; got \[3, 2\]"):
        check_data(SALES_PROGRAM, TOTALS, data, np.full((3, 2), 0.5))
    with pytest.raises(InputError, match=r"level: expected 0\.01 or more"):
        check_data(SALES_PROGRAM, TOTALS, data, np.full((3, 1), 0.5), level=0.001)


@pytest.mark.slow
def test_share_of_alarms_in_fifty_runs_a_side() -> None:
    runs = range(50)
    wrong = [sir_report(seir(seed), seed).fires for seed in runs]
    right = [
        sir_report(simulate_sir(0.6, 0.12, 10, 61, seed, (92, 8)), seed).fires for seed in runs
    ]
    assert sum(wrong) >= 0.85 * 50
    assert sum(right) <= 0.10 * 50
    wrong = [sales_report(sales(seed, 10.0), seed).fires for seed in runs]
    right = [sales_report(sales(seed, None), seed).fires for seed in runs]
    assert sum(wrong) >= 0.85 * 50
    assert sum(right) <= 0.10 * 50
