"""An entry point with no protection of its own: it runs the source with everything Python has."""

from __future__ import annotations

from typing import Any

from gsim_jax.simulator import _trace


def run(source: str, signature: dict[str, Any]) -> dict[str, Any]:
    """Executes the source and sends back whatever it left in RESULT.

    A source that is a whole simulator file goes through the tracer instead.
    """
    if "SUBMODULES" in source:
        return _trace.trace_source(source, signature)
    space: dict[str, Any] = {"__name__": "simulator", "signature": signature}
    exec(compile(source, "simulator.py", "exec"), space)
    return {"result": space.get("RESULT")}
