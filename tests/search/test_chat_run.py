"""Whole searches against a server that breaks: the end is the same, or it has a name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gsim_jax.calibrate import Evolution
from gsim_jax.propose.chat_record import Place
from gsim_jax.propose.transport import Unreachable
from gsim_jax.search import resume
from gsim_jax.task import InputError
from tests.helpers.answers import place, town
from tests.helpers.fault_server import CONTENT, TRANSPORT, Call, FaultServer, seeded
from tests.search.chatting import KEY, OPTIONS, Talk, candidates, conversation, stopped, talk
from tests.search.quick import events, quick, same
from tests.search.town import FALL, RECOVER, write_task

ROOT = Path(__file__).parents[2]
PATIENT = {"retries": 60, "timeout": 0.4}
#: Every way in which a slot may end without a candidate.
CAUSES = {
    "empty-reply", "wrong-shape", "reply-too-long", "no-code", "several-programs", "refusal",
    "not-utf8", "cut-off", "repeated",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with quick(tmp_path_factory.getbasetemp() / "compiled") as environment:
        yield environment


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("town") / "task")


@pytest.fixture(scope="module")
def plain(task: Path, tmp_path_factory: pytest.TempPathFactory) -> Talk:
    """The run without any fault."""
    return talk(task, tmp_path_factory.mktemp("plain") / "run", FaultServer(town))


def second_hangs(body: Mapping[str, Any]) -> str | None:
    """Never answers the second proposal of the first round."""
    return "hang" if place(body) == (1, 2) else None


class TestWithoutFaults:
    def test_the_right_structure_is_found(self, plain: Talk) -> None:
        best = plain.result.best
        assert best is not None
        assert best["title"] == "People fall ill and recover"
        assert best["parameters"] == pytest.approx({"fall.p": FALL, "recover.q": RECOVER})
        assert stopped(plain.folder) == "adequate"

    @pytest.mark.slow
    def test_and_calibrated(self, task: Path, tmp_path: Path) -> None:
        best = talk(task, tmp_path / "run", FaultServer(town), calibrator=Evolution()).result.best
        assert best is not None
        assert best["title"] == "People fall ill and recover"
        for label, truth in (("fall.p", FALL), ("recover.q", RECOVER)):
            assert abs(best["parameters"][label] - truth) < 4 * best["errors"][label]

    def test_a_refused_program_went_back_and_was_mended(self, plain: Talk) -> None:
        (repair, *_) = [e for e in events(plain.folder) if e["event"] == "repair"]
        assert (repair["round"], repair["slot"], repair["attempt"]) == (0, 1, 0)
        assert "import" in repair["problems"][0]["message"]
        kinds = [(e["event"], e.get("slot")) for e in events(plain.folder)][:5]
        assert kinds == [("start", None), ("candidate", 0), ("repair", 1), ("candidate", 1),
                         ("round", None)]  # fmt: skip
        body, reply = conversation(plain.folder)[Place(0, 1, 1)]
        roles = [message["role"] for message in body["messages"]]
        assert roles == ["system", "user", "assistant", "user"]
        assert "import os" in body["messages"][2]["content"]
        assert "line 1" in body["messages"][3]["content"]
        assert reply is not None

    def test_every_request_and_reply_is_kept(self, plain: Talk) -> None:
        kept = conversation(plain.folder)
        assert list(kept)[:4] == [Place(0, 0, 0), Place(0, 1, 0), Place(0, 1, 1), Place(1, 0, 0)]
        assert all(reply is not None for _, reply in kept.values())
        spent = plain.result.spent
        assert spent is not None
        assert spent["requests"] == len(kept)
        assert spent["tokens"] == sum(
            r.prompt_tokens + r.completion_tokens for _, r in kept.values() if r is not None
        )
        request = json.loads((plain.folder / "chat/r000-s00-a0.request.json").read_text())
        assert request["prompt_version"]
        assert request["purpose"] == "propose"

    def test_later_rounds_are_told_what_was_found(self, plain: Talk) -> None:
        body, _ = conversation(plain.folder)[Place(1, 0, 0)]
        text = body["messages"][1]["content"]
        for words in ("## Candidate", "gap +", "beyond noise", "SUBMODULES = (", "over-estimated"):
            assert words in text


def same_end(broken: Talk, plain: Talk, server: FaultServer) -> None:
    """Nothing shows that a fault was met, and nothing that had arrived was asked again."""
    assert server.sent_again() == []
    assert same(broken.result, plain.result)
    assert candidates(broken.folder) == candidates(plain.folder)
    assert conversation(broken.folder).keys() == conversation(plain.folder).keys()


class TestTransportFaults:
    def test_the_same_winner(self, task: Path, plain: Talk, tmp_path: Path) -> None:
        server = FaultServer(town, seeded(TRANSPORT, 33, 1.0, seed=1))
        broken = talk(task, tmp_path / "run", server, **PATIENT)
        assert set(server.faults()) == set(TRANSPORT)
        same_end(broken, plain, server)
        told = [e for e in broken.told_of("chat") if e["state"] == "asking again"]
        assert len(told) >= 33  # a busy machine may add a real timeout
        assert {"status 503"} <= {e["note"].split(":")[0] for e in told}

    @pytest.mark.slow
    @pytest.mark.parametrize("seed", range(2))
    def test_two_hundred(self, task: Path, plain: Talk, tmp_path: Path, seed: int) -> None:
        server = FaultServer(town, seeded(TRANSPORT, 200, 1.0, seed))
        broken = talk(task, tmp_path / "run", server, retries=300, timeout=0.4)
        assert sum(server.faults().values()) == 200
        same_end(broken, plain, server)

    def test_a_dead_server_ends_with_words_and_is_continued(
        self, task: Path, plain: Talk, tmp_path: Path
    ) -> None:
        dead = FaultServer(town, lambda number, repeated: "503" if number > 0 else None)
        with pytest.raises(Unreachable, match=r"after 4 tries; the last: status 503.*--resume"):
            talk(task, tmp_path / "run", dead)
        assert "stop" not in {event["event"] for event in events(tmp_path / "run")}
        before = {p for p, (_, reply) in conversation(tmp_path / "run").items() if reply}
        assert before
        alive = FaultServer(town)
        with alive.serve() as url, pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENAI_API_KEY", KEY.value)
            result = resume(tmp_path / "run", connection={"base_url": url})
        assert same(result, plain.result)
        assert candidates(tmp_path / "run") == candidates(plain.folder)
        whole = {call.digest for call in dead.calls if call.whole}
        assert not whole & {call.digest for call in alive.calls}


class TestContentFaults:
    def run(self, task: Path, out: Path, most: int, **limits: int) -> tuple[Talk, FaultServer]:
        server = FaultServer(town, seeded(CONTENT, most, 1.0, seed=3))
        return talk(task, out, server, **limits), server

    def check(self, spoiled: Talk, server: FaultServer) -> None:
        assert server.sent_again() == []
        assert spoiled.result.best is None
        found = [e for e in events(spoiled.folder) if e["event"] in ("failure", "repair")]
        codes = {problem["code"] for event in found for problem in event["problems"]}
        assert CAUSES - {"repeated"} <= codes
        # What is wrong with a program for another task is named by name.
        words = " ".join(p["message"] for e in found for p in e["problems"])
        assert "position" in words
        assert all(problem["message"] for event in found for problem in event["problems"])

    def test_they_end_with_a_cause(self, task: Path, tmp_path: Path) -> None:
        spoiled, server = self.run(task, tmp_path / "run", 27, rounds=3, proposals=3)
        assert len(server.calls) == 27  # three attempts for each slot, no more
        assert set(server.faults()) == set(CONTENT)
        self.check(spoiled, server)
        assert stopped(spoiled.folder) == "rounds"

    @pytest.mark.slow
    def test_two_hundred(self, task: Path, tmp_path: Path) -> None:
        limits = {"rounds": 12, "proposals": 6, "patience": 12}
        spoiled, server = self.run(task, tmp_path / "run", 500, **limits)
        assert len(server.calls) == 216
        self.check(spoiled, server)

    def test_patience_ends_a_silly_conversation(self, task: Path, tmp_path: Path) -> None:
        silly = FaultServer(town, lambda number, repeated: "prose")
        spoiled = talk(task, tmp_path / "run", silly, rounds=9, proposals=1, patience=2)
        assert stopped(spoiled.folder) == "patience"
        assert len(silly.calls) == 6

    @pytest.mark.slow
    def test_some_of_each_still_find_the_winner(
        self, task: Path, plain: Talk, tmp_path: Path
    ) -> None:
        """Every first answer is spoiled in its own way; what goes back is answered well."""

        def fault(number: int, repeated: int) -> str | None:
            if repeated == 0 and number % 2:
                return TRANSPORT[number % len(TRANSPORT)]
            return CONTENT[number % len(CONTENT)] if number < 3 else None

        server = FaultServer(town, fault)
        spoiled = talk(task, tmp_path / "run", server, **PATIENT)
        assert server.sent_again() == []
        best = spoiled.result.best
        assert best is not None
        assert best["title"] == "People fall ill and recover"


class TestBudgets:
    @pytest.mark.parametrize(
        ("budget", "reason"),
        [
            ({"tokens": 9_000}, "the budget of tokens is spent"),
            pytest.param(
                {"money": 0.02, "price": (2.0, 8.0)},
                "the budget of money is spent",
                marks=pytest.mark.slow,
            ),
        ],
    )
    def test_they_stop_the_run(
        self, task: Path, plain: Talk, tmp_path: Path, budget: dict, reason: str
    ) -> None:
        server = FaultServer(partial(town, last=9))
        ended = talk(task, tmp_path / "run", server, **budget)
        assert stopped(ended.folder) == reason
        spent = ended.result.spent
        assert spent is not None
        (name, *_) = budget
        assert spent[name] >= budget[name]
        # Nothing was asked after that, but for what was under way: a round side by side.
        assert len(server.calls) <= 4
        assert ended.result.best is not None
        again = len(server.calls)
        with server.serve() as url, pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENAI_API_KEY", KEY.value)
            assert same(resume(ended.folder, connection={"base_url": url}), ended.result)
        assert len(server.calls) == again

    def test_seconds_cut_a_waiting_request_short(self, task: Path, tmp_path: Path) -> None:
        slow = FaultServer(town, broken=second_hangs)
        begin = time.monotonic()
        ended = talk(task, tmp_path / "run", slow, seconds=1.5, timeout=60)
        assert time.monotonic() - begin < 30
        assert stopped(ended.folder) == "seconds"
        kept = conversation(ended.folder)
        assert [reply is not None for _, reply in kept.values()] == [True, False]

    def test_tokens_are_estimated_where_nobody_counts(self, task: Path, tmp_path: Path) -> None:
        silent = FaultServer(town, usage=False)
        ended = talk(task, tmp_path / "run", silent, rounds=1, proposals=1)
        spent = ended.result.spent
        assert spent is not None
        assert spent["estimated"] == 1
        assert spent["tokens"] > 3_000


class TestRefused:
    def test_a_wrong_key_is_bad_input_and_not_shown(self, task: Path, tmp_path: Path) -> None:
        server = FaultServer(town, key="sk-another-key-altogether")
        with pytest.raises(InputError, match=r"status 401.*OPENAI_API_KEY") as error:
            talk(task, tmp_path / "run", server)
        assert "[key]" in str(error.value)
        assert KEY.value not in str(error.value)
        assert len(server.calls) == 2  # one for each proposal, none again


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C means what it does at a terminal; shells have jobs in the background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
class TestInterrupted:
    def test_what_has_arrived_is_kept(self, task: Path, plain: Talk, tmp_path: Path) -> None:
        def arrived(call: Call) -> None:
            if place(call.body) == (1, 2):
                end = time.monotonic() + 20
                while time.monotonic() < end and not any(
                    reply is not None for _, reply in conversation(tmp_path / "run").values()
                ):
                    time.sleep(0.05)
                waiting = threading.main_thread().ident
                assert waiting is not None
                signal.pthread_kill(waiting, signal.SIGINT)

        server = FaultServer(town, broken=second_hangs, arrived=arrived)
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            talk(task, tmp_path / "run", server, timeout=60)
        assert time.monotonic() - begin < 30
        kept = conversation(tmp_path / "run")
        assert [reply is not None for _, reply in kept.values()] == [True, False]
        alive = FaultServer(town)
        with alive.serve() as url, pytest.MonkeyPatch.context() as patch:
            patch.setenv("OPENAI_API_KEY", KEY.value)
            assert same(resume(tmp_path / "run", connection={"base_url": url}), plain.result)
        again = {call.digest for call in alive.calls} & {call.digest for call in server.calls}
        assert again == {call.digest for call in server.calls if place(call.body) == (1, 2)}


def test_options_are_recorded_without_the_key(plain: Talk) -> None:
    settings = json.loads((plain.folder / "run.json").read_text())["chat"]
    assert settings["model"] == OPTIONS["model"]
    for path in plain.folder.rglob("*"):
        if path.is_file():
            assert KEY.value.encode() not in path.read_bytes(), path


class TestKilled:
    """SIGKILL when the server meets a certain request: what is on disk then is all there is."""

    @pytest.mark.parametrize(
        "number", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, 1, 3, 4))]
    )
    def test_only_what_was_under_way_is_asked_again(
        self, task: Path, plain: Talk, tmp_path: Path, small: dict[str, str], number: int
    ) -> None:
        processes: list[subprocess.Popen[bytes]] = []

        def arrived(call: Call) -> None:
            if len(server.calls) == number + 1:
                time.sleep(0.5)  # what was answered before is on disk by then
                processes[0].kill()

        server = FaultServer(town, arrived=arrived)
        out = tmp_path / "run"
        with server.serve() as url:
            environment = {**os.environ, **small, "OPENAI_API_KEY": KEY.value}
            command = [sys.executable, "-m", "tests.search.talker", str(task), str(out), url]
            processes.append(subprocess.Popen(command, cwd=ROOT, env=environment))
            assert processes[0].wait(300) == -signal.SIGKILL
            unanswered = [body for body, reply in conversation(out).values() if reply is None]
            asked = len(server.calls)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("OPENAI_API_KEY", KEY.value)
                result = resume(out, connection={"base_url": url})
        assert same(result, plain.result)
        assert candidates(out) == candidates(plain.folder)
        before = {call.digest for call in server.calls[:asked]}
        again = [call.body for call in server.calls[asked:] if call.digest in before]
        assert again
        assert all(body in unanswered for body in again)
