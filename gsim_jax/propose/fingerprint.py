"""One short text per structure, the same whatever its latent pools are called."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from gsim_jax.propose.structure import Flow, Structure


def fingerprint(structure: Structure) -> str:
    """16 hex digits; equal for structures that differ only in latent names or in order.

    Pools are coloured by what is known of them (observed ones by their name) and refined by the
    colours of their neighbours until nothing changes (Weisfeiler and Leman, 1968); flows are then
    written with colours in place of names.
    """
    colours = {
        name: _digest([pool.start, pool.stages, name if pool.start == "data" else ""])
        for name, pool in structure.pools.items()
    }
    for _ in range(len(colours)):
        colours = {
            name: _digest(
                [
                    own,
                    sorted(
                        [_role(flow, name), _flow(flow, colours)]
                        for flow in structure.flows
                        if _role(flow, name)
                    ),
                ]
            )
            for name, own in colours.items()
        }
    data = structure.to_json()
    for level in data["levels"].values():
        level["terms"] = sorted(level["terms"], key=lambda term: (term["law"], term["by"]))
    canonical = {
        "pools": sorted(colours.values()),
        "flows": sorted(_flow(flow, colours) for flow in structure.flows),
        "whole": structure.whole,
        "conserved": sorted(structure.conserved),
        "levels": data["levels"],
        "stocks": data["stocks"],
    }
    return _digest(canonical)


def _role(flow: Flow, pool: str) -> str:
    ends = {"from": flow.source, "to": flow.target, "aside": flow.branch}
    found = [role for role, end in ends.items() if end == pool]
    found += [f"drives{i}" for i, driver in enumerate(flow.drivers) if driver == pool]
    found += [f"{f.kind}" for f in flow.factors if f.by == pool]
    return ",".join(found)


def _flow(flow: Flow, colours: dict[str, str]) -> str:
    def end(name: str | None) -> str:
        return "outside" if not name else colours[name]

    return _digest(
        [
            end(flow.source),
            end(flow.target),
            flow.law,
            [colours[driver] for driver in flow.drivers],
            flow.draw,
            sorted([f.kind, colours.get(f.by, f.by), f.period] for f in flow.factors),
            None if flow.branch is None else end(flow.branch),
            flow.capacity,
            flow.by,
        ]
    )


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
