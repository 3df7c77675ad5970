"""Watch a search: a table that fills in on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gsim_jax.report.record import problem_words
from gsim_jax.report.tables import table
from gsim_jax.report.words import gap_words, number, stop_words

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
STAGES = {"check": "checking", "calibrate": "calibrating", "diagnose": "diagnosing"}
TALK = {"asking": "asking the model", "asking again": "asking the model again",
        "answered": "answered", "sent back": "sent back to the model"}  # fmt: skip


@dataclass
class Row:
    """One proposal as it goes through the stages."""

    title: str = ""
    stage: str = ""
    fraction: float = 0.0
    found: Mapping[str, Any] | None = None
    failure: str | None = None


@dataclass
class View:
    """What is known from the events so far; drawing it changes nothing.

    Attributes:
        rows: Proposals by (round, slot).
        round: The round that is running.
        best: Number of the best candidate after the last finished round.
        stopped: Why the search stopped.
        spent: Tokens and money of a conversation.
    """

    rows: dict[tuple[int, int], Row] = field(default_factory=dict)
    round: int = 0
    best: int | None = None
    stopped: str | None = None
    spent: Mapping[str, float] | None = None

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take one event in.

        Args:
            event: A line of ``events.jsonl`` or a ``progress`` event; kinds that are not shown
                are left alone.
        """
        kind = event["event"]
        if kind in ("progress", "candidate", "failure") and event.get("slot") is not None:
            self.round = int(event["round"])
            row = self.rows.setdefault((self.round, int(event["slot"])), Row())
            row.title = str(event.get("title") or row.title)
            if kind == "progress":
                row.stage = str(event["stage"])
                row.fraction = float(event.get("fraction") or 0.0)
            elif kind == "candidate":
                row.found = event
            else:
                problems = [problem_words(problem) for problem in event.get("problems", ())]
                row.failure = problems[0] if problems else "no reason given"
        elif kind == "chat":
            self.round = int(event["round"])
            row = self.rows.setdefault((self.round, int(event["slot"])), Row())
            row.stage, row.fraction = TALK.get(str(event["state"]), ""), 0.0
            self.spent = event.get("spent") or self.spent
        elif kind in ("round", "end"):
            self.best = event.get("best", self.best)
        elif kind == "stop":
            self.stopped = stop_words(event.get("reason"))

    def draw(self, seconds: float, height: int) -> RenderableType:
        """The view as it is now.

        Args:
            seconds: Elapsed.
            height: Lines that there are; older proposals give way.

        Returns:
            Something rich can print.
        """
        made = table("round", "structure", "score", "floor", "gap ± SE",
                     numeric=("round", "score", "floor", "gap ± SE"))  # fmt: skip
        shown = sorted(self.rows.items())[-max(height - 6, 3) :]
        for (number_, _), row in shown:
            self._add(made, number_, row, FRAMES[int(seconds * 8) % len(FRAMES)])
        done = sum(row.found is not None for row in self.rows.values())
        failed = sum(row.failure is not None for row in self.rows.values())
        line = f"round {self.round} · {done} candidate{'' if done == 1 else 's'}"
        line += f" · {failed} failed" if failed else ""
        line += f" · best {self.best}" if self.best is not None else ""
        line += f" · {spent_words(self.spent)}" if self.spent else ""
        line += f" · {clock(seconds)}"
        line += f" · stopped: {self.stopped}" if self.stopped else ""
        return Group(made, Text(), Text(line, style="dim"))

    def _add(self, made: Table, round_: int, row: Row, mark: str) -> None:
        if row.found is not None:
            found = row.found
            won = found.get("id") == self.best and self.best is not None
            title = row.title + (" (adequate)" if found.get("adequate") else "")
            made.add_row(
                str(round_),
                Text(title),
                number(found.get("score"), 4),
                number(found.get("floor"), 4),
                gap_words(found.get("gap"), found.get("gap_se")),
                style="bold green" if won else "",
            )
        elif row.failure is not None:
            title = Text(f"{row.title or 'proposal'} failed: {row.failure}", style="red")
            made.add_row(str(round_), title, "", "", "")
        else:
            words = f"{mark} {row.title or 'proposal'}  {STAGES.get(row.stage, row.stage)}"
            bar = ProgressBar(total=1.0, completed=row.fraction, width=12)
            made.add_row(str(round_), Text(words, style="cyan"), bar, "", "")


class Watch:
    """Context manager whose :meth:`listen` is the listener of a search."""

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        """Shows on ``console``; ``now`` is a clock in seconds."""
        self.view = View()
        self.failures: list[Mapping[str, Any]] = []
        self._console = console
        self._now = now
        self._start = now()
        self._live: Live | None = None
        self._lock = threading.Lock()  # the table is drawn in a thread of its own

    def __enter__(self) -> Self:
        """Starts the table where there is a terminal to draw on."""
        self._start = self._now()
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self._draw,
                console=self._console,
                refresh_per_second=8,
                transient=True,  # the result shows the same table, complete
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def listen(self, event: Mapping[str, Any]) -> None:
        """Take an event of the search in and show it.

        Args:
            event: A line of ``events.jsonl`` or a ``progress`` event.
        """
        with self._lock:
            self.view.apply(event)
        if event["event"] == "failure":
            self.failures.append(event)
        if self._live is None:
            words = line(event)
            if words:
                elapsed = clock(self._now() - self._start)
                self._console.print(
                    f"{elapsed}  {words}", markup=False, highlight=False, soft_wrap=True
                )

    def _draw(self) -> RenderableType:
        with self._lock:
            return self.view.draw(self._now() - self._start, self._console.height)


def line(event: Mapping[str, Any]) -> str | None:
    """One event as a plain line; ``None`` for those too frequent for a log.

    Args:
        event: A line of ``events.jsonl`` or a ``progress`` event.

    Returns:
        Words, without a line end.
    """
    kind = event["event"]
    where = f"round {event.get('round')}"
    if kind == "candidate":
        fine = ", adequate" if event.get("adequate") else ""
        return (
            f"{where}  candidate {event['id']}: {event['title']}: score "
            f"{number(event.get('score'), 4)}, floor {number(event.get('floor'), 4)}, gap "
            f"{gap_words(event.get('gap'), event.get('gap_se'))}{fine}"
        )
    if kind == "failure":
        problems = [problem_words(problem) for problem in event.get("problems", ())]
        reason = problems[0] if problems else "no reason given"
        return f"{where}  {event.get('title') or 'a proposal'} failed: {reason}"
    if kind == "chat":
        return _talk(event, where)
    if kind == "warning":
        return f"warning: {event['message']}"
    if kind == "round":
        return f"{where}  finished, best candidate {event.get('best')}"
    if kind == "stop":
        return f"stopped: {stop_words(event.get('reason'))}"
    return None


def _talk(event: Mapping[str, Any], where: str) -> str | None:
    """A question, and what went wrong with one; answers are too frequent for a log."""
    state, attempt = str(event["state"]), int(event.get("attempt") or 0)
    what = f"{where}  proposal {int(event['slot']) + 1}"
    if state == "asking":
        return f"{what}: {TALK[state]}" + (f", repair {attempt}" if attempt else "")
    if state in ("asking again", "sent back"):
        return f"{what}: {TALK[state]}: {event.get('note', '')}"
    return None


def spent_words(spent: Mapping[str, float]) -> str:
    """``12 requests, 84,310 tokens, cost 0.42``; a cost only where there is a price."""
    requests, tokens = int(spent["requests"]), int(spent["tokens"])
    words = f"{requests} request{'' if requests == 1 else 's'}, {tokens:,} tokens"
    words += " (estimated)" if spent.get("estimated") else ""
    return words + (f", cost {spent['money']:,.4g}" if spent.get("money") else "")


def clock(seconds: float) -> str:
    """``2:05``."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
