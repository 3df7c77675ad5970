"""``gsim whatif`` and ``gsim policy`` on the record of a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gsim_jax.cli import main
from tests.envs.folders import ENVS
from tests.whatif.records import write_record

SCENARIOS = """
[[scenario]]
name = "strict"
[[scenario.change]]
target = "infection.beta"
scale = 0.1
from = 3
to = 20
"""
POLICY = """
cost = "sum(max(I - 20, 0)) + 2 * days"
unit = "bed-days"
[[decision]]
name = "days"
unit = "day"
values = [0, 10, 20]
[[change]]
target = "infection.beta"
scale = 0.1
from = 5
to = "5 + days - 1"
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A record made elsewhere: the task's path is wrong, the source would not even parse."""
    run = write_record(tmp_path / "made")
    (run / "candidates/000/simulator.py").write_bytes(b"\xff this is no Python")
    record = json.loads((run / "run.json").read_text())
    record["task"]["path"] = "/nowhere"
    (run / "run.json").write_text(json.dumps(record))
    return Path(shutil.move(run, tmp_path / "run"))


def call(capfd: Any, *words: str) -> tuple[int, dict[str, Any]]:
    capfd.readouterr()
    status = main([*words, "--json"])
    return status, json.loads(capfd.readouterr().out)


def test_whatif(elsewhere: Path, tmp_path: Path, capfd: Any) -> None:
    file, out = tmp_path / "scenarios.toml", tmp_path / "out.nc"
    file.write_text(SCENARIOS)
    common = ("--scenarios", str(file), "--draws", "8", "--replicates", "4", "--steps", "30")
    status, told = call(capfd, "whatif", str(elsewhere), *common)
    assert status == 2
    assert "name the folder with --task DIR" in told["errors"][0]["message"]
    place = ("--task", str(ENVS / "covid19"), "--out", str(out), "--from", "first")
    status, told = call(capfd, "whatif", str(elsewhere), *common, *place)
    assert status == 0, told
    baseline, strict = told["scenarios"]
    assert (baseline["name"], strict["name"]) == ("baseline", "strict")
    assert strict["values"]["S"]["final_difference"] > 5
    assert told["lanes"] == 32
    with xr.open_dataset(out, engine="h5netcdf") as found:
        assert found["quantiles"].dims == ("variable", "scenario", "t", "quantile")
        final = found["final"].sel(variable="S", scenario="strict")
        assert float(final) == strict["values"]["S"]["final"]
        assert np.isfinite(found["mean"]).all()
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    # The same for people.
    assert main(["whatif", str(elsewhere), *common, *place]) == 0
    shown = capfd.readouterr().out
    assert "more than the first" in shown
    assert "strict" in shown


def test_policy(elsewhere: Path, tmp_path: Path, capfd: Any) -> None:
    file, out = tmp_path / "policy.toml", tmp_path / "policy.json"
    file.write_text(POLICY)
    words = ("policy", str(elsewhere), "--policy", str(file), "--task", str(ENVS / "covid19"),
             "--from", "trajectory:0", "--draws", "40", "--replicates", "5",
             "--out", str(out))  # fmt: skip
    status, told = call(capfd, *words)
    assert status == 0, told
    assert told["policies"] == 3
    costs = [row["cost"] for row in told["finalists"]]
    assert costs == sorted(costs)
    assert told["best"] == told["finalists"][0]["decisions"]
    assert sum(row["probability_best"] for row in told["finalists"]) == pytest.approx(1)
    assert json.loads(out.read_text())["best"] == told["best"]
    assert main(list(words)) == 0
    assert "cost (bed-days)" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("--out", "x.csv"), "ends in .nc or .zarr"),
        (("--from", "now"), "expected first, last, trajectory:ID"),
    ],
)
def test_bad_input(elsewhere: Path, tmp_path: Path, capfd: Any, words: Any, part: str) -> None:
    file = tmp_path / "scenarios.toml"
    file.write_text(SCENARIOS)
    status, told = call(capfd, "whatif", str(elsewhere), "--scenarios", str(file), "--task",
                        str(ENVS / "covid19"), "--draws", "2", *words)  # fmt: skip
    assert status == 2
    assert part in told["errors"][0]["message"]
