"""The vocabulary of programs: one table of operations, and nothing outside of it can be said.

Each row gives an operation its name, the JAX primitives that become it, its own parameters with
their checks, its cost and its evaluator in public `lax`. Two operations have no row, because they
are more than a function of arrays: `draw` (a law, its arguments, a site; the words come from
outside) and `scan` (a body and a literal length). There is no while loop, callback or custom call.
"""

from __future__ import annotations

from gsim_jax.simulator.vocabulary import arrays, elementwise, indexing, reductions
from gsim_jax.simulator.vocabulary.operation import Operation, Shaped, Unencodable

#: Operations by name.
TABLE: dict[str, Operation] = {
    operation.name: operation
    for family in (elementwise, arrays, reductions, indexing)
    for operation in family.OPERATIONS
}

#: Names of JAX primitives and the operation each becomes.
BY_PRIMITIVE: dict[str, Operation] = {
    primitive: operation for operation in TABLE.values() for primitive in operation.primitives
}

__all__ = ["BY_PRIMITIVE", "TABLE", "Operation", "Shaped", "Unencodable"]
