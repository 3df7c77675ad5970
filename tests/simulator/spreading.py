"""Run as a process of its own: a rollout over the devices it is given, results into a file.

python -m tests.simulator.spreading OUT DEVICES [ADDRESS PROCESSES INDEX]
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import numpy as np


def main() -> None:
    out, devices, *distributed = sys.argv[1:]
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", int(devices))
    if distributed:
        address, processes, index = distributed
        jax.distributed.initialize(address, int(processes), int(index))
    from gsim_jax import rollout
    from tests.simulator.towns import INPUTS, START, town, with_params

    schema, program = town()
    mesh = (
        jax.sharding.Mesh(np.array(jax.devices()), ("lanes",)) if jax.device_count() > 1 else None
    )
    beta = np.linspace(0.2, 1.2, 203).astype(np.float32)  # no multiple of any number of devices
    found: dict[str, np.ndarray] = {"devices": np.array(jax.device_count())}
    for keep in ("paths", "moments"):
        result = rollout(
            program, schema, with_params(beta=beta), START, steps=15, lanes=203, key=5,
            inputs=INPUTS, keep=keep, antithetic=True, memory=200_000, mesh=mesh,
        )  # fmt: skip
        leaves = jax.tree.leaves(result.kept)
        found |= {f"{keep}{i}": leaf for i, leaf in enumerate(leaves)}
        found[f"{keep}-codes"] = result.codes
    np.savez(Path(out), **found)


if __name__ == "__main__":
    main()
