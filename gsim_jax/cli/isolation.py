"""The option ``--require-isolation`` of the verbs that run model-written files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

# As in gsim_jax.simulator.sandbox, which would import too much for --help; a test compares.
LEVELS = ("namespaces", "seccomp", "walk")
HELP = (
    "Refuse to run where the sandbox is weaker: namespaces (strongest), seccomp or walk; "
    "`gsim doctor` says what holds here."
)


def require_isolation(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a verb the option, as the argument ``isolation``."""
    levels = click.Choice(LEVELS)
    option = click.option("--require-isolation", "isolation", type=levels, help=HELP)
    return option(function)
