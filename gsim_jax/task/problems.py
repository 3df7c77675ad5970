"""What is wrong with an input: where it was found, what was expected, what to do about it.

Every reader of user input in this package collects `Problem`s and raises them together in one
`InputError`, so that a person (or a language model) mends a file in one go.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One mistake in an input file.

    Attributes:
        code: a short, stable word for programs, such as ``"missing-column"``.
        message: expected, got, and what to do, for people.
        file: path of the file, relative to the task folder where there is one.
        row: 1-based line of a table, the header being row 1 (a record's number + 1 in Parquet).
        column: name of a table's column; the column offset, as text, in a source file.
        line: 1-based line of a text file (task.toml, a simulator).
    """

    code: str
    message: str
    file: str | None = None
    row: int | None = None
    column: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        """One readable line: ``train.csv, row 12, column I: ...``."""
        places = [self.file] if self.file is not None else []
        if self.line is not None:
            places.append(f"line {self.line}")
        if self.row is not None:
            places.append(f"row {self.row}")
        if self.column is not None:
            places.append(f"column {self.column}")
        return f"{', '.join(places)}: {self.message}" if places else self.message

    def to_json(self) -> dict[str, Any]:
        """The fields as a JSON object with the keys code, file, row, column, line, message."""
        return {
            "code": self.code,
            "file": self.file,
            "row": self.row,
            "column": self.column,
            "line": self.line,
            "message": self.message,
        }


class InputError(Exception):
    """Bad input of any kind; the command line ends with exit status 2.

    Attributes:
        problems: everything that was found wrong, in the order in which it was found.
    """

    problems: tuple[Problem, ...]

    def __init__(self, problems: Iterable[Problem] | Problem) -> None:
        """Keeps the problems; ``str`` lists them all, one a line."""
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__(self.problems)  # one argument, so that the error pickles

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class TaskError(InputError):
    """A task folder that cannot be used as it is."""


class SimulatorError(InputError):
    """A simulator file refused by the guard, the sandbox, the program or the contract check."""


def near(name: str, known: Iterable[str]) -> str:
    """Words that help somebody who wrote a name that is not known.

    Args:
        name: the name that was written.
        known: the names that would have been understood.

    Returns:
        ``did you mean 'S'?`` where something is close, else the list of known names.
    """
    names = sorted(set(known))
    folded = {candidate.casefold(): candidate for candidate in reversed(names)}
    written = name.strip().casefold()
    close = difflib.get_close_matches(written, list(folded), n=3, cutoff=0.6)
    if close:
        ratios = [difflib.SequenceMatcher(None, c, written).ratio() for c in close]
        best = [repr(folded[c]) for c, r in zip(close, ratios, strict=True) if r > ratios[0] - 0.1]
        return f"did you mean {' or '.join(best)}?"
    if not names:
        return "none are known"
    shown = ", ".join(names[:20])
    return f"known: {shown}" + (f" and {len(names) - 20} more" if len(names) > 20 else "")
