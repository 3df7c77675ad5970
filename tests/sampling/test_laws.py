"""The contract of a law, on every law: shapes, edges, invalid parameters, transformations."""

from __future__ import annotations

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax import sampling, words
from gsim_jax.sampling import INVALID, LAWS
from tests.sampling.cases import BY_NAME, CASES, Case

EVERY = pytest.mark.parametrize("case", CASES, ids=lambda case: case.law)


LANES = 20_000
EXTREME = (0, 1, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1)
# Op by op, one draw is a thousand dispatches: compile each law once.
COMPILED = {name: jax.jit(law.from_bits) for name, law in LAWS.items()}


def _arguments(parameters: tuple) -> list[jax.Array]:
    """Python numbers as a program's arrays: int32 where integral, else float32."""
    return [jnp.asarray(p, jnp.int32 if isinstance(p, int) else jnp.float32) for p in parameters]


def _bits(law: sampling.Law, arguments: list[jax.Array]) -> jax.Array:
    """Words of all lanes; the first lanes hold the extreme ones."""
    full = law.bits_shape((LANES,), *arguments)
    bits = np.random.default_rng(0).integers(0, 2**32, full, dtype=np.uint32)
    bits[: len(EXTREME)] = np.reshape(EXTREME, (-1, *(1 for _ in full[1:])))
    return jnp.asarray(bits)


def _rows(arguments: list[jax.Array]) -> list[jax.Array]:
    return [jnp.broadcast_to(a, (LANES, *a.shape)) for a in arguments]


def _draw(case: Case, parameters: tuple) -> np.ndarray:
    law, arguments = LAWS[case.law], _arguments(parameters)
    return np.asarray(COMPILED[case.law](_bits(law, arguments), *_rows(arguments)))


def test_every_law_has_cases():
    assert set(BY_NAME) == set(LAWS)


@EVERY
def test_draws_have_the_dtype_and_shape_that_the_table_says(case):
    law = LAWS[case.law]
    for parameters in case.good:
        draws = _draw(case, parameters)
        event = np.shape(parameters[-1]) if case.law == "multinomial" else ()
        assert draws.dtype == law.dtype
        assert draws.shape == (LANES, *event)


@EVERY
def test_parameters_in_range_are_never_invalid_not_even_at_extreme_words(case):
    for parameters in case.good:
        draws = _draw(case, parameters)
        assert np.isfinite(draws).all(), parameters
        assert (draws != INVALID).all(), parameters


@EVERY
def test_parameters_out_of_range_are_invalid_everywhere(case):
    for parameters in case.bad:
        draws = _draw(case, parameters)
        invalid = np.isnan(draws) if LAWS[case.law].dtype == "float32" else draws == INVALID
        assert invalid.all(), parameters


@EVERY
def test_vmap_and_broadcasting_give_the_same_draws(case):
    law, arguments = LAWS[case.law], _arguments(case.good[0])
    bits = _bits(law, arguments)
    plain = _draw(case, case.good[0])
    lanes = jax.jit(jax.vmap(law.from_bits, (0, *(None for _ in arguments))))(bits, *arguments)
    broadcast = COMPILED[case.law](bits, *arguments)
    for other in (lanes, broadcast):
        if law.dtype == "int32":
            np.testing.assert_array_equal(other, plain)
        else:  # compilers contract products and sums differently: the last places may differ
            np.testing.assert_allclose(other, plain, rtol=1e-5)


@EVERY
def test_programs_hold_no_loop_of_unknown_length(case):
    law, arguments = LAWS[case.law], _arguments(case.good[0])
    bits = jnp.zeros(law.bits_shape((), *arguments), jnp.uint32)
    text = COMPILED[case.law].lower(bits, *arguments).as_text()
    if case.law != "multinomial":  # a scan over categories, its length in the program
        assert "while" not in text


@EVERY
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_programs_lower_for_accelerators(case, platform):
    law, arguments = LAWS[case.law], _arguments(case.good[0])

    def lane(key, *arguments):
        def step(total, t):
            bits = words.draw_words(words.threefry, key, t, 5, (), law.words_per_draw(*arguments))
            return total + law.from_bits(
                bits.reshape(law.bits_shape((), *arguments)), *arguments
            ), None

        start = jnp.zeros(np.shape(arguments[-1]) if law.words == 0 else (), law.dtype)
        return jax.lax.scan(step, start, jnp.arange(3))[0]

    keys = jnp.ones((4, 2), jnp.uint32)
    lanes = jax.jit(jax.vmap(lane, (0, *(None for _ in arguments))))
    assert jax.export.export(lanes, platforms=[platform])(keys, *arguments).platforms == (platform,)


@EVERY
def test_moments_are_those_of_the_law(case):
    draws = _draw(case, case.good[0])[len(EXTREME) :].astype(np.float64)
    spread = np.sqrt(np.asarray(case.variance) / len(draws))
    np.testing.assert_array_less(np.abs(draws.mean(0) - case.mean), 5 * spread + 1e-9)
    np.testing.assert_allclose(draws.var(0), case.variance, rtol=0.08, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "parameters", "value"),
    [
        ("bernoulli", (0.0,), 0),
        ("bernoulli", (1.0,), 1),
        ("binomial", (0, 0.5), 0),
        ("binomial", (5, 0.0), 0),
        ("binomial", (5, 1.0), 5),
        ("poisson", (0.0,), 0),
        ("negative_binomial", (0.0, 1.0), 0),
        ("beta_binomial", (30, 0.0, 5.0), 0),
        ("beta_binomial", (30, 1.0, 5.0), 30),
        ("geometric", (1.0,), 0),
        ("hypergeometric", (5, 0, 3), 3),
        ("hypergeometric", (5, 5, 10), 5),
        ("uniform", (2.0, 2.0), 2.0),
        ("normal", (1.0, 0.0), 1.0),
        ("gamma", (0.0, 1.0), 0.0),
        ("weibull", (2.0, 0.0), 0.0),
        ("exponential", (0.0,), np.inf),
    ],
)
def test_parameters_at_the_edge_are_exact(name, parameters, value):
    assert (_draw(BY_NAME[name], parameters) == value).all()


def test_a_category_of_probability_zero_is_never_drawn():
    every = jnp.asarray(
        np.r_[0:2000, 2**31 - 1000 : 2**31 + 1000, 2**32 - 2000 : 2**32], jnp.uint32
    )
    probs = jnp.asarray([0.0, 0.4, 0.0, 0.6, 0.0])
    assert set(np.unique(COMPILED["categorical"](every, probs))) == {1, 3}
    wide = jnp.zeros(60).at[jnp.asarray([7, 30])].set(1.0)
    assert set(np.unique(COMPILED["categorical"](every, wide))) == {7, 30}


def test_multinomial_counts_always_sum_to_n():
    rng = np.random.default_rng(0)
    for k in (1, 2, 5):
        bits = jnp.asarray(rng.integers(0, 2**32, (500, k), dtype=np.uint32))
        n = jnp.asarray(rng.integers(0, 10_000_000, 500), jnp.int32)
        probs = jnp.asarray(rng.dirichlet(np.full(k, 0.3), 500), jnp.float32)
        counts = np.asarray(COMPILED["multinomial"](bits, n, probs))
        assert (counts >= 0).all()
        np.testing.assert_array_equal(counts.sum(-1), n)


def test_counts_beyond_the_promise_stay_integers_between_zero_and_n():
    rng = np.random.default_rng(1)
    n = jnp.asarray(np.r_[2**24 + 1, 2**31 - 1, rng.integers(2**20, 2**31, 5000)], jnp.int32)
    p = jnp.asarray(np.r_[1.0, 1.0, rng.random(5000)], jnp.float32)
    bits = jnp.asarray(rng.integers(0, 2**32, n.shape, dtype=np.uint32))
    k = np.asarray(COMPILED["binomial"](bits, n, p)).astype(np.int64)
    assert (k >= 0).all()
    assert (k <= np.asarray(n)).all()
    z = (k - np.asarray(n) * np.asarray(p, float)) / np.sqrt(np.asarray(n) * 0.25)
    assert np.abs(z[2:]).max() < 6.5


def test_trials_may_be_float32_counts():
    bits = jnp.asarray(np.random.default_rng(0).integers(0, 2**32, 100, dtype=np.uint32))
    np.testing.assert_array_equal(
        COMPILED["binomial"](bits, jnp.float32(57), 0.4),
        COMPILED["binomial"](bits, jnp.int32(57), 0.4),
    )


def test_no_array_is_made_at_import():
    code = (
        "import sys; import gsim_jax.sampling, gsim_jax.words; from jax._src import xla_bridge; "
        "sys.exit(bool(xla_bridge._backends))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
