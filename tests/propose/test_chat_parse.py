"""From replies to programs: what models write, and what they should not."""

from __future__ import annotations

import pytest

from gsim_jax.propose.chat_record import Reply
from gsim_jax.propose.parse import Answer, fingerprint, read_answer
from gsim_jax.task import Problem

PROGRAM = '''"""Pools that empty.

More words.
"""
PARAMS = {"leaving": {"chance": Uniform(0.0, 1.0, guess=0.2)}}

def leaving(state, inputs, params, key):
    return {"left": binomial(key, state["n"], params["chance"])}

def couple(state, inputs, outputs, params, key):
    return {"n": state["n"] - outputs["left"]}

SUBMODULES = (leaving,)
'''
SNIPPET = "p = 1 - jnp.exp(-rate)\n"


def block(source: str, fence: str = "```", language: str = "python") -> str:
    return f"{fence}{language}\n{source}{fence}\n"


def answer(text: str, **more: str) -> Answer:
    found = read_answer(Reply(text, **more), {3, 5})  # type: ignore[arg-type]
    assert isinstance(found, Answer), found
    return found


def problem(text: str, **more: str) -> Problem:
    found = read_answer(Reply(text, **more), {3, 5})  # type: ignore[arg-type]
    assert isinstance(found, Problem), found
    return found


class TestPrograms:
    @pytest.mark.parametrize(
        "text",
        [
            block(PROGRAM),
            "Words before.\n\n" + block(PROGRAM) + "\nAnd after.",
            block(PROGRAM, language=""),
            block(PROGRAM, language="Python3"),
            block(PROGRAM, fence="~~~~"),
            block(PROGRAM, fence="````"),
            "As a first idea:\n" + block(SNIPPET) + "so\n" + block(PROGRAM),
            "<think>Maybe\n" + block(PROGRAM) + "</think>\n" + block(PROGRAM),
            block(PROGRAM).removesuffix("```\n"),  # the end was forgotten
            block(PROGRAM).replace("\n", "\r\n"),
        ],
    )
    def test_found(self, text: str) -> None:
        found = answer(text)
        assert found.source.replace("\r", "") == PROGRAM
        assert found.title == "Pools that empty"

    def test_words_around_it(self) -> None:
        text = (
            "## Reflection\n- spread is too small\n- so draw the chance\n\n"
            "Based on: candidate 5\n\n## Program\n" + block(PROGRAM)
        )
        found = answer(text)
        assert found.reflection == "- spread is too small\n- so draw the chance"
        assert (found.based, found.said) == (5, True)

    @pytest.mark.parametrize(
        ("line", "based", "said"),
        [
            ("Based on: none", None, True),
            ("**Based on:** candidate 3.", 3, True),
            ("Based on candidate #3", 3, True),
            ("Based on: 3", 3, True),
            ("Based on: candidate 99", None, False),  # no such candidate
            ("", None, False),
        ],
    )
    def test_what_it_is_based_on(self, line: str, based: int | None, said: bool) -> None:
        found = answer(f"{line}\n{block(PROGRAM)}")
        assert (found.based, found.said) == (based, said)

    def test_titles_are_one_printable_line(self) -> None:
        wild = PROGRAM.replace("Pools that empty.", "A\x1b[31m " + "very " * 80 + "long title")
        found = answer(block(wild))
        assert found.title.isprintable()
        assert len(found.title) <= 121
        assert answer(block(PROGRAM[PROGRAM.index("PARAMS") :])).title == "untitled"


class TestProblems:
    @pytest.mark.parametrize(
        ("text", "code", "words"),
        [
            ("I would say that pools empty.", "no-code", "got prose only: 'I would say"),
            ("", "no-code", "expected one fenced"),
            (block(SNIPPET), "no-code", "lacks `SUBMODULES"),
            (block("SUBMODULES = ()\n"), "no-code", r"lacks `def couple"),
            (block(PROGRAM) + block(PROGRAM), "several-programs", "got 2 programs"),
            ("```python\nPARAMS = {", "cut-off", "ends inside of its code block"),
        ],
    )
    def test_named(self, text: str, code: str, words: str) -> None:
        found = problem(text)
        assert found.code == code
        assert words in found.message

    @pytest.mark.parametrize(
        ("more", "code"),
        [
            ({"fault": "empty"}, "empty-reply"),
            ({"fault": "shape"}, "wrong-shape"),
            ({"fault": "too-long"}, "reply-too-long"),
            ({"fault": "encoding"}, "not-utf8"),
            ({"refusal": "I cannot."}, "refusal"),
            ({"finish": "content_filter"}, "refusal"),
        ],
    )
    def test_of_the_reply(self, more: dict[str, str], code: str) -> None:
        assert problem(block(PROGRAM), **more).code == code

    def test_cut_off_by_a_limit(self) -> None:
        half = block(PROGRAM)[: len(PROGRAM) - 5]
        assert problem(half, finish="length").code == "cut-off"
        assert problem("I would", finish="length").code == "cut-off"
        # A block that is whole is a program, whatever was cut off after it.
        assert answer(block(PROGRAM) + "And fur", finish="length").source == PROGRAM


class TestFingerprint:
    @pytest.mark.parametrize(
        "other",
        [
            PROGRAM.replace("More words.", "Other words."),
            PROGRAM.replace("\n\n", "\n\n\n"),
            PROGRAM.replace("SUBMODULES =", "SUBMODULES  ="),
            PROGRAM.replace("PARAMS", "# about\nPARAMS"),
            PROGRAM + "# end\n",
        ],
    )
    def test_equal_but_for_words_and_spaces(self, other: str) -> None:
        assert other != PROGRAM
        assert fingerprint(other) == fingerprint(PROGRAM)

    @pytest.mark.parametrize(
        "other", [PROGRAM.replace("0.2", "0.3"), PROGRAM.replace("left", "gone")]
    )
    def test_different(self, other: str) -> None:
        assert fingerprint(other) != fingerprint(PROGRAM)
