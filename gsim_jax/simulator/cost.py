"""Counted cost of programs, and the limits on what a document may ask for.

Cost is counted in operations per lane and step: elements times loop lengths, draws weighted by what
their inverse CDF takes. It never depends on a clock, so decisions made on it repeat.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gsim_jax.simulator.code import Code, Step

# Counted operations per draw, its word included; laws that are not named take `_REAL_DRAW`.
_REAL_DRAW = 30
_DRAWS = {
    "bernoulli": 10,
    "categorical": 10,
    "exponential": 10,
    "geometric": 15,
    "uniform": 10,
    "weibull": 30,
    "normal": 30,
    "binomial": 60,
    "poisson": 60,
    "negative_binomial": 60,
    "multinomial": 60,
    "beta_binomial": 120,
    "hypergeometric": 120,
    "gamma": 60,
    "beta": 120,
}


@dataclass(frozen=True)
class Budget:
    """Limits on one document. A compiled loop cannot be stopped, so they are proved beforehand.

    Attributes:
        cost: counted operations per lane and step, and of `initial` and `implied` each.
        operations: operations written down, loop bodies counted once.
        bulk: what all functions take to compile, see `Operation.bulk`; about 2 ms each on one core.
        fused: element-by-element operations that hang together without a draw, loop, sum or
            look-up between. Compilers turn them into one straight run of code, which LLVM's
            scheduler (in jaxlib 0.10) cannot digest beyond some hundred: it takes all memory.
        elements: elements of any one value, and of all results of one function together.
        draws: draw sites.
        depth: loops inside one another.
        bytes: length of the document.
    """

    cost: int = 1_000_000
    operations: int = 5_000
    bulk: int = 20_000
    fused: int = 400
    elements: int = 100_000
    draws: int = 100
    depth: int = 4
    bytes: int = 1 << 20


#: What a draw site and a loop take to compile, in the units of `Operation.bulk`.
DRAW_BULK, SCAN_BULK = 100, 15


def draw_cost(law: str, elements: int) -> int:
    """Counted operations of one draw site.

    Args:
        law: name of the law.
        elements: draws taken, times categories where the law has an axis of them.
    """
    return _DRAWS.get(law, _REAL_DRAW) * max(1, elements)


def scan_cost(length: int, body: int, moved: int) -> int:
    """Counted operations of one loop.

    Args:
        length: turns.
        body: cost of one turn's operations.
        moved: elements that a turn reads and writes: carries, rows, results.
    """
    # Nothing fuses across turns: what a turn hands over goes through memory.
    return length * (1 + body + 4 * moved)


def expensive(functions: Mapping[str, Code], most: int) -> list[tuple[str, float]]:
    """The operations that cost most.

    Args:
        functions: code by function name.
        most: how many to name.

    Returns:
        Words such as `"sort of int32[36] in allocation"`, each with its share of the whole cost,
        the largest first. Equal operations of a function are counted together.
    """
    total = max(1, sum(code.cost for code in functions.values()))
    found: dict[str, int] = {}
    for name, code in functions.items():
        for words, cost in _leaves(code, 1):
            key = f"{words} in {name}"
            found[key] = found.get(key, 0) + cost
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [(words, cost / total) for words, cost in ranked[:most]]


def _leaves(code: Code, turns: int) -> Iterator[tuple[str, int]]:
    for step in code.steps:
        if step.body is None:
            yield _words(step, turns), step.cost * turns
        else:
            length = step.parameters["length"]
            inside = length * step.body.cost
            yield f"handing values on in a loop of {length}", max(0, step.cost - inside) * turns
            yield from _leaves(step.body, turns * length)


def _words(step: Step, turns: int) -> str:
    leaf = step.outs[0]
    name = f"draw from {step.parameters['law']}" if step.operation == "draw" else step.operation
    words = f"{name} of {leaf.dtype}{list(leaf.shape)}"
    return f"{words}, {turns} times in a loop," if turns > 1 else words
