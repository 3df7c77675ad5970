"""`gsim run` with a language model: what is asked for, and what is refused before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gsim_jax.cli import main
from gsim_jax.cli.live import View, line, spent_words
from tests.search.town import write_task

CHAT = {"event": "chat", "round": 0, "slot": 1, "attempt": 0, "state": "asking"}
SPENT = {"requests": 3, "tokens": 12_345, "money": 0.0, "estimated": 0}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No model, key or server in the environment, and a working directory of its own."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--proposer", "chat"), "expected the name of a model: --model NAME"),
        (("--proposer", "chat", "--model", "m"), "expected OPENAI_API_KEY in the environment"),
        (("--proposer", "chat", "--model", "m", "--base-url", "h:80"), "expected an address such"),
        (("--proposer", "chat", "--model", "m", "--base-url", "http://h/v1", "--money", "2"),
         "expected --price with --money"),
        (("--proposer", "chats"), "expected library, chat or replay:DIR, got 'chats'"),
        (("--proposer", "replay:"), "expected library, chat or replay:DIR"),
        (("--proposer", "replay:nowhere"), "nowhere has none"),
        (("--model", "m"), "--model: only with --proposer chat"),
        (("--proposer", "chat", "--temperature", "hot"), "expected LOW:HIGH, got 'hot'"),
        (("--proposer", "chat", "--price", "1:-2"), "expected numbers from 0 on"),
        (("--proposer", "chat", "--extra", "[1]"), "expected a JSON object"),
        (("--proposer", "chat", "--extra", "{"), "expected a JSON object"),
        (("--proposer", "chat", "--model", "m", "--base-url", "http://h/v1",
          "--extra", '{"n": 2}'), "n cannot be set"),
    ],
)  # fmt: skip
def test_bad_input(words: tuple[str, ...], told: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(("run", "task", "--json", *words)) == 2
    document = json.loads(capfd.readouterr().out)
    assert told in " ".join(error["message"] for error in document["errors"])
    assert not Path("runs").exists()


def test_a_resumed_run_keeps_its_conversation(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_MODEL", "of-the-environment")  # this alone is no mistake
    assert main(("run", "--resume", "nowhere", "--max-tokens", "9")) == 2
    assert "leave out --max-tokens" in capfd.readouterr().err
    assert main(("run", "--resume", "nowhere", "--timeout", "9")) == 2
    assert "expected a run folder" in capfd.readouterr().err


def test_a_dead_address_is_no_bad_input(capfd: pytest.CaptureFixture[str]) -> None:
    write_task(Path("town"))
    words = ("--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--retries", "0")
    assert main(("run", "town", "--proposer", "chat", *words, "--out", "run")) == 1
    said = capfd.readouterr().err
    assert "no reply from http://127.0.0.1:9/v1 after 1 try" in said
    assert "gsim run --resume RUN" in said
    assert "Traceback" not in said


class TestWatching:
    def test_questions_are_lines_of_a_log(self) -> None:
        assert line(CHAT) == "round 0  proposal 2: asking the model"
        assert line({**CHAT, "attempt": 1}) == "round 0  proposal 2: asking the model, repair 1"
        again = {**CHAT, "state": "asking again", "note": "status 503: busy; again in 1 s"}
        assert line(again) == (
            "round 0  proposal 2: asking the model again: status 503: busy; again in 1 s"
        )
        assert line({**CHAT, "state": "answered"}) is None
        assert line({"event": "warning", "message": "it differs"}) == "warning: it differs"

    def test_a_slot_says_that_it_waits(self) -> None:
        view = View()
        view.apply({**CHAT, "spent": SPENT})
        assert view.rows[(0, 1)].stage == "asking the model"
        assert view.spent == SPENT

    def test_what_was_spent(self) -> None:
        assert spent_words(SPENT) == "3 requests, 12,345 tokens"
        more = {"requests": 1, "tokens": 10, "money": 0.0423, "estimated": 1}
        assert spent_words(more) == "1 request, 10 tokens (estimated), cost 0.0423"
