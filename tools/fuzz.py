"""Random edits of valid simulator files and documents, through everything that reads them.

    python tools/fuzz.py --seconds 600 [--seed 0]

Every edit must come to an end soon, in a program or in a readable refusal: no traceback, no hang,
no process that is left behind. Seeds are printed; a failure is shrunk and shown with its seed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import jax  # noqa: E402 - after the path
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from gsim_jax.simulator import _allowed  # noqa: E402
from gsim_jax.simulator.guard import guard  # noqa: E402
from gsim_jax.simulator.program import Program  # noqa: E402
from gsim_jax.simulator.sandbox import Sandbox  # noqa: E402
from gsim_jax.simulator.trial import try_out  # noqa: E402
from gsim_jax.task import Problem, SimulatorError  # noqa: E402
from tests.simulator.hostile.world import processes_with  # noqa: E402
from tests.simulator.legitimate_worlds import FOLDER, WORLDS  # noqa: E402

#: Limits of a child, and processor seconds of this process for reading a document and for a trial.
WALL, CPU, SLOWEST_DOCUMENT, SLOWEST_TRIAL = 8.0, 3.0, 5.0, 60.0
#: One of so many accepted programs is compiled and run.
TRIED = 12
EXAMPLES = 60
SOURCES = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.py"))}
WORDS = (
    "__class__", "__builtins__", "lambda", "yield", "while True:", "for i in range(10**9):",
    "lax.scan", "lax.fori_loop", "lax.cond", "jnp.zeros((1000, 1000))", "jnp.inf", "jnp.nan",
    "10**10**5", "-1", "0", "1e400", "2**31", "1 << 62", "[", ")", "{", "\"", "'''", "\\", "#",
    "\n", "\t", "\x00", "\u202e", "\ud800", "é", "ｅval", "*", "**", ":=", "@", "None", "True",
    "key", "state", "params", "inputs", "split(key, 3)", "split(key, 100000)", "binomial",
    "multinomial", "categorical", "hypergeometric", "shape=(3,)", "shape=-1", ".at[0].set(1)",
    ".sum()", ".astype(jnp.float16)", "jnp.sort", "jnp.einsum", "[::-1]", "[None]", "[jnp.newaxis]",
    "lax.map(lambda x: x, ", "jnp.vectorize", "State('count')", "Uniform(0, 1, guess=2)", "not ",
    "del state", "return", "import os", "f'{key}'", "async ", "not not not not ", "- - - - ",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, -(2**31), 2**63, 10**30, 1e38, -0.0, 1e-45, 0.5, "", "nan",
    "inf", "add", "scan", "while", "int32", "float32", "float64", [], {}, [[]], [0], [-1], [10**5],
    [10**5] * 8, {"value": 1, "dtype": "int32", "shape": []}, {"op": "neg"}, "\u202e", "__class__",
)  # fmt: skip

TOKENS = {
    "name": re.compile(r"(?<![\w\"'])[A-Za-z_]\w*(?![\w\"'])"),
    "number": re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)?"),
    "operator": re.compile(r"\*\*|//|==|[-+*/%<>&|@]"),
    "text": re.compile(r'"\w+"'),
    "dotted": re.compile(r"(?<=jnp\.)\w+"),
}
INSTEAD = {
    "name": ["jnp", "lax", "key", "state", "params", "None", "int", "list", "range", "sorted"],
    "number": ["0", "-1", "1e30", "2147483647", "-0.0", "100000", "1e-40", "7", "3.5", "True"],
    "operator": ["<<", ">>", "**", "//", "%", "@", "is", "in", "and", ","],
    "text": ['"S"', '"nothing"', '""', '"t"', '"outputs"', '"count"', '"real"'],
    "dotted": sorted(_allowed.JNP),
}
Edit = tuple[str, float, float, Any]
# Scattered, or small numbers would edit the first places again and again.
_fraction = st.integers(0, 2**32 - 1).map(lambda n: n * 2654435761 % 2**32 / 2**32)
file_edits = st.lists(
    st.tuples(
        # Mostly edits that leave valid Python behind, so that what comes later has work too.
        st.sampled_from(("put", "cut", "swap", "double", "word", "chop", *["token"] * 14)),
        _fraction,
        _fraction,
        st.sampled_from(WORDS),
    ),
    min_size=1,
    max_size=4,
)
document_edits = st.lists(
    st.tuples(
        st.sampled_from(
            ("value", "cut", "double", "graft", "graft", "nudge", "nudge", "rename", "bytes")
        ),
        _fraction,
        _fraction,
        st.sampled_from(VALUES),
    ),
    min_size=1,
    max_size=4,
)


def swap_token(source: str, where: float, other: float) -> str:
    """A source with one name, number or operator in place of another of its kind."""
    found = {kind: list(pattern.finditer(source)) for kind, pattern in TOKENS.items()}
    kind = sorted(found)[int(other * 997) % len(found)]
    tokens = found[kind]
    if not tokens:
        return source
    old = tokens[int(where * len(tokens))]
    choices = [*(token.group() for token in tokens), *INSTEAD[kind]]
    return source[: old.start()] + choices[int(other * len(choices))] + source[old.end() :]


def edit_file(source: str, edits: list[Edit]) -> str:
    """A source after some edits of lines, words and characters."""
    for kind, where, other, word in edits:
        lines = source.split("\n")
        i, j = int(where * len(lines)), int(other * len(lines))
        at = int(where * len(source))
        if kind == "token":
            source = swap_token(source, where, other)
        elif kind == "put":
            source = source[:at] + word + source[at:]
        elif kind == "cut":
            del lines[i : i + 1 + int(3 * other)]
            source = "\n".join(lines)
        elif kind == "swap":
            lines[i], lines[j] = lines[j], lines[i]
            source = "\n".join(lines)
        elif kind == "double":
            source = "\n".join([*lines[:j], lines[i], *lines[j:]])
        elif kind == "chop":
            source = source[:at] + source[at + 1 + int(8 * other) :]
        else:
            parts = source.split(" ")
            parts[int(where * len(parts))] = word
            source = " ".join(parts)
    return source


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a document: a container and a key or position in it."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        keys = each if isinstance(each, dict) else range(len(each))
        for key in list(keys):
            yield each, key
            if isinstance(each[key], dict | list):
                waiting.append(each[key])


def edit_document(raw: bytes, edits: list[Edit]) -> bytes:
    """A document after some edits of values, places and bytes."""
    document = json.loads(raw)
    flips = []
    for kind, where, other, value in edits:
        found = list(places(document))
        if kind == "bytes" or not found:
            flips.append((where, other))
            continue
        holder, key = found[int(where * len(found))]
        there, name = found[int(other * len(found))]
        if kind == "value":
            holder[key] = json.loads(json.dumps(value))
        elif kind == "cut":
            del holder[key]
        elif kind == "double" and isinstance(holder, list):
            holder.insert(key, json.loads(json.dumps(holder[key])))
        elif kind == "graft":
            holder[key] = json.loads(json.dumps(there[name]))
        elif kind == "nudge" and type(holder[key]) in (int, float):
            holder[key] += 1 if other < 0.5 else -1
        elif kind == "rename" and isinstance(holder, dict):
            holder[str(name)] = holder.pop(key)
    content = bytearray(json.dumps(document).encode())
    for where, other in flips:
        content[int(where * len(content))] = int(other * 256)
    return bytes(content)


def readable(problems: tuple[Problem, ...] | list[Problem], lines: int) -> None:
    """Whether problems can be acted on: words that print, places that exist."""
    assert problems, "refused without a problem"
    for problem in problems:
        assert problem.code, problem
        assert len(problem.message) > 8, problem
        assert "Traceback" not in problem.message, problem
        assert all(c.isprintable() or c == "\n" for c in str(problem)), repr(str(problem))
        assert problem.line is None or 1 <= problem.line <= lines, problem
    json.dumps([problem.to_json() for problem in problems])


class Fuzz:
    """Counts what became of the examples, and compiles one of every few accepted programs."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Traces the sources once, for their documents."""
        self.sandbox, self.counts = sandbox, Counter[str]()
        self.tasks = {name: WORLDS[name].task for name in SOURCES}
        self.documents = {
            name: sandbox.trace(source, self.tasks[name].schema.signature())
            for name, source in SOURCES.items()
        }

    def file(self, name: str, edits: list[Edit]) -> None:
        """One edited source: guard, then the sandbox whatever the guard said."""
        source = edit_file(SOURCES[name], edits)
        lines = source.count("\n") + 1
        offences = guard(source)
        if offences:
            readable(offences, lines)
        self.counts["guard refuses" if offences else "guard passes"] += 1
        try:
            raw = self.sandbox.trace(source, self.tasks[name].schema.signature())
        except SimulatorError as error:
            readable(error.problems, lines)
            self.counts[f"sandbox: {error.problems[0].code}"] += 1
        else:
            self._document(name, raw)

    def document(self, name: str, edits: list[Edit]) -> None:
        """One edited document."""
        self._document(name, edit_document(self.documents[name], edits))

    def _document(self, name: str, raw: bytes) -> None:
        task, begin = self.tasks[name], time.process_time()
        try:
            program = Program.from_document(raw, task.schema.signature())
        except SimulatorError as error:
            readable(error.problems, 0)
            self.counts[f"document: {error.problems[0].code}"] += 1
            program = None
        assert time.process_time() - begin < SLOWEST_DOCUMENT, "reading took too long"
        if program is None:
            return
        self.counts["accepted"] += 1
        _ = program.graph.edges, program.cost, program.expensive()
        assert Program.from_document(program.to_bytes(), task.schema.signature()) == program
        if self.counts["accepted"] % TRIED == 0:
            trial = try_out(program, task.schema, task.train)
            self.counts["trial refuses" if trial.problems else "trial passes"] += 1
            assert time.process_time() - begin < SLOWEST_TRIAL, "the trial took too long"


def examples(check: Callable[[str, list[Edit]], None], edits: Any, number: int) -> None:
    """Runs hypothesis once, under one seed."""

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(st.sampled_from(sorted(SOURCES)), edits)
    def run(name: str, found: list[Edit]) -> None:
        check(name, found)

    run()


def fuzz(seconds: float, first: int = 0) -> tuple[list[str], Counter[str]]:
    """Fuzzes for a while.

    Args:
        seconds: how long; the round that has begun is finished.
        first: the first seed; each round takes the next.

    Returns:
        A traceback per failure, and how many examples ended in what.
    """
    failures: list[str] = []
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as marker:
        with Sandbox(wall=WALL, cpu=CPU, memory=2 << 30, path=[marker]) as sandbox:
            state = Fuzz(sandbox)
            number = first
            while time.monotonic() < end:
                for check, edits in ((state.file, file_edits), (state.document, document_edits)):
                    print(f"seed {number}, {check.__name__}s", file=sys.stderr, flush=True)
                    try:
                        examples(check, edits, number)
                    except Exception:  # noqa: BLE001 - every kind of failure is a finding
                        failures.append(
                            f"seed {number}, {check.__name__}:\n{traceback.format_exc()}"
                        )
                number += 1
                jax.clear_caches()
            left = [pid for pid in processes_with(marker) if pid != sandbox.pid]
            if left:
                failures.append(f"processes left behind: {left}")
            zygote = sandbox.pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(zygote, 0)
            failures.append("the warm process outlived its sandbox")
    return failures, state.counts


def main() -> int:
    """The command line; status 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    given_ = parser.parse_args()
    failures, counts = fuzz(given_.seconds, given_.seed)
    for words, count in counts.most_common():
        print(f"{count:7}  {words}")
    for failure in failures:
        print(f"\n{failure}")
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
