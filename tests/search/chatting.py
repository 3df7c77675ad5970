"""Runs whose proposals come from a server on loopback that answers with fixtures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gsim_jax.calibrate.guess import Guess
from gsim_jax.propose import ChatOptions, ChatProposer
from gsim_jax.propose.chat_options import Key
from gsim_jax.propose.chat_record import ChatRecord, Place, Reply
from gsim_jax.search import RunResult, run
from tests.helpers.fault_server import FaultServer
from tests.search.quick import contents
from tests.search.town import SEED

KEY = Key("sk-a-key-for-tests-only")
#: Quick to lose patience, and to try again.
OPTIONS: dict[str, Any] = {"model": "fixture", "timeout": 5.0, "retries": 3, "backoff": 0.001}
MORE = ("seconds", "calibrator")
LIMITS: dict[str, Any] = {"rounds": 2, "proposals": 2, "patience": 9}


@dataclass(frozen=True)
class Talk:
    """A finished run, and what was told on the way."""

    result: RunResult
    told: list[dict[str, Any]]

    @property
    def folder(self) -> Path:
        return self.result.record

    def told_of(self, kind: str) -> list[dict[str, Any]]:
        """Events of one kind."""
        return [event for event in self.told if event["event"] == kind]


def talk(task: Path, out: Path, server: FaultServer, **options: Any) -> Talk:
    """One run against a server, by default without calibration, which these tests are not about.

    Args:
        task: The task folder.
        out: The run folder.
        server: Not yet running.
        **options: Those of `ChatOptions` and `Limits`, and a calibrator.
    """
    limits = {name: options.pop(name) for name in list(options) if name in (*LIMITS, *MORE)}
    told: list[dict[str, Any]] = []
    with server.serve() as url:
        proposer = ChatProposer(ChatOptions(**{**OPTIONS, "base_url": url, **options}), KEY)
        result = run(
            task,
            proposer=proposer,
            out=out,
            seed=SEED,
            listener=told.append,
            **{"calibrator": Guess(), **LIMITS, **limits},
        )
    return Talk(result, told)


def candidates(folder: Path) -> dict[str, Any]:
    """All of a run folder but the conversation, which holds times and an address."""
    return {k: v for k, v in contents(folder).items() if not k.startswith("chat/")}


def conversation(folder: Path) -> dict[Place, tuple[dict[str, Any], Reply | None]]:
    """Every request and what came of it."""
    record = ChatRecord(folder / "chat")
    return {
        place: ((record.request(place) or {})["body"], record.reply(place))
        for place in record.places()
    }


def stopped(folder: Path) -> str:
    """Why a run ended."""
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return next(e["reason"] for e in map(json.loads, lines) if e["event"] == "stop")
