"""What a run found, for people: one HTML page, and the same tables for a terminal."""

from gsim_jax.report.page import render, write_report
from gsim_jax.report.record import Candidate, Failure, Run, read_run
from gsim_jax.report.tables import show_candidate, show_record

__all__ = [
    "Candidate",
    "Failure",
    "Run",
    "read_run",
    "render",
    "show_candidate",
    "show_record",
    "write_report",
]
