"""The search: rounds of proposals, each checked, calibrated and diagnosed, until one is adequate.

Everything follows from the seed. What is decided never depends on a clock; a time budget only
stops. Every finished candidate is read back from the record before it is used, so that a resumed
run sees the very numbers that the uninterrupted run would have seen.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gsim_jax.calibrate import Calibrator, Evolution, increment_scale, settings_for
from gsim_jax.propose import Brief, Conversing, Proposal, Proposer, Spent
from gsim_jax.search import archive
from gsim_jax.search.bench import Bench
from gsim_jax.search.candidate import Setting
from gsim_jax.search.known import known_calibrator, known_proposer
from gsim_jax.search.provenance import task_digest, versions
from gsim_jax.search.record import Failed, RunRecord, Stored
from gsim_jax.simulator.panel import build_panel
from gsim_jax.simulator.sandbox import Level, Sandbox
from gsim_jax.task import InputError, Problem, Profile, load_task, profile

Listener = Callable[[dict[str, Any]], None]

#: Candidates that are worked on at once: compilation keeps one core busy, not more.
WORKERS = 2
#: Ends that a proposer may name, in words for the record; others are known to reports.
ENDS = {
    "tokens": "the budget of tokens is spent",
    "money": "the budget of money is spent",
    "recording": "the recording ends here",
}


@dataclass(frozen=True)
class Limits:
    """When a search ends.

    Attributes:
        rounds: at most this many rounds.
        proposals: structures per round.
        patience: rounds without a significant gain.
        seconds: time budget, None for none; it makes the stop depend on the machine.
    """

    rounds: int = 8
    proposals: int = 4
    patience: int = 3
    seconds: float | None = None


@dataclass(frozen=True)
class RunResult:
    """What a run ends with.

    Attributes:
        best: the winner: id, parameters, score, floor, gap, se, adequate, p_value; None without.
        rounds: one entry per candidate, in order.
        record: the run folder.
        source: the winner's simulator file.
        unexplained: sentences about what stays beyond noise.
        spent: requests, tokens and money of a conversation, None where there was none.
    """

    best: dict[str, Any] | None
    rounds: list[dict[str, Any]]
    record: Path
    source: str
    unexplained: list[str]
    spent: dict[str, float] | None = None


def run(
    task: Path | str,
    *,
    proposer: Proposer,
    seed: int = 0,
    out: Path | str,
    listener: Listener | None = None,
    isolation: Level | None = None,
    calibrator: Calibrator | None = None,
    **limits: Any,
) -> RunResult:
    """Finds a simulator for a task folder.

    Args:
        task: the folder.
        proposer: who proposes structures.
        seed: everything random follows from it.
        out: the run folder, new or empty.
        listener: told every event, and progress in between.
        isolation: least level of isolation of the sandbox, see `Sandbox`.
        calibrator: what fits the parameters; `Evolution()` by default.
        **limits: see `Limits`.

    Raises:
        InputError: the task folder or the run folder cannot be used, or the isolation does not
            hold here; nothing is written then. Or a language model's server refuses to answer.
        OSError: a language model's server cannot be reached; `resume` goes on from there.
    """
    calibrator = calibrator or Evolution()
    loaded = load_task(Path(task))
    bounds = Limits(**limits)
    settings = settings_for(loaded)
    train = build_panel(loaded.schema, loaded.train, rows=settings.rows)
    scale = increment_scale(train, settings.plan)
    configuration = {
        "task": {
            "name": loaded.schema.name,
            "title": loaded.schema.title,
            "path": str(Path(task).resolve()),
            "digest": task_digest(Path(task)),
        },
        "seed": seed,
        "versions": versions(),
        "proposer": proposer.name,
        "calibrator": calibrator.name,
        "settings": {"limits": asdict(bounds), "objective": asdict(settings)},
        "scales": scale.tolist(),
        "split": "validation" if loaded.validation is not None else "train",
    }
    if isinstance(proposer, Conversing):
        configuration["chat"] = proposer.settings()
    with Sandbox(require=isolation) as sandbox:
        sandbox.demand()
        record = RunRecord.create(Path(out), configuration)
        setting = Setting(loaded, settings, scale, seed, calibrator, sandbox)
        return _Search(setting, bounds, proposer, record, listener).run()


def resume(
    directory: Path | str,
    *,
    listener: Listener | None = None,
    proposer: Proposer | None = None,
    isolation: Level | None = None,
    calibrator: Calibrator | None = None,
    connection: Mapping[str, Any] | None = None,
) -> RunResult:
    """Continues a run that was cut short, and ends as it would have ended.

    Args:
        directory: the run folder.
        listener: told every event, those of before included.
        proposer: the proposer of the run where the record does not say enough to make it again.
        isolation: least level of isolation of the sandbox, see `Sandbox`.
        calibrator: the calibrator of the run where the record does not say enough.
        connection: how a language model is reached now, where that has changed: `base_url`,
            `timeout`, `retries`, `backoff`.

    Raises:
        InputError: there is no run in the folder, or its task has changed since.
    """
    record = RunRecord.open(Path(directory))
    configuration = record.configuration
    path = Path(configuration["task"]["path"])
    loaded = load_task(path)
    if task_digest(path) != configuration["task"]["digest"]:
        text = f"{path} has changed since the run began: start a new run"
        raise InputError((Problem("task-changed", text, file=str(path)),))
    proposer = proposer or known_proposer(record, connection or {})
    calibrator = calibrator or known_calibrator(record, Evolution)
    if calibrator.name != configuration["calibrator"]:
        text = f"expected the calibrator {configuration['calibrator']!r}; got {calibrator.name!r}"
        raise InputError((Problem("calibrator", text, file=str(record.directory)),))
    settings = settings_for(loaded)
    train = build_panel(loaded.schema, loaded.train, rows=settings.rows)
    scale = increment_scale(train, settings.plan)
    bounds = Limits(**configuration["settings"]["limits"])
    with Sandbox(require=isolation) as sandbox:
        sandbox.demand()
        setting = Setting(loaded, settings, scale, configuration["seed"], calibrator, sandbox)
        return _Search(setting, bounds, proposer, record, listener).run()


class _Search:
    def __init__(
        self,
        setting: Setting,
        limits: Limits,
        proposer: Proposer,
        record: RunRecord,
        listener: Listener | None,
    ) -> None:
        self.setting, self.limits = setting, limits
        self.proposer, self.record = proposer, record
        self.listener = listener or (lambda _: None)
        self.lock = threading.Lock()
        self.recording = threading.Lock()
        self.before = record.events()
        self.known = {_identity(event) for event in self.before}
        self.begin = time.monotonic()
        self.trajectories = len(setting.held_out[1])

    def run(self) -> RunResult:
        if not isinstance(self.proposer, Conversing):
            return self._run()
        seconds = self.limits.seconds
        deadline = None if seconds is None else self.begin + seconds
        self.proposer.attach(
            self.record.directory / "chat",
            deadline=self.begin if self._stopped_by_time() else deadline,
            listener=self._told,
        )
        try:
            return self._run()
        finally:
            self.proposer.close()

    def _run(self) -> RunResult:
        self._emit({"event": "start", "task": self.setting.task.schema.name})
        facts = profile(self.setting.task)
        done: list[Stored] = []
        made: list[Stored | Failed] = []
        tried: list[str] = []
        best: Stored | None = None
        idle = 0
        reason = "rounds"
        for number in range(self.limits.rounds):
            ranked = archive.rank(done, self.trajectories)
            brief = self._brief(number, facts, ranked, made, tried)
            try:
                proposals = self.proposer.propose(brief, self.limits.proposals)
            except Spent as spent:
                reason = ENDS.get(spent.reason, spent.reason)
                break
            if not proposals:
                reason = "no further proposals"
                break
            found, complete = self._round(brief, proposals, ranked)
            made += found
            done += [item for item in found if isinstance(item, Stored)]
            marks = [proposal.fingerprint for proposal in proposals]
            marks += [item.proposal["fingerprint"] for item in found]
            tried += [mark for mark in dict.fromkeys(marks) if mark not in tried]
            ranked = archive.rank(done, self.trajectories)
            leader = ranked[0] if ranked else None
            self._emit(self._round_event(number, leader))
            if not complete:
                reason = "seconds"
                break
            gained = leader is not None and (
                best is None or archive.improves(leader, best, self.trajectories)
            )
            idle = 0 if gained else idle + 1
            best = leader
            if leader is not None and leader.diagnosis["adequate"]:
                reason = "adequate"
                break
            if idle >= self.limits.patience:
                reason = "patience"
                break
        return self._end(done, reason)

    def _brief(
        self,
        number: int,
        facts: Profile,
        ranked: list[Stored],
        made: list[Stored | Failed],
        tried: list[str],
    ) -> Brief:
        return Brief(
            schema=self.setting.task.schema,
            profile=facts,
            round=number,
            seed=self.setting.seed,
            parents=archive.parents(ranked, self.trajectories),
            tried=tuple(tried),
            attempts=archive.attempts(made, ranked, self.trajectories, self.limits.proposals),
            held_out=self.setting.task.validation is not None,
        )

    def _round_event(self, number: int, leader: Stored | None) -> dict[str, Any]:
        event: dict[str, Any] = {"event": "round", "round": number}
        event["best"] = leader.id if leader else None
        if isinstance(self.proposer, Conversing):
            event["spent"] = dict(self.proposer.spent())
        return event

    def _round(
        self, brief: Brief, proposals: list[Proposal], ranked: list[Stored]
    ) -> tuple[list[Stored | Failed], bool]:
        """Works through the proposals of a round; (what came out in slot order, none left out)."""
        first = brief.round * self.limits.proposals
        bench = Bench(self.setting, self.record, self.proposer, brief, ranked, self._tell, WORKERS)

        def work(slot: int) -> Stored | Failed | None:
            earlier = self.record.load(first + slot)
            if earlier is None and not self._out_of_time():
                bench.settle(first + slot, slot, proposals[slot])
                earlier = self.record.load(first + slot)
            return earlier

        found: list[Stored | Failed] = []
        complete = True
        talking = isinstance(self.proposer, Conversing)
        with ThreadPoolExecutor(len(proposals) if talking else WORKERS) as pool:
            try:
                for slot, result in enumerate(pool.map(work, range(len(proposals)))):
                    if result is None:
                        complete = False
                        continue
                    found.append(result)
                    self._report(brief.round, slot, result)
            except BaseException:
                if isinstance(self.proposer, Conversing):
                    self.proposer.close()  # else the pool would wait for its replies
                raise
        return found, complete

    def _report(self, number: int, slot: int, result: Stored | Failed) -> None:
        """The events of a slot that is settled."""
        place = {"id": result.id, "round": number, "slot": slot}
        title = result.proposal["title"]
        for attempt, problems in enumerate(result.proposal.get("returned", ())):
            self._emit({"event": "repair", **place, "attempt": attempt, "problems": problems})
        if isinstance(result, Failed):
            self._emit({"event": "failure", **place, "title": title, "problems": result.problems})
        else:
            self._emit({"event": "candidate", **_summary(result)})

    def _stopped_by_time(self) -> bool:
        """The run stopped by its time before: what was left out then stays out."""
        return any(e["event"] == "stop" and e["reason"] == "seconds" for e in self.before)

    def _out_of_time(self) -> bool:
        if self._stopped_by_time():
            return True
        seconds = self.limits.seconds
        return seconds is not None and time.monotonic() - self.begin > seconds

    def _end(self, done: list[Stored], reason: str) -> RunResult:
        self._emit({"event": "stop", "reason": reason})
        ranked = archive.rank(done, self.trajectories)
        winner = ranked[0] if ranked else None
        self._emit({"event": "end", "best": winner.id if winner else None})
        return RunResult(
            best=_best(winner) if winner else None,
            rounds=[_summary(candidate) for candidate in done],
            record=self.record.directory,
            source=winner.source if winner else "",
            unexplained=list(winner.diagnosis["unexplained"]) if winner else [],
            spent=dict(talk.spent()) if isinstance(talk := self.proposer, Conversing) else None,
        )

    def _emit(self, event: dict[str, Any]) -> None:
        with self.recording:
            if _identity(event) not in self.known:
                event = self.record.append(event)
                self.known.add(_identity(event))
        self._tell(event)

    def _told(self, event: dict[str, Any]) -> None:
        """What a conversation tells: progress, and warnings, which are kept."""
        (self._emit if event["event"] == "warning" else self._tell)(event)

    def _tell(self, event: dict[str, Any]) -> None:
        with self.lock:
            self.listener(event)


def _identity(event: Mapping[str, Any]) -> tuple:
    names = ("event", "round", "id", "slot", "attempt", "reason")
    return tuple(event.get(name) for name in names)


def _summary(candidate: Stored) -> dict[str, Any]:
    d = candidate.diagnosis
    names = ("id", "round", "slot", "title", "score", "floor", "gap", "gap_se", "adequate")
    return {name: d[name] for name in names} | {"parameters": d["parameters"]}


def _best(candidate: Stored) -> dict[str, Any]:
    d = candidate.diagnosis
    names = ("id", "title", "parameters", "errors", "score", "floor", "gap", "adequate", "p_value")
    return {name: d[name] for name in names} | {"se": d["gap_se"], "edges": d["edges"]}
