"""The quality gate in front of the sandbox: an allow-list on the syntax of one simulator file.

Each offence gets its line, its column and a sentence that says what to write instead, so that
whoever wrote the file, person or language model, can mend it in one go. The source is only parsed,
never compiled or run. This is not the boundary: code that slips through meets the sandbox.
"""

from __future__ import annotations

import ast
import io
import tokenize
import warnings

from gsim_jax.simulator._checker import Checker
from gsim_jax.task.problems import Problem

#: Most bytes of source, lines, characters on a line, and levels of brackets.
MOST_BYTES, MOST_LINES, MOST_COLUMNS, MOST_BRACKETS = 64 << 10, 3000, 400, 40
#: Most nodes of the syntax tree, and most levels of it.
MOST_NODES, MOST_DEPTH = 20_000, 80
_MOST_PROBLEMS = 40


def guard(source: str, filename: str = "simulator.py") -> list[Problem]:
    """Checks the syntax of a simulator file against what the template allows.

    Args:
        source: text of the file.
        filename: name for messages.

    Returns:
        The offences in the order of the file, at most 40; empty when there is none. Codes:
        "size", "syntax", and for what is not allowed "statement", "name", "attribute", "call",
        "loop", "recursion", "literal", "function".
    """
    problems = _text(source, filename)
    if problems:
        return problems
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a backslash in a docstring is no matter
            tree = ast.parse(source, filename)
    except SyntaxError as error:
        column = None if error.offset is None else str(error.offset)
        words = f"not valid Python: {error.msg}"
        return [Problem("syntax", words, file=filename, line=error.lineno, column=column)]
    except (ValueError, RecursionError, MemoryError):
        words = "nested too deeply for Python to read; split long expressions into several lines"
        return [Problem("syntax", words, file=filename)]
    problems = _extent(tree, filename)
    if problems:
        return problems
    found = [*_plain_names(source, filename), *Checker(tree, filename).run()]
    unique = dict.fromkeys(found)
    return sorted(unique, key=lambda p: (p.line or 0, int(p.column or 0)))[:_MOST_PROBLEMS]


def _text(source: str, filename: str) -> list[Problem]:
    """What is checked before Python's own parser sees the text."""
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > MOST_BYTES:
        words = f"expected at most {MOST_BYTES} bytes, got {size}: make the file shorter"
        return [Problem("size", words, file=filename)]
    lines = source.split("\n")
    if len(lines) > MOST_LINES:
        words = f"expected at most {MOST_LINES} lines, got {len(lines)}: make the file shorter"
        return [Problem("size", words, file=filename)]
    depth = deepest = 0
    for number, line in enumerate(lines, 1):
        if len(line) > MOST_COLUMNS:
            words = f"expected at most {MOST_COLUMNS} characters on a line, got {len(line)}"
            return [Problem("size", f"{words}: break it", file=filename, line=number, column="1")]
        for column, character in enumerate(line, 1):
            # Text may hold any letter (docstrings); what does not print can hide code.
            if not character.isprintable() and character not in "\t\r":
                words = f"character U+{ord(character):04X} does not print: remove it"
                where = {"file": filename, "line": number, "column": str(column)}
                return [Problem("syntax", words, **where)]
            depth = max(0, depth + (character in "([{") - (character in ")]}"))
            deepest = max(deepest, depth)
            if deepest > MOST_BRACKETS:
                words = f"brackets nest more than {MOST_BRACKETS} deep: name the inner parts"
                return [Problem("size", words, file=filename, line=number, column=str(column))]
    return []


def _plain_names(source: str, filename: str) -> list[Problem]:
    """Names outside ASCII. Python folds them (a script H becomes H), so the tree hides them."""
    if source.isascii():
        return []
    found = []
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError):
        words = "not valid Python to its tokenizer; write the file in plain ASCII"
        return [Problem("syntax", words, file=filename)]
    for token in tokens:
        if token.type == tokenize.NAME and not token.string.isascii():
            words = f"{token.string!r} is not plain ASCII: use letters a-z, digits and _"
            line, column = token.start
            found.append(Problem("name", words, file=filename, line=line, column=str(column + 1)))
    return found


def _extent(tree: ast.Module, filename: str) -> list[Problem]:
    count, level = 0, 0
    layer: list[ast.AST] = [tree]
    while layer:
        count, level = count + len(layer), level + 1
        if count > MOST_NODES:
            words = f"more than {MOST_NODES} syntax elements: make the file shorter"
            return [Problem("size", words, file=filename)]
        if level > MOST_DEPTH:
            line = next((n.lineno for n in layer if isinstance(n, ast.expr | ast.stmt)), None)
            words = f"nested more than {MOST_DEPTH} levels deep: name the inner parts"
            return [Problem("size", words, file=filename, line=line, column="1")]
        layer = [child for node in layer for child in ast.iter_child_nodes(node)]
    return []
