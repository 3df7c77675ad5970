"""A structure as data: pools, flows between them, levels and stocks; small, serialisable, editable.

A structure names no parameter values. Rendering (`render.py`) turns it into a simulator file, edits
(`edits.py`) turn it into its neighbours.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

#: Where the content of a pool at the first row comes from.
Start = Literal["data", "zero", "few", "share", "rest"]
#: The most stages of one pool; more hardly change the shape of a waiting time.
MOST_STAGES = 4


@dataclass(frozen=True)
class Pool:
    """Whole things (people, patients, items) that are counted together.

    Attributes:
        start: content at the first row: ``data`` (an observed state), ``zero``, ``few`` (a
            parameter), ``share`` (a parameter times the whole) or ``rest`` (the whole minus all
            other pools; such a pool is computed at every step and never stored).
        stages: stages in a row that everything in the pool passes; waiting times are then
            Erlang-like instead of geometric. Later stages are latent, the first holds the rest.
    """

    start: Start
    stages: int = 1

    @property
    def latent(self) -> bool:
        """Whether the data do not show it and it is stored as a latent state."""
        return self.start in ("zero", "few", "share")


@dataclass(frozen=True)
class Factor:
    """Something that multiplies a rate.

    Attributes:
        kind: name of the mechanism, e.g. ``season``, ``weekend``, ``input``, ``trend``, ``crowd``.
        by: the input, pool or constant it depends on, '' where there is none.
        period: steps per cycle, for ``season``.
    """

    kind: str
    by: str = ""
    period: int = 0


@dataclass(frozen=True)
class Flow:
    """What moves per step from a pool to a pool; None stands for the outside.

    Attributes:
        source: pool it leaves, None for arrivals.
        target: pool it enters, None for departures.
        law: rate mechanism (`rate_*.toml` in the mechanism library).
        drivers: pools that drive it, the first with weight one.
        draw: ``binomial``, ``unsteady_binomial``, ``poisson``, ``unsteady_poisson`` or ``exact``.
        factors: what multiplies the rate.
        branch: pool that a share of those who leave enters instead of the target, '' for the
            outside; None without a branch.
        capacity: how much the target holds: '' no limit, 'parameter', or a constant's name.
        by: input that the rate law reads, where it reads one.
    """

    source: str | None
    target: str | None
    law: str
    drivers: tuple[str, ...] = ()
    draw: str = "binomial"
    factors: tuple[Factor, ...] = ()
    branch: str | None = None
    capacity: str = ""
    by: str = ""

    @property
    def name(self) -> str:
        """Name of the submodule, of its parameter group and of its output."""
        if self.source is None:
            return f"arrivals_in_{self.target}"
        if self.target is None:
            return f"departures_from_{self.source}"
        return f"{self.source}_to_{self.target}"


@dataclass(frozen=True)
class Term:
    """One term of the change of a level: a mechanism (`term_*.toml`) and what it reads."""

    law: str
    by: str = ""


@dataclass(frozen=True)
class Level:
    """A variable that is not conserved: its change per step is a sum of terms plus noise.

    Attributes:
        terms: the sum.
        noise: ``normal`` (constant), ``relative`` (grows with the level) or ``counts`` (an
            over-dispersed Poisson count around the mean).
    """

    terms: tuple[Term, ...]
    noise: str = "normal"


@dataclass(frozen=True)
class Stock:
    """Goods that meet a random demand; what cannot be met waits or is lost.

    Attributes:
        waiting: state that holds the unmet demand; '' where it is lost.
        order: input that says how much is ordered; '' for a constant supply.
        delayed: whether orders arrive after a number of steps (a parameter).
        demand: ``poisson`` or ``unsteady_poisson``.
        factors: what multiplies the mean demand.
    """

    waiting: str = ""
    order: str = ""
    delayed: bool = True
    demand: str = "poisson"
    factors: tuple[Factor, ...] = ()


@dataclass(frozen=True)
class Structure:
    """Everything a simulator file is made of, but numbers.

    Attributes:
        pools: by name; observed pools bear the name of their state.
        flows: in the order of the submodules.
        whole: constant or attribute that all pools together add up to, '' where there is none.
        conserved: observed pools whose sum stays constant, () where none is known.
        levels: by name of the state.
        stocks: by name of the state that holds the goods.
    """

    pools: dict[str, Pool] = field(default_factory=dict)
    flows: tuple[Flow, ...] = ()
    whole: str = ""
    conserved: tuple[str, ...] = ()
    levels: dict[str, Level] = field(default_factory=dict)
    stocks: dict[str, Stock] = field(default_factory=dict)

    @property
    def rest(self) -> str | None:
        """The pool that is computed as the whole minus all others."""
        return next((n for n, p in self.pools.items() if p.start == "rest"), None)

    def leaving(self, pool: str) -> list[Flow]:
        """Flows out of a pool, in order."""
        return [flow for flow in self.flows if flow.source == pool]

    def entering(self, pool: str) -> list[Flow]:
        """Flows into a pool, in order; branches into it not counted."""
        return [flow for flow in self.flows if flow.target == pool]

    def with_pool(self, name: str, pool: Pool) -> Structure:
        """A copy with one pool set."""
        return replace(self, pools={**self.pools, name: pool})

    def with_flow(self, index: int, flow: Flow) -> Structure:
        """A copy with one flow replaced."""
        flows = list(self.flows)
        flows[index] = flow
        return replace(self, flows=tuple(flows))

    def with_level(self, name: str, level: Level) -> Structure:
        """A copy with one level set."""
        return replace(self, levels={**self.levels, name: level})

    def to_json(self) -> dict[str, Any]:
        """JSON-ready form."""
        data = asdict(self)
        for key in ("flows", "conserved"):
            data[key] = list(data[key])
        for flow in data["flows"]:
            flow["drivers"], flow["factors"] = list(flow["drivers"]), list(flow["factors"])
        for holder in (*data["levels"].values(), *data["stocks"].values()):
            for key in ("terms", "factors"):
                if key in holder:
                    holder[key] = list(holder[key])
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Structure:
        """The structure that `to_json` wrote.

        Raises:
            TypeError: a field is unknown.
            KeyError: a field is missing.
        """
        return cls(
            pools={name: Pool(**pool) for name, pool in data["pools"].items()},
            flows=tuple(
                Flow(**{**f, "drivers": tuple(f["drivers"]), "factors": _factors(f["factors"])})
                for f in data["flows"]
            ),
            whole=data["whole"],
            conserved=tuple(data["conserved"]),
            levels={
                name: Level(tuple(Term(**term) for term in level["terms"]), level["noise"])
                for name, level in data["levels"].items()
            },
            stocks={
                name: Stock(**{**stock, "factors": _factors(stock["factors"])})
                for name, stock in data["stocks"].items()
            },
        )

    def problems(self) -> list[str]:
        """What is inconsistent, in words; empty for a structure that can be rendered."""
        found = []
        names = [flow.name for flow in self.flows]
        found += [f"two flows are called {n}" for n in sorted(set(names)) if names.count(n) > 1]
        for flow in self.flows:
            ends = [flow.source, flow.target, flow.branch or None, *flow.drivers]
            found += [f"{flow.name}: no pool {e}" for e in ends if e and e not in self.pools]
            if flow.source == flow.target:
                found.append(f"{flow.name}: source and target are the same")
            if flow.source is None and flow.draw not in ("poisson", "unsteady_poisson", "exact"):
                found.append(f"{flow.name}: arrivals cannot be drawn from a {flow.draw}")
            if flow.source and flow.draw not in ("binomial", "unsteady_binomial", "exact"):
                found.append(f"{flow.name}: a pool of finite size cannot lose a {flow.draw}")
        for name, pool in self.pools.items():
            if not 1 <= pool.stages <= MOST_STAGES:
                found.append(f"{name}: between 1 and {MOST_STAGES} stages")
            if pool.stages > 1 and (pool.start == "rest" or len(self.leaving(name)) != 1):
                found.append(f"{name}: stages need exactly one flow that leaves")
            if pool.start in ("rest", "share") and not self.whole:
                found.append(f"{name}: no whole is known")
            if pool.stages > 1 and any(f.draw == "exact" for f in self.leaving(name)):
                found.append(f"{name}: limited service takes no stages")
        return found


def _factors(items: list[dict[str, Any]]) -> tuple[Factor, ...]:
    return tuple(Factor(**item) for item in items)
