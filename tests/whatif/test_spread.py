"""One device and eight: the same lanes bit for bit, the same moments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def swept(out: Path, devices: int) -> dict[str, np.ndarray]:
    command = [sys.executable, "-m", "tests.whatif.spreading", str(out), str(devices)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_"))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(np.load(out))


@pytest.mark.slow
def test_eight_devices(tmp_path: Path) -> None:
    alone, eight = swept(tmp_path / "1.npz", 1), swept(tmp_path / "8.npz", 8)
    assert eight.pop("devices") == 8
    assert set(alone) - {"devices"} == set(eight)
    assert (alone["paths/code"][0] == 0).all()
    for name, values in eight.items():
        if name.startswith("moments/"):
            np.testing.assert_allclose(values, alone[name], rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(values, alone[name], err_msg=name)
