"""Kills a run at random instants, resumes it each time, and compares its end with a whole run's.

    python tools/kill_and_resume.py envs/boarding_school_flu --kills 10

Both runs have one seed and no time budget, so this also shows that equal seeds give equal ends.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SAME = ("simulator.py", "program.json", "proposal.json")


def verb(*arguments: str) -> list[str]:
    """A command line of this environment's `gsim`."""
    return [sys.executable, "-m", "gsim_jax.cli", "run", *arguments]


def candidates(run: Path) -> dict[str, dict]:
    """What a run ends with, times left out: they are the machine's, not the run's."""
    found = {}
    for folder in sorted((run / "candidates").iterdir()):
        texts = {name: (folder / name).read_text() for name in SAME if (folder / name).exists()}
        diagnosis = folder / "diagnosis.json"
        if diagnosis.exists():
            content = json.loads(diagnosis.read_text())
            content.pop("times")
            texts["diagnosis"] = content
        found[folder.name] = texts
    return found


def end(run: Path) -> dict:
    """The last event, which names the winner."""
    last = json.loads((run / "events.jsonl").read_text().splitlines()[-1])
    return {"event": last["event"], "best": last.get("best")}


def main() -> None:
    """Runs both, prints the comparison, and exits with 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--whole", type=Path, help="an uninterrupted run of the same seed")
    given = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="kill-and-resume-"))
    whole = given.whole or scratch / "whole"
    begin = time.time()
    if given.whole is None:
        subprocess.run(verb(given.task, "--seed", str(given.seed), "--out", str(whole)), check=True)
    length = time.time() - begin if given.whole is None else 120.0
    torn, chance = scratch / "torn", random.Random(given.seed)
    command = verb(given.task, "--seed", str(given.seed), "--out", str(torn))
    killed = 0
    while killed < given.kills:
        wait = chance.uniform(1.0, max(2.0, 4.0 * length / given.kills))
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
            done = len(list((torn / "candidates").glob("[0-9]*"))) if torn.exists() else 0
            print(f"kill {killed} after {wait:.1f} s, {done} candidates done", flush=True)
        else:
            print(f"the run ended before kill {killed + 1}", flush=True)
            break
        if (torn / "run.json").exists():
            command = verb("--resume", str(torn))
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    same = candidates(whole) == candidates(torn) and end(whole) == end(torn)
    print("same end" if same else "DIFFERENT end", end(whole), end(torn))
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
