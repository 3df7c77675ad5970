"""Parameters on the unit cube, against scipy's distributions."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gsim_jax.simulator import priors
from gsim_jax.simulator.parameters import EDGE, Parameter, ParameterSpace, sobol
from gsim_jax.task import SimulatorError

CONTINUOUS: dict[str, tuple[priors.Prior, Any]] = {
    "uniform": (priors.Uniform(-1.0, 3.0, guess=0.0), stats.uniform(-1.0, 4.0)),
    "log-uniform": (priors.LogUniform(0.01, 50.0, guess=1.0), stats.loguniform(0.01, 50.0)),
    "normal": (priors.Normal(2.0, 3.0, guess=0.0), stats.norm(2.0, 3.0)),
    "lognormal": (priors.LogNormal(1.0, 0.5, guess=2.0), stats.lognorm(0.5, scale=np.e)),
    "beta": (priors.Beta(2.0, 5.0, guess=0.3), stats.beta(2.0, 5.0)),
    "beta, piled up at both ends": (priors.Beta(0.4, 0.3, guess=0.5), stats.beta(0.4, 0.3)),
    "beta, narrow": (priors.Beta(300.0, 900.0, guess=0.25), stats.beta(300.0, 900.0)),
    "gamma": (priors.Gamma(3.0, 2.0, guess=1.0), stats.gamma(3.0, scale=0.5)),
    "gamma, piled up at 0": (priors.Gamma(0.5, 0.1, guess=1.0), stats.gamma(0.5, scale=10.0)),
}
#: From one edge of the cube to the other: the tails, then the middle.
_TAIL = np.geomspace(2 * EDGE, 1e-2, 40)
GRID = np.concatenate([_TAIL, np.linspace(0.011, 0.989, 200), 1 - _TAIL[::-1]])


def _parameter(prior: priors.Prior) -> Parameter:
    space = ParameterSpace.from_json({"g": {"p": prior.to_json()}})
    return space.entries[0]


@pytest.mark.parametrize("case", CONTINUOUS.values(), ids=CONTINUOUS)
class TestContinuous:
    def test_quantiles_are_scipys(self, case: tuple[priors.Prior, Any]) -> None:
        prior, exact = case
        u = GRID.astype(np.float32)
        # float32 cannot tell u near 1 apart better than 6e-8: compare at what it holds.
        got = np.asarray(jax.jit(_parameter(prior).quantile)(u), float)
        expected = exact.ppf(u.astype(float))
        low, high = exact.ppf(u - 2e-7), exact.ppf(np.minimum(u + 2e-7, 1 - 1e-9))
        slack = 5e-4 * np.abs(expected) + (high - low) + 1e-6 * exact.std()
        assert np.all(np.abs(got - expected) <= slack)
        assert np.all(np.diff(got) >= 0)

    def test_position_undoes_quantile(self, case: tuple[priors.Prior, Any]) -> None:
        prior, exact = case
        parameter = _parameter(prior)
        values = exact.ppf(GRID)
        # A beta's upper tail is finer than float64 near 1.
        apart = np.abs(values - 1) > 1e-12
        np.testing.assert_allclose(parameter.position(values)[apart], GRID[apart], rtol=1e-4)
        back = np.asarray(parameter.quantile(jnp.asarray(parameter.position(values), jnp.float32)))
        middle = (GRID > 1e-3) & (GRID < 1 - 1e-3)
        np.testing.assert_allclose(back[middle], values[middle], rtol=1e-3, atol=2e-6)

    def test_the_edges_are_finite(self, case: tuple[priors.Prior, Any]) -> None:
        prior, _ = case
        parameter = _parameter(prior)
        ends = np.asarray(parameter.quantile(jnp.asarray([0.0, 1.0], jnp.float32)))
        assert np.isfinite(ends).all()
        assert ends[0] < ends[1]
        beyond = parameter.position(np.array([-1e30, 1e30]))
        np.testing.assert_allclose(beyond, [EDGE, 1 - EDGE])

    def test_slopes_are_one_over_the_density(self, case: tuple[priors.Prior, Any]) -> None:
        prior, exact = case
        space = ParameterSpace.from_json({"g": {"p": {**prior.to_json(), "shape": [3]}}})
        u = np.array([0.1, 0.5, 0.8])
        np.testing.assert_allclose(space.slopes(u), 1 / exact.pdf(exact.ppf(u)), rtol=0.02)


DISCRETE = {
    "integers": (priors.Integer(-2, 4, guess=0), np.arange(-2, 5)),
    "one integer": (priors.Integer(3, 3, guess=3), np.array([3])),
    "integer choices": (priors.Choice(1, 7, 14, guess=7), np.array([1, 7, 14])),
    "real choices": (priors.Choice(0.5, 0.25, 4.0, guess=0.5), np.array([0.5, 0.25, 4.0])),
}


@pytest.mark.parametrize("case", DISCRETE.values(), ids=DISCRETE)
class TestDiscrete:
    def test_every_value_has_an_equal_cell(self, case: tuple[priors.Prior, np.ndarray]) -> None:
        prior, values = case
        count = 840  # a multiple of every number of values
        u = (np.arange(count) + 0.5) / count
        got = np.asarray(_parameter(prior).quantile(jnp.asarray(u, jnp.float32)))
        np.testing.assert_array_equal(got, np.repeat(values, count // len(values)))
        assert got.dtype == np.dtype(prior.dtype)

    def test_position_is_the_middle_of_the_cell(self, case: tuple[priors.Prior, Any]) -> None:
        prior, values = case
        middles = (np.arange(len(values)) + 0.5) / len(values)
        np.testing.assert_allclose(_parameter(prior).position(values), middles)

    def test_both_ends_of_the_cube_are_values(self, case: tuple[priors.Prior, Any]) -> None:
        prior, values = case
        got = np.asarray(_parameter(prior).quantile(jnp.asarray([0.0, 1.0], jnp.float32)))
        np.testing.assert_array_equal(got, values[[0, -1]])


def test_many_integers_each_get_their_cell() -> None:
    # Wider than what float32 tells apart near 1, were the cell not clipped.
    parameter = _parameter(priors.Integer(0, 2**24 - 1, guess=0))
    got = int(parameter.quantile(jnp.float32(1.0)))
    assert 0.999 * 2**24 < got <= 2**24 - 1


@pytest.fixture(scope="module")
def space() -> ParameterSpace:
    groups = {
        "infection": {
            "beta": priors.Uniform(0.0, 2.0, guess=0.5, unit="1/day").to_json(),
            "contact": priors.LogUniform(
                0.1, 10.0, guess=[1.0, 2.0, 3.0, 4.0], shape=(2, 2)
            ).to_json(),
        },
        "delay": {"days": priors.Integer(1, 4, guess=2).to_json()},
    }
    return ParameterSpace.from_json(groups)


def test_labels_follow_the_file(space: ParameterSpace) -> None:
    assert space.dimension == 6
    assert space.labels == (
        "infection.beta",
        "infection.contact[0,0]",
        "infection.contact[0,1]",
        "infection.contact[1,0]",
        "infection.contact[1,1]",
        "delay.days",
    )
    assert space.discrete.tolist() == [False] * 5 + [True]


def test_guesses_come_back(space: ParameterSpace) -> None:
    got = space.flat(space.guess())
    expected = [0.5, 1.0, 2.0, 3.0, 4.0, 2]
    np.testing.assert_allclose(list(got.values()), expected, rtol=1e-6)
    assert isinstance(got["delay.days"], int)


def test_from_unit_has_the_declared_shapes(space: ParameterSpace) -> None:
    values = jax.jit(space.from_unit)(jnp.asarray(space.guess(), jnp.float32))
    assert values["infection"]["beta"].shape == ()
    np.testing.assert_allclose(values["infection"]["contact"], [[1, 2], [3, 4]], rtol=1e-6)
    assert values["delay"]["days"].dtype == np.int32


def test_from_unit_under_vmap_is_point_by_point(space: ParameterSpace) -> None:
    points = jnp.asarray(sobol(6, 8, 1), jnp.float32)
    one = jax.jit(space.from_unit)
    many = jax.jit(jax.vmap(space.from_unit))(points)
    for i in range(8):
        alone = one(points[i])
        jax.tree.map(lambda x, y, i=i: np.testing.assert_array_equal(x[i], y), many, alone)


def test_to_unit_keeps_the_guess_where_nothing_is_given(space: ParameterSpace) -> None:
    u = space.to_unit({"infection.contact[1,0]": 0.1, "delay.days": 4, "unknown.name": 1.0})
    guess = space.guess()
    assert u[3] == pytest.approx(EDGE)
    assert u[5] == pytest.approx(0.875)
    np.testing.assert_array_equal(np.delete(u, [3, 5]), np.delete(guess, [3, 5]))


def test_slopes_of_discrete_coordinates_are_zero(space: ParameterSpace) -> None:
    slopes = space.slopes(np.full(6, 0.5))
    np.testing.assert_allclose(slopes[:2], [2.0, np.log(100.0)], rtol=1e-3)
    assert slopes[5] == 0.0


def test_no_parameters_at_all() -> None:
    space = ParameterSpace.from_json({})
    assert (space.dimension, space.labels, space.flat(np.zeros(0))) == (0, (), {})
    assert space.slopes(np.zeros(0)).shape == space.guess().shape == (0,)
    assert space.from_unit(jnp.zeros(0)) == {}


def test_an_unknown_prior_is_named() -> None:
    entry = {"prior": "Cauchy", "arguments": {}, "guess": 0.0}
    with pytest.raises(SimulatorError, match=r"g\.p: expected one of Uniform.*got prior 'Cauchy'"):
        ParameterSpace.from_json({"g": {"p": entry}})


def test_sobol_points_are_scipys_first_ones() -> None:
    points = sobol(3, 24, 5)
    with pytest.warns(UserWarning, match="balance"):
        expected = stats.qmc.Sobol(3, seed=5).random(24)
    np.testing.assert_array_equal(points, expected)
    assert sobol(0, 4, 0).shape == (4, 0)


def test_whole_numbers_that_no_int32_holds_bound_a_real_prior() -> None:
    entry = {"prior": "Uniform", "arguments": {"low": -(2**31) - 1, "high": 2**33}, "guess": 7}
    space = ParameterSpace.from_json({"a": {"b": entry}})
    values = jax.jit(space.from_unit)(jnp.asarray([0.5], jnp.float32))
    assert float(values["a"]["b"]) == pytest.approx((2**33 - 2**31) / 2, rel=1e-6)
