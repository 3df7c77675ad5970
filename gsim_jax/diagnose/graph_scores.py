"""How much of a known truth's causal graph a simulator has: edges missing, edges too many, F1.

An edge X → Y says that X at t reaches Y at t + 1 through the program's data flow (see
`simulator.graph`). Nodes are the observed states, the latent ones, inputs (with calendar,
attributes and t) and, where states stand in slots without order, the derived values made of them.
Parameters and constants are no nodes. An array is one node. A state that only carries on, X → X, is
an edge like any other.

*Up to declared invariants.* A linear form of the state that the task's rules declare constant, such
as S + I + R, carries no influence wherever it appears as such. Nothing else is identified: writing
R' = N - S' - I' in place of R' = R + r counts as other edges, though both say the same.

*Slots.* The edge D → E between derived values is there when some state that D is computed from
reaches some state that E is computed from, and likewise between derived values and other nodes.
What this cannot see: a program that moves whole slots links all that is made of them, so that most
programs of patients in beds have the complete graph on their derived values, and only those that
leave an array out lose edges. Tracing D itself through the program would say no more, since data
flow ends at whole arrays; nor is there an intervention to define a finer edge by, because derived
values are tied (patients by disease add up to occupied beds), so that one cannot be changed alone.
Finer and as independent of the slots' order is the graph of the arrays themselves, `slots="arrays"`
(remaining stay → bed): it asks in addition that both programs keep the arrays as the task declares
them, which they must to read its data.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from gsim_jax.simulator.contract import Simulator
from gsim_jax.task import Schema

Edge = tuple[str, str]
#: Matchings of latent states that are all tried; above, the best one is found edge by edge.
_MOST_MATCHINGS = 5040


@dataclass(frozen=True)
class GraphScore:
    """A simulator's causal graph against the truth's.

    Attributes:
        shd: structural Hamming distance, edges to add or remove (Tsamardinos et al., 2006, Machine
            Learning 65). Edges go from t to t + 1, so X → Y in place of Y → X is two mistakes.
        f1: harmonic mean of precision and recall of edges, 0..1; 1 where both graphs are empty.
        precision: share of the simulator's edges that the truth has.
        recall: share of the truth's edges that the simulator has.
        missing: edges of the truth only, sorted.
        extra: edges of the simulator only, sorted; latent states by the names they are matched to.
        latent: `{latent state of the truth: the simulator's that it is matched with}`.
    """

    shd: int
    f1: float
    precision: float
    recall: float
    missing: tuple[Edge, ...]
    extra: tuple[Edge, ...]
    latent: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The fields, edges as pairs."""
        return {
            "shd": self.shd,
            "f1": self.f1,
            "precision": self.precision,
            "recall": self.recall,
            "missing": [list(edge) for edge in self.missing],
            "extra": [list(edge) for edge in self.extra],
            "latent": dict(self.latent),
        }


def graph_score(
    simulator: Simulator,
    truth: Simulator,
    schema: Schema,
    *,
    slots: Literal["derived", "arrays"] = "derived",
) -> GraphScore:
    """Compares causal graphs; latent states are matched so that most edges agree.

    Args:
        simulator: the simulator to judge.
        truth: the simulator that made the data.
        schema: the task's schema, with its rules.
        slots: what stands for exchangeable arrays, see above.

    Raises:
        ValueError: a simulator has no graph (native functions have none).
    """
    expected = edges_of(truth, schema, slots=slots)
    own = edges_of(simulator, schema, slots=slots)
    latent = best_matching(own, simulator.latent, expected, truth.latent)
    # Names of latent states are free: one that is like another by chance says nothing.
    names = {name: latent.get(name, f"{name} (latent)") for name in simulator.latent}
    found = _renamed(own, names)
    return compare(found, expected, {mate: name for name, mate in latent.items()})


def compare(
    found: Iterable[Edge], expected: Iterable[Edge], latent: Mapping[str, str] | None = None
) -> GraphScore:
    """Scores of one set of edges against another on the same nodes.

    Args:
        found: edges of the simulator.
        expected: edges of the truth.
        latent: what `GraphScore.latent` says.
    """
    own, wanted = set(found), set(expected)
    hits, missing, extra = len(own & wanted), wanted - own, own - wanted
    total = len(own) + len(wanted)
    return GraphScore(
        shd=len(missing) + len(extra),
        f1=2 * hits / total if total else 1.0,
        precision=hits / len(own) if own else float(not wanted),
        recall=hits / len(wanted) if wanted else 1.0,
        missing=tuple(sorted(missing)),
        extra=tuple(sorted(extra)),
        latent=dict(latent or {}),
    )


def edges_of(
    simulator: Simulator, schema: Schema, *, slots: Literal["derived", "arrays"] = "derived"
) -> frozenset[Edge]:
    """The edges of a simulator's causal graph on the nodes that are compared.

    Args:
        simulator: a program.
        schema: the task's schema.
        slots: what stands for exchangeable arrays.

    Raises:
        ValueError: the simulator has no graph.
    """
    if simulator.graph is None:
        raise ValueError(
            "expected a program, whose causal graph can be read; got native functions, which have "
            "none: write the simulator as a file"
        )
    edges = simulator.graph.modulo(schema.invariants).edges
    edges = {edge for edge in edges if edge[0] not in schema.constants}
    return frozenset(_contracted(edges, schema) if slots == "derived" else edges)


def _contracted(edges: set[Edge], schema: Schema) -> set[Edge]:
    """Derived values in place of the exchangeable arrays that they are made of."""
    hidden = {name for name, state in schema.states.items() if state.exchangeable is not None}
    made = {name: states_behind(schema, name) for name in schema.derived}
    nodes: dict[str, list[str]] = {}
    for name, states in made.items():
        if states & hidden:  # one made of other states only would count their edges twice
            for state in states:
                nodes.setdefault(state, []).append(name)

    def stand_ins(name: str) -> list[str]:
        return nodes.get(name, []) + ([] if name in hidden else [name])

    return {
        pair
        for source, target in edges
        for pair in itertools.product(stand_ins(source), stand_ins(target))
    }


def states_behind(schema: Schema, derived: str) -> frozenset[str]:
    """The states that a derived value is computed from, through other derived values too."""
    found: set[str] = set()
    for name in schema.derived[derived].value.names:
        if name in schema.derived:
            found |= states_behind(schema, name)
        elif name in schema.states:
            found.add(name)
    return frozenset(found)


def _renamed(edges: Iterable[Edge], names: Mapping[str, str]) -> set[Edge]:
    return {(names.get(a, a), names.get(b, b)) for a, b in edges}


def best_matching(
    own: Iterable[Edge], latent: Sequence[str], expected: Iterable[Edge], truth: Sequence[str]
) -> dict[str, str]:
    """Matches latent states one to one so that as many edges agree as can be.

    With few latent states every matching is tried. Else (more than 5,040 matchings) each pair is
    valued by the edges with observed nodes and with themselves that it shares, and the best
    assignment is taken, which may miss agreement among latent states.

    Args:
        own: edges of the simulator.
        latent: its latent states.
        expected: edges of the truth.
        truth: the truth's latent states.

    Returns:
        Latent state of the truth by latent state of the simulator; the smaller side is matched
        completely. Of equally good matchings the first in the order of the names.
    """
    swapped = len(latent) > len(truth)
    few, many = (tuple(truth), tuple(latent)) if swapped else (tuple(latent), tuple(truth))
    if not few:
        return {}
    own, wanted = set(own), set(expected)
    if math.perm(len(many), len(few)) > _MOST_MATCHINGS:
        shared = [[_agreement(own, {a: b}, wanted, latent) for b in truth] for a in latent]
        rows, columns = linear_sum_assignment(np.asarray(shared), maximize=True)
        return {latent[int(i)]: truth[int(j)] for i, j in zip(rows, columns, strict=True)}
    candidates: list[dict[str, str]] = []
    for chosen in itertools.permutations(many, len(few)):
        pairs = zip(chosen, few, strict=True) if swapped else zip(few, chosen, strict=True)
        candidates.append(dict(pairs))
    return max(candidates, key=lambda names: _agreement(own, names, wanted, latent))


def _agreement(
    own: set[Edge], names: Mapping[str, str], wanted: set[Edge], latent: Sequence[str]
) -> int:
    """Edges in common where these latent states have these names, and the others have none."""
    free = {name for name in latent if name not in names}
    kept = {edge for edge in own if not free & set(edge)}
    return len(_renamed(kept, names) & wanted)
