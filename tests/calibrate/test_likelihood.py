"""The exact log likelihood against scipy's masses and densities, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gsim_jax.calibrate import likelihood, log_likelihood
from gsim_jax.simulator.panel import build_panel
from gsim_jax.simulator.program import Program
from gsim_jax.task import InputError, Trajectories
from tests.calibrate.programs import SIR, data_of, program_of, schema_of, simulate_sir
from tests.simulator.worlds import ar1

COUNTS = schema_of(S="count", I="count", R="count")
Paths = dict[str, np.ndarray]
Truth = Callable[[Paths, dict[str, float]], np.ndarray]


def at(program: Program, values: dict[str, float]) -> np.ndarray:
    return program.parameters.to_unit(values)


def sir_truth(x: Paths, theta: dict[str, float]) -> np.ndarray:
    s, i, r = (x[name].astype(float) for name in "SIR")
    p = 1 - np.exp(-theta["infection.beta"] * i / (s + i + r))[:, :-1]
    new = stats.binom.logpmf(s[:, :-1] - s[:, 1:], s[:, :-1], p)
    gone = stats.binom.logpmf(r[:, 1:] - r[:, :-1], i[:, :-1], theta["recovery.gamma"])
    return (new + gone).sum(axis=1)


# Each case: source, schema, parameters, paths, and the log likelihood by scipy.
GROWTH = """
PARAMS = {"grow": {"mu": Uniform(-1.0, 1.0, guess=0.0), "sd": Uniform(0.0, 2.0, guess=0.5)}}
def grow(state, inputs, params, key):
    return {"factor": jnp.exp(params["mu"] + params["sd"] * normal(key))}
def couple(state, inputs, outputs, params, key):
    return {"x": state["x"] * outputs["factor"]}
SUBMODULES = (grow,)
"""
MIXED = """
PARAMS = {"move": {"stay": Uniform(0.0, 1.0, guess=0.5)}}
def move(state, inputs, params, key):
    rest = 1.0 - params["stay"]
    gone = multinomial(key, state["a"], jnp.stack([params["stay"], 0.75 * rest, 0.25 * rest]))
    return {"to_b": gone[1], "to_c": gone[2]}
def couple(state, inputs, outputs, params, key):
    b, c = outputs["to_b"], outputs["to_c"]
    return {"a": state["a"] - b - c, "b": state["b"] + b, "c": state["c"] + c}
SUBMODULES = (move,)
"""
VECTORS = """
PARAMS = {"sale": {"rate": Uniform(0.0, 9.0, guess=3.0, shape=(3,))},
          "couple": {"share": Uniform(0.0, 1.0, guess=0.5)}}
def sale(state, inputs, params, key):
    return {"sold": poisson(key, params["rate"])}
def couple(state, inputs, outputs, params, key):
    sold = outputs["sold"]
    returned = binomial(key, sold[0], params["share"])
    kept = jnp.stack([sold[2], sold[1], returned])
    return {"sums": state["sums"] + 2 * kept, "first": state["first"] - sold[0]}
SUBMODULES = (sale,)
"""
CHAIN = """
PARAMS = {"over": {"gamma": Uniform(0.0, 1.0, guess=0.2)},
          "bed": {"share": Uniform(0.0, 1.0, guess=0.2)}}
def over(state, inputs, params, key):
    return {"over": binomial(key, state["i"], params["gamma"])}
def bed(state, inputs, params, key):
    admitted = binomial(key, inputs["outputs"]["over"], params["share"])
    return {"home": inputs["outputs"]["over"] - admitted}
def couple(state, inputs, outputs, params, key):
    return {"i": state["i"] - outputs["over"] + 50, "h": state["h"] + outputs["home"]}
SUBMODULES = (over, bed)
"""


def growth() -> Any:
    x = np.exp(np.random.default_rng(1).normal(0.1, 0.4, (5, 12)).cumsum(axis=1))
    x = x.astype(np.float32)

    def truth(x: Paths, theta: dict[str, float]) -> np.ndarray:
        now, then = x["x"][:, :-1].astype(float), x["x"][:, 1:].astype(float)
        law = stats.lognorm(theta["grow.sd"], scale=now * np.exp(theta["grow.mu"]))
        return law.logpdf(then).sum(axis=1)

    return GROWTH, schema_of(x="real"), {"grow.mu": 0.2, "grow.sd": 0.3}, {"x": x}, truth


def mixed() -> Any:
    generator = np.random.default_rng(2)
    rows = [np.array([[400, 0, 0]] * 4)]
    for _ in range(6):
        gone = generator.multinomial(rows[-1][:, 0], [0.6, 0.3, 0.1])
        rows.append(
            np.stack([gone[:, 0], rows[-1][:, 1] + gone[:, 1], rows[-1][:, 2] + gone[:, 2]], 1)
        )
    paths = {name: np.stack([row[:, k] for row in rows], 1) for k, name in enumerate("abc")}

    def truth(x: Paths, theta: dict[str, float]) -> np.ndarray:
        b, c = np.diff(x["b"], axis=1), np.diff(x["c"], axis=1)
        stay, a = theta["move.stay"], x["a"]
        counts = np.stack([a[:, 1:], b, c], -1)
        shares = [stay, 0.75 * (1 - stay), 0.25 * (1 - stay)]
        return stats.multinomial.logpmf(counts, a[:, :-1], shares).sum(axis=1)

    return MIXED, schema_of(a="count", b="count", c="count"), {"move.stay": 0.55}, paths, truth


def vectors() -> Any:
    generator = np.random.default_rng(3)
    sold = generator.poisson([2.0, 3.0, 4.0], (3, 8, 3))
    back = generator.binomial(sold[..., 0], 0.5)
    kept = np.stack([sold[..., 2], sold[..., 1], back], -1)
    sums = np.concatenate([np.zeros((3, 1, 3), int), 2 * kept.cumsum(axis=1)], 1)
    first = np.concatenate([np.full((3, 1), 900), 900 - sold[..., 0].cumsum(axis=1)], 1)
    theta = {"sale.rate[0]": 2.5, "sale.rate[1]": 3.0, "sale.rate[2]": 3.5, "couple.share": 0.4}

    def truth(x: Paths, theta: dict[str, float]) -> np.ndarray:
        del x
        total = stats.poisson.logpmf(sold, [2.5, 3.0, 3.5]).sum(axis=-1)
        return (total + stats.binom.logpmf(back, sold[..., 0], theta["couple.share"])).sum(axis=1)

    schema = schema_of(sums=("count", (3,)), first="count")
    return VECTORS, schema, theta, {"sums": sums, "first": first}, truth


def chain() -> Any:
    generator = np.random.default_rng(4)
    i, h = [np.full(3, 80)], [np.zeros(3, int)]
    for _ in range(7):
        over = generator.binomial(i[-1], 0.5)
        h.append(h[-1] + over - generator.binomial(over, 0.2))
        i.append(i[-1] - over + 50)

    def truth(x: Paths, theta: dict[str, float]) -> np.ndarray:
        over = x["i"][:, :-1] - x["i"][:, 1:] + 50
        admitted = over - np.diff(x["h"], axis=1)
        total = stats.binom.logpmf(over, x["i"][:, :-1], theta["over.gamma"])
        return (total + stats.binom.logpmf(admitted, over, theta["bed.share"])).sum(axis=1)

    paths = {"i": np.stack(i, 1), "h": np.stack(h, 1)}
    return (
        CHAIN,
        schema_of(i="count", h="count"),
        {"over.gamma": 0.45, "bed.share": 0.3},
        paths,
        truth,
    )


def sir() -> Any:
    theta = {"infection.beta": 0.45, "recovery.gamma": 0.15}
    return SIR, COUNTS, theta, simulate_sir(0.5, 0.1, 20, 61, 5), sir_truth


@pytest.mark.parametrize("case", [sir, growth, mixed, vectors, chain])
def test_likelihood_is_scipys(case: Callable[[], Any]) -> None:
    source, schema, theta, paths, truth = case()
    program = program_of(source, schema)
    found = log_likelihood(program, schema, data_of(schema, **paths))(at(program, theta))
    expected = truth(paths, theta)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-5)


def test_sum_over_six_thousand_transitions_is_accurate() -> None:
    paths = simulate_sir(0.5, 0.1, 100, 61, 6)
    program = program_of(SIR, COUNTS)
    model = log_likelihood(program, COUNTS, data_of(COUNTS, **paths))
    for beta, gamma in ((0.5, 0.1), (0.1, 0.4), (1.9, 0.02)):
        theta = {"infection.beta": beta, "recovery.gamma": gamma}
        # The program's own float32 value of the parameters is what is compared.
        exact = {k: float(np.float32(v)) for k, v in theta.items()}
        assert abs(model.total(at(program, theta)) - sir_truth(paths, exact).sum()) < 0.02


def test_trajectories_of_different_lengths_give_what_each_gives_alone() -> None:
    paths = simulate_sir(0.5, 0.1, 4, 30, 7)
    length = np.array([30, 12, 1, 2])
    program = program_of(SIR, COUNTS)
    theta = {"infection.beta": 0.5, "recovery.gamma": 0.1}
    found = log_likelihood(program, COUNTS, data_of(COUNTS, length, **paths))(at(program, theta))
    for i, rows in enumerate(length):
        alone = sir_truth({k: v[i : i + 1, :rows] for k, v in paths.items()}, theta)
        np.testing.assert_allclose(found[i], alone[0], rtol=2e-6, atol=1e-5)


def test_gradient_is_the_slope_even_where_nobody_is_infected() -> None:
    paths = simulate_sir(0.5, 0.5, 3, 40, 8, start=(20, 1))
    assert (paths["I"][:, -1] == 0).all()
    program = program_of(SIR, COUNTS)
    model = log_likelihood(program, COUNTS, data_of(COUNTS, **paths))
    u = at(program, {"infection.beta": 0.6, "recovery.gamma": 0.4})
    slope = jax.grad(lambda u: model(u).sum())(jnp.asarray(u, jnp.float32))
    for k, (name, width) in enumerate((("infection.beta", 2.0), ("recovery.gamma", 1.0))):
        theta = {"infection.beta": 0.6, "recovery.gamma": 0.4}
        up, down = ({**theta, name: theta[name] + h} for h in (1e-5, -1e-5))
        numeric = (sir_truth(paths, up) - sir_truth(paths, down)).sum() / 2e-5 * width
        assert float(slope[k]) == pytest.approx(numeric, rel=1e-3)


def test_impossible_rows_have_no_likelihood_and_are_named() -> None:
    paths = simulate_sir(0.5, 0.1, 3, 20, 9)
    paths["R"][1, 7:] += 1  # someone recovers who was never infected
    program = program_of(SIR, COUNTS)
    model = log_likelihood(program, COUNTS, data_of(COUNTS, **paths))
    u = at(program, {})
    assert np.isneginf(np.asarray(model(u))).tolist() == [False, True, False]
    text = "1 of 57 transitions, the first in trajectory site 1, row 6 to 7: the state "
    assert model.explain(u).startswith(text)


def test_implied_that_is_wrong_is_named() -> None:
    wrong = """
def implied(previous, current, inputs):
    return {"new_infections": previous["S"] - current["S"] + 1,
            "new_recoveries": current["R"] - previous["R"]}
"""
    program = program_of(SIR + wrong, COUNTS)
    model = log_likelihood(program, COUNTS, data_of(COUNTS, **simulate_sir(0.5, 0.1, 2, 9, 1)))
    assert np.isneginf(np.asarray(model(at(program, {})))).all()
    assert "output new_infections is not what the program makes" in model.explain(at(program, {}))


def test_arguments_outside_their_law_have_no_likelihood() -> None:
    source = """
PARAMS = {"leave": {"p": Uniform(0.0, 2.0, guess=0.2)}}
def leave(state, inputs, params, key):
    return {"left": binomial(key, state["n"], params["p"])}
def couple(state, inputs, outputs, params, key):
    return {"n": state["n"] - outputs["left"]}
SUBMODULES = (leave,)
"""
    schema = schema_of(n="count")
    program = program_of(source, schema)
    model = log_likelihood(program, schema, data_of(schema, n=np.array([[9, 5, 2]])))
    assert np.isfinite(model.total(at(program, {"leave.p": 0.5})))
    assert np.isneginf(model.total(at(program, {"leave.p": 1.5})))
    assert "draw 0 of leave (binomial) cannot" in model.explain(at(program, {"leave.p": 1.5}))


HIDDEN = {
    "sum of two": ("poisson(a, 2.0) + poisson(b, 3.0)", "draw 0 .poisson. cannot be read off"),
    "loop": ("lax.fori_loop(0, 3, lambda i, n: n + poisson(a, 1.0), 0)", "a loop with draws in it"),
    "clipped": ("jnp.minimum(poisson(a, 2.0), 3)", "draw 0 .poisson. cannot be read off"),
    "rounded": ("jnp.floor(2.0 * normal(a)).astype(jnp.int32)", "draw 0 .normal. cannot"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_draws_without_a_trace_of_their_own_are_refused(name: str) -> None:
    value, text = HIDDEN[name]
    source = f"""
PARAMS = {{}}
def arrive(state, inputs, params, key):
    a, b = split(key)
    return {{"new": {value}}}
def couple(state, inputs, outputs, params, key):
    return {{"n": state["n"] + outputs["new"]}}
SUBMODULES = (arrive,)
"""
    schema = schema_of(n="count")
    with pytest.raises(InputError, match=f"arrive: {text}.*likelihood in closed form"):
        log_likelihood(program_of(source, schema), schema, data_of(schema, n=np.array([[0, 1, 4]])))


def test_what_has_no_likelihood_is_told_in_words() -> None:
    schema = schema_of(x="real")
    data = data_of(schema, x=np.zeros((1, 3)))
    with pytest.raises(InputError, match="expected a program from a simulator file; got Native"):
        log_likelihood(ar1(schema), schema, data)
    latent = 'LATENT = {"E": State("count", min=0)}\n' + SIR.replace(
        "def couple", "def initial(observed, seen, params, key):\n"
        '    return {**{k: observed[k] for k in "SIR"}, "E": jnp.int32(0)}\n\ndef couple',
    ).replace('state["R"] + r}', 'state["R"] + r, "E": state["E"]}')  # fmt: skip
    paths = simulate_sir(0.5, 0.1, 2, 9, 1)
    with pytest.raises(InputError, match="without latent states; got E"):
        log_likelihood(program_of(latent, COUNTS), COUNTS, data_of(COUNTS, **paths))
    whole = data_of(COUNTS, **paths)
    gaps = whole.seen["I"].copy()
    gaps[0, 3:5] = False
    holed: Trajectories = replace(whole, seen={**whole.seen, "I": gaps})
    with pytest.raises(InputError, match=r"entries are missing of I \(2\)"):
        log_likelihood(program_of(SIR, COUNTS), COUNTS, holed)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_it_lowers_for_accelerators(platform: str) -> None:
    program = program_of(SIR, COUNTS)
    panel = build_panel(COUNTS, data_of(COUNTS, **simulate_sir(0.5, 0.1, 4, 9, 1)))
    model = log_likelihood(program, COUNTS, panel)

    def run(u: jax.Array, transitions: Any) -> Any:
        return jax.value_and_grad(lambda u: model.masses.per_trajectory(u, transitions).sum())(u)

    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), model.transitions)
    exported = jax.export.export(jax.jit(run), platforms=[platform])(
        jax.ShapeDtypeStruct((2,), jnp.float32), shapes
    )
    assert exported.platforms == (platform,)


def test_many_points_and_other_data_of_the_same_shape_compile_once() -> None:
    before = likelihood._at_many._cache_size()
    for seed in range(3):
        paths = simulate_sir(0.5, 0.1, 4, 9, seed)
        # Built anew every time, as candidates are: equal programs share what is compiled.
        model = log_likelihood(program_of(SIR, COUNTS), COUNTS, data_of(COUNTS, **paths))
        u = np.random.default_rng(seed).uniform(size=(16, 2)).astype(np.float32)
        found = np.asarray(model.many(u))
        assert found.shape == (16, 4)
        np.testing.assert_allclose(found[3], model(u[3]), rtol=1e-6, atol=1e-6)
    assert likelihood._at_many._cache_size() <= before + 1
