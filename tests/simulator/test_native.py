"""Trusted functions behind the contract of simulators."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax import sampling
from gsim_jax.simulator import priors
from gsim_jax.simulator.contract import Simulator
from gsim_jax.simulator.lanes import lane_words
from gsim_jax.simulator.native import NativeSimulator, StateSpec, from_functions
from gsim_jax.simulator.panel import build_panel
from gsim_jax.simulator.predict import Plan, predict
from gsim_jax.task import Constant, SimulatorError, Variable
from tests.simulator.worlds import KEY, data_of, schema_of

SCHEMA = schema_of(
    states={"S": Variable("S", "count", min=0), "v": Variable("v", "real", (2,))},
    constants={"population": Constant("population", np.int32(50))},
)
LANE = np.array([7, 9], np.uint32)
STATE = {"S": np.int32(40), "v": np.zeros(2, np.float32)}
SEEN = {"S": np.bool_(True), "v": np.zeros(2, bool)}


def leave(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
    assert set(params) == {"p"}
    return {"left": sampling.binomial(key, state["S"], params["p"])}


def drift(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
    assert not params
    return {"v": state["v"] + sampling.normal(key, shape=(2,)) + inputs["outputs"]["left"]}


def couple(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
    return {"v": outputs["v"] * params["scale"], "S": state["S"] - outputs["left"]}


PARAMETERS = {
    "leave": {"p": priors.Uniform(0.0, 1.0, guess=0.2)},
    "couple": {"scale": priors.Uniform(0.0, 1.0, guess=0.5)},
}
VALUES = {"leave": {"p": np.float32(0.2)}, "couple": {"scale": np.float32(0.5)}}


def build(**options: Any) -> NativeSimulator:
    return from_functions(SCHEMA, PARAMETERS, [leave, drift], couple, **options)


def step(simulator: Simulator, t: int = 3, params: Any = VALUES) -> Any:
    return simulator.step(STATE, {"t": jnp.int32(t)}, params, lane_words(LANE, t))


class TestStep:
    def test_modules_run_in_order_and_hand_on_their_outputs(self) -> None:
        state, outputs = step(build())
        assert set(outputs) == {"left", "v"}
        assert int(state["S"]) == 40 - int(outputs["left"])
        key = jax.random.wrap_key_data(
            jnp.stack([lane_words(LANE, 3)("drift", i, (), 1, 0) for i in range(2)]),
            impl="threefry2x32",
        )
        expected = 0.5 * (sampling.normal(key, shape=(2,)) + outputs["left"])
        np.testing.assert_allclose(state["v"], expected, rtol=1e-6)

    def test_words_do_not_depend_on_parameters(self) -> None:
        moved = {**VALUES, "leave": {"p": jnp.float32(0.9)}}
        (one, a), (two, b) = step(build()), step(build(), params=moved)
        assert int(a["left"]) < int(b["left"])
        noise = [np.asarray(x["v"]) / 0.5 - int(y["left"]) for x, y in ((one, a), (two, b))]
        np.testing.assert_allclose(*noise, atol=1e-5)

    def test_each_step_has_its_own_words(self) -> None:
        simulator = build()
        drawn = {float(step(simulator, t)[0]["v"][0]) for t in range(5)}
        assert len(drawn) == 5

    def test_states_come_in_the_schemas_order(self) -> None:
        simulator = build()
        assert tuple(step(simulator)[0]) == tuple(simulator.states) == ("S", "v")

    def test_two_modules_with_one_output(self) -> None:
        def again(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, Any]:
            return {"left": jnp.int32(0)}

        simulator = from_functions(SCHEMA, PARAMETERS, [leave, again], couple)
        with pytest.raises(SimulatorError, match=r"again: outputs \['left'\] are already outputs"):
            step(simulator)

    def test_a_state_left_out(self) -> None:
        def short(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
            return {"S": state["S"]}

        simulator = from_functions(SCHEMA, PARAMETERS, [leave, drift], short)
        with pytest.raises(SimulatorError, match=r"expected states \['S', 'v'\]; got \['S'\]"):
            step(simulator)


class TestInitial:
    def first(self, simulator: NativeSimulator) -> Any:
        inputs = {"t": jnp.int32(0), "population": jnp.int32(50)}
        return simulator.initial(STATE, SEEN, inputs, VALUES, lane_words(LANE, -1))

    def test_what_is_seen_without_a_function(self) -> None:
        assert self.first(build()) == STATE

    def test_constants_stand_beside_the_observations(self) -> None:
        def initial(observed: Any, seen: Any, params: Any, key: jax.Array) -> Any:
            assert set(observed) == {"S", "v", "population"}
            assert set(params) == {"leave", "couple"}
            hidden = observed["population"] - observed["S"]
            return {"S": observed["S"], "v": 1, "E": hidden}

        latent = {"E": StateSpec("count", min=0)}
        simulator = build(initial=initial, latent=latent)
        state = self.first(simulator)
        assert tuple(state) == ("S", "v", "E")
        assert (int(state["E"]), state["E"].dtype) == (10, np.int32)
        np.testing.assert_array_equal(state["v"], np.ones(2, np.float32))
        assert simulator.latent == ("E",)


REFUSED = {
    "a group that is no function": (
        {"parameters": {"recovery": {"g": priors.Uniform(guess=0.5)}}},
        r"expected groups out of leave, drift, couple, observe; got \['recovery'\]",
    ),
    "latent states that nothing fills": (
        {"latent": {"E": StateSpec("count")}},
        r"initial: expected a function that fills the latent states \['E'\]",
    ),
    "observe without names": (
        {"observe": lambda *_: {}},
        "observe: expected both the function and the names it reports",
    ),
    "names without observe": (
        {"observed": ("S",)},
        "observe: expected both the function and the names it reports",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(case: tuple[dict[str, Any], str]) -> None:
    options, words = case
    arguments = {"parameters": PARAMETERS} | options
    with pytest.raises(SimulatorError, match=words):
        from_functions(SCHEMA, submodules=[leave, drift], couple=couple, **arguments)


def test_the_contract_builds_simulators_too() -> None:
    simulator = Simulator.from_functions(SCHEMA, PARAMETERS, [leave, drift], couple, cost=7)
    assert isinstance(simulator, NativeSimulator)
    assert simulator.cost == 7
    assert simulator.parameters.labels == ("leave.p", "couple.scale")
    assert simulator.observe(STATE, {}, VALUES, lane_words(LANE, 0)) is None
    assert simulator.implied(STATE, STATE, {}) is None


def test_implied_outputs() -> None:
    simulator = build(implied=lambda old, new, inputs: {"left": old["S"] - new["S"]})
    later = {**STATE, "S": jnp.int32(31)}
    implied = simulator.implied(STATE, later, {})
    assert implied is not None
    assert int(implied["left"]) == 9


def test_a_reported_variable_is_forecast_and_never_taken_for_the_state() -> None:
    """The table shows y + 1 of a y that doubles: the data must not overwrite y."""
    schema = schema_of("y")

    def grow(state: Any, inputs: Any, params: Any, key: jax.Array) -> dict[str, jax.Array]:
        return {"y": 2.0 * state["y"]}

    def move(state: Any, inputs: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
        return outputs

    def initial(observed: Any, seen: Any, params: Any, key: jax.Array) -> Any:
        return {"y": observed["y"] - params["observe"]["more"]}

    def observe(state: Any, outputs: Any, params: Any, key: jax.Array) -> Any:
        return {"y": state["y"] + params["more"]}

    simulator = from_functions(
        schema,
        {"observe": {"more": priors.Uniform(0.0, 2.0, guess=1.0)}},
        [grow],
        move,
        initial=initial,
        observe=observe,
        observed=["y"],
    )
    data = data_of(schema, {"y": np.array([[4.0, 50.0, 60.0, 70.0]])})
    params = {"observe": {"more": jnp.float32(1.0)}}
    draws = jax.jit(
        lambda panel: predict(
            simulator, schema, params, panel, Plan(()), KEY, replicates=4, weighted=True
        )
    )(build_panel(schema, data))
    for h in range(2):
        expected = np.repeat([[7.0], [13.0], [25.0]], 4, axis=1)
        np.testing.assert_allclose(draws[0, :, :, h, 0], expected)
