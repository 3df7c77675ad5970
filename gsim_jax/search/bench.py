"""One slot of a round: a proposal is built, sent back when it is refused, and stored either way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from gsim_jax.propose import Brief, Conversing, Proposal, Proposer, Spent
from gsim_jax.search.candidate import Setting, build_candidate
from gsim_jax.search.record import RunRecord, Stored
from gsim_jax.task import Problem, SimulatorError


class Bench:
    """Where the proposals of one round are worked on, several at once."""

    def __init__(
        self,
        setting: Setting,
        record: RunRecord,
        proposer: Proposer,
        brief: Brief,
        ranked: Sequence[Stored],
        tell: Callable[[dict[str, Any]], None],
        workers: int,
    ) -> None:
        """Prepares a round.

        Args:
            setting: what is equal for all candidates.
            record: where results go.
            proposer: asked again where it can be.
            brief: what the proposals answer.
            ranked: candidates so far, for warm starts.
            tell: told progress.
            workers: candidates that are built at once; waiting for a reply does not count.
        """
        self._setting, self._record = setting, record
        self._proposer, self._brief = proposer, brief
        self._by_id = {candidate.id: candidate for candidate in ranked}
        self._tell = tell
        self._seats = threading.Semaphore(workers)

    def settle(self, number: int, slot: int, proposal: Proposal) -> None:
        """Makes a candidate or a failure of a proposal and stores it.

        Nothing is stored where time runs out before the proposal could be mended.

        Args:
            number: of the candidate.
            slot: of the round.
            proposal: the first attempt.
        """
        place = {"id": number, "round": self._brief.round, "slot": slot}
        while True:
            with self._seats:
                problems = proposal.problems or self._build(place, proposal)
            if not problems:
                return
            try:
                again = self._repaired(slot, proposal, problems)
            except Spent:
                return
            if again is None:
                found = [problem.to_json() for problem in problems]
                self._record.store_failure(number, _kept(proposal), proposal.source, found)
                return
            proposal = again

    def _repaired(
        self, slot: int, proposal: Proposal, problems: Sequence[Problem]
    ) -> Proposal | None:
        if not isinstance(self._proposer, Conversing):
            return None
        return self._proposer.repair(self._brief, slot, proposal, problems)

    def _build(self, place: dict[str, int], proposal: Proposal) -> tuple[Problem, ...]:
        """Why the proposal is refused; () where it became a candidate."""
        shown = {"event": "progress", "title": proposal.title, **place}

        def stage(name: str, fraction: float) -> None:
            self._tell({**shown, "stage": name, "fraction": fraction})

        parent = self._by_id.get(-1 if proposal.parent is None else proposal.parent)
        warm = parent.diagnosis["parameters"] if parent else {}
        try:
            built = build_candidate(self._setting, proposal, dict(warm), stage)
        except SimulatorError as error:
            return error.problems
        diagnosis = {
            **place,
            "parent": proposal.parent,
            "title": proposal.title,
            "rationale": proposal.rationale,
            **built.diagnosis,
        }
        self._record.store(
            place["id"],
            source=proposal.source,
            program=built.program.to_bytes(),
            proposal=_kept(proposal),
            calibration=built.calibration,
            labels=built.program.parameters.labels,
            contributions=built.contributions,
            diagnosis=diagnosis,
            bands=built.bands,
        )
        return ()


def _kept(proposal: Proposal) -> dict[str, Any]:
    kept: dict[str, Any] = {
        "title": proposal.title,
        "fingerprint": proposal.fingerprint,
        "structure": proposal.structure,
        "parent": proposal.parent,
        "rationale": proposal.rationale,
    }
    if proposal.returned:
        kept["returned"] = [
            [problem.to_json() for problem in problems] for problems in proposal.returned
        ]
    return kept
