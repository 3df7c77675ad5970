"""What is to be simulated, as types: variables, inputs, constants, rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from gsim_jax.task.expr import Expression

Kind = Literal["count", "real", "flag", "category"]
KINDS: tuple[Kind, ...] = ("count", "real", "flag", "category")
CALENDAR_INPUTS = ("weekday", "day_of_year")


def dtype_of(kind: str) -> str:
    """``float32`` for reals, ``int32`` for counts, flags and categories."""
    return "float32" if kind == "real" else "int32"


def label(name: str, index: tuple[int, ...] = ()) -> str:
    """Name of one entry of a variable and of its column: ``S``, ``los[0]``, ``m[0,1]``."""
    return f"{name}[{','.join(str(i) for i in index)}]" if index else name


def entries(shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All indices into an array of this shape, in row-major order; one empty index for a scalar."""
    return product(*(range(size) for size in shape))


@dataclass(frozen=True)
class Variable:
    """A state variable.

    Attributes:
        name: its name in tables, rules and simulators.
        kind: count, real, flag (0 or 1) or category (an integer code).
        shape: () for a scalar.
        min: smallest value allowed, both ends included; None means no bound.
        max: largest value allowed.
        doc: what it is, for people and language models.
        unit: its unit, "" where there is none.
        exchangeable: name of the group of arrays whose first axis carries no order, or None.
        observed: False where tables need not have a column for it (``observed = false``).
    """

    name: str
    kind: Kind
    shape: tuple[int, ...] = ()
    min: float | None = None
    max: float | None = None
    doc: str = ""
    unit: str = ""
    exchangeable: str | None = None
    observed: bool = True

    @property
    def dtype(self) -> str:
        """``int32`` or ``float32``."""
        return dtype_of(self.kind)


@dataclass(frozen=True)
class Input:
    """A decision or forcing u_t that comes with the data; row t acts on t -> t + 1.

    Attributes:
        default: the value where a table gives none (a number, or nested tuples of `shape`);
            None means that every row must give one.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...] = ()
    default: Any = None
    doc: str = ""
    unit: str = ""

    @property
    def dtype(self) -> str:
        """``int32`` or ``float32``."""
        return dtype_of(self.kind)


@dataclass(frozen=True)
class Attribute:
    """A number that belongs to a trajectory (the size of a site), a column of the table."""

    name: str
    kind: Kind
    doc: str = ""
    unit: str = ""

    @property
    def dtype(self) -> str:
        """``int32`` or ``float32``."""
        return dtype_of(self.kind)


@dataclass(frozen=True, eq=False)
class Constant:
    """A fixed number or array (int32 or float32), the same for the whole task."""

    name: str
    value: np.ndarray
    doc: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Derived:
    """A named scalar computed from one row (state, inputs, constants, attributes)."""

    name: str
    value: Expression
    doc: str = ""
    unit: str = ""


@dataclass(frozen=True)
class Rule:
    """Domain knowledge that can be checked on any trajectory, observed or simulated."""

    name: str
    holds: Expression


@dataclass(frozen=True)
class Output:
    """One scalar that is scored.

    Attributes:
        label: ``S``, ``los[0]``, or the name of a derived value.
        variable: the state or derived value it belongs to.
        index: position in the state's array, () for scalars and derived values.
        kind: the state's kind; ``real`` for derived values.
        window: steps that the table's column sums over: 1, or 7 for ``sum:7``.
    """

    label: str
    variable: str
    index: tuple[int, ...]
    kind: Kind
    window: int = 1


@dataclass(frozen=True, eq=False)
class Schema:
    """Everything in a task folder but the data. Compared and hashed by identity.

    Attributes:
        name: short name of the task.
        title: one line for reports.
        step: unit of time between two rows ("day").
        horizon: steps T of a full trajectory, which has T + 1 rows.
        states: the state variables, in the order of task.toml; so are the others.
        derived: outputs computed from one row.
        inputs: decisions and forcing, per row.
        constants: fixed numbers and arrays.
        attributes: numbers per trajectory.
        rules: what must hold.
        aggregates: variable -> number of steps its column sums over.
        calendar: True where tables carry dates; inputs then have weekday and day_of_year.
        description: the expert's words (description.md).
    """

    name: str
    title: str
    step: str
    horizon: int
    states: dict[str, Variable]
    derived: dict[str, Derived] = field(default_factory=dict)
    inputs: dict[str, Input] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)
    attributes: dict[str, Attribute] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    aggregates: dict[str, int] = field(default_factory=dict)
    calendar: bool = False
    description: str = ""

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        """What is scored: every entry of the non-exchangeable states, then the derived values."""
        found = [
            Output(label(name, index), name, index, state.kind, self.aggregates.get(name, 1))
            for name, state in self.states.items()
            if state.exchangeable is None
            for index in entries(state.shape)
        ]
        found += [
            Output(name, name, (), "real", self.aggregates.get(name, 1)) for name in self.derived
        ]
        return tuple(found)

    @property
    def calendar_inputs(self) -> tuple[str, ...]:
        """Names of the inputs that come from dates, () without a calendar."""
        return CALENDAR_INPUTS if self.calendar else ()

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every name that an expression may use without a prefix."""
        found: dict[str, tuple[int, ...]] = {"t": ()}
        found |= dict.fromkeys(self.calendar_inputs, ())
        found |= {name: state.shape for name, state in self.states.items()}
        found |= {name: given.shape for name, given in self.inputs.items()}
        found |= {name: constant.value.shape for name, constant in self.constants.items()}
        found |= dict.fromkeys(self.attributes, ())
        found |= dict.fromkeys(self.derived, ())
        return found

    @cached_property
    def derived_order(self) -> tuple[str, ...]:
        """Names of the derived values, each after those that it uses."""
        order: dict[str, None] = {}

        def visit(name: str) -> None:
            if name not in order:
                for used in sorted(self.derived[name].value.names & set(self.derived)):
                    visit(used)
                order[name] = None

        for name in self.derived:
            visit(name)
        return tuple(order)

    @cached_property
    def rule_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every name that a rule may use: `shapes`, ``initial.X`` and ``previous.X``."""
        varying = [*self.states, *self.inputs, *self.derived, *self.calendar_inputs]
        found = dict(self.shapes)
        for prefix in ("initial", "previous"):
            found |= {f"{prefix}.{name}": self.shapes[name] for name in varying}
        return found

    @cached_property
    def invariants(self) -> tuple[dict[str, float], ...]:
        """Linear forms of the state that rules say are constant along a trajectory.

        Read from rules that equate a linear form of the state with a linear form of ``initial.X``,
        constants and attributes, or with the same form of ``previous.X``. The keys are labels.
        """
        from gsim_jax.task.invariants import invariants_of_rules

        return invariants_of_rules(self)

    def signature(self) -> dict[str, Any]:
        """What a simulator sees, as JSON: dtypes and shapes of the states and of the inputs.

        ``inputs`` holds ``t``, the inputs, the attributes, the constants and, with a calendar,
        ``weekday`` and ``day_of_year``.
        """

        def entry(dtype: str, shape: tuple[int, ...] = ()) -> dict[str, Any]:
            return {"dtype": dtype, "shape": list(shape)}

        inputs = {"t": entry("int32")}
        inputs |= {name: entry(given.dtype, given.shape) for name, given in self.inputs.items()}
        inputs |= {name: entry(given.dtype) for name, given in self.attributes.items()}
        inputs |= {
            name: entry(str(constant.value.dtype), constant.value.shape)
            for name, constant in self.constants.items()
        }
        inputs |= {name: entry("int32") for name in self.calendar_inputs}
        states = {
            name: {"kind": s.kind, **entry(s.dtype, s.shape), "min": s.min, "max": s.max}
            for name, s in self.states.items()
        }
        return {"states": states, "inputs": inputs}
