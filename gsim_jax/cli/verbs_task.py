"""Verbs about task folders and simulator files: ``gsim check``, ``gsim profile``, ``gsim new``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from gsim_jax.cli.isolation import require_isolation
from gsim_jax.cli.reply import BAD_INPUT, Options, Reply, dumps, plain, verb

if TYPE_CHECKING:
    from gsim_jax.simulator.sandbox import Level

FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--task", type=FOLDER, required=True, help="The task folder it is to simulate.")
@require_isolation
@verb
def check(options: Options, file: Path, task: Path, isolation: Level | None) -> Reply:
    """Check a simulator FILE against a task.

    Guard, sandbox, program and contract, in this order. --out writes the findings as JSON.
    """
    from gsim_jax.simulator.check import check_file
    from gsim_jax.task import load_task

    found = check_file(file, load_task(task), require=isolation)
    errors = tuple(problem.to_json() for problem in found.problems)
    reply = Reply(
        {"file": file, **found.to_json()},
        # The problems of a refused file are shown as errors, once.
        lambda console: None if errors else _text(console, found.to_text()),
        ok=not errors,
        errors=errors,
        status=BAD_INPUT if errors else None,
    )
    return _saved(reply, options.out)


@click.command()
@click.argument("task", type=FOLDER)
@verb
def profile(options: Options, task: Path) -> Reply:
    """Show what the data of TASK tell.

    --out writes the same as JSON.
    """
    from gsim_jax.task import load_task
    from gsim_jax.task import profile as profile_of

    found = profile_of(load_task(task))
    reply = Reply(
        {"task": task, "profile": found.to_json()},
        lambda console: _text(console, found.to_text()),
    )
    return _saved(reply, options.out)


@click.command()
@click.argument("directory", type=FOLDER)
@verb
def new(options: Options, directory: Path) -> Reply:
    """Write a commented task folder to fill in.

    --out writes the list of its files as JSON.
    """
    from gsim_jax.task import InputError, Problem, new_task

    try:
        new_task(directory)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(Problem("folder-taken", str(error))) from error
    files = sorted(path for path in directory.rglob("*") if path.is_file())

    def show(console: Console) -> None:
        _text(console, "\n".join(str(path) for path in files))
        _text(console, f"\nFill it in, then: gsim profile {directory} && gsim run {directory}")

    return _saved(Reply({"directory": directory, "files": files}, show), options.out)


def _text(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _saved(reply: Reply, out: Path | None) -> Reply:
    """Write the fields of a reply as JSON where ``--out`` says so."""
    if out is not None:
        fields: dict[str, Any] = plain(dict(reply.fields))
        out.write_text(dumps(fields) + "\n", encoding="utf-8")
    return reply
