"""The run record: a folder from which a run can be read, reported and continued.

`events.jsonl` is append-only and flushed. A candidate's folder appears in one rename when it is
complete, so that a kill at any instant leaves either all of it or nothing; a run that resumes reads
what is there and computes the rest, and ends as the uninterrupted run would have.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from gsim_jax.calibrate import Calibration
from gsim_jax.task import InputError, Problem

SCHEMA = 1


@dataclass(frozen=True)
class Stored:
    """A finished candidate as read back from the record.

    Attributes:
        id: its number.
        source: the simulator file.
        diagnosis: content of `diagnosis.json`.
        proposal: fingerprint, structure, title, parent and rationale of the proposal.
        u: float64[d] on the unit cube.
        contributions: float64[U], shares of the score per unit.
    """

    id: int
    source: str
    diagnosis: dict[str, Any]
    proposal: dict[str, Any]
    u: np.ndarray
    contributions: np.ndarray


@dataclass(frozen=True)
class Failed:
    """A proposal that did not become a candidate."""

    id: int
    proposal: dict[str, Any]
    problems: list[dict[str, Any]]


class RunRecord:
    """One run folder.

    Attributes:
        directory: where it lies.
    """

    def __init__(self, directory: Path) -> None:
        """Opens a folder that exists."""
        self.directory = directory

    @classmethod
    def create(cls, directory: Path, configuration: Mapping[str, Any]) -> RunRecord:
        """Starts a run folder.

        Raises:
            InputError: the folder holds something already, or cannot be one.
        """
        # A start that was cut short leaves the temporary file at most, for run.json comes first.
        if directory.is_dir() and {path.name for path in directory.iterdir()} - {"run.json.tmp"}:
            text = f"expected a new or empty folder; {directory} holds something"
            raise InputError((Problem("not-empty", text, file=str(directory)),))
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            text = f"expected a folder that can be made; {error}"
            raise InputError((Problem("no-folder", text, file=str(directory)),)) from error
        write_json(directory / "run.json", {"schema": SCHEMA, **configuration})
        (directory / "candidates").mkdir()
        return cls(directory)

    @classmethod
    def open(cls, directory: Path) -> RunRecord:
        """Opens a run folder to continue or read it.

        Raises:
            InputError: there is no run in it.
        """
        if not (directory / "run.json").is_file():
            text = f"expected a run folder with a run.json; {directory} has none"
            raise InputError((Problem("no-run", text, file=str(directory)),))
        record = cls(directory)
        record._trim_events()
        for leftover in (directory / "candidates").glob(".part-*"):
            shutil.rmtree(leftover)
        return record

    @property
    def configuration(self) -> dict[str, Any]:
        """Content of `run.json`."""
        return json.loads((self.directory / "run.json").read_text(encoding="utf-8"))

    def events(self) -> list[dict[str, Any]]:
        """All events so far."""
        path = self.directory / "events.jsonl"
        if not path.is_file():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def append(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Adds one event, numbered, and sees it to the disk."""
        numbered = {"n": len(self.events()), **event}
        with (self.directory / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(_dump(numbered) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return numbered

    def _trim_events(self) -> None:
        # A kill in the middle of a write leaves a last line without its end.
        path = self.directory / "events.jsonl"
        if path.is_file():
            raw = path.read_bytes()
            if raw and not raw.endswith(b"\n"):
                whole = raw[: raw.rfind(b"\n") + 1]
                temporary = path.with_suffix(".tmp")
                temporary.write_bytes(whole)
                os.replace(temporary, path)

    def _folder(self, number: int) -> Path:
        return self.directory / "candidates" / f"{number:03d}"

    def store(
        self,
        number: int,
        *,
        source: str,
        program: bytes,
        proposal: Mapping[str, Any],
        calibration: Calibration,
        labels: tuple[str, ...],
        contributions: np.ndarray,
        diagnosis: Mapping[str, Any],
        bands: Mapping[str, Any],
    ) -> None:
        """Writes a finished candidate in one rename."""
        part = self._part(number)
        (part / "simulator.py").write_text(source, encoding="utf-8")
        (part / "program.json").write_bytes(program)
        write_json(part / "proposal.json", proposal)
        write_json(part / "diagnosis.json", diagnosis)
        write_json(part / "bands.json", bands)
        _calibration_dataset(calibration, labels, contributions).to_netcdf(
            part / "calibration.nc", engine="h5netcdf"
        )
        self._finish(part, number)

    def store_failure(
        self, number: int, proposal: Mapping[str, Any], source: str, problems: list[dict[str, Any]]
    ) -> None:
        """Writes a proposal that failed, so that a resumed run does not try it again."""
        part = self._part(number)
        (part / "simulator.py").write_text(source, encoding="utf-8")
        write_json(part / "proposal.json", proposal)
        write_json(part / "failure.json", {"problems": problems})
        self._finish(part, number)

    def _part(self, number: int) -> Path:
        part = self.directory / "candidates" / f".part-{number:03d}"
        if part.exists():
            shutil.rmtree(part)
        part.mkdir(parents=True)
        return part

    def _finish(self, part: Path, number: int) -> None:
        for path in part.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(part, self._folder(number))

    def load(self, number: int) -> Stored | Failed | None:
        """A candidate or failure by number, None where it is not there yet."""
        folder = self._folder(number)
        if not folder.is_dir():
            return None
        proposal = _read_json(folder / "proposal.json")
        if (folder / "failure.json").is_file():
            return Failed(number, proposal, _read_json(folder / "failure.json")["problems"])
        with xr.open_dataset(folder / "calibration.nc", engine="h5netcdf") as data:
            u = data["u"].values.astype(float)
            contributions = data["contributions"].values.astype(float)
        source = (folder / "simulator.py").read_text(encoding="utf-8")
        diagnosis = _read_json(folder / "diagnosis.json")
        return Stored(number, source, diagnosis, proposal, u, contributions)


def _calibration_dataset(
    calibration: Calibration, labels: tuple[str, ...], contributions: np.ndarray
) -> xr.Dataset:
    values = [float(calibration.parameters[label]) for label in labels]
    errors = [float(calibration.errors[label]) for label in labels]
    found: dict[str, Any] = {}
    if calibration.draws is not None:
        found["draws"] = (("draw", "parameter"), np.asarray(calibration.draws, np.float32))
    evidence = calibration.evidence
    return xr.Dataset(
        found
        | {
            "u": ("parameter", np.asarray(calibration.u, float)),
            "value": ("parameter", np.asarray(values, float)),
            "error": ("parameter", np.asarray(errors, float)),
            "covariance": (("parameter", "parameter_"), np.asarray(calibration.covariance, float)),
            "history": ("generation", np.asarray(calibration.history, float)),
            "contributions": ("unit", np.asarray(contributions, float)),
        },
        coords={"parameter": list(labels) if labels else np.zeros(0, "U1")},
        attrs={
            "score": float(calibration.score),
            "evaluations": int(calibration.evaluations),
            "cost": float(calibration.cost),
            **({} if evidence is None else {"log_evidence": float(evidence)}),
        },
    )


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON through a temporary name, so that a reader never meets half a file."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(_dump(content, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _dump(content: Any, indent: int | None = None) -> str:
    return json.dumps(content, indent=indent, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"cannot write {type(value).__name__} as JSON")
