"""Proposers that talk to somebody: the contract between a conversation and the search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from gsim_jax.propose.brief import Brief, Proposal, Proposer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gsim_jax.task import Problem


class Spent(Exception):
    """A budget of the proposer is spent: the search ends with what it has.

    Attributes:
        reason: ``'tokens'``, ``'money'`` or ``'seconds'``.
    """

    def __init__(self, reason: str) -> None:
        """Keeps the reason."""
        self.reason = reason
        super().__init__(reason)


@runtime_checkable
class Conversing(Proposer, Protocol):
    """A proposer that talks to somebody: it keeps a record, can be sent back, and has a budget."""

    def settings(self) -> dict[str, Any]:
        """What is needed to make it again, as JSON; never a key."""
        ...

    def attach(
        self,
        folder: Path,
        *,
        deadline: float | None = None,
        listener: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        """Says where the conversation is kept, before anything is asked.

        Args:
            folder: A folder of its own; what is recorded there is not asked again.
            deadline: On the clock of `time.monotonic`; after it nothing is asked.
            listener: Told progress and warnings.
        """
        ...

    def repair(
        self, brief: Brief, slot: int, proposal: Proposal, problems: Sequence[Problem]
    ) -> Proposal | None:
        """Sends a refused file back with its problems.

        Args:
            brief: The brief that the proposal answered.
            slot: Its place among the proposals of the round.
            proposal: What was refused.
            problems: Why.

        Returns:
            The next attempt, ``None`` where there is none left.
        """
        ...

    def spent(self) -> Mapping[str, float]:
        """Requests, tokens and money so far."""
        ...

    def close(self) -> None:
        """Ends what is under way; what has arrived is kept."""
        ...
