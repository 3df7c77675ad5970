"""Plays a recorded conversation back: offline, by round, slot and attempt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gsim_jax.propose.chat import ChatProposer
from gsim_jax.propose.chat_options import ChatOptions
from gsim_jax.propose.chat_record import ChatRecord, Place, Reply, digest
from gsim_jax.propose.conversing import Spent
from gsim_jax.propose.transport import Notice
from gsim_jax.task import InputError, Problem


class ReplayProposer(ChatProposer):
    """A chat whose replies come from a record; everything else is the same."""

    name = "replay"

    def __init__(self, folder: Path, *, strict: bool = False) -> None:
        """Opens a recorded conversation.

        Args:
            folder: A run folder, or one that holds a copied `chat/`, or that `chat/` itself.
            strict: Whether a request that differs from the recorded one is an error.

        Attributes `rounds` and `proposals` say how long and how wide the recording is.

        Raises:
            InputError: There is no conversation in the folder.
        """
        self.source = find_conversation(folder)
        recording = Recording(ChatRecord(self.source))
        super().__init__(recording.options(), transport=recording, strict=strict)
        recording.differs, recording.strict = self.differs, strict
        self.rounds = 1 + max(place.round for place in recording.places)
        self.proposals = 1 + max(place.slot for place in recording.places)

    def settings(self) -> dict[str, Any]:
        """Where the conversation is, and the options that it was held with."""
        return {**super().settings(), "replay": str(self.source.resolve()), "strict": self.strict}


class Recording:
    """A `Transport` that reads."""

    def __init__(self, record: ChatRecord) -> None:
        """Reads from a record."""
        self.record = record
        self.places = record.places()
        self.differs: Any = lambda place: None
        self.strict = False

    def options(self) -> ChatOptions:
        """Options under which the recorded requests come about again, without budgets."""
        first = (self.record.request(self.places[0]) or {}) if self.places else {}
        kept = {"model": first.get("body", {}).get("model") or "recorded", **self.record.options()}
        return ChatOptions.from_json({**kept, "tokens": None, "money": None})

    async def send(
        self, place: Place, body: Mapping[str, Any], deadline: float | None, notice: Notice
    ) -> Reply:
        """The recorded reply.

        Raises:
            Spent: The recording ends before this request; reason "recording".
            InputError: It does, with `strict`.
        """
        reply = self.record.reply(place)
        if reply is None:
            if self.strict:
                text = f"the recording has no reply to the request of {place} (--strict)"
                raise InputError(Problem("not-recorded", text, file=str(self.record.folder)))
            raise Spent("recording")
        asked = self.record.request(place)
        if asked is not None and asked["digest"] != digest(body):
            self.differs(place)
        return reply

    async def close(self) -> None:
        """Nothing is open."""


def find_conversation(folder: Path) -> Path:
    """The folder with the requests: `folder` itself or its `chat/`.

    Raises:
        InputError: Neither holds a recorded reply.
    """
    for candidate in (folder / "chat", folder):
        if any(candidate.glob("r*.reply.json")):
            return candidate
    text = f"expected a run folder or a recording with chat/r*.reply.json; {folder} has none"
    raise InputError(Problem("no-recording", text, file=str(folder)))
