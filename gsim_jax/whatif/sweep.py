"""Scenarios x draws of the parameters x replicates, as one labelled data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.sharding import Mesh

from gsim_jax.simulator.contract import Simulator
from gsim_jax.simulator.parameters import ParameterSpace
from gsim_jax.task import InputError, Problem, Schema
from gsim_jax.whatif.collect import DeviceMoments, Failures, Paths, Quantiles, labelled
from gsim_jax.whatif.engine import Job, pieces
from gsim_jax.whatif.plan import plan
from gsim_jax.whatif.scenario import Scenario, with_baseline
from gsim_jax.whatif.start import Start

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class Model:
    """A simulator with what is known of its parameters.

    Attributes:
        simulator: a program or native simulator.
        schema: the task's schema.
        draws: `{group: {name: [D, *shape]}}`, draws from a posterior, or a point (D = 1).
    """

    simulator: Simulator
    schema: Schema
    draws: Mapping[str, Mapping[str, np.ndarray]]

    @classmethod
    def at(cls, simulator: Simulator, schema: Schema, values: Mapping[str, float]) -> Model:
        """At one point, given by label; parameters without a value have their guess."""
        point = simulator.parameters.values(values)
        draws = {g: {n: v[None] for n, v in members.items()} for g, members in point.items()}
        return cls(simulator, schema, draws)

    @classmethod
    def of_unit(cls, simulator: Simulator, schema: Schema, u: np.ndarray) -> Model:
        """At draws u, float[D, d], on the unit cube."""
        return cls(simulator, schema, from_unit(simulator.parameters, u))

    @property
    def count(self) -> int:
        """Number of draws D."""
        leaves = jax.tree.leaves(self.draws)
        return len(leaves[0]) if leaves else 1


def from_unit(space: ParameterSpace, u: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Values `{group: {name: [D, *shape]}}` at points u, float[D, d], of the unit cube."""
    if not space.dimension:
        return {}
    values = jax.jit(jax.vmap(space.from_unit))(jnp.asarray(u, jnp.float32))
    return jax.tree.map(np.asarray, values)


def sweep(
    model: Model,
    scenarios: Sequence[Scenario],
    start: Start,
    *,
    steps: int | None = None,
    replicates: int = 1,
    key: Any = 0,
    keep: str = "quantiles",
    levels: Sequence[float] = LEVELS,
    words: str = "threefry",
    rules: bool = True,
    memory: int = 1 << 30,
    mesh: Mesh | None = None,
) -> xr.Dataset:
    """Simulates every scenario under every draw, `replicates` times.

    All scenarios meet the same words: differences between them are coupled. One compilation per
    distinct program: scenarios that do not replace submodules share one, however many they are.

    Args:
        model: simulator, schema and draws.
        scenarios: what is changed; one that changes nothing is put first where there is none.
        start: where lanes begin, see `start_from`.
        steps: steps T; the task's horizon by default.
        replicates: lanes per draw.
        key: seed, JAX key or uint32[2].
        keep: `"paths"` (every lane), `"quantiles"` (with moments, and final and largest values
            with their errors) or `"moments"`. The memory of the last two does not grow with lanes.
        levels: which quantiles.
        words: `"threefry"` or `"hash"`.
        rules: whether the task's rules are checked in every row of every lane.
        memory: bytes that are alive at a time, roughly; paths have to fit into it.
        mesh: devices to spread lanes over.

    Returns:
        With `"paths"` a variable per scored value, (scenario, draw, replicate, t), and `code`;
        otherwise `mean`, `sd`, `count` (variable, scenario, t) and, with quantiles, `quantiles`,
        `final`, `peak`, their differences to the first scenario and `..._error`s. In any case
        `failed` (scenario, failure), how many lanes broke what. Lanes are NaN from the row on in
        which a value is invalid or out of range; a broken rule is counted only.

    Raises:
        InputError: with everything that is wrong with the scenarios or the values given.
    """
    everything = with_baseline(scenarios)
    horizon = model.schema.horizon if steps is None else steps
    job = Job(
        model.simulator, model.schema, checked(model), start, replicates, horizon, key, words,
        rules, memory, mesh,
    )  # fmt: skip
    plans = plan(model.simulator, model.schema, everything, horizon)
    collector = _collector(keep, job, len(everything), levels)
    failures = Failures(model.schema, len(everything))
    for piece in pieces(job, plans, collector.keep):
        failures.add(piece)
        collector.add(piece)
    variables = collector.dataset() | {"failed": (("scenario", "failure"), failures.counts)}
    found = labelled(job, variables, [scenario.name for scenario in everything])
    found = found.assign_coords(failure=failures.names)
    if "quantiles" in found:
        found = found.assign_coords(quantile=list(levels))
    lanes = {"draws": job.count, "replicates": replicates, "lanes": job.lanes}
    return found.assign_attrs(task=model.schema.name, start=start.words, words=words, **lanes)


def _collector(
    keep: str, job: Job, scenarios: int, levels: Sequence[float]
) -> Paths | Quantiles | DeviceMoments:
    if keep == "paths":
        return Paths(job, scenarios)
    if keep == "moments":
        return DeviceMoments(job, scenarios)
    if keep != "quantiles" or not all(0 <= level <= 1 for level in levels):
        text = "keep: expected 'paths', 'quantiles' (levels from 0 to 1) or 'moments'"
        raise InputError(Problem("keep", f"{text}; got {keep!r} and {list(levels)}"))
    return Quantiles(job, scenarios, levels)


def checked(model: Model) -> dict[str, dict[str, np.ndarray]]:
    """The model's draws, all of the same number.

    Raises:
        InputError: draws of another shape, missing or unknown ones.
    """
    problems, counts = [], set()
    found: dict[str, dict[str, np.ndarray]] = {}
    entries = model.simulator.parameters.entries
    given = {f"{g}.{n}": v for g, members in model.draws.items() for n, v in members.items()}
    for entry in entries:
        value = np.asarray(given.pop(entry.key, np.zeros(0)))
        if value.ndim < 1 or value.shape[1:] != tuple(entry.shape) or not len(value):
            expected = f"expected an array [draws, {', '.join(map(str, entry.shape))}]"
            problems.append(Problem("draws", f"{entry.key}: {expected}; got {list(value.shape)}"))
            continue
        counts.add(len(value))
        found.setdefault(entry.group, {})[entry.name] = value.astype(entry.dtype)
    if given:
        text = f"draws: no parameters are called {', '.join(sorted(given))}"
        problems.append(Problem("draws", text))
    if len(counts) > 1:
        text = f"draws: expected the same number for all parameters; got {sorted(counts)}"
        problems.append(Problem("draws", text))
    if problems:
        raise InputError(tuple(problems))
    return found
