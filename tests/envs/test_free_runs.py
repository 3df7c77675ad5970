"""Left to run from the first rows, the truths go where the tables go, hidden states and all."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax import words
from gsim_jax.simulator.lanes import lane_words
from gsim_jax.simulator.panel import TRAJECTORIES, Panel, build_panel, row_inputs
from gsim_jax.simulator.predict import first_state
from gsim_jax.simulator.program import Program
from gsim_jax.task import Schema, output_vector
from tests.envs.energy import p_value
from tests.envs.folders import WORLDS, program_of, task_of, truth_of

#: Where the complete table of each world stands.
WHOLE = {
    name: next(base for base in ("covid19_large", "covid19", "supply_chain", "hospital_beds", name)
               if name.startswith(base))
    for name in WORLDS
}  # fmt: skip
#: Folders whose next-state law is tested elsewhere, from the same truth.
KNOWN = ("covid19", "covid19_missing", "hospital_beds", "supply_chain", "supply_chain_missing")


@partial(jax.jit, static_argnums=(0, 1))
def free_run(program: Program, schema: Schema, params: Any, panel: Panel) -> jax.Array:
    """Scored values of one run of every trajectory from its first row, [n, steps, V]."""

    def one(trajectory: Panel, number: jax.Array) -> jax.Array:
        lane = words.lane_keys(jnp.asarray([11, 12], jnp.uint32), number[None])[0]

        def body(state: Any, t: jax.Array) -> tuple[Any, jax.Array]:
            state, _ = program.step(state, row_inputs(trajectory, t), params, lane_words(lane, t))
            shown = {name: state[name] for name in schema.states}
            return state, output_vector(schema, shown, row_inputs(trajectory, t + 1))

        start = first_state(program, params, trajectory, lane)
        return jax.lax.scan(body, start, jnp.arange(schema.horizon, dtype=jnp.int32))[1]

    numbers = jnp.arange(len(panel.length), dtype=jnp.uint32)
    return jax.vmap(one, (TRAJECTORIES, 0))(panel, numbers)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in KNOWN else n for n in WORLDS],
)
def test_free_runs_of_the_truth_look_like_the_table(name: str) -> None:
    task, program = task_of(name), program_of(name)
    params = program.parameters.values(truth_of(name))
    ran = np.asarray(free_run(program, task.schema, params, build_panel(task.schema, task.train)))
    assert np.isfinite(ran).all()
    labels = [output.label for output in task.schema.outputs]
    table = task_of(WHOLE[name])
    columns = [[output.label for output in table.schema.outputs].index(label) for label in labels]
    data, rng = table.train.outputs[..., columns], np.random.default_rng(13)
    # six looks at eleven worlds: one p below 0.0005 in thirty suites by chance, and seeds are fixed
    for t in (1, 5, 10, 20, 40, 60):
        same = p_value(ran[:, t - 1].astype(float), data[:, t].astype(float), rng, 1999)
        assert same > 0.0005, f"day {t}"
