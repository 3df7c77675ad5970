"""Fingerprints see through names and order, and through nothing else."""

from dataclasses import replace

import pytest

from gsim_jax.propose.edit_types import Context
from gsim_jax.propose.edits import edits
from gsim_jax.propose.fingerprint import fingerprint
from gsim_jax.propose.first import first_ideas
from gsim_jax.propose.structure import Structure
from tests.propose.cases import CASES


def hidden() -> Structure:
    schema, profile = CASES["partly hidden"]()
    return first_ideas(schema, profile)[1].structure


def renamed(structure: Structure, names: dict[str, str]) -> Structure:
    def new(name):
        return names.get(name, name)

    flows = tuple(
        replace(
            f,
            source=new(f.source),
            target=new(f.target),
            drivers=tuple(new(d) for d in f.drivers),
            branch=new(f.branch),
        )
        for f in structure.flows
    )
    pools = {new(name): pool for name, pool in structure.pools.items()}
    return replace(structure, pools=pools, flows=flows)


def test_latent_names_do_not_matter() -> None:
    names = {"before_first": "exposed", "gone": "recovered", "rest": "susceptible", "apart": "away"}
    assert fingerprint(renamed(hidden(), names)) == fingerprint(hidden())


def test_order_does_not_matter() -> None:
    structure = hidden()
    pools = dict(reversed(structure.pools.items()))
    turned = replace(structure, pools=pools, flows=structure.flows[::-1])
    assert fingerprint(turned) == fingerprint(structure)


def test_names_of_observed_states_matter() -> None:
    structure = hidden()
    swapped = renamed(structure, {"first": "second", "second": "first"})
    assert fingerprint(swapped) != fingerprint(structure)


@pytest.mark.parametrize("case", CASES)
def test_every_edit_changes_the_fingerprint(case: str) -> None:
    schema, profile = CASES[case]()
    start = first_ideas(schema, profile)[0].structure
    for edit in edits(start, Context(schema, profile)):
        assert fingerprint(edit.structure) != fingerprint(start), edit.key


@pytest.mark.parametrize("case", CASES)
def test_structures_survive_json(case: str) -> None:
    schema, profile = CASES[case]()
    for idea in first_ideas(schema, profile):
        again = Structure.from_json(idea.structure.to_json())
        assert again == idea.structure
        assert fingerprint(again) == fingerprint(idea.structure)
