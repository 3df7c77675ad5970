"""The search: rounds of proposals, each checked, calibrated and diagnosed, until one is adequate.

Everything follows from the seed. What is decided never depends on a clock; a time budget only
stops. Every finished candidate is read back from the record before it is used, so that a resumed
run sees the very numbers that the uninterrupted run would have seen.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gsim_jax.calibrate import Calibrator, Evolution, increment_scale, settings_for
from gsim_jax.propose import Brief, Proposal, Proposer
from gsim_jax.search import archive
from gsim_jax.search.candidate import Setting, build_candidate
from gsim_jax.search.record import Failed, RunRecord, Stored
from gsim_jax.simulator.panel import build_panel
from gsim_jax.simulator.sandbox import Level, Sandbox
from gsim_jax.task import InputError, Problem, SimulatorError, load_task, profile

Listener = Callable[[dict[str, Any]], None]

#: Candidates that are worked on at once: compilation keeps one core busy, not more.
WORKERS = 2


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
    """

    best: dict[str, Any] | None
    rounds: list[dict[str, Any]]
    record: Path
    source: str
    unexplained: list[str]


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
            hold here; nothing is written then.
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
            "digest": _digest(Path(task)),
        },
        "seed": seed,
        "versions": _versions(),
        "proposer": proposer.name,
        "calibrator": calibrator.name,
        "settings": {"limits": asdict(bounds), "objective": asdict(settings)},
        "scales": scale.tolist(),
        "split": "validation" if loaded.validation is not None else "train",
    }
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
) -> RunResult:
    """Continues a run that was cut short, and ends as it would have ended.

    Args:
        directory: the run folder.
        listener: told every event, those of before included.
        proposer: the proposer of the run where it is not the library.
        isolation: least level of isolation of the sandbox, see `Sandbox`.
        calibrator: the calibrator of the run where it is not `Evolution()`.

    Raises:
        InputError: there is no run in the folder, or its task has changed since.
    """
    record = RunRecord.open(Path(directory))
    configuration = record.configuration
    path = Path(configuration["task"]["path"])
    loaded = load_task(path)
    if _digest(path) != configuration["task"]["digest"]:
        text = f"{path} has changed since the run began: start a new run"
        raise InputError((Problem("task-changed", text, file=str(path)),))
    if proposer is None:
        proposer = _known_proposer(configuration["proposer"], record)
    calibrator = calibrator or Evolution()
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


def _known_proposer(name: str, record: RunRecord) -> Proposer:
    from gsim_jax.propose import LibraryProposer

    library = LibraryProposer()
    if name != library.name:
        text = f"expected a run of the proposer {library.name!r}; this one is of {name!r}"
        raise InputError((Problem("proposer", text, file=str(record.directory)),))
    return library


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
        self.before = record.events()
        self.known = {_identity(event) for event in self.before}
        self.begin = time.monotonic()
        self.trajectories = len(setting.held_out[1])

    def run(self) -> RunResult:
        self._emit({"event": "start", "task": self.setting.task.schema.name})
        schema = self.setting.task.schema
        facts = profile(self.setting.task)
        done: list[Stored] = []
        tried: list[str] = []
        best: Stored | None = None
        idle = 0
        reason = "rounds"
        for number in range(self.limits.rounds):
            ranked = archive.rank(done, self.trajectories)
            brief = Brief(
                schema=schema,
                profile=facts,
                round=number,
                seed=self.setting.seed,
                parents=archive.parents(ranked),
                tried=tuple(tried),
            )
            proposals = self.proposer.propose(brief, self.limits.proposals)
            if not proposals:
                reason = "no further proposals"
                break
            tried += [proposal.fingerprint for proposal in proposals]
            found, complete = self._round(number, proposals, ranked)
            done += found
            ranked = archive.rank(done, self.trajectories)
            leader = ranked[0] if ranked else None
            self._emit({"event": "round", "round": number, "best": leader.id if leader else None})
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

    def _round(
        self, number: int, proposals: list[Proposal], ranked: list[Stored]
    ) -> tuple[list[Stored], bool]:
        """Works through the proposals of a round; (candidates in slot order, none left out)."""
        by_id = {candidate.id: candidate for candidate in ranked}
        first = number * self.limits.proposals

        def work(slot: int) -> Stored | Failed | None:
            proposal = proposals[slot]
            earlier = self.record.load(first + slot)
            if earlier is None:
                if self._out_of_time():
                    return None
                parent = by_id.get(-1 if proposal.parent is None else proposal.parent)
                warm = parent.diagnosis["parameters"] if parent else {}
                self._attempt(first + slot, number, slot, proposal, warm)
                earlier = self.record.load(first + slot)
            return earlier

        found: list[Stored] = []
        complete = True
        with ThreadPoolExecutor(WORKERS) as pool:
            for slot, result in enumerate(pool.map(work, range(len(proposals)))):
                if result is None:
                    complete = False
                elif isinstance(result, Failed):
                    self._emit(
                        {
                            "event": "failure",
                            "id": result.id,
                            "round": number,
                            "slot": slot,
                            "title": result.proposal["title"],
                            "problems": result.problems,
                        }
                    )
                else:
                    found.append(result)
                    self._emit({"event": "candidate", **_summary(result)})
        return found, complete

    def _attempt(
        self,
        candidate_id: int,
        number: int,
        slot: int,
        proposal: Proposal,
        warm: Mapping[str, float],
    ) -> None:
        kept = {
            "title": proposal.title,
            "fingerprint": proposal.fingerprint,
            "structure": proposal.structure,
            "parent": proposal.parent,
            "rationale": proposal.rationale,
        }
        place = {"id": candidate_id, "round": number, "slot": slot}
        shown = {"event": "progress", "title": proposal.title, **place}

        def stage(name: str, fraction: float) -> None:
            self._tell({**shown, "stage": name, "fraction": fraction})

        try:
            built = build_candidate(self.setting, proposal, dict(warm), stage)
        except SimulatorError as error:
            problems = [problem.to_json() for problem in error.problems]
            self.record.store_failure(candidate_id, kept, proposal.source, problems)
            return
        diagnosis = {
            **place,
            "parent": proposal.parent,
            "title": proposal.title,
            "rationale": proposal.rationale,
            **built.diagnosis,
        }
        self.record.store(
            candidate_id,
            source=proposal.source,
            program=built.program.to_bytes(),
            proposal=kept,
            calibration=built.calibration,
            labels=built.program.parameters.labels,
            contributions=built.contributions,
            diagnosis=diagnosis,
            bands=built.bands,
        )

    def _out_of_time(self) -> bool:
        if any(event["event"] == "stop" and event["reason"] == "seconds" for event in self.before):
            # The run stopped by its budget before: what was left out then stays out.
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
        )

    def _emit(self, event: dict[str, Any]) -> None:
        if _identity(event) not in self.known:
            event = self.record.append(event)
            self.known.add(_identity(event))
        self._tell(event)

    def _tell(self, event: dict[str, Any]) -> None:
        with self.lock:
            self.listener(event)


def _identity(event: Mapping[str, Any]) -> tuple:
    return event["event"], event.get("round"), event.get("id")


def _summary(candidate: Stored) -> dict[str, Any]:
    d = candidate.diagnosis
    names = ("id", "round", "slot", "title", "score", "floor", "gap", "gap_se", "adequate")
    return {name: d[name] for name in names} | {"parameters": d["parameters"]}


def _best(candidate: Stored) -> dict[str, Any]:
    d = candidate.diagnosis
    names = ("id", "title", "parameters", "errors", "score", "floor", "gap", "adequate", "p_value")
    return {name: d[name] for name in names} | {"se": d["gap_se"], "edges": d["edges"]}


def _digest(folder: Path) -> str:
    """Of the files that a task consists of; the truth of a benchmark is none of the loop's."""
    digest = hashlib.blake2b(digest_size=16)
    # Runs may lie in the folder; what they write is no change of the task.
    runs = {path.parent for path in folder.rglob("run.json")}
    for path in sorted(folder.rglob("*")):
        if runs & {*path.parents}:
            continue
        if path.is_file() and path.suffix not in (".py", ".pyc"):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(hashlib.blake2b(path.read_bytes()).digest())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    names = ("gsim_jax", "jax", "jaxlib", "evosax", "flax", "numpy")
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
