"""The proposer that asks a language model: parallel requests, repair, a record of every word."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gsim_jax.propose.brief import Brief, Proposal
from gsim_jax.propose.budget import Budget
from gsim_jax.propose.chat_loop import Background
from gsim_jax.propose.chat_options import ChatOptions, Key, key_from_environment
from gsim_jax.propose.chat_record import ChatRecord, Place, Reply, digest
from gsim_jax.propose.conversing import Spent
from gsim_jax.propose.parse import Answer, fingerprint, read_answer
from gsim_jax.propose.prompt import Message, Prompts, version
from gsim_jax.propose.transport import HttpTransport, Transport
from gsim_jax.task import InputError, Problem

Listener = Callable[[dict[str, Any]], None]

#: Characters of a model's own reply that a repair conversation carries.
CARRIED = 60_000
#: Codes of problems that mean "there was no program in the answer".
UNUSABLE = frozenset(
    {
        "empty-reply", "wrong-shape", "reply-too-long", "not-utf8", "refusal", "cut-off", "no-code",
        "several-programs",
    }
)  # fmt: skip

#: Codes of "not asked", and why.
ENDS = {
    "tokens": "the budget of tokens is spent",
    "money": "the budget of money is spent",
    "recording": "the recording holds no reply to it",
}


class ChatProposer:
    """Asks a language model over the OpenAI chat protocol.

    All proposals of a round are asked for side by side, each in a conversation of its own: an
    answer without a usable program goes back with what is wrong with it, and so does, through
    `repair`, a program that the search refuses.
    """

    name = "chat"

    def __init__(
        self,
        options: ChatOptions,
        key: Key | None = None,
        *,
        transport: Transport | None = None,
        strict: bool = False,
    ) -> None:
        """Prepares; nothing is sent before the first proposal.

        Args:
            options: How the model is reached and asked.
            key: By default the one in `OPENAI_API_KEY`.
            transport: Who answers; by default the server of the options.
            strict: Whether a recorded request that differs from today's is an error.
        """
        self.options, self.strict = options, strict
        if transport is None:
            transport = HttpTransport(options, key or key_from_environment(options.base_url))
        self.transport = transport
        self._prompts = Prompts(options.prompt_tokens)
        self._background = Background()
        self._budget = Budget(options)
        self._record: ChatRecord | None = None
        self._deadline: float | None = None
        self._listener: Listener = lambda event: None
        self._lock = threading.Lock()

    def settings(self) -> dict[str, Any]:
        """Options, without a key."""
        return {**self.options.to_json(), "prompt_version": version()}

    def attach(
        self, folder: Path, *, deadline: float | None = None, listener: Listener | None = None
    ) -> None:
        """Says where the conversation is kept; see `Conversing.attach`."""
        self._record = ChatRecord(folder)
        self._record.store_options(self.settings())
        self._background = Background()
        self._deadline = deadline
        self._listener = listener or self._listener
        self._budget = Budget(self.options)
        for reply in self._record.replies():
            self._budget.add(reply)

    def spent(self) -> Mapping[str, float]:
        """Requests, tokens and money so far."""
        return self._budget.spent()

    def close(self) -> None:
        """Ends what is under way; what has arrived is on disk."""
        self._background.close(self.transport.close)

    def propose(self, brief: Brief, count: int) -> list[Proposal]:
        """Asks for `count` programs, side by side.

        Args:
            brief: What is known so far.
            count: How many.

        Returns:
            One proposal per slot. A slot without a program has `problems`.

        Raises:
            Spent: A budget was spent before anything was asked, or time ran out.
            Unreachable: The server did not answer; what arrived is kept.
        """
        starts = [
            lambda slot=slot: self._first(brief, slot, count)  # one coroutine per slot
            for slot in range(count)
        ]
        found = self._background.gather(starts)
        reasons = [p.problems[0].code if p.problems else "" for p in found]
        if all(reason in ENDS for reason in reasons):
            raise Spent(reasons[0])
        return _without_repeats(found)

    def repair(
        self, brief: Brief, slot: int, proposal: Proposal, problems: Sequence[Problem]
    ) -> Proposal | None:
        """Sends a refused file back; None where it has gone back often enough or a budget is spent.

        Raises:
            Spent: Time ran out.
            Unreachable: The server did not answer.
        """
        if proposal.problems or proposal.attempt >= self.options.repairs:
            return None
        returned = (*proposal.returned, tuple(problems))
        (found,) = self._background.gather(
            [lambda: self._again(brief, slot, proposal, tuple(problems), returned)]
        )
        if found.problems and found.problems[0].code in ENDS:
            return None
        return found

    async def _first(self, brief: Brief, slot: int, count: int) -> Proposal:
        messages = self._prompts.ask(brief, slot, count)
        purpose = "refine" if brief.parents else "propose"
        place = Place(brief.round, slot, 0)
        return await self._converse(brief, place, messages, purpose, count, ())

    async def _again(
        self,
        brief: Brief,
        slot: int,
        proposal: Proposal,
        problems: tuple[Problem, ...],
        returned: tuple[tuple[Problem, ...], ...],
    ) -> Proposal:
        place = Place(brief.round, slot, proposal.attempt)
        asked = self._kept.request(place)
        reply = self._kept.reply(place)
        if asked is None or reply is None:
            text = f"expected the recorded request and reply of {place}: they are gone"
            raise InputError(Problem("damaged-record", text, file=str(self._kept.folder)))
        messages = self._sent_back(
            asked["body"]["messages"], reply, place, problems, proposal.source
        )
        following = Place(place.round, slot, place.attempt + 1)
        temperature = asked["body"].get("temperature")
        return await self._converse(
            brief, following, messages, "repair", None, returned, temperature=temperature
        )

    async def _converse(
        self,
        brief: Brief,
        place: Place,
        messages: list[Message],
        purpose: str,
        count: int | None,
        returned: tuple[tuple[Problem, ...], ...],
        temperature: float | None = None,
    ) -> Proposal:
        """Asks, and asks again while the answers hold no program; a proposal in any case."""
        if count is not None:
            temperature = self.options.at(place.slot, count)
        while True:
            body = self._body(messages, temperature)
            try:
                reply = await self._ask(place, body, purpose)
            except Spent as spent:
                if spent.reason == "seconds":
                    raise
                return _nothing(place, (_unasked(spent.reason),), returned)
            found = read_answer(reply, {parent.id for parent in brief.parents})
            if isinstance(found, Answer):
                mark = fingerprint(found.source)
                if mark not in brief.tried:
                    return _proposal(found, mark, brief, place, returned)
                found = _repeated(mark, brief)
            if place.attempt >= self.options.repairs:
                return _nothing(place, (found,), returned)
            self._tell(place, "sent back", note=str(found))
            returned = (*returned, (found,))
            messages = self._sent_back(messages, reply, place, (found,), "")
            place, purpose = replace(place, attempt=place.attempt + 1), "repair"

    def _sent_back(
        self,
        messages: Sequence[Message],
        reply: Reply,
        place: Place,
        problems: tuple[Problem, ...],
        source: str,
    ) -> list[Message]:
        """The first two messages, the last answer, and what is wrong with it."""
        asked = list(messages[:2])
        if reply.content.strip() and not reply.fault:
            asked.append({"role": "assistant", "content": reply.content[:CARRIED]})
        repair = self._prompts.repair(
            problems, source, place.attempt + 1, self.options.repairs, bool(source)
        )
        return [*asked, repair]

    def _body(self, messages: list[Message], temperature: float | None) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.options.model, "messages": messages}
        body |= self.options.extra
        if temperature is not None:
            body["temperature"] = temperature
        if self.options.max_tokens is not None:
            # OpenAI's own server has renamed the field; most others know the old name only.
            hosted = self.options.host.endswith("api.openai.com/v1")
            body["max_completion_tokens" if hosted else "max_tokens"] = self.options.max_tokens
        return body

    async def _ask(self, place: Place, body: dict[str, Any], purpose: str) -> Reply:
        """The recorded reply where there is one, else a new one, which is recorded."""
        record = self._kept
        known = record.reply(place)
        if known is not None:
            self._compare(place, record.request(place), body)
            self._tell(place, "answered")
            return known
        self._budget.demand()
        record.store_request(place, body, purpose, version())
        self._tell(place, "asking")
        reply = await self.transport.send(
            place, body, self._deadline, lambda words: self._tell(place, "asking again", note=words)
        )
        record.store_reply(place, body, reply)
        self._budget.add(reply)
        self._tell(place, "answered")
        return reply

    def _compare(self, place: Place, asked: Mapping[str, Any] | None, body: dict[str, Any]) -> None:
        """A resumed run asks what it asked before; if not, its reply is used all the same."""
        if asked is not None and asked["digest"] != digest(body):
            self.differs(place)

    def differs(self, place: Place) -> None:
        """Tells that today's request is not the recorded one.

        Raises:
            InputError: With `strict`.
        """
        text = (
            f"the request of {place} differs from the recorded one; its reply is used all the same"
        )
        if self.strict:
            text = f"the request of {place} differs from the recorded one (--strict)"
            raise InputError(Problem("request-differs", text))
        self._send({"event": "warning", "round": place.round, "slot": place.slot,
                    "attempt": place.attempt, "message": text})  # fmt: skip

    @property
    def _kept(self) -> ChatRecord:
        if self._record is None:
            raise RuntimeError("attach(folder) comes before the first question")
        return self._record

    def _tell(self, place: Place, state: str, note: str = "") -> None:
        event = {"event": "chat", "round": place.round, "slot": place.slot,
                 "attempt": place.attempt, "state": state, "spent": dict(self.spent())}  # fmt: skip
        self._send(event | ({"note": note} if note else {}))

    def _send(self, event: dict[str, Any]) -> None:
        with self._lock:
            self._listener(event)


def _proposal(
    answer: Answer,
    mark: str,
    brief: Brief,
    place: Place,
    returned: tuple[tuple[Problem, ...], ...],
) -> Proposal:
    parent = answer.based
    if not answer.said and brief.parents:
        parent = brief.parents[0].id  # the best is what most programs start from
    return Proposal(
        source=answer.source,
        title=answer.title,
        structure=None,
        fingerprint=mark,
        parent=parent,
        rationale=answer.reflection,
        attempt=place.attempt,
        returned=returned,
    )


def _repeated(mark: str, brief: Brief) -> Problem:
    """Which program it repeats, where that is one of those shown."""
    same = [parent.id for parent in brief.parents if fingerprint(parent.source) == mark]
    what = f"candidate {same[0]}" if same else "a program of an earlier round"
    text = f"this is {what} again, but for comments and spaces: change its structure"
    return Problem("repeated", text)


def _unasked(reason: str) -> Problem:
    return Problem(reason, f"not asked: {ENDS.get(reason, reason)}")


def _nothing(
    place: Place, problems: tuple[Problem, ...], returned: tuple[tuple[Problem, ...], ...]
) -> Proposal:
    """A slot that ended without a program."""
    return Proposal(
        source="",
        title="no program",
        structure=None,
        fingerprint=f"none-{place.stem}",
        parent=None,
        rationale="",
        attempt=place.attempt,
        problems=problems,
        returned=returned,
    )


def _without_repeats(found: list[Proposal]) -> list[Proposal]:
    """Of equal programs in one round the first is tried, whoever answered first."""
    seen: dict[str, int] = {}
    kept = []
    for slot, proposal in enumerate(found):
        if not proposal.problems and proposal.fingerprint in seen:
            text = f"the same program as proposal {seen[proposal.fingerprint] + 1} of this round"
            proposal = replace(
                proposal,
                problems=(Problem("repeated", text),),
                fingerprint=f"{proposal.fingerprint}-{slot}",
            )
        else:
            seen.setdefault(proposal.fingerprint, slot)
        kept.append(proposal)
    return kept
