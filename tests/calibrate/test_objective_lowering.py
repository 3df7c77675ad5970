"""Everything that calibration compiles lowers for accelerators."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from gsim_jax.calibrate import Objective, Settings, free_statistics, log_likelihood, moments
from gsim_jax.calibrate.fitness import LogDensity
from gsim_jax.calibrate.forecasts import Shape, _Static, energies
from gsim_jax.simulator.panel import build_panel
from gsim_jax.simulator.predict import Plan
from tests.calibrate.programs import SIR, data_of, program_of, schema_of, simulate_sir

COUNTS = schema_of(S="count", I="count", R="count")
PROGRAM = program_of(SIR, COUNTS)
N, ROWS, P, R, H, V = 3, 9, 4, 8, 3, 3
PLAN = Plan((3,))
SCALE = np.ones((H, V), np.float32)


def shaped(*shape: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)


def panel() -> Any:
    return build_panel(COUNTS, data_of(COUNTS, **simulate_sir(0.5, 0.1, N, ROWS, 1)))


def objective(complete: bool) -> Any:
    settings = Settings(PLAN, R, R, P, N, ROWS)
    found = Objective(PROGRAM, COUNTS, settings, SCALE, complete=complete)
    captured: list[Any] = []

    class Executable:
        def __call__(self, *arguments: Any) -> None:
            captured.extend(arguments)

    found._executable = Executable()  # what `scores` would hand to the compiled function
    found.scores(np.full((P, 2), 0.5), found.shared(panel()), np.array([1, 2], np.uint32))
    return found._compiled.__wrapped__, captured


def draws(weighted: bool) -> Any:
    static = _Static(PROGRAM, COUNTS, Shape(PLAN, P, R, N), weighted)
    run = jax.vmap(static.one, in_axes=(0, None, 0, None))
    return run, [shaped(P, 2), panel(), shaped(P, 2, dtype=jnp.uint32), shaped(dtype=jnp.uint32)]


def density(of: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Any:
    found = LogDensity(log_likelihood(PROGRAM, COUNTS, panel()), P)
    return of(found.at), [shaped(2)]


OF_DRAWS = shaped(P, N, ROWS - 1, V, H, R)
TARGET, SEEN = shaped(N, ROWS - 1, V), shaped(N, ROWS - 1, V, H, dtype=bool)
PIVOT, BY_VARIABLE = shaped(N, ROWS - 1, V, H), shaped(V, H)
FREE = shaped(P, N, ROWS - 1, V, R)


def free_runs_statistics() -> Any:
    run = partial(free_statistics.of_draws, free_statistics.Statistics(ROWS - 1, V))
    seen = shaped(N, ROWS - 1, V, dtype=bool)
    return run, [FREE, shaped(N, ROWS - 1, V), shaped(V), seen]


# Each case: a function and what it is called with.
CASES: dict[str, Callable[[], Any]] = {
    "scores": lambda: objective(True),
    "scores, weighted": lambda: objective(False),
    "draws": lambda: draws(False),
    "draws, weighted": lambda: draws(True),
    "energies": lambda: (energies, [OF_DRAWS, TARGET, SEEN, shaped(H, V)]),
    "contrasts": lambda: (moments._contrasts, [OF_DRAWS, PIVOT, BY_VARIABLE, shaped(P, 2)]),
    "observed": lambda: (moments._observed, [TARGET, PIVOT, BY_VARIABLE]),
    "pilot": lambda: (moments._pilot, [OF_DRAWS, BY_VARIABLE]),
    "free runs, statistics": free_runs_statistics,
    "free runs, levels": lambda: (free_statistics.levels, [FREE]),
    "density": lambda: density(jax.vmap),
    "slope": lambda: density(jax.value_and_grad),
    "curvature": lambda: density(lambda at: jax.jacfwd(jax.grad(at))),
}


#: Left to the long run: the other one of the two takes the same path.
SLOW = ("scores, weighted", "draws")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in CASES]
)
def test_it_lowers_for_accelerators(name: str) -> None:
    function, arguments = CASES[name]()
    if name == "density":
        arguments = [shaped(P, 2)]
    # Lowered for both at once: one trace.
    exported = jax.export.export(jax.jit(function), platforms=["cuda", "tpu"])(*arguments)
    assert exported.platforms == ("cuda", "tpu")
    assert len(exported.mlir_module_serialized) > 0
