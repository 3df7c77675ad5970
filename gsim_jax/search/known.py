"""From the names in a run record back to the proposer and the calibrator of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gsim_jax.calibrate import Calibrator, Exact, NeuralPosterior
from gsim_jax.calibrate.guess import Guess
from gsim_jax.propose import ChatOptions, ChatProposer, LibraryProposer, Proposer, ReplayProposer
from gsim_jax.search.record import RunRecord
from gsim_jax.task import InputError, Problem


def known_proposer(record: RunRecord, connection: Mapping[str, Any]) -> Proposer:
    """The proposer of a run.

    Args:
        record: the run.
        connection: settings of the connection that have changed since.

    Raises:
        InputError: the record does not say enough to make it.
    """
    configuration = record.configuration
    name, chat = configuration["proposer"], configuration.get("chat", {})
    if name == ChatProposer.name:
        return ChatProposer(ChatOptions.from_json({**chat, **connection}))
    if name == ReplayProposer.name:
        return ReplayProposer(Path(chat["replay"]), strict=bool(chat.get("strict")))
    library = LibraryProposer()
    if name != library.name:
        text = f"expected a run of the proposer {library.name!r}; this one is of {name!r}"
        raise InputError((Problem("proposer", text, file=str(record.directory)),))
    return library


def known_calibrator(record: RunRecord, default: Callable[[], Calibrator]) -> Calibrator:
    """The calibrator of a run where its name says enough, else the default."""
    known: dict[str, Callable[[], Calibrator]] = {
        calibrator.name: calibrator for calibrator in (Exact, Guess, NeuralPosterior)
    }
    return known.get(record.configuration["calibrator"], default)()
