"""The loop: propose, check, calibrate, diagnose, propose again; its archive and its run record."""

from gsim_jax.search.loop import Limits, RunResult, resume, run
from gsim_jax.search.record import RunRecord

__all__ = ["Limits", "RunRecord", "RunResult", "resume", "run"]
