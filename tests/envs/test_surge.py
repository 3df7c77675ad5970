"""The search of a policy has an interior optimum where the paper has it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax import words
from gsim_jax.simulator.lanes import lane_words
from gsim_jax.task import output_vector
from tests.envs.folders import program_of, script_of, task_of, truth_of

TAUS = np.arange(0, 100, 5)
BEDS = np.arange(0, 10_000, 500)


def costs(in_hospital: np.ndarray) -> np.ndarray:
    """Mean cost of every policy, float64[taus, beds], from H as [taus, replicates, days]."""
    constants = task_of("hospital_surge").schema.constants
    capacity = constants["beds"].value + BEDS
    overflow = [np.maximum(in_hospital - beds, 0).sum(-1).mean(-1) for beds in capacity]
    price = constants["bed_price"].value * BEDS
    return np.stack(overflow, 1) + price + constants["lockdown_price"].value * 20


def plain(replicates: int) -> np.ndarray:
    """H from generate.py."""
    script, rng = script_of("hospital_surge"), np.random.default_rng(1)
    infected = np.full(replicates, script.POLICY_INFECTED)
    runs = [script.simulate(rng, infected, np.full(replicates, tau))[0] for tau in TAUS]
    return np.stack(runs)[..., 2]


def compiled(replicates: int) -> np.ndarray:
    """H from truth.py, from the trajectory where the search of a policy begins."""
    task, program = task_of("hospital_surge"), program_of("hospital_surge")
    assert task.test is not None
    at = task.test.ids.index("policy")
    start = {name: jnp.asarray(values[at, 0]) for name, values in task.test.states.items()}
    params = program.parameters.values(truth_of("hospital_surge"))
    fixed = {name: constant.value for name, constant in task.schema.constants.items()}

    def run(tau: jax.Array, key: jax.Array) -> jax.Array:
        def body(state: dict, t: jax.Array) -> tuple[dict, jax.Array]:
            lockdown = ((t >= tau) & (t < tau + 20)).astype(jnp.int32)
            given = {**fixed, "t": t, "lockdown": lockdown, "extra_beds": jnp.int32(0)}
            after, _ = program.step(state, given, params, lane_words(key, t))
            return after, after["H"]

        return jax.lax.scan(body, start, jnp.arange(task.schema.horizon))[1]

    keys = words.lane_keys(jnp.asarray([3, 4], jnp.uint32), jnp.arange(replicates, dtype="uint32"))
    both = jax.vmap(jax.vmap(run, (None, 0)), (0, None))
    return np.asarray(jax.jit(both)(jnp.asarray(TAUS), keys))


@pytest.mark.parametrize("simulate", [plain, compiled])
def test_the_optimum_is_where_the_paper_has_it(simulate) -> None:
    found = costs(simulate(30))
    tau, beds = np.unravel_index(found.argmin(), found.shape)
    assert (TAUS[tau], BEDS[beds]) == (10, 2500)
    assert found.min() == pytest.approx(29_274, rel=0.03)  # the paper's cost
    # interior: every neighbour on the grid costs more by far than the runs scatter
    for i, j in [(tau - 1, beds), (tau + 1, beds), (tau, beds - 1), (tau, beds + 1)]:
        assert found[i, j] > found.min() + 500
    assert found[0, 0] > 80_000


def test_overflow_is_what_the_table_calls_it() -> None:
    task = task_of("hospital_surge")
    labels = [output.label for output in task.schema.outputs]
    state = {"S": 10, "I": 10, "H": 4000, "R": 10}
    for extra, expected in ((0, 1500), (1000, 500), (2000, 0)):
        given = {"t": 0, "lockdown": 0, "extra_beds": extra}
        values = output_vector(
            task.schema, jax.tree.map(jnp.int32, state), jax.tree.map(jnp.int32, given)
        )
        assert values[labels.index("overflow")] == expected
