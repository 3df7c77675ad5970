"""The command line: ``gsim VERB``. Verbs import the rooms they need when they run."""

from gsim_jax.cli.app import main

__all__ = ["main"]
