"""The causal graph of each truth is the one that envs/README.md documents."""

from __future__ import annotations

import pytest

from tests.envs.folders import ENVS, WORLDS, program_of, task_of

SAME = {
    "covid19_large": "covid19",
    "covid19_missing": "covid19",
    "covid19_partial": "covid19",
    "supply_chain_missing": "supply_chain",
}


def documented() -> dict[str, set[tuple[str, str]]]:
    """Edges (source, target) by folder, from the block between the two marks."""
    text = (ENVS / "README.md").read_text(encoding="utf-8")
    block = text.split("<!-- graphs: begin -->")[1].split("<!-- graphs: end -->")[0]
    found: dict[str, set[tuple[str, str]]] = {}
    name = ""
    for line in block.strip().strip("`").strip().splitlines():
        target, arrow, sources = line.partition(" ← ")
        if not arrow:
            name = line
            found[name] = set()
        else:
            found[name] |= {(source, target.strip()) for source in sources.split(", ")}
    return found


@pytest.mark.parametrize("name", WORLDS)
def test_edges_are_those_documented(name: str) -> None:
    graph = program_of(name).graph.modulo(task_of(name).schema.invariants)
    assert set(graph.edges) == documented()[SAME.get(name, name)]


def test_every_documented_graph_belongs_to_a_folder() -> None:
    assert set(documented()) | set(SAME) == set(WORLDS)


def test_folders_are_listed() -> None:
    text = (ENVS / "README.md").read_text(encoding="utf-8")
    for task in ENVS.glob("*/task.toml"):
        assert f"`{task.parent.name}`" in text
