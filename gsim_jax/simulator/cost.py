"""Counted cost of programs, and the limits on what a document may ask for.

Cost is counted in operations per lane and step: elements times loop lengths, draws weighted by what
their inverse CDF takes. It never depends on a clock, so decisions made on it repeat.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Counted operations per draw: laws of the lattice kind, and all others.
COUNT_DRAW, REAL_DRAW = 60, 10
_COUNT_LAWS = frozenset(
    {"binomial", "poisson", "negative_binomial", "beta_binomial", "multinomial", "hypergeometric"}
)


@dataclass(frozen=True)
class Budget:
    """Limits on one document. A compiled loop cannot be stopped, so they are proved beforehand.

    Attributes:
        cost: counted operations per lane and step, and of `initial` and `implied` each.
        operations: operations written down, loop bodies counted once; they drive compile time.
        elements: elements of any one value.
        draws: draw sites; each compiles to some hundred operations.
        depth: loops inside one another.
        bytes: length of the document.
    """

    cost: int = 1_000_000
    operations: int = 5_000
    elements: int = 100_000
    draws: int = 256
    depth: int = 4
    bytes: int = 1 << 20


def draw_cost(law: str, elements: int) -> int:
    """Counted operations of one draw site.

    Args:
        law: name of the law.
        elements: draws taken, times categories where the law has an axis of them.
    """
    return (COUNT_DRAW if law in _COUNT_LAWS else REAL_DRAW) * max(1, elements)
