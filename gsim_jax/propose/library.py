"""The embedded proposer: composes structures from the mechanism library and edits them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from gsim_jax.propose.brief import Brief, Parent, Proposal
from gsim_jax.propose.edit_types import Context, Edit
from gsim_jax.propose.edits import edits
from gsim_jax.propose.fingerprint import fingerprint
from gsim_jax.propose.first import first_ideas
from gsim_jax.propose.rank import evidence
from gsim_jax.propose.render import render
from gsim_jax.propose.scales import Scales
from gsim_jax.propose.structure import Structure
from gsim_jax.propose.words import title

#: Parents below the best lose this much plausibility per rank.
_PER_RANK = 0.3
#: A kind of edit that this round has already lost this much.
_REPEATED = 0.35
#: A pair of edits is as plausible as the mean of both, less this: singles come first.
_PAIR = 0.1
#: Every second place prefers a pair by this much.
_PAIR_TURN = 0.4
#: What the findings add to the edit of a parent that they point at most.
_EVIDENCE = 0.6
#: Over-dispersion makes any misfit bearable, so the first edits are mechanisms.
_SCATTER_LATER, _MECHANISMS_UNTIL = 0.8, 1
#: After that, scatter in every flow is this much more plausible for a refuted leader.
_SCATTER_DUE = 1.0
#: An edit that did not help one parent is this much less plausible for the others.
_FAILED = 0.5
#: So many of the best single edits of the best parent are tried in pairs.
_PAIRED = 8
#: Ideas of the first round keep their order among the edits of later rounds.
_FIRST, _PER_IDEA = 0.7, 0.05


@dataclass(frozen=True)
class _Option:
    structure: Structure
    kinds: frozenset[str]
    weight: float
    why: str
    parent: int | None
    fingerprint: str


class LibraryProposer:
    """Needs no network and no language model.

    The first round reads hypotheses from the profile; later rounds are the single edits of the best
    parents, and pairs of the most promising ones, ranked by what the diagnosis found.
    """

    name = "library"

    def propose(self, brief: Brief, count: int) -> list[Proposal]:
        """Propose up to `count` structures, most promising first; see `Proposer`."""
        options = self._first(brief)
        if brief.parents:
            options += self._edited(brief)
        chosen = _choose(options, set(brief.tried), count, brief)
        return [_proposal(option, brief) for option in chosen]

    def _first(self, brief: Brief) -> list[_Option]:
        ideas = first_ideas(brief.schema, brief.profile)
        found = []
        for rank, idea in enumerate(ideas):
            # In a first round the order is all that counts.
            weight = _FIRST - (1.0 if not brief.parents else _PER_IDEA) * rank
            kinds = frozenset() if not brief.parents else frozenset({"idea"})
            mark = fingerprint(idea.structure)
            found.append(_Option(idea.structure, kinds, weight, idea.why, None, mark))
        return found

    def _edited(self, brief: Brief) -> list[_Option]:
        context = Context(brief.schema, brief.profile)
        known = [parent for parent in brief.parents if parent.structure is not None]
        start = [Structure.from_json(parent.structure or {}) for parent in known]
        offers = [edits(structure, context) for structure in start]
        failed = _disappointing(start, offers, set(brief.tried))
        found = []
        for rank, (parent, offered) in enumerate(zip(known, offers, strict=True)):
            single = _weighed(parent, offered, failed, brief, _PER_RANK * rank)
            due = _SCATTER_DUE * _scatter_is_due(parent, rank, brief)
            found += [
                _option((edit,), weight + due * (edit.key == "scatter:all"), parent)
                for weight, edit in single
            ]
            if rank == 0:
                found += _pairs(single, parent, context, brief)
        return found


def _scatter_is_due(parent: Parent, rank: int, brief: Brief) -> bool:
    """Whether mechanisms had their turn and the best parent is refuted all the same.

    Scatter in every flow is then tried on it: what is left over is what no scatter explains.
    """
    return brief.round > _MECHANISMS_UNTIL and rank == 0 and not parent.adequate


def _disappointing(
    start: list[Structure], offers: list[list[Edit]], tried: set[str]
) -> frozenset[str]:
    """Keys of edits that were tried on one of the parents and did not rise above it."""
    found: set[str] = set()
    above: set[str] = set()
    for structure, offered in zip(start, offers, strict=True):
        for edit in offered:
            mark = fingerprint(edit.structure)
            if mark in tried and mark not in above:
                found.add(edit.key)
        above.add(fingerprint(structure))
    return frozenset(found)


def _weighed(
    parent: Parent, found: list[Edit], failed: frozenset[str], brief: Brief, less: float
) -> list[tuple[float, Edit]]:
    """Edits of one parent with their plausibility.

    A bad parent has more and larger findings than a good one, which is no reason to edit it rather
    than the good one: what the findings say is taken relative to the parent's own largest.
    """
    said = [evidence(edit, parent) for edit in found]
    most = max([*said, 1e-9])
    early = _SCATTER_LATER * (brief.round <= _MECHANISMS_UNTIL)
    return [
        (
            edit.weight
            + _EVIDENCE * max(amount, 0.0) / most
            - less
            - early * (edit.kind == "scatter")
            - _FAILED * (edit.key in failed),
            edit,
        )
        for edit, amount in zip(found, said, strict=True)
    ]


def _pairs(
    single: list[tuple[float, Edit]], parent: Parent, context: Context, brief: Brief
) -> list[_Option]:
    best = sorted(single, key=lambda item: (-item[0], _tie(item[1].key, brief)))[:_PAIRED]
    found = []
    for position, (weight, edit) in enumerate(best):
        later = {e.key: e for e in edits(edit.structure, context)}
        for other_weight, other in best[position + 1 :]:
            if other.kind != edit.kind and other.key in later:
                total = (weight + other_weight) / 2 - _PAIR
                found.append(_option((edit, later[other.key]), total, parent))
    return found


def _option(chain: tuple[Edit, ...], weight: float, parent: Parent) -> _Option:
    structure = chain[-1].structure
    why = f"candidate {parent.id}, but " + " and ".join(edit.words for edit in chain)
    kinds = frozenset(edit.kind for edit in chain)
    return _Option(structure, kinds, weight, why, parent.id, fingerprint(structure))


def _choose(options: list[_Option], tried: set[str], count: int, brief: Brief) -> list[_Option]:
    """Greedy: the most plausible one, then the next that is of another kind, and so on."""
    unique: dict[str, _Option] = {}
    for option in options:
        known = unique.get(option.fingerprint)
        if option.fingerprint not in tried and (known is None or option.weight > known.weight):
            unique[option.fingerprint] = option
    left, used, chosen = list(unique.values()), dict[str, int](), []

    def worth(option: _Option) -> float:
        repeated = [min(used.get(kind, 0), 2) for kind in option.kinds]
        less = _REPEATED * sum(repeated) / max(len(repeated), 1)
        return option.weight - less + _PAIR_TURN * (len(chosen) % 2) * (len(repeated) == 2)

    while left and len(chosen) < count:
        best = min(left, key=lambda option: (-worth(option), _tie(option.fingerprint, brief)))
        left.remove(best)
        chosen.append(best)
        for kind in best.kinds:
            used[kind] = used.get(kind, 0) + 1
    return chosen


def _tie(text: str, brief: Brief) -> str:
    return hashlib.blake2b(f"{brief.seed}/{brief.round}/{text}".encode(), digest_size=8).hexdigest()


def _proposal(option: _Option, brief: Brief) -> Proposal:
    scales = Scales.read(brief.schema, brief.profile, option.structure.whole)
    return Proposal(
        source=render(option.structure, brief.schema, scales),
        title=title(option.structure),
        structure=option.structure.to_json(),
        fingerprint=option.fingerprint,
        parent=option.parent,
        rationale=option.why,
    )
