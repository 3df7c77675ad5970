"""A run in a process of its own that is killed at a named instant.

    python -m tests.search.victim TASK OUT INSTANT

starts or continues the run in OUT. SIGKILL leaves no time for anything: what is in the folder at
that instant is all that a resumed run finds.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gsim_jax.search import record as records
from gsim_jax.search import resume, run
from tests.search.town import LIMITS, SEED, Town, make_small


def die() -> None:
    """Ends this process at once."""
    os.kill(os.getpid(), signal.SIGKILL)


def while_configuring() -> None:
    """With half of run.json under its temporary name."""

    def write(path: Path, content: Any) -> None:
        path.with_name(path.name + ".tmp").write_text('{"schema": 1, "ta', encoding="utf-8")
        die()

    records.write_json = write


def while_writing(number: int) -> None:
    """With half of the candidate's files written."""
    real = records.write_json

    def write(path: Path, content: Any) -> None:
        if path.name == "diagnosis.json" and path.parent.name.endswith(f"{number:03d}"):
            path.write_text('{"id": ', encoding="utf-8")
            die()
        real(path, content)

    records.write_json = write


def around_the_rename(number: int, before: bool) -> None:
    """With all of its files written, before or after the candidate appears."""
    real = records.RunRecord._finish

    def finish(self: records.RunRecord, part: Path, at: int) -> None:
        if at == number and before:
            die()
        real(self, part, at)
        if at == number:
            die()

    records.RunRecord._finish = finish


def while_appending(kind: str, round_: int) -> None:
    """With half of an event's line on the disk."""
    real = records.RunRecord.append

    def append(self: records.RunRecord, event: Any) -> Any:
        if event["event"] == kind and event.get("round", 0) == round_:
            line = records._dump({"n": len(self.events()), **event})
            with (self.directory / "events.jsonl").open("a", encoding="utf-8") as file:
                file.write(line[: len(line) // 2])
            die()
        return real(self, event)

    records.RunRecord.append = append


def when(holds: Callable[[dict[str, Any]], bool]) -> Callable[[dict[str, Any]], None]:
    """A listener that dies as soon as it is told such an event."""
    return lambda event: die() if holds(event) else None


def working_on(number: int, stage: str) -> Callable[[dict[str, Any]], None]:
    """In the middle of a stage of a candidate."""
    return when(
        lambda e: (
            (e["event"], e.get("id"), e.get("stage")) == ("progress", number, stage)
            and (stage != "calibrate" or e["fraction"] > 0.4)
        )
    )


def after(kind: str, round_: int) -> Callable[[dict[str, Any]], None]:
    """Right after an event was written."""
    return when(lambda e: e["event"] == kind and e.get("round", 0) == round_)


#: What each instant changes; what it returns, if anything, listens to the run.
INSTANTS: dict[str, Callable[[], Any]] = {
    "configuring": while_configuring,
    "after the start": lambda: after("start", 0),
    "calibrating the first": lambda: working_on(0, "calibrate"),
    "writing the first": lambda: while_writing(0),
    "before the third appears": lambda: around_the_rename(2, before=True),
    "storing the failure": lambda: around_the_rename(1, before=False),
    "half of a candidate's event": lambda: while_appending("candidate", 0),
    "half of a round's event": lambda: while_appending("round", 0),
    "diagnosing the last": lambda: working_on(3, "diagnose"),
    "after the last appears": lambda: around_the_rename(3, before=False),
    "before the end": lambda: after("stop", 0),
}


def main() -> None:
    """Runs until the instant."""
    task, out, instant = sys.argv[1:]
    make_small(setattr)
    listener = INSTANTS[instant]()
    if (Path(out) / "run.json").is_file():
        resume(out, proposer=Town(), listener=listener)
    else:
        run(task, proposer=Town(), seed=SEED, out=out, listener=listener, **LIMITS)


if __name__ == "__main__":
    main()
