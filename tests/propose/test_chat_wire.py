"""Bytes of HTTP replies: read, judged, counted; and the key that must show nowhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gsim_jax.propose.budget import Budget
from gsim_jax.propose.chat_options import ChatOptions, Key, key_from_environment, public
from gsim_jax.propose.chat_record import ChatRecord, Place, Reply, digest
from gsim_jax.propose.chat_wire import Damaged, read_reply
from gsim_jax.propose.conversing import Spent
from gsim_jax.propose.transport import _retry_after
from gsim_jax.task import InputError

BODY = {"model": "m", "messages": [{"role": "user", "content": "x" * 400}]}


def reply(choice: Any = None, *, message: Any = None, **more: Any) -> Reply:
    choice = {"message": message or {"content": "hello"}} if choice is None else choice
    return read_reply(json.dumps({"choices": [choice], **more}).encode(), True, BODY)


class TestRead:
    def test_the_message(self) -> None:
        usage = {"prompt_tokens": 7, "completion_tokens": 5}
        found = reply({"message": {"content": "héllo"}, "finish_reason": "stop"}, usage=usage)
        assert (found.content, found.finish, found.fault) == ("héllo", "stop", "")
        assert (found.prompt_tokens, found.completion_tokens, found.counted) == (7, 5, True)

    def test_parts_are_joined(self) -> None:
        parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
        assert reply(message={"content": parts}).content == "ab"

    @pytest.mark.parametrize(
        ("document", "fault"),
        [
            ({"choices": []}, "empty"),
            ({"choices": [{"message": {"content": " \n"}}]}, "empty"),
            ({"choices": [{"message": {"content": None}}]}, "empty"),
            ({"choices": [{"message": {"content": 3}}]}, "shape"),
            ({"choices": [{"text": "old"}]}, "shape"),
            ({"choices": "none"}, "shape"),
            ({"error": {"message": "busy"}}, "shape"),
            ([1, 2], "shape"),
            ("text", "shape"),
            (None, "shape"),
        ],
    )
    def test_faults(self, document: Any, fault: str) -> None:
        assert read_reply(json.dumps(document).encode(), True, BODY).fault == fault

    def test_half_of_json_is_damaged(self) -> None:
        for data in (b"", b'{"choices": [', b"<html></html>"):
            with pytest.raises(Damaged, match="not JSON"):
                read_reply(data, True, BODY)

    def test_bytes_that_are_no_utf8(self) -> None:
        whole = json.dumps({"choices": [{"message": {"content": "hello"}}]}).encode()
        found = read_reply(whole.replace(b"hello", b"h\xff\xfello"), True, BODY)
        assert found.fault == "encoding"
        assert read_reply(b"\xff\xfe{", True, BODY).fault == "encoding"

    def test_half_of_a_surrogate_pair_can_be_sent_on(self) -> None:
        found = read_reply(b'{"choices": [{"message": {"content": "a\\ud800b"}}]}', True, BODY)
        assert found.content.encode("utf-8")
        assert found.content.startswith("a")

    def test_too_much(self) -> None:
        found = read_reply(b"x" * 100_000, False, BODY)
        assert found.fault == "too-long"
        assert len(found.content) == 4_000

    @pytest.mark.parametrize(
        "usage", [None, {}, {"prompt_tokens": "many"}, 3, {"prompt_tokens": 1}]
    )
    def test_uncounted_tokens_are_estimated(self, usage: Any) -> None:
        found = reply(message={"content": "y" * 40}, usage=usage)
        assert (found.prompt_tokens, found.completion_tokens, found.counted) == (100, 10, False)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "-4"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert _retry_after(headers) == seconds


class TestRecord:
    def test_what_is_kept_comes_back(self, tmp_path: Path) -> None:
        record, where = ChatRecord(tmp_path / "chat"), Place(0, 1, 2)
        assert record.request(where) is None
        assert record.reply(where) is None
        record.store_request(where, BODY, "repair", "abcd")
        said = Reply("a \ud800 b", finish="stop", prompt_tokens=3, tries=2)
        record.store_reply(where, BODY, said)
        assert record.reply(where) == said
        request = record.request(where)
        assert request is not None
        assert (request["body"], request["purpose"]) == (BODY, "repair")
        assert request["digest"] == digest(BODY)
        assert record.places() == [where]
        assert not list((tmp_path / "chat").glob("*.tmp"))

    def test_a_damaged_reply_is_named(self, tmp_path: Path) -> None:
        record = ChatRecord(tmp_path)
        (tmp_path / "r000-s00-a0.reply.json").write_text('{"reply": {"cont')
        with pytest.raises(InputError, match=r"r000-s00-a0\.reply\.json: expected JSON"):
            record.reply(Place(0, 0, 0))

    def test_equal_requests_have_equal_digests(self) -> None:
        assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
        assert digest(BODY) != digest({**BODY, "temperature": 0.0})


class TestKey:
    def test_it_shows_itself_nowhere(self) -> None:
        key = Key("sk-secret-value")
        assert "secret" not in repr(key)
        assert "secret" not in str(key)
        assert key.redact("Incorrect: sk-secret-value.") == "Incorrect: [key]."
        assert Key("").redact("text") == "text"

    def test_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        assert key_from_environment("http://127.0.0.1:1/v1").value == ""
        with pytest.raises(InputError, match=r"expected OPENAI_API_KEY.*--base-url"):
            key_from_environment("")
        monkeypatch.setenv("OPENAI_API_KEY", " sk-secret-value\n")
        assert key_from_environment("").value == "sk-secret-value"
        monkeypatch.setenv("OPENAI_API_KEY", "sk-sécret")
        with pytest.raises(InputError, match="printable ASCII") as error:
            key_from_environment("")
        assert "cret" not in str(error.value)

    def test_addresses_are_recorded_without_what_they_hide(self) -> None:
        url = "https://user:pass@host:8000/v1?key=abc#x"
        assert public(url) == "https://host:8000/v1"
        options = ChatOptions("m", base_url=url)
        assert "pass" not in json.dumps(options.to_json())
        assert options.host == "https://host:8000/v1"


class TestOptions:
    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"model": ""}, "--model NAME"),
            ({"base_url": "localhost:8000"}, "expected an address such as http"),
            ({"money": 1.0}, "expected --price with --money"),
            ({"extra": {"stream": True}}, "stream cannot be set"),
        ],
    )
    def test_refused(self, given: dict[str, Any], words: str) -> None:
        with pytest.raises(InputError, match=words):
            ChatOptions(**{"model": "m", **given})

    def test_they_come_back_from_a_record(self) -> None:
        options = ChatOptions("m", temperature=(0.2, 1.0), price=(1.0, 2.0), extra={"seed": 3})
        stored = json.loads(json.dumps({**options.to_json(), "of_a_later_version": 1}))
        assert ChatOptions.from_json(stored) == options

    def test_temperatures_are_spread(self) -> None:
        options = ChatOptions("m", temperature=(0.2, 1.0))
        assert [options.at(slot, 5) for slot in range(5)] == [0.2, 0.4, 0.6, 0.8, 1.0]
        assert options.at(0, 1) == 0.2
        assert ChatOptions("m").at(0, 4) is None


class TestBudget:
    def test_prices_are_for_a_million(self) -> None:
        budget = Budget(ChatOptions("m", price=(2.0, 8.0), money=0.5))
        budget.add(Reply("", prompt_tokens=100_000, completion_tokens=10_000, counted=True))
        assert budget.spent()["money"] == pytest.approx(0.28)
        budget.demand()
        budget.add(Reply("", prompt_tokens=100_000, completion_tokens=10_000, counted=True))
        with pytest.raises(Spent) as spent:
            budget.demand()
        assert spent.value.reason == "money"

    def test_tokens(self) -> None:
        budget = Budget(ChatOptions("m", tokens=10))
        budget.add(Reply("", prompt_tokens=9))
        budget.demand()
        budget.add(Reply("", completion_tokens=1))
        with pytest.raises(Spent, match="tokens"):
            budget.demand()
        assert budget.spent()["estimated"] == 1
