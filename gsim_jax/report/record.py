"""Read a run folder back: what was asked, what was tried, what was found.

The search writes the folder while it runs; everything here only reads. A run that was killed is a
run too: its last line may be half written, its last candidate may be missing files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gsim_jax.task.problems import InputError, Problem

Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Cell:
    """One variable at one horizon.

    Attributes:
        variable: Label of the scored output.
        horizon: ``'1'``, ``'7'`` or ``'free'`` (steps ahead; ``free`` is from the first row).
        score: Energy score over the scale of the run (no unit, smaller is better).
        floor: The score it would get were the data drawn from the candidate itself.
        gap: ``score - floor``.
        se: Standard error of the gap.
        z: ``gap / se``.
        bias: Mean of data minus simulation, in the unit of the variable.
        bias_se: Standard error of the bias.
        within_noise: Whether the gap is what chance alone gives.
    """

    variable: str
    horizon: str
    score: float | None
    floor: float | None
    gap: float | None
    se: float | None
    z: float | None
    bias: float | None
    bias_se: float | None
    within_noise: bool


@dataclass(frozen=True)
class RuleCount:
    """How often a rule of the task was broken in simulated trajectories."""

    name: str
    violated: int
    checked: int


@dataclass(frozen=True)
class Band:
    """Data and predictive quantiles of one variable along one trajectory (free run).

    Attributes:
        trajectory: Its id in the data.
        t: Steps, ``[rows]``.
        data: What was observed, ``[rows]``; ``None`` where nothing was.
        quantiles: ``q05, q25, q50, q75, q95``, each ``[rows]``, in the unit of the variable.
    """

    trajectory: str
    t: tuple[float, ...]
    data: tuple[float | None, ...]
    quantiles: Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True)
class Candidate:
    """A calibrated and diagnosed structure; the fields of its ``diagnosis.json`` and its files."""

    id: int
    round: int
    slot: int
    parent: int | None
    title: str
    rationale: str
    split: str
    parameters: Numbers
    errors: Numbers
    score: float | None
    score_se: float | None
    floor: float | None
    gap: float | None
    gap_se: float | None
    adequate: bool
    p_value: float | None
    table: tuple[Cell, ...]
    rules: tuple[RuleCount, ...]
    findings: tuple[Mapping[str, Any], ...]
    unexplained: tuple[str, ...]
    warnings: tuple[str, ...]
    cost: int
    times: Numbers
    source: str
    priors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bands: Mapping[str, tuple[Band, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A proposal that never became a candidate, and why."""

    round: int
    slot: int
    title: str
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One run folder.

    Attributes:
        directory: Where it lies.
        configuration: ``run.json``: task, seed, versions, proposer, settings, scales, split.
        candidates: In the order in which they were made.
        failures: Proposals that were refused or could not be calibrated.
        best: Number of the best candidate; ``None`` before the first round is finished.
        stopped: Why the search stopped, ``None`` where it has not.
        finished: Whether the run came to its end.
    """

    directory: Path
    configuration: Mapping[str, Any]
    candidates: tuple[Candidate, ...]
    failures: tuple[Failure, ...]
    best: int | None
    stopped: str | None
    finished: bool

    @property
    def winner(self) -> Candidate | None:
        """The best candidate, where there is one yet."""
        return next((c for c in self.candidates if c.id == self.best), None)

    @property
    def split(self) -> str:
        """Rows that candidates are ranked on: ``'validation'``, or ``'train'`` (in-sample)."""
        return str(self.configuration.get("split", "train"))

    @property
    def title(self) -> str:
        """Title of the task, else its name."""
        task = self.configuration["task"]
        return str(task.get("title") or task["name"])


def read_run(directory: Path | str) -> Run:
    """Read a run folder.

    Args:
        directory: A folder with ``run.json``, ``events.jsonl`` and ``candidates/``.

    Returns:
        The record, as far as the run has come.

    Raises:
        InputError: The folder is no run record, or a file in it is damaged; names the file.
    """
    root = Path(directory)
    if not (root / "run.json").is_file():
        raise _bad(
            "not-a-run",
            "expected a run folder with run.json in it (what `gsim run` wrote), found none",
            root,
        )
    run = _load(root / "run.json")
    if not isinstance(run, dict) or not isinstance(run.get("task"), dict):
        raise _bad("damaged-record", "expected an object with a 'task'", root / "run.json")
    events = _read_events(root / "events.jsonl")
    # A candidate counts from the event on: files without it belong to work cut short by a kill.
    known = [event["id"] for event in events if event["event"] == "candidate"]
    last = [event for event in events if event["event"] in ("round", "end")]
    stops = [event for event in events if event["event"] == "stop"]
    return Run(
        directory=root,
        configuration=run,
        candidates=tuple(
            _read_candidate(root / "candidates" / f"{number:03d}")
            for number in dict.fromkeys(known)
        ),
        failures=tuple(_failure(e) for e in events if e["event"] == "failure"),
        best=last[-1].get("best") if last else None,
        stopped=str(stops[-1].get("reason")) if stops else None,
        finished=any(event["event"] == "end" for event in events),
    )


def _read_events(path: Path) -> list[dict[str, Any]]:
    """All whole lines; one without its newline was being written when the run was killed."""
    if not path.is_file():
        return []
    whole = path.read_bytes().rpartition(b"\n")[0].splitlines()
    events = []
    for number, line in enumerate(whole, start=1):
        try:
            event = json.loads(line)
        except ValueError as error:
            raise _bad("damaged-record", f"expected JSON: {error}", path, number) from error
        if not isinstance(event, dict) or "event" not in event:
            raise _bad("damaged-record", "expected an object with an 'event'", path, number)
        events.append(event)
    return events


def _read_candidate(folder: Path) -> Candidate:
    """Files of one candidate."""
    path = folder / "diagnosis.json"
    found = _load(path)
    try:
        return Candidate(
            id=int(found["id"]),
            round=int(found["round"]),
            slot=int(found["slot"]),
            parent=found.get("parent"),
            title=str(found["title"]),
            rationale=str(found.get("rationale") or ""),
            split=str(found["split"]),
            parameters=found["parameters"],
            errors=found.get("errors", {}),
            score=found["score"],
            score_se=found.get("score_se"),
            floor=found["floor"],
            gap=found["gap"],
            gap_se=found["gap_se"],
            adequate=bool(found["adequate"]),
            p_value=found.get("p_value"),
            table=tuple(_cell(row) for row in found.get("table", ())),
            rules=tuple(
                RuleCount(rule["name"], int(rule["violated"]), int(rule["checked"]))
                for rule in found.get("rules", ())
            ),
            findings=tuple(found.get("findings", ())),
            unexplained=tuple(map(str, found.get("unexplained", ()))),
            warnings=tuple(map(str, found.get("warnings", ()))),
            cost=int(found.get("cost") or 0),
            times=found.get("times", {}),
            source=(folder / "simulator.py").read_text(encoding="utf-8"),
            priors=_priors(folder / "program.json"),
            bands=_bands(folder / "bands.json"),
        )
    except KeyError as error:
        raise _bad("damaged-record", f"expected the key {error}", path) from error
    except (FileNotFoundError, TypeError, ValueError, AttributeError) as error:
        raise _bad("damaged-record", f"cannot be read: {error}", path) from error


def _cell(row: Mapping[str, Any]) -> Cell:
    optional = ("score", "floor", "gap", "se", "z", "bias", "bias_se")
    return Cell(
        variable=str(row["variable"]),
        horizon=str(row["horizon"]),
        within_noise=bool(row["within_noise"]),
        **{name: row.get(name) for name in optional},
    )


def _priors(path: Path) -> dict[str, dict[str, Any]]:
    """Prior, unit and words of each parameter by ``group.name``."""
    if not path.is_file():
        return {}
    groups = _load(path).get("parameters", {})
    return {
        f"{group}.{name}": spec for group, specs in groups.items() for name, spec in specs.items()
    }


def _bands(path: Path) -> dict[str, tuple[Band, ...]]:
    """Predictive bands by variable."""
    if not path.is_file():
        return {}
    bands: dict[str, list[Band]] = {}
    for trajectory in _load(path)["trajectories"]:
        for label, lines in trajectory["variables"].items():
            quantiles = {q: tuple(lines[q]) for q in ("q05", "q25", "q50", "q75", "q95")}
            band = Band(
                str(trajectory["id"]), tuple(trajectory["t"]), tuple(lines["data"]), quantiles
            )
            bands.setdefault(label, []).append(band)
    return {label: tuple(found) for label, found in bands.items()}


def _failure(event: Mapping[str, Any]) -> Failure:
    """A refused proposal; its problems as lines of words."""
    return Failure(
        round=int(event.get("round", 0)),
        slot=int(event.get("slot", 0)),
        title=str(event.get("title") or "untitled"),
        problems=tuple(problem_words(problem) for problem in event.get("problems", ())),
    )


def problem_words(problem: Any) -> str:
    """One readable line for a problem as events carry it: a JSON object, or words.

    Args:
        problem: ``Problem.to_json()``, a :class:`~gsim_jax.task.problems.Problem`, or text.

    Returns:
        Its place and message.
    """
    return str(Problem(**problem)) if isinstance(problem, Mapping) else str(problem)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _bad("damaged-record", "expected this file, found none", path) from error
    except ValueError as error:  # UnicodeDecodeError is one
        raise _bad("damaged-record", f"expected JSON in UTF-8: {error}", path) from error


def _bad(code: str, message: str, path: Path, line: int | None = None) -> InputError:
    return InputError(Problem(code, message, file=str(path), line=line))
