"""An entry point with no protection of its own: it runs the source with everything Python has."""

from __future__ import annotations

from typing import Any


def run(source: str, signature: dict[str, Any]) -> dict[str, Any]:
    """Executes the source and sends back whatever it left in RESULT."""
    space: dict[str, Any] = {"__name__": "simulator", "signature": signature}
    exec(compile(source, "simulator.py", "exec"), space)
    return {"result": space.get("RESULT")}
