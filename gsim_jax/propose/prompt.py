"""Fills in the prompts of `codegen_templates/prompts/`: what a language model reads.

A prompt is bounded in tokens (counted as a quarter of its characters): examples, sources of lower
parents and whole parents give way, in this order; the task and the best program never do.
"""

from __future__ import annotations

import functools
import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from gsim_jax.propose.prompt_names import names_text
from gsim_jax.propose.prompt_parents import attempts, parent_fields
from gsim_jax.propose.prompt_task import Features, features, task_fields

if TYPE_CHECKING:
    from gsim_jax.propose.brief import Brief
    from gsim_jax.task import Problem

Message = dict[str, str]

#: Characters per token, on average; no model counts alike.
CHARACTERS = 4
#: Tokens of examples at most.
EXAMPLES = 1_600
#: Detail of later rounds, from all there is to the least: programs shown, and files among them.
DETAIL = ((4, 3), (4, 2), (3, 2), (3, 1), (2, 1), (1, 1))
#: Problems that one repair prompt lists.
PROBLEMS = 12


@dataclass(frozen=True)
class Prompts:
    """Builds conversations.

    Attributes:
        tokens: A first message and the system message together stay below this, as far as the task
            itself does.
    """

    tokens: int = 16_000

    def ask(self, brief: Brief, slot: int, count: int) -> list[Message]:
        """System and user message for one proposal.

        Args:
            brief: What is known.
            slot: Place among the proposals of the round, from 0.
            count: Proposals of the round.
        """
        known = features(brief.schema, brief.profile)
        system = system_text(known)
        roles = _roles()
        kind = "later" if brief.parents else "first"
        fields = {
            "task": _render("task.md.j2", **task_fields(brief), hints=_hints(known)),
            "round": brief.round + 1,
            "slot": slot + 1,
            "count": count,
            "role": roles[kind][slot % len(roles[kind])],
        }
        if not brief.parents:
            user = _render("propose.md.j2", **fields, failed=attempts(brief))
        else:
            left = self.tokens * CHARACTERS - len(system)
            user = _refine(brief, fields, left)
        return [{"role": "system", "content": system}, {"role": "user", "content": user}]

    def repair(
        self, problems: Sequence[Problem], source: str, attempt: int, most: int, refused: bool
    ) -> Message:
        """The message that sends an answer back.

        Args:
            problems: What is wrong.
            source: The refused file, for the lines that problems name; "" where there is none.
            attempt: Number of the attempt that is asked for, from 1.
            most: Attempts that there are.
            refused: Whether there was a program at all.
        """
        lines = source.splitlines()
        shown = []
        for problem in problems[:PROBLEMS]:
            line = problem.line or 0
            excerpt = lines[line - 1].strip()[:200] if 0 < line <= len(lines) else ""
            shown.append({"words": str(problem), "excerpt": excerpt})
        text = _render(
            "repair.md.j2",
            program=refused,
            stage=_stage(problems),
            problems=shown,
            more=len(problems) - len(shown),
            attempt=attempt,
            attempts=most,
        )
        return {"role": "user", "content": text}


def system_text(known: Features) -> str:
    """The system message: equal for all requests of a task."""
    names = dict(names_text())
    present = known.present()
    if not present & {"slots", "pipelines", "delayed"}:
        names["helpers"] = names["helpers_short"]
    return _render("system.md.j2", **names, examples=_examples(present)).strip() + "\n"


@functools.cache
def version() -> str:
    """8 hex digits that change with any template, example, name or signature."""
    digest = hashlib.blake2b(digest_size=4)
    for folder in ("prompts", "examples"):
        root = resources.files("codegen_templates") / folder
        for path in sorted(root.iterdir(), key=lambda path: path.name):
            if path.name.endswith((".j2", ".toml", ".py")):
                digest.update(path.name.encode() + path.read_bytes())
    for name, text in sorted(names_text().items()):
        digest.update(f"{name}={text}".encode())
    return digest.hexdigest()


def _refine(brief: Brief, fields: dict[str, Any], room: int) -> str:
    reflect = _render("reflect.md.j2")
    text = ""
    for parents, files in DETAIL:
        shown = [
            parent_fields(parent, brief, sources=place < files)
            for place, parent in enumerate(brief.parents[:parents])
        ]
        split = "held-out data" if brief.held_out else "the training data (in-sample)"
        text = _render(
            "refine.md.j2",
            **fields,
            parents=shown,
            attempts=attempts(brief),
            split=split,
            reflect=reflect,
        )
        if len(text) <= room:
            break
    return text


def _hints(known: Features) -> str:
    text = _render("hints.md.j2", **vars(known), any=False)
    return _render("hints.md.j2", **vars(known), any=True) if text.strip() else ""


def _examples(present: frozenset[str]) -> list[dict[str, str]]:
    """Examples that the task's features call for, as far as they fit."""
    root = resources.files("codegen_templates") / "examples"
    index = tomllib.loads((root / "examples.toml").read_text(encoding="utf-8"))
    chosen, room = [], EXAMPLES * CHARACTERS
    for name, entry in index.items():
        source = (root / f"{name}.py").read_text(encoding="utf-8").strip()
        if present & set(entry["when"]) and len(source) <= room:
            room -= len(source)
            chosen.append({"words": entry["words"], "source": source})
    return chosen


def _stage(problems: Sequence[Problem]) -> str:
    codes = {problem.code for problem in problems}
    if codes & {"fails"}:
        return "it failed in a trial run"
    if codes & {"time-limit", "memory-limit", "output-limit", "crash"}:
        return "it broke a limit of the sandbox"
    return "it does not keep to the template"


@functools.cache
def _roles() -> dict[str, list[str]]:
    path = resources.files("codegen_templates") / "prompts" / "roles.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


@functools.cache
def _environment() -> Any:
    import jinja2

    def load(name: str) -> str:
        path = resources.files("codegen_templates") / "prompts" / name
        return path.read_text(encoding="utf-8")

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # text for a model, no page
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _render(name: str, **fields: Any) -> str:
    return _environment().get_template(name).render(**fields)
