"""All hostile programs. A new one is one more `Case` in its file."""

from __future__ import annotations

from tests.simulator.hostile import (
    documents,
    escapes,
    kernel,
    limits,
    network,
    processes,
    replies,
    secrets,
    writing,
)

CASES = (
    *secrets.CASES,
    *network.CASES,
    *processes.CASES,
    *writing.CASES,
    *limits.CASES,
    *replies.CASES,
    *kernel.CASES,
    *escapes.CASES,
    *documents.CASES,
)
