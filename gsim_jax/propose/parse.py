"""From a reply to a simulator file, or to the one thing that is wrong with the reply."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass

from gsim_jax.propose.chat_record import Reply
from gsim_jax.task import Problem

#: Characters of a title and of a reflection that are kept.
TITLE, REFLECTION = 120, 2_000

_FENCE = re.compile(r"^[ \t]{0,3}(`{3,}|~{3,})[ \t]*([\w+.-]*)")
_BASED = re.compile(r"(?im)^\W*based\s+on\W*(?:candidate\W*)?(\d+|none)\b")
_THOUGHTS = re.compile(r"(?s)\A\s*<(think|thinking|reasoning)>.*?</\1>")
_DOCSTRING = re.compile(r'(?s)\A(?:\s*#[^\n]*\n)*\s*[rR]?("""|\'\'\')(.*?)\1')
_WHOLE = re.compile(r"(?m)^SUBMODULES\s*=")
_COUPLE = re.compile(r"(?m)^def\s+couple\s*\(")

_FAULTS = {
    "empty": ("empty-reply", "the reply was empty: answer with the whole file"),
    "shape": ("wrong-shape", "the reply was no chat completion (no message in its first choice)"),
    "too-long": ("reply-too-long", "the reply was far too long and was not read to its end"),
    "encoding": ("not-utf8", "the reply was not valid UTF-8: write plain ASCII"),
}


@dataclass(frozen=True)
class Answer:
    """What a usable reply holds.

    Attributes:
        source: The simulator file.
        title: First line of its docstring.
        based: Number of the candidate it says to be based on; None for none or nothing said.
        said: Whether it said what it is based on.
        reflection: The words before the program.
    """

    source: str
    title: str
    based: int | None
    said: bool
    reflection: str


def read_answer(reply: Reply, candidates: Collection[int] = ()) -> Answer | Problem:
    """Finds the one program in a reply.

    Args:
        reply: What the model said.
        candidates: Numbers that it may name as a start.

    Returns:
        The answer, or why there is none: codes "empty-reply", "wrong-shape", "reply-too-long",
        "not-utf8", "refusal", "cut-off", "no-code", "several-programs".
    """
    if reply.finish == "content_filter":
        return Problem("refusal", "the server's content filter stopped the reply")
    if reply.fault:
        return Problem(*_FAULTS[reply.fault])
    if reply.refusal:
        return Problem("refusal", f"the model refuses: {_line(reply.refusal, 200)}")
    text = _THOUGHTS.sub("", reply.content)
    blocks, closed = _blocks(text)
    programs = [block for block in blocks if _WHOLE.search(block) and _COUPLE.search(block)]
    if not closed and (reply.finish == "length" or not programs):
        words = "the reply ends inside of its code block: answer in fewer words"
        return Problem("cut-off", words)
    if not programs:
        return _no_program(reply, blocks, text)
    if len(programs) > 1:
        words = f"expected one code block with the whole file, got {len(programs)} programs"
        return Problem("several-programs", words)
    (source,) = programs
    return _answer(source, text, candidates)


def fingerprint(source: str) -> str:
    """16 hex digits; equal for files that differ in comments, docstring and blank space only."""
    match = _DOCSTRING.match(source)
    body = source[match.end() :] if match else source
    lines = (re.sub(r"\s+#.*$|^\s*#.*$", "", line).rstrip() for line in body.splitlines())
    kept = "\n".join(re.sub(r"[ \t]+", " ", line) for line in lines if line)
    return hashlib.blake2b(kept.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _no_program(reply: Reply, blocks: list[str], text: str) -> Problem:
    if reply.finish == "length":
        return Problem("cut-off", "the reply was cut off at its longest: answer in fewer words")
    if blocks:
        words = "expected one code block with the whole file; the one here lacks "
        lacks = "`def couple(...)`" if _WHOLE.search(blocks[0]) else "`SUBMODULES = (...)`"
        return Problem("no-code", words + lacks)
    said = _line(text, 160)
    words = f"expected one fenced ```python block with the whole file, got prose only: {said!r}"
    return Problem("no-code", words)


def _blocks(text: str) -> tuple[list[str], bool]:
    """Fenced blocks, and whether the last one is closed."""
    found: list[str] = []
    fence, lines = "", list[str]()
    for line in text.splitlines():
        match = _FENCE.match(line)
        if not fence and match:
            fence, lines = match.group(1), []
        elif fence and match and match.group(1).startswith(fence) and not match.group(2):
            found.append("\n".join(lines) + "\n")
            fence = ""
        elif fence:
            lines.append(line)
    if fence:
        found.append("\n".join(lines) + "\n")
    return found, not fence


def _answer(source: str, text: str, candidates: Collection[int]) -> Answer:
    match = _DOCSTRING.match(source)
    first = match.group(2).strip().splitlines() if match else []
    title = _line(first[0], TITLE).rstrip(".") if first else ""
    before = text[: text.find(source.strip().splitlines()[0])] if source.strip() else ""
    before = re.split(r"(?m)^[ \t]{0,3}(?:`{3,}|~{3,})", before)[0]
    named = _BASED.search(before) or _BASED.search(text)
    number = named.group(1).lower() if named else ""
    based = int(number) if number.isdigit() and int(number) in candidates else None
    said = number == "none" or based is not None
    reflection = _BASED.sub("", before)
    reflection = re.sub(r"(?m)^#+[ \t]*(reflection|program)\b.*$", "", reflection, flags=re.I)
    reflection = re.sub(r"\n{2,}", "\n", reflection).strip()
    return Answer(source, title or "untitled", based, said, reflection[:REFLECTION])


def _line(text: str, most: int) -> str:
    """Text on one line, printable, not too long."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= most else words[:most] + "…"
