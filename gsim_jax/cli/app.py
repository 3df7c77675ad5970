"""The group of verbs, and the one place where errors become messages and exit statuses."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import MutableMapping, Sequence
from typing import Any

import click
from rich.console import Console

from gsim_jax.cli.reply import (
    BAD_INPUT,
    FAILED,
    Reply,
    dumps,
    envelope,
    error_json,
    show_errors,
)

VERBS = {
    "run": "search",
    "calibrate": "calibrate",
    "check": "task",
    "profile": "task",
    "new": "task",
    "whatif": "whatif",
    "policy": "whatif",
    "report": "house",
    "doctor": "house",
    "bench": "house",
}
"""Each verb and the module ``gsim_jax.cli.verbs_*`` that holds it."""


#: Several results of one loop over lanes: there are fewer loops to compile and to wait for, and a
#: run of the search takes a sixth less time. Rollouts do without, see `simulator/cores.py`.
XLA_FLAG = "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion"


class Verbs(click.Group):
    """Imports a verb's module when the verb is called or its help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order in which a newcomer meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb, or ``None`` for a name that is none."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"gsim_jax.cli.verbs_{VERBS[cmd_name]}")
        return getattr(module, cmd_name)


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="gsim_jax", prog_name="gsim")
def gsim() -> None:
    """Find a simulator from a description and data, and use it.

    TASK is a folder with task.toml and tables, RUN a folder that `gsim run` wrote.
    """


def tune(environment: MutableMapping[str, str]) -> None:
    """Adds `XLA_FLAG` to the XLA flags, unless somebody has set such options already."""
    flags = environment.get("XLA_FLAGS", "")
    if "xla_backend_extra_options" not in flags:
        environment["XLA_FLAGS"] = f"{flags} {XLA_FLAG}".strip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: Words after ``gsim``; those of the process by default.

    Returns:
        Exit status: 0 done, 1 failed, 2 bad input.
    """
    if arguments is None:  # a process of our own, and JAX not imported yet
        tune(os.environ)
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    own = words[: words.index("--")] if "--" in words else words
    as_json, debug = "--json" in own, "--debug" in own
    name = next((word for word in words if not word.startswith("-")), None)
    stdout = sys.stdout
    # With --json stdout carries one document and nothing else, whatever a library prints.
    hush = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
    with hush:
        reply, messages, hint = _invoke(words, debug)
    if not isinstance(reply, Reply):  # --help and --version have printed already
        return int(reply or 0)
    try:
        if as_json:
            stdout.write(dumps(envelope(name if name in VERBS else None, reply)) + "\n")
        else:
            reply.show(_console(stdout))
        stdout.flush()
    except BrokenPipeError:  # `gsim ... | head`; keep the interpreter from flushing once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())
        return FAILED
    if messages:
        show_errors(Console(stderr=True), messages, hint)
    return reply.exit_status


def _invoke(words: list[str], debug: bool) -> tuple[Reply | Any, list[str], str | None]:
    """Parse and call; every way to fail becomes a reply, messages and a hint."""
    try:
        reply = gsim.main(args=words, prog_name="gsim", standalone_mode=False)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "gsim"
        message = error.format_message()
        return _refused([error_json("usage", message)]), [message], f"See: {where} --help"
    except (click.Abort, KeyboardInterrupt):
        message = "interrupted"
        reply = Reply(ok=False, errors=(error_json("interrupted", message),))
        hint = "Finished work is kept; continue with: gsim run --resume RUN"
        return reply, [message], hint if "run" in words[:1] else None
    except Exception as error:  # noqa: BLE001 - the boundary: it becomes exit status 1 or 2
        if debug:
            traceback.print_exc()
        return _explain(error)
    if isinstance(reply, Reply) and not reply.ok:
        return reply, [_line(error) for error in reply.errors], None
    return reply, [], None


def _explain(error: Exception) -> tuple[Reply, list[str], str | None]:
    """Bad input with all its places, or a failure in one line."""
    from gsim_jax.task.problems import InputError

    if isinstance(error, InputError):
        problems = [problem.to_json() for problem in error.problems]
        return _refused(problems), [str(problem) for problem in error.problems], None
    code = "system" if isinstance(error, OSError) else "internal"
    message = str(error) if code == "system" else f"{type(error).__name__}: {error}"
    reply = Reply(ok=False, errors=(error_json(code, message),))
    return reply, [message], "Add --debug for the traceback."


def _refused(errors: list[dict[str, Any]]) -> Reply:
    return Reply(ok=False, errors=tuple(errors), status=BAD_INPUT)


def _line(error: Any) -> str:
    """A problem in JSON form as one readable line."""
    from gsim_jax.task.problems import Problem

    return str(Problem(**error))


def _console(stdout: Any) -> Console:
    """Wide tables where nobody's window says otherwise."""
    wide = not stdout.isatty() and "COLUMNS" not in os.environ
    return Console(file=stdout, width=120 if wide else None)
