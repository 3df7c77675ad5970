"""One device, eight devices, two processes: the same lanes bit for bit, the same moments."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.simulator.spreading", *map(str, arguments)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_"))}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip


def finish(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        told, _ = process.communicate(timeout=240)
        assert process.returncode == 0, told[-3000:]


def same(a: Path, b: Path) -> None:
    first, second = np.load(a), np.load(b)
    assert set(first.files) == set(second.files)
    assert (first["paths-codes"] == 0).all()
    for name in set(first.files) - {"devices"}:
        if name.startswith("moments"):
            np.testing.assert_allclose(first[name], second[name], rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(first[name], second[name])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "out.npz"
    finish(start(out, 1))
    return out


def test_eight_devices(alone: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    finish(start(out, 8))
    assert np.load(out)["devices"] == 8
    same(alone, out)


def test_two_processes(alone: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    outs = [tmp_path / "0.npz", tmp_path / "1.npz"]
    finish(*(start(out, 2, address, 2, i) for i, out in enumerate(outs)))
    for out in outs:
        assert np.load(out)["devices"] == 4
        same(alone, out)
