"""The conversation on disk: every request and every reply, numbered by round, slot and attempt.

A request is written before it is sent, a reply as soon as all of it has arrived, each in one
rename. What has a reply here is never asked again, in this run or in one that resumes it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gsim_jax.task import InputError, Problem

SCHEMA = 1
#: File beside the requests that says how they were made.
OPTIONS = "options.json"


@dataclass(frozen=True, order=True)
class Place:
    """Where a request stands: all numbers from 0.

    Attributes:
        round: Round of the search.
        slot: Proposal of the round.
        attempt: 0 for the first answer, then how often it went back.
    """

    round: int
    slot: int
    attempt: int

    @property
    def stem(self) -> str:
        """``r002-s01-a0``: sorts as the conversation went."""
        return f"r{self.round:03d}-s{self.slot:02d}-a{self.attempt}"

    def __str__(self) -> str:
        """Words for messages."""
        return f"round {self.round}, slot {self.slot}, attempt {self.attempt}"


@dataclass(frozen=True)
class Reply:
    """What a server answered.

    Attributes:
        content: Text of the assistant's message, "" where there is none.
        finish: Why it ended: "stop", "length", "content_filter", ...
        refusal: The model's own words where it refuses.
        prompt_tokens: Counted by the server, else a quarter of the characters.
        completion_tokens: Likewise.
        counted: Whether the server counted them.
        fault: What is wrong with the reply as a whole: "empty", "shape", "too-long", "encoding".
        model: The model that answered.
        tries: How often the request was sent until a reply arrived.
        seconds: How long that took; for people only.
    """

    content: str
    finish: str = ""
    refusal: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    counted: bool = False
    fault: str = ""
    model: str = ""
    tries: int = field(default=1, compare=False)
    seconds: float = field(default=0.0, compare=False)


def digest(body: Mapping[str, Any]) -> str:
    """16 hex digits of a request: equal requests, equal digests."""
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


class ChatRecord:
    """A folder of requests and replies.

    Attributes:
        folder: Where it lies; made with the first request.
    """

    def __init__(self, folder: Path) -> None:
        """Opens a folder, which need not exist yet."""
        self.folder = folder

    def request(self, place: Place) -> dict[str, Any] | None:
        """A recorded request: its `body`, `digest`, `purpose` and `prompt_version`."""
        return _read(self.folder / f"{place.stem}.request.json")

    def reply(self, place: Place) -> Reply | None:
        """A recorded reply, None where none has arrived in full."""
        found = _read(self.folder / f"{place.stem}.reply.json")
        if found is None:
            return None
        try:
            return Reply(**found["reply"])
        except (KeyError, TypeError) as error:
            path = self.folder / f"{place.stem}.reply.json"
            text = f"expected a recorded reply: {error}"
            raise InputError(Problem("damaged-record", text, file=str(path))) from error

    def store_request(
        self, place: Place, body: Mapping[str, Any], purpose: str, version: str
    ) -> None:
        """Keeps what is about to be sent."""
        content = {
            "schema": SCHEMA,
            **asdict(place),
            "purpose": purpose,
            "prompt_version": version,
            "digest": digest(body),
            "body": body,
        }
        self._write(f"{place.stem}.request.json", content)

    def store_reply(self, place: Place, body: Mapping[str, Any], reply: Reply) -> None:
        """Keeps what has arrived."""
        content = {
            "schema": SCHEMA,
            **asdict(place),
            "request": digest(body),
            "reply": asdict(reply),
        }
        self._write(f"{place.stem}.reply.json", content)

    def store_options(self, settings: Mapping[str, Any]) -> None:
        """Keeps how the conversation is held, once: a resumed run does not change it."""
        if not (self.folder / OPTIONS).is_file():
            self._write(OPTIONS, {"schema": SCHEMA, **settings})

    def options(self) -> dict[str, Any]:
        """What `store_options` kept, {} where it kept nothing."""
        return _read(self.folder / OPTIONS) or {}

    def replies(self) -> Iterator[Reply]:
        """All replies that have arrived."""
        for path in sorted(self.folder.glob("r*.reply.json")):
            found = _read(path)
            if found is not None:
                yield Reply(**found["reply"])

    def places(self) -> list[Place]:
        """Places of all recorded requests, in order."""
        found = []
        for path in self.folder.glob("r*.request.json"):
            content = _read(path) or {}
            found.append(Place(content["round"], content["slot"], content["attempt"]))
        return sorted(found)

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / name
        temporary = path.with_name(name + ".tmp")
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        # A model may send half of a surrogate pair, which UTF-8 has no bytes for.
        with temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        text = f"expected JSON in UTF-8: {error}"
        raise InputError(Problem("damaged-record", text, file=str(path))) from error
