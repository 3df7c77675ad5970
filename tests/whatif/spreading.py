"""Run as a process of its own: a sweep over the devices it is given, results into a file.

python -m tests.whatif.spreading OUT DEVICES
"""

from __future__ import annotations

import sys
from pathlib import Path

import jax
import numpy as np


def main() -> None:
    out, devices = sys.argv[1:]
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", int(devices))
    from gsim_jax.whatif import Model, Scenario, Start, add, scale, sweep
    from tests.simulator.towns import INPUTS, START, town, with_params

    schema, program = town()
    draws = {
        group: {name: np.broadcast_to(value, 29) for name, value in members.items()}
        for group, members in with_params(beta=np.linspace(0.2, 1.2, 29).astype(np.float32)).items()
    }
    scenarios = [
        Scenario("less contact", (scale("infection.beta", 0.3, 2, 9),)),
        Scenario("arrivals", (add("I", 2.5, 4, 4), scale("recovery.new_recoveries", 0.6))),
    ]
    mesh = (
        jax.sharding.Mesh(np.array(jax.devices()), ("lanes",)) if jax.device_count() > 1 else None
    )
    found: dict[str, np.ndarray] = {"devices": np.array(jax.device_count())}
    for keep in ("paths", "quantiles", "moments"):
        # 203 lanes: no multiple of any number of devices.
        result = sweep(
            Model(program, schema, draws), scenarios, Start.of(START, {}, INPUTS), steps=15,
            replicates=7, key=5, keep=keep, memory=1 << 20, mesh=mesh,
        )  # fmt: skip
        found |= {f"{keep}/{name}": result[name].values for name in result.data_vars}
    np.savez(Path(out), **found)


if __name__ == "__main__":
    main()
